"""However often files are opened, memory is what it was: no exception, view or content is kept that is not shown."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
import trio
import trio.testing

from tests.doubles.handlers import handlers
from tests.doubles.source import FakeSource
from tests.unit.files.test_every_file_in_every_state import denied, files, group_of, known, lost

pytestmark = pytest.mark.trio

ROUNDS = 40
GROWTH_BYTES = 300_000


@pytest.mark.parametrize("state", ["open", "denied", "lost"])
async def test_opens_leave_nothing_behind(autojump_clock: trio.testing.MockClock, state: str) -> None:
    source = FakeSource()
    known(source)
    paths = [path.replace("*", "b") for path in files() if group_of(path) != "stream"]
    async with handlers(source, stale_after=30.0, cmd_timeout=0.1, statfs_timeout=0.1) as mount:
        if state == "denied":
            await denied(source)
        elif state == "lost":
            lost(source)
            await trio.sleep(60)

        async def open_all() -> None:
            for path in paths:
                await mount.outcome(path)

        for _ in range(3):
            await open_all()
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(ROUNDS):
                await open_all()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < GROWTH_BYTES, f"{(after - before) / ROUNDS / len(paths):.0f} bytes an open"
