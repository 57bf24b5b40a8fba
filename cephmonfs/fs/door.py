"""How pyfuse3's workers take turns at /dev/fuse: many requests in one pass of trio's loop, not half of one.

Left to itself, each worker waits for its turn by a trio.Lock and then for the descriptor, so that a request costs two
passes of the loop and an epoll_ctl, even when a hundred of them are there already.  Here a worker whose turn it is
looks whether there is a request before it waits for one; and as long as that is so it calls others, a few at a time,
for everything else in the loop has its turn between them.  A worker that has its request answered without waiting, as
long as its turn goes on (turn.py), takes and even awaits the next one at once.

pyfuse3 takes the loop it runs on from its variable `trio`, which `pyfuse3.asyncio` sets too.  A later pyfuse3 that does
without it works as it does by itself.
"""

from __future__ import annotations

import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyfuse3
import trio

from cephmonfs.turn import Turn, turn_of_loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_IN_ONE_PASS: Final = 8  # requests taken between two looks at other things; about half a millisecond of work


class Door:
    """What pyfuse3 uses as its lock, and as `trio.lowlevel`.

    While anybody idles, one worker waits for the descriptor or some have been called to look at it.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._idle = trio.lowlevel.ParkingLot()
        self._called = 0  # of the idle ones, these run in the next pass
        self._waits = False  # a worker waits for the descriptor
        self._to_call = 1  # when the worker whose turn it is leaves
        self._closing = False
        self._taken: tuple[int, trio.lowlevel.Task] | None = None  # in which turn the last request was, and by whom
        self._at_once = False  # it was answered in the same turn: the next may come in it, too
        self._polls: dict[int, select.poll] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def __aenter__(self) -> None:
        turn = self._turn
        self._at_once = self._taken == (turn.number, trio.lowlevel.current_task()) and turn.goes_on()
        if self._at_once:
            return
        if not self._idle and not self._waits:
            await trio.lowlevel.checkpoint()  # a lone worker that never waits would stop everything else
            return
        if not self._waits and not self._called:
            self._call(1)
        await self._park()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._taken = self._turn.number, trio.lowlevel.current_task()
        count, self._to_call = self._to_call, 1
        self._call(count)

    async def wait_readable(self, fd: int) -> None:
        """Return once there is a request to take."""
        waited = False
        came = self._at_once and self._turn.wait(fd)
        while not came and not self._is_readable(fd):
            if self._closing:
                raise trio.ClosedResourceError
            waited = not self._waits
            if self._waits:
                await self._park()
                continue
            self._waits = True
            try:
                await trio.lowlevel.wait_readable(fd)
            finally:
                self._waits = False
        # a request that was there already is seldom alone
        self._to_call = 1 if waited else min(2, _IN_ONE_PASS - self._called)

    def close(self) -> None:
        """Nobody comes any more."""
        for fd in self._polls:
            self._turn.forget(fd)
        self._polls.clear()

    def notify_closing(self, fd: int) -> None:
        """End the waiting."""
        self._closing = True
        trio.lowlevel.notify_closing(fd)

    def _is_readable(self, fd: int) -> bool:
        poll = self._polls.get(fd)
        if poll is None:
            poll = self._polls[fd] = select.poll()
            poll.register(fd, select.POLLIN)
            self._turn.watch(fd)
        return bool(poll.poll(0))

    def _call(self, count: int) -> None:
        if self._idle:
            self._called += len(self._idle.unpark(count=count))

    async def _park(self) -> None:
        await self._idle.park()
        self._called -= 1


class _Loop:
    """trio, but for what goes through the door."""

    def __init__(self, door: Door) -> None:
        self.lowlevel = door
        self.Lock = lambda: door

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


@contextmanager
def one_door() -> Iterator[None]:
    """Inside this block pyfuse3.main takes requests through a door of its own."""
    names = vars(pyfuse3)
    before = names.get("trio")
    turn = turn_of_loop()
    door = Door(turn)
    names["trio"] = _Loop(door)
    try:
        with turn.kept():
            yield
    finally:
        names["trio"] = before
        door.close()
