"""Each ring or stream is a row of the table, and poll(2) tells of its own lines alone."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio

from cephmonfs.files.events import EventRing
from cephmonfs.files.tree import ROWS, Kind, Row, Tree
from tests.doubles.handlers import CALLER, Handlers, Waiter, handlers
from tests.doubles.source import FakeSource

pytestmark = pytest.mark.trio


def with_second_ring(fs: Handlers) -> EventRing:
    """Add a file `second` and a stream `second_pipe` to the table; return what they show."""
    ring = EventRing()
    kinds = {"second": Kind.RING, "second_pipe": Kind.STREAM}
    fs.operations._tree = Tree((*ROWS, *(Row(path, kind, "", ring=lambda _: ring) for path, kind in kinds.items())))
    return ring


async def size_of(fs: Handlers, path: str) -> int:
    return (await fs.operations.getattr(cast("Any", await fs.inode(path)), CALLER)).st_size


async def test_a_second_ring_shows_its_own_lines(autojump_clock: trio.abc.Clock) -> None:
    async with handlers(FakeSource()) as fs:
        ring = with_second_ring(fs)
        ring.append({"event": "x"}, 1.0)
        text = await fs.read("second")
        assert b'"event": "x"' in text
        assert await size_of(fs, "second") == len(text)
        assert b'"x"' not in await fs.read("events")


async def test_poll_of_a_ring_is_about_its_own_lines(autojump_clock: trio.abc.Clock) -> None:
    async with handlers(FakeSource()) as fs:
        ring = with_second_ring(fs)
        second, first = await fs.open("second"), await fs.open("events")
        assert not await fs.poll(second)
        ring.append({"event": "x"}, 1.0)
        waiter = Waiter()
        assert await fs.poll(second, waiter)
        assert not await fs.poll(first, elsewhere := Waiter())
        fs.operations._watch.look()
        assert waiter.told == 1
        assert elsewhere.told == 0


async def test_a_stream_of_a_second_ring_begins_now(autojump_clock: trio.abc.Clock) -> None:
    async with handlers(FakeSource()) as fs:
        ring = with_second_ring(fs)
        ring.append({"event": "old"}, 1.0)
        fh = cast("Any", await fs.open("second_pipe"))
        assert await fs.operations.read(fh, 0, 4096) == b"\n"  # a second of silence
        ring.append({"event": "new"}, 2.0)
        assert b'"new"' in await fs.operations.read(fh, 0, 4096)
