"""The turn of whoever runs in trio's loop: how long it may go on, and wait, before the loop goes round.

A round of the loop costs as much as a quarter of an answer to df.  When one caller asks and nobody else wants
anything, all there is to do is to wait: for the monitor's answer, then for the next request.  Then the one task that
has its turn waits itself, by poll(2), for a millisecond at a time and four at most.  What else the loop has to do, a
timer or a thread's result, comes so much later; any other descriptor that matters here ends the waiting at once.

To sleep and be woken costs an answer to df another quarter of its time.  So the first quarter of a millisecond of a
wait, of a task's in its turn or of the whole loop's, is spent awake if the last one was as short: for a monitor nearby,
and for callers who ask again and again.  Whoever else wants the processor has it (sched_yield(2)); with one processor
there is nothing but sleep.

One object for each loop, shared by those who wait in it (fs/door.py, runtime/client.py) and know nothing of each other.
"""

from __future__ import annotations

import math
import os
import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TURN_S: Final = 0.002
_POLL_MS: Final = 1  # poll(2) knows nothing shorter
_AWAKE_S: Final = 0.000_25
_LOOP: Final = -1  # in the place of a descriptor: whatever trio waits for


class Turn(trio.abc.Instrument):
    """`is_kept` while a mount is served in this loop: without one nobody waits in turns, and none are counted."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.is_kept = False
        self.number = 0  # of this turn
        self._clock = clock
        self._poll = select.poll()
        self._ends = 0.0
        self._loop_waits_since = math.inf
        self._may_stay_awake = len(os.sched_getaffinity(0)) > 1
        self._soon: set[int] = set()  # descriptors the last wait for which was not worth a sleep

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Turns are counted in this block."""
        trio.lowlevel.add_instrument(self)
        self.is_kept = True
        try:
            yield
        finally:
            self.is_kept = False
            trio.lowlevel.remove_instrument(self)

    def watch(self, fd: int) -> None:
        """This descriptor ends any waiting; until `forget`, which comes before it is closed."""
        self._poll.register(fd, select.POLLIN)

    def forget(self, fd: int) -> None:
        """The descriptor matters no more."""
        self._poll.unregister(fd)
        self._soon.discard(fd)

    def before_io_wait(self, timeout: float) -> None:
        """The loop has nothing to do so long, in seconds, but to wait."""
        self._loop_waits_since = math.inf
        if timeout > 0:
            self._loop_waits_since = self._clock()
            self._stay_awake(_LOOP, min(timeout, _AWAKE_S))

    def after_io_wait(self, timeout: float) -> None:
        """The loop has gone round."""
        if self._loop_waits_since < math.inf:
            self._waited(_LOOP, self._loop_waits_since)
        self.number += 1
        self._ends = self._clock() + _TURN_S

    def end(self) -> None:
        """Somebody else has something to do."""
        self._ends = 0.0

    def goes_on(self) -> bool:
        """Whether the task that has the turn may do one thing more without a round of the loop."""
        return self._clock() < self._ends

    def wait(self, fd: int) -> bool | None:
        """Wait for this descriptor, a millisecond; False if another one was first, None if nothing came."""
        began = self._clock()
        came: bool | None = None
        for ready, _ in self._stay_awake(fd, _AWAKE_S) or self._poll.poll(_POLL_MS):
            if ready == fd:
                came = True
                break
            came = False
        if came is not False:
            self._waited(fd, began)
        return came

    def _stay_awake(self, what: int, at_most_s: float) -> list[tuple[int, int]]:
        """Return which descriptors are ready; at once and none if this wait is worth a sleep, or when it gets so."""
        found: list[tuple[int, int]] = []
        if what in self._soon:
            until = self._clock() + at_most_s
            while not (found := self._poll.poll(0)) and self._clock() < until:
                os.sched_yield()
        return found

    def _waited(self, what: int, since: float) -> None:
        if self._clock() - since > _AWAKE_S:
            self._soon.discard(what)
        elif self._may_stay_awake:
            self._soon.add(what)


_TURN: Final[trio.lowlevel.RunVar[Turn]] = trio.lowlevel.RunVar("turn")


def turn_of_loop() -> Turn:
    """Return the one of this run of trio."""
    try:
        return _TURN.get()
    except LookupError:
        turn = Turn()
        _TURN.set(turn)
        return turn
