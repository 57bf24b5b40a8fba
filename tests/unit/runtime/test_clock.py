"""The clock that goes on while the machine sleeps."""

from __future__ import annotations

import time

import pytest
import trio

from cephmonfs.runtime.clock import BootClock


def test_it_is_boottime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 5000.0, time.CLOCK_MONOTONIC: 60.0}.__getitem__)
    clock = BootClock()
    assert clock.current_time() == 5000.0
    assert clock.deadline_to_sleep_time(5002.5) == 2.5
    assert clock.deadline_to_sleep_time(4000.0) < 0  # over, the machine slept past it


def test_trio_runs_on_it() -> None:
    async def main() -> float:
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        now = trio.current_time()
        assert before <= now <= time.clock_gettime(time.CLOCK_BOOTTIME)
        with trio.move_on_after(0.01) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return trio.current_time() - now

    assert trio.run(main, clock=BootClock()) >= 0.01
