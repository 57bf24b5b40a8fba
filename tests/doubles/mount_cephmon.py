"""A mount helper whose session is pretended: `python -m tests.doubles.mount_cephmon SOURCE DIR ...`.

"cephmon" in its name is how other mounts, in tests that run beside, know whose uid theirs is (host/accounts.py).
The environment variable PRETEND tells how the session goes: refuse, config, timeout, bug, or well.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cephmonfs.cli import mount
from cephmonfs.config.mountconfig import MountConfig
from cephmonfs.daemon.fork import Reporter
from cephmonfs.errors import AuthError, ConfigError, NoData, NotPermitted
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.snapshot import CommandReply, MonView, Snapshot, Stamp, State, StatfsRecord
from cephmonfs.mon.statfs import Patience

if TYPE_CHECKING:
    from cephmonfs.daemon.connect import Client
    from cephmonfs.daemon.serve import Components
    from cephmonfs.files.logring import LogRing

FSID = "2f5a8f1e-64d1-4d6b-9f43-0b1c2d3e4f50"


def snapshot() -> Snapshot:
    """An open session with the first of three monitors."""
    now = Stamp(time.monotonic(), time.time())
    addrs = [AddrVec((EntityAddr.of(f"127.0.0.{n}", 3300, AddrType.MSGR2),)) for n in (1, 2, 3)]
    return Snapshot(
        now=now,
        entity="client.df",
        state=State.OPEN,
        mon="a",
        addr=str(addrs[0]),
        mode="secure",
        global_id=4100,
        since=now,
        last_contact=now,
        sessions=1,
        failovers=0,
        last_error="",
        fsid=FSID,
        monmap=None,
        maps={},
        denied=frozenset(),
        fscid=None,
        fs_missing=False,
        mons=tuple(MonView(name, rank, addrs[rank], None, "") for rank, name in enumerate("abc")),
        errors={name: f"monitor {name} at {addrs[rank]}: no answer" for rank, name in enumerate("abc")},
        statfs=None,
        tickets=(),
        requests=(),
        counters={},
        history=(),
    )


class PretendedClient:
    """A session that is open, or goes as PRETEND says."""

    def snapshot(self) -> Snapshot:
        return snapshot()

    @property
    def resolve_error(self) -> str:
        return ""

    async def wait_open(self) -> None:
        import trio

        match os.environ.get("PRETEND"):
            case "refuse":
                raise AuthError("monitor a refused client.df")
            case "config":
                raise ConfigError("no monitor address")
            case "bug":
                raise ZeroDivisionError("division by zero")
            case "timeout":
                print("connecting", file=sys.stderr, flush=True) if sys.argv[-1].startswith("foreground") else None
                await trio.sleep_forever()

    async def statfs(self, patience: Patience | None = None, *, may_wait: bool = True) -> StatfsRecord:
        now = snapshot().now
        match os.environ.get("PRETEND"):
            case "caps":
                raise NotPermitted("client.df may connect but not read")
            case "pool":
                raise NoData("the cluster has no pool x")
        return StatfsRecord(Statfs(1, 1, 1, 1), None, now, now)

    async def command(self, command: Mapping[str, object]) -> CommandReply:
        raise NotImplementedError

    async def wait_change(self, seen: int) -> int:
        import trio

        if seen:
            await trio.sleep_forever()
        return 1


def parts() -> Components[Any]:
    """What a daemon is joined from."""
    import pyfuse3

    from cephmonfs.daemon.serve import Components
    from cephmonfs.fuse.refusals import ReadOnly

    class OneDirectory(ReadOnly):
        async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
            entry = pyfuse3.EntryAttributes()
            entry.st_ino = inode
            entry.st_mode = stat.S_IFDIR | 0o555
            entry.st_nlink = 2
            return entry

        async def opendir(self, inode: int, ctx: object) -> int:
            return inode

        async def readdir(self, fh: int, start_id: int, token: object) -> None:
            return None

        async def getxattr(self, inode: int, name: bytes, ctx: object) -> bytes:
            return str(os.getpid()).encode()

        async def statfs(self, ctx: object) -> pyfuse3.StatvfsData:
            data = pyfuse3.StatvfsData()
            data.f_bsize = data.f_frsize = 4 << 20
            data.f_blocks = 100
            return data

    @asynccontextmanager
    async def open_client(config: MountConfig) -> AsyncIterator[Client]:
        yield PretendedClient()
        print("session closed", file=sys.stderr)

    @asynccontextmanager
    async def prepare(config: MountConfig) -> AsyncIterator[MountConfig]:
        yield config

    def make(client: Client, config: MountConfig, ring: LogRing) -> OneDirectory:
        return OneDirectory()

    async def run(operations: OneDirectory) -> None:
        await pyfuse3.main()

    return Components(open_client=open_client, make_operations=make, run=run, prepare=prepare)


def _serve(config: MountConfig, report: Reporter) -> int:
    from cephmonfs.daemon.serve import run_daemon

    return run_daemon(config, report, parts())


if __name__ == "__main__":
    mount._serve = _serve
    sys.exit(mount.main())
