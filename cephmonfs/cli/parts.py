"""The real parts that `serve` joins; everything a mount uses is loaded here, before privileges go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.cli.serve import Parts
from cephmonfs.cli.session import Client, connect, fs_settings, prepare
from cephmonfs.fs.operations import CephMonOperations, make_operations, run_mounted

if TYPE_CHECKING:
    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.fs.logring import LogRing


def real_parts() -> Parts[CephMonOperations]:
    """Return them."""
    return Parts(open_client=connect, make_operations=operations, run=run_mounted, prepare=prepare)


def operations(client: Client, config: MountConfig, ring: LogRing) -> CephMonOperations:
    """Build the file system."""
    return make_operations(client, fs_settings(config), ring)
