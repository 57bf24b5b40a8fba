"""The real parts that `serve` joins; everything a mount uses is loaded here, before privileges go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from cephmonfs.cli.serve import Client, Parts
from cephmonfs.fs.operations import CephMonOperations, FsSettings, make_operations, run_mounted
from cephmonfs.model.entity import AddrType
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import open_client
from cephmonfs.runtime.configured import ConfiguredMonitors, session_config
from cephmonfs.runtime.remembered import Remembered

if TYPE_CHECKING:
    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.fs.logring import LogRing

_REMEMBERED_PRIORITY: Final = 1 << 16  # after everything that was given


def real_parts() -> Parts[CephMonOperations]:
    """Return them."""
    return Parts(open_client=connect, make_operations=operations, run=run_mounted, prepare=prepare)


@asynccontextmanager
async def prepare(config: MountConfig) -> AsyncIterator[MountConfig]:
    """For `demo:`, run the embedded monitors and point the mount at them."""
    if config.demo is None:
        yield config
        return
    from cephmonfs.config.monaddr import MonTarget
    from cephmonfs.demo.monitors import DemoSettings, run_monitors

    async with run_monitors(DemoSettings(mons=config.demo.mons, seed=config.demo.seed)) as demo:
        targets = tuple(MonTarget(host, port, "v2") for _, host, port in demo.addrs)
        yield config.effective(targets=targets, entity=demo.entity, key=demo.key, fsid=str(demo.fsid))


@asynccontextmanager
async def connect(config: MountConfig) -> AsyncIterator[Client]:
    """Open the session, with what earlier mounts learned and for later ones."""
    session = session_config(config)
    if config.demo is not None:
        async with open_client(session, ConfiguredMonitors(config)) as client:
            yield client
        return
    remembered = Remembered(config)
    kind = AddrType.LEGACY if session.identity.modes == (Mode.LEGACY,) else AddrType.MSGR2
    monitors = ConfiguredMonitors(config, remembered.candidates(kind, _REMEMBERED_PRIORITY))
    try:
        async with open_client(session, monitors, remember=remembered, local=config.ip) as client:
            yield client
    finally:
        remembered.close()


def operations(client: Client, config: MountConfig, ring: LogRing) -> CephMonOperations:
    """Build the file system."""
    settings = FsSettings(
        statfs_timeout=config.statfs_timeout,
        stale_after=config.stale_after,
        cmd_timeout=config.cmd_timeout,
        refresh=config.refresh,
        uid=config.uid,
        gid=config.gid,
        mode=config.mode,
        config_lines=tuple(config.lines().splitlines()),
        client_options=client_options(config),
    )
    return make_operations(client, settings, ring)


def client_options(config: MountConfig) -> str:
    """Return the options as the kernel client's debugfs shows them, without the key."""
    parts = [f"name={config.entity.id}", "secret=<hidden>"] if config.key is not None else [f"name={config.entity.id}"]
    if config.fsid:
        parts.append(f"fsid={config.fsid}")
    if config.fs:
        parts.append(f"mds_namespace={config.fs}")
    parts.append(f"ms_mode={config.ms_mode}")
    return ",".join(parts)
