from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from cephmonfs.config.filesettings import default_settings
from cephmonfs.errors import NotPermitted, RequestTimeout, SessionLost
from cephmonfs.files.settings import FsSettings
from cephmonfs.fuse.slots import WaitSlots
from cephmonfs.fuse.statfsgate import StatfsGate
from cephmonfs.mon.snapshot import StatfsRecord
from tests.doubles.source import FakeSource

pytestmark = pytest.mark.trio


@asynccontextmanager
async def running(
    source: FakeSource, settings: FsSettings | None = None, slots: WaitSlots | None = None
) -> AsyncIterator[StatfsGate]:
    gate = StatfsGate(source, settings or default_settings(), slots or WaitSlots())
    yield gate


async def timed(gate: StatfsGate) -> tuple[float, StatfsRecord | None]:
    begin = trio.current_time()
    try:
        record = await gate.get()
    except RequestTimeout:
        return trio.current_time() - begin, None
    return trio.current_time() - begin, record


async def test_an_answer_is_never_older_than_its_question(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source) as gate, trio.open_nursery() as nursery:
        source.hush()
        first: list[StatfsRecord] = []
        second: list[StatfsRecord] = []

        async def call(into: list[StatfsRecord]) -> None:
            begin = trio.current_time()
            into.append(await gate.get())
            assert into[0].asked.mono >= begin

        nursery.start_soon(call, first)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(100):
            nursery.start_soon(call, second)
        await trio.sleep(0.1)
        source.hush(False)
        await trio.testing.wait_all_tasks_blocked()
        assert len(first) == 1
        assert len(second) == 100
        assert source.asked["statfs"] == 2
        assert gate.results == {"fresh": 101, "held": 0, "error": 0}


async def test_only_the_first_calls_of_a_fault_wait_long(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source) as gate:
        held = await gate.get()
        source.hush()
        for wait in (1.0, 0.04):
            took, record = await timed(gate)
            assert took == pytest.approx(wait)
            assert record == held
        await trio.sleep(49)  # 61 s old by now, nearly
        assert (await timed(gate))[1] == held
        await trio.sleep(11)
        took, record = await timed(gate)
        assert took == pytest.approx(0.04)
        assert record is None
        source.hush(False)
        took, record = await timed(gate)
        assert took == 0
        assert record is not None
        assert record.asked.mono > held.asked.mono
        source.hush()
        assert (await timed(gate))[0] == pytest.approx(0.04)  # the same trouble, most likely
        assert (await timed(gate))[0] == pytest.approx(0.04)
        source.hush(False)
        await timed(gate)
        await trio.sleep(11)
        source.hush()
        assert (await timed(gate))[0] == pytest.approx(1.0)  # a new fault


async def test_a_call_that_comes_late_in_the_wait_does_not_wait_a_whole_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    source = FakeSource()
    async with running(source) as gate, trio.open_nursery() as nursery:
        source.hush()
        nursery.start_soon(timed, gate)
        await trio.sleep(0.7)
        assert (await timed(gate))[0] == pytest.approx(0.3, abs=0.001)


async def test_many_callers_wait_longer_each(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    slots = WaitSlots()
    async with running(source, slots=slots) as gate, trio.open_nursery() as nursery:
        source.hush()
        await timed(gate)
        slots.waiting += 1000
        begin = trio.current_time()
        for _ in range(100):
            nursery.start_soon(timed, gate)
        await trio.testing.wait_all_tasks_blocked()
        assert (await timed(gate))[0] == pytest.approx(0.55, abs=0.01)
        assert trio.current_time() - begin < 1


async def test_without_a_slot_nobody_waits(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source, slots=WaitSlots(0)) as gate:
        source.hush()
        assert (await timed(gate))[0] == 0
        assert source.asked["statfs"] == 0


async def test_a_session_that_cannot_ask_gives_the_last_answer(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source) as gate:
        source.statfs_error = SessionLost("none")
        assert await timed(gate) == (0, source.snap.statfs)
        assert gate.results["held"] == 1


async def test_an_error_of_the_answer_goes_to_the_callers(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.statfs_error = NotPermitted("caps")
    async with running(source) as gate:
        with pytest.raises(NotPermitted):
            await gate.get()
        assert gate.results["error"] == 1
        source.statfs_error = None
        await gate.get()


async def test_no_answer_yet_and_stale_never(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.publish(statfs=None)
    source.hush()
    async with running(source, default_settings(stale_after=float("inf"))) as gate:
        assert (await timed(gate))[1] is None


async def test_durations_are_counted(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source, default_settings(statfs_timeout=5)) as gate:
        await gate.get()
        source.hush()
        await timed(gate)
    assert (gate.tally().durations[0], gate.tally().durations[-1]) == (1, 1)
    assert gate.tally().duration_sum_s == pytest.approx(5.0)
