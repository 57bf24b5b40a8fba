"""The clock of the daemon: it goes on while the machine is suspended.

trio's own stands still then, and so would the age of the last answer, which has to be told as it is.  A timer that was
running across a suspend ends late by at most what was left of it, or as soon as anything else happens.
"""

from __future__ import annotations

import time

import trio


class BootClock(trio.abc.Clock):
    """CLOCK_BOOTTIME."""

    def start_clock(self) -> None:
        """Do nothing: it always runs."""

    def current_time(self) -> float:
        """Return seconds since the machine started, those of suspends among them."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long to sleep."""
        return deadline - self.current_time()
