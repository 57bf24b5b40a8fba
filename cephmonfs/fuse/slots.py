"""How many requests may wait at one time.

pyfuse3 keeps one worker task busy for as long as a handler runs, and starts no more than `max_tasks`.  If all of them
waited for a monitor, none would be left to open a file or to notice `umount`.  So a handler that is about to wait
takes one of these slots, of which there are fewer than workers; without a slot it answers at once with what it has.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from types import TracebackType

MAX_TASKS: Final = 2048  # workers of pyfuse3.main; one exists only while its request does, about 15 KB each
MIN_TASKS: Final = 64  # idle workers that stay: starting one for each request costs a third of a statfs
RESERVED: Final = 64  # workers that never wait for a monitor
_WAKE_AT_ONCE: Final = 32  # waiters answered between two looks at other requests; about 3 ms of work


async def wake_gently(lot: trio.lowlevel.ParkingLot) -> None:
    """Wake all waiting tasks, a few at a time, so that a thousand of them do not delay other requests."""
    while lot:
        lot.unpark(count=_WAKE_AT_ONCE)
        await trio.lowlevel.checkpoint()


_NO_SLOT: Final = nullcontext(False)


class WaitSlots:
    """Counts the handlers that wait."""

    def __init__(self, limit: int = MAX_TASKS - RESERVED) -> None:
        self._limit = limit
        self._slot = _Slot(self)
        self.waiting = 0

    def take(self) -> AbstractContextManager[bool]:
        """Hold one slot for the length of a wait; the value says whether there was one."""
        return self._slot if self.waiting < self._limit else _NO_SLOT


class _Slot:
    """One slot like the other: all of them share this object."""

    __slots__ = ("_slots",)

    def __init__(self, slots: WaitSlots) -> None:
        self._slots = slots

    def __enter__(self) -> bool:
        self._slots.waiting += 1
        return True

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._slots.waiting -= 1
