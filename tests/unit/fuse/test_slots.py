"""So many requests wait, and no more."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from cephmonfs.fuse.slots import WaitSlots, wake_gently


def test_a_slot_is_held_for_the_length_of_a_wait() -> None:
    slots = WaitSlots(2)
    with slots.take() as first, slots.take() as second:
        assert first
        assert second
        with slots.take() as third:
            assert not third
        assert slots.waiting == 2  # one that was not had is not given back
    assert slots.waiting == 0


def test_a_slot_comes_back_from_a_wait_that_fails() -> None:
    slots = WaitSlots(1)
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError
    with slots.take() as again:
        assert again


async def test_a_thousand_who_wait_are_woken_a_few_at_a_time() -> None:
    lot, woken, seen = trio.lowlevel.ParkingLot(), 0, []

    async def wait() -> None:
        nonlocal woken
        await lot.park()
        woken += 1

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(wake_gently, lot)
        while woken < 1000:
            seen.append(woken)
            await trio.lowlevel.checkpoint()
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 100
