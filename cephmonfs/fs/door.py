"""How pyfuse3's workers take turns at /dev/fuse: many requests in one pass of trio's loop, not half of one.

Left to itself, each worker waits for its turn by a trio.Lock and then for the descriptor, so that a request costs two
passes of the loop and an epoll_ctl, even when a hundred of them are there already.  Here a worker whose turn it is
looks whether there is a request before it waits for one; and as long as that is so it calls others, a few at a time,
for everything else in the loop has its turn between them.

Who has answered a request and comes for the next one does not wait for its turn at all, if there is one already and the
loop's turn goes on (turn.py): callers who are answered together ask again together.  And if it took the last request as
well, in this same turn, it even awaits the next, for then one caller is alone.

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

_IN_ONE_PASS: Final = 8  # workers called between two looks at other things; about half a millisecond of work
_IN_ONE_TURN: Final = 32  # of those who come back, so many look for a request before the others have their turn


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
        self._turn_number = 0  # to which the next two belong
        self._looks = 0
        self._taken_by: trio.lowlevel.Task | None = None
        self._alone = False  # who comes in took the last request, too
        self._came = False  # who comes in has seen a request
        self._fd = -1
        self._poll = select.poll()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def __aenter__(self) -> None:
        if self._comes_at_once():
            return
        if not self._idle and not self._waits and not self._called:
            self._called = 1
            try:
                await trio.lowlevel.checkpoint()  # a lone worker that never waits would stop everything else
            finally:
                self._called -= 1
            return
        if not self._waits and not self._called:
            self._call(1)
        await self._park()

    def _comes_at_once(self) -> bool:
        self._look_at_turn()
        goes_on = self._fd >= 0 and self._turn.goes_on()
        self._alone = goes_on and self._taken_by is trio.lowlevel.current_task()
        if goes_on and not self._alone and self._looks < _IN_ONE_TURN:
            self._looks += 1
            self._came = bool(self._poll.poll(0))
        return self._alone or self._came

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._look_at_turn()
        self._taken_by = trio.lowlevel.current_task()
        count, self._to_call = self._to_call, 1
        self._call(count)

    def _look_at_turn(self) -> None:
        if self._turn_number != self._turn.number:
            self._turn_number = self._turn.number
            self._looks = 0
            self._taken_by = None

    async def wait_readable(self, fd: int) -> None:
        """Return once there is a request to take."""
        if self._fd < 0:
            self._open(fd)
        alone, self._alone = self._alone, False
        came, self._came = self._came, False
        if came:
            self._to_call = 0  # whoever waited or was called does so still
            return
        came = alone and self._turn.wait(fd) is True
        waited = False
        while not came and not self._poll.poll(0):
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

    def _open(self, fd: int) -> None:
        self._fd = fd
        self._poll.register(fd, select.POLLIN)
        self._turn.watch(fd)

    def close(self) -> None:
        """Nobody comes any more."""
        if self._fd >= 0:
            self._turn.forget(self._fd)
            self._fd = -1

    def notify_closing(self, fd: int) -> None:
        """End the waiting."""
        self._closing = True
        trio.lowlevel.notify_closing(fd)

    def _call(self, count: int) -> None:
        if self._idle and count:
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
