"""The file system without a kernel: its handlers called as pyfuse3 would, on a clock of the test."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import trio
import trio.testing

from cephmonfs.config.filesettings import default_settings
from cephmonfs.fuse.handlers import CephMonOperations
from tests.doubles.source import FakeSource

CALLER = cast("pyfuse3.RequestContext", SimpleNamespace(uid=1000, gid=1000, pid=1, umask=0o022))


class Waiter:
    """A poll handle that counts."""

    def __init__(self) -> None:
        self.told = 0

    def notify(self) -> None:
        self.told += 1


class Handlers:
    """Reads, polls and lists by path."""

    def __init__(self, operations: CephMonOperations) -> None:
        self.operations = operations

    async def inode(self, path: str) -> int:
        inode = pyfuse3.ROOT_INODE
        for part in path.split("/"):
            inode = (await self.operations.lookup(inode, cast("Any", os.fsencode(part)), CALLER)).st_ino
        return inode

    async def open(self, path: str) -> int:
        info = await self.operations.open(cast("Any", await self.inode(path)), cast("Any", os.O_RDONLY), CALLER)
        return info.fh

    async def read(self, path: str) -> bytes:
        """Open, read, close; raises FUSEError."""
        fh = cast("Any", await self.open(path))
        try:
            return await self.operations.read(fh, 0, 1 << 30)
        finally:
            await self.operations.release(fh)

    async def outcome(self, path: str) -> str:
        """The content, or the name of the error."""
        try:
            return (await self.read(path)).decode("utf-8", "replace")
        except pyfuse3.FUSEError as exc:
            return errno.errorcode[exc.errno]

    async def poll(self, fh: int, waiter: Waiter | None = None) -> bool:
        """Whether poll says that the file has changed."""
        node = self.operations._handles.get(fh)
        assert node is not None
        ready = await self.operations.poll(cast("Any", 1), cast("Any", fh), cast("Any", waiter), CALLER)
        return bool(ready & select.POLLPRI)


@asynccontextmanager
async def handlers(source: FakeSource, **settings: Any) -> AsyncIterator[Handlers]:
    """A file system that runs, with nobody but the test to call it."""
    operations = CephMonOperations(source, default_settings(**settings))
    async with trio.open_nursery() as nursery:
        await nursery.start(operations.run)
        await trio.testing.wait_all_tasks_blocked()
        yield Handlers(operations)
        nursery.cancel_scope.cancel()
