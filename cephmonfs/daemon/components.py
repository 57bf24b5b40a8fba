"""The real components that `serve` joins; everything a mount uses is loaded here, before privileges go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.config.filesettings import fs_settings
from cephmonfs.daemon.connect import Client, connect, prepare
from cephmonfs.daemon.serve import Components
from cephmonfs.fuse.handlers import CephMonOperations, make_operations, run_mounted

if TYPE_CHECKING:
    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.files.logring import LogRing


def real_components() -> Components[CephMonOperations]:
    """Return them."""
    return Components(open_client=connect, make_operations=operations, run=run_mounted, prepare=prepare)


def operations(client: Client, config: MountConfig, ring: LogRing) -> CephMonOperations:
    """Build the file system."""
    return make_operations(client, fs_settings(config), ring)
