"""No open and no read waits longer than `cmd_timeout`, whatever it waits for."""

from __future__ import annotations

import errno
import math
import threading
from typing import Any, cast

import pytest
import trio
import trio.testing

from cephmonfs.files.tree import ROWS, Kind, Node
from cephmonfs.files.view import View
from cephmonfs.fuse import renderings
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


@pytest.mark.parametrize("refresh", [0.0, 10.0, 3600.0])
@pytest.mark.parametrize("stale_after", [0.0, 0.1, 0.5, 1.0, 2.0, 60.0, math.inf])
async def test_an_open_never_says_that_a_healthy_cluster_is_silent(
    autojump_clock: trio.testing.MockClock, stale_after: float, refresh: float
) -> None:
    """However short an answer counts: then an open asks for another."""
    source = FakeSource()
    async with handlers(source, stale_after=stale_after, refresh=refresh) as mount:
        for number in range(60):
            assert await mount.outcome("health") == "HEALTH_WARN\n"
            assert await mount.outcome("mon/leader") == "a\n"
            assert await mount.outcome("mon/b/in_quorum") == "1\n"
            assert await mount.outcome("ceph/osd/tree") == "ID  CLASS\n"
            assert await mount.outcome("capacity/objects") == "123456\n"
            assert "STALE" not in await mount.outcome("status")
            if stale_after >= 0.5 or not stale_after:
                assert await mount.outcome("session/fresh") == "1\n"
            await trio.sleep(0.13 * (1 + number % 7))
        asked = source.asked["health"]
        await trio.sleep(60)
        assert source.asked["health"] - asked <= 60 / 0.2 + 1


async def test_what_the_monitors_refuse_is_not_asked_again_at_each_open(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers["quorum_status"] = -errno.EACCES
    async with handlers(source, stale_after=0.5, refresh=3600.0) as mount:
        await mount.outcome("mon/leader")
        asked = source.asked["quorum_status"]
        for _ in range(50):
            assert await mount.outcome("mon/leader") == "EACCES"
        assert source.asked["quorum_status"] == asked


async def test_what_takes_long_to_print_is_not_taken_for_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """tar stores as many bytes as the size says, and never opens a file of 0."""
    real, go = Node.render, threading.Event()

    def render(node: Node, view: View) -> bytes:
        if str(node) == "monmap":
            go.wait(10)
        return real(node, view)

    monkeypatch.setattr(Node, "render", render)
    monkeypatch.setattr(renderings, "_THREAD_BYTES", 10)
    source = FakeSource()
    async with handlers(source, cmd_timeout=0.2) as mount:
        inode = cast("Any", await mount.inode("monmap"))
        assert (await mount.operations.getattr(inode, CALLER)).st_size == 4096
        go.set()
        content = await mount.read("monmap")
        assert (await mount.operations.getattr(inode, CALLER)).st_size == len(content)
