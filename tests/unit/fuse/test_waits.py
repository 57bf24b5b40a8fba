"""No open and no read waits longer than `cmd_timeout`, whatever it waits for."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
import trio.testing

from cephmonfs.files.tree import ROWS, Kind
from tests.doubles.handlers import CALLER, Handlers, handlers
from tests.doubles.source import FakeSource

pytestmark = pytest.mark.trio

CMD_TIMEOUT_S = 1.0
PATHS = [row.path.replace("*", "b") for row in ROWS if row.kind not in (Kind.DIRECTORY, Kind.STREAM)]


async def took_s(mount: Handlers, path: str) -> float:
    began = trio.current_time()
    await mount.outcome(path)
    return trio.current_time() - began


@pytest.mark.parametrize("statfs_timeout", [0.1, 30.0])
async def test_every_file_of_silent_monitors(autojump_clock: trio.testing.MockClock, statfs_timeout: float) -> None:
    source = FakeSource()
    source.hush()
    async with handlers(source, cmd_timeout=CMD_TIMEOUT_S, statfs_timeout=statfs_timeout) as mount:
        for path in [*PATHS, "ceph/osd/tree"]:
            assert await took_s(mount, path) <= 2 * CMD_TIMEOUT_S, path  # a lookup below ceph/ and the open
        await trio.sleep(5)
        for path in PATHS:
            inode = cast("Any", await mount.inode(path))
            began = trio.current_time()
            await mount.operations.getattr(inode, CALLER)
            assert trio.current_time() - began == 0.0, path
            assert await took_s(mount, path) <= CMD_TIMEOUT_S, path


async def test_every_read_that_begins_anew(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with handlers(source, cmd_timeout=CMD_TIMEOUT_S, statfs_timeout=30.0, refresh=2.0) as mount:
        for path in ("status", "capacity/objects", "mon/leader", "dashboard.html"):
            fh = cast("Any", await mount.open(path))
            source.hush()
            await trio.sleep(5)
            began = trio.current_time()
            await mount.operations.read(fh, 0, 100)
            assert trio.current_time() - began <= CMD_TIMEOUT_S, path
            source.hush(False)
            await trio.sleep(5)
