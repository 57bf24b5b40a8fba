"""The clock of the daemon: it goes on while the machine is suspended.

trio's own clock stops in a suspend, so the age of the last answer would be too small.  A timer that runs during a
suspend fires late, by at most the time that was left, or as soon as another event wakes the loop.
"""

from __future__ import annotations

import time

import trio


class BootClock(trio.abc.Clock):
    """CLOCK_BOOTTIME."""

    def start_clock(self) -> None:
        """Do nothing: it always runs."""

    def current_time(self) -> float:
        """Return seconds since the machine started, including suspends."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long to sleep."""
        return deadline - self.current_time()
