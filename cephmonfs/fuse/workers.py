"""How pyfuse3's workers get requests: several in one pass of trio's loop, and never asleep in read(2).

pyfuse3.main runs worker tasks.  Each takes pyfuse3's lock, awaits `wait_readable` of /dev/fuse, reads one request and
awaits its handler.  pyfuse3 takes the event loop from its variable `trio`, which `pyfuse3.asyncio.enable` sets as well.
`enabled()` sets it to a `Loop`, which is trio but for three names:

- `Lock`: nothing is locked.
- `wait_readable`: looks whether there is a request before it waits for one.  One idle worker waits for /dev/fuse, the
  others are parked.  With trio's own lock and wait each request costs two passes of the loop and an epoll_ctl(2), even
  when a hundred requests are there already.
- `notify_closing`: wakes the parked workers as well.

The read may block even after poll(2) has reported a request: the kernel withdraws the request of a caller that is
killed before we have read it.  The thread then sleeps in read(2), with trio's loop and Python's global lock, until the
next request.  So an interval timer runs from the moment a worker is told to read until a worker waits by epoll again.
It fires only if the loop does not come round; its signal interrupts the read, and pyfuse3 goes on at EINTR.  (pyfuse3
ends the mount at EAGAIN, so /dev/fuse cannot be made nonblocking; docs/upstream/ says what pyfuse3 should do.)

Tried with pyfuse3 3.2.1, 3.4.0 and 3.5.0; tests/fuse/test_killed.py fails when one of them uses more of trio than is
named here.
"""

from __future__ import annotations

import select
import signal
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import pyfuse3
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

_CALLED_AT_MOST: Final = 8  # parked workers that run in one pass; about half a millisecond of work
_PASS_S: Final = 0.002  # how long workers take one request after the other before they yield to the rest of the loop
_INTERRUPT_AFTER_S: Final = 0.01  # and again and again: the first signal may come just before the read


class ReadTimer:
    """Interrupts a read(2) that blocks trio's thread, the main thread."""

    def __init__(self) -> None:
        self._due = 0.0  # when it goes off next, 0 while it does not run
        self._loop = trio.lowlevel.current_trio_token()

    def start(self, now: float) -> None:
        """Start before a read.  A running timer is put off, but not at each read, to save the system call."""
        if self._due < now + _INTERRUPT_AFTER_S / 2:
            self._due = now + _INTERRUPT_AFTER_S
            signal.setitimer(signal.ITIMER_REAL, _INTERRUPT_AFTER_S, _INTERRUPT_AFTER_S)

    def stop(self) -> None:
        """Stop: no worker reads."""
        if self._due:
            self._due = 0.0
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    @contextmanager
    def handled(self) -> Iterator[ReadTimer]:
        """Handle SIGALRM inside this block, even if our parent ignored or blocked it."""
        handler = signal.signal(signal.SIGALRM, self._went_off)
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        try:
            yield self
        finally:
            self.stop()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            signal.signal(signal.SIGALRM, handler)

    def _went_off(self, number: int, frame: FrameType | None) -> None:
        """Stop in the loop's next pass, when no worker reads; at this moment one may be about to."""
        self._loop.run_sync_soon(self.stop, idempotent=True)


class NoLock:
    """The lock that pyfuse3 takes around `wait_readable`."""

    async def __aenter__(self) -> None:
        """Return at once."""

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Nothing is held."""


class LowLevel:
    """The names of trio.lowlevel that pyfuse3 uses."""

    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)

    def __init__(self, timer: ReadTimer | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._clock = clock
        self._device = select.poll()
        self._registered = False
        self._parked = trio.lowlevel.ParkingLot()
        self._called = 0  # of the parked workers, these run in the next pass
        self._watched = False  # a worker waits for /dev/fuse
        self._closing = False
        self._pass_ends = 0.0

    async def wait_readable(self, fd: int) -> None:
        """Return when there is a request; the caller reads it at once."""
        if not self._registered:
            self._registered = True
            self._device.register(fd, select.POLLIN)
        now = self._clock()
        if now >= self._pass_ends:
            await trio.lowlevel.checkpoint()
            now = self._clock()
            self._pass_ends = now + _PASS_S
        to_call = 2  # a request that is there already is seldom alone
        while not self._device.poll(0):
            if self._closing:
                raise trio.ClosedResourceError
            if self._timer is not None:
                self._timer.stop()
            to_call = await (self._park() if self._watched else self._watch(fd))
            now = self._clock()
            self._pass_ends = now + _PASS_S
        if not self._watched:
            self._call(min(to_call, _CALLED_AT_MOST - self._called))
        if self._timer is not None:
            self._timer.start(now)

    async def _park(self) -> int:
        await self._parked.park()
        self._called -= 1
        return 2

    async def _watch(self, fd: int) -> int:
        self._watched = True
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            self._watched = False
        return 1

    def _call(self, count: int) -> None:
        self._called += len(self._parked.unpark(count=count))

    def notify_closing(self, fd: int) -> None:
        """End every wait."""
        self._closing = True
        trio.lowlevel.notify_closing(fd)
        self._call(len(self._parked))


class Loop:
    """The names of trio that pyfuse3 uses."""

    Lock = NoLock
    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(trio.open_nursery)

    def __init__(self, lowlevel: LowLevel) -> None:
        self.lowlevel = lowlevel


@contextmanager
def enabled(*, guarded: bool = True) -> Iterator[None]:
    """Serve one mount: pyfuse3.init, main and close come inside this block.

    `guarded`: a read that lasts is interrupted.  That is a matter of signals, so only for the main thread.
    """
    with ReadTimer().handled() if guarded else nullcontext() as timer:
        pyfuse3.trio = Loop(LowLevel(timer))  # type: ignore[attr-defined]
        try:
            yield
        finally:
            pyfuse3.trio = trio  # type: ignore[attr-defined]
