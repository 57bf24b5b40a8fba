"""Many threads of one user are answered a few at a time; one thread alone never waits."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from cephmonfs.fuse import pace
from cephmonfs.fuse.pace import Pace
from cephmonfs.fuse.slots import WaitSlots

pytestmark = pytest.mark.trio


async def test_one_thread_never_waits(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        turns = Pace(WaitSlots())
        nursery.start_soon(turns.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(1000):
            await turns.admit(1000, 7)
        assert trio.current_time() == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("outside", [False, True], ids=["threads", "of another pid namespace"])
async def test_of_many_threads_a_few_are_answered_in_each_round(
    autojump_clock: trio.testing.MockClock, outside: bool
) -> None:
    answered: list[tuple[float, int]] = []

    async def call(turns: Pace, uid: int, thread: int) -> None:
        await turns.admit(uid, thread)
        answered.append((trio.current_time(), uid))

    async with trio.open_nursery() as nursery:
        turns = Pace(WaitSlots())
        nursery.start_soon(turns.run)
        await trio.testing.wait_all_tasks_blocked()
        for thread in range(95):
            nursery.start_soon(call, turns, 1000, 0 if outside else thread)  # the kernel says 0 of those
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(call, turns, 0, 1)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    times = [at for at, uid in answered if uid == 1000]
    assert len(times) == 95
    for at in set(times):
        assert times.count(at) <= pace._CALLERS
    assert max(times) == pytest.approx(9 * pace._ROUND_S)
    assert [at for at, uid in answered if uid == 0] == [0]  # another user does not notice


async def test_who_leaves_holds_up_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        turns = Pace(WaitSlots())
        nursery.start_soon(turns.run)
        await trio.testing.wait_all_tasks_blocked()
        for thread in range(pace._CALLERS):
            await turns.admit(1000, thread)
        with trio.move_on_after(pace._ROUND_S / 2) as left:
            await turns.admit(1000, 98)
        assert left.cancelled_caught
        await turns.admit(1000, 99)
        assert trio.current_time() == pytest.approx(pace._ROUND_S)
        nursery.cancel_scope.cancel()


async def test_without_a_place_to_wait_nobody_waits(autojump_clock: trio.testing.MockClock) -> None:
    turns = Pace(WaitSlots(0))
    for thread in range(100):
        await turns.admit(1000, thread)
    assert trio.current_time() == 0
