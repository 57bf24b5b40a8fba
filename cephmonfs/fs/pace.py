"""How fast one user's requests are answered, so that the others do not notice him.

The kernel hands out requests in their order, so whoever sends three thousand at once is three thousand ahead of the
next `df`.  Each answer brings the next request of the same caller, so answering more slowly keeps that queue short.

Rule: `_BURST` requests of a user are answered in each `_ROUND_S`; the others of that user wait for the next round, one
after the other.  Only requests about files and names count; a statfs never waits here.
Example: 10 in 2 ms are 5000 a second, more than one `find` or `tar` asks for.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from cephmonfs.fs.slots import WaitSlots

_BURST: Final = 10
_ROUND_S: Final = 0.002


class Pace:
    """Counts the requests of each user in the present round."""

    def __init__(self, slots: WaitSlots) -> None:
        self._slots = slots
        self._round_ends = 0.0
        self._answered: dict[int, int] = {}
        self._waiting: dict[int, deque[trio.lowlevel.Task]] = {}
        self._nursery: trio.Nursery | None = None

    async def turn(self, uid: int) -> None:
        """Return when this user may have another answer; at once as long as nobody can notice."""
        now = trio.current_time()
        if now >= self._round_ends:
            self._round_ends = now + _ROUND_S
            self._answered.clear()
        answered = self._answered.get(uid, 0)
        if answered < _BURST and uid not in self._waiting:
            self._answered[uid] = answered + 1
            return
        with self._slots.take() as may_wait:
            if may_wait and self._nursery is not None:
                await self._wait(uid)

    async def _wait(self, uid: int) -> None:
        task = trio.lowlevel.current_task()
        if not self._waiting:
            self._nursery.start_soon(self._rounds)  # type: ignore[union-attr]
        self._waiting.setdefault(uid, deque()).append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting[uid].remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _rounds(self) -> None:
        """Answer those who wait, as long as there are any."""
        while self._waiting:
            await trio.sleep_until(self._round_ends)
            self._round_ends = trio.current_time() + _ROUND_S
            self._answered.clear()
            for uid, tasks in tuple(self._waiting.items()):
                count = min(_BURST, len(tasks))
                self._answered[uid] = count
                for _ in range(count):
                    trio.lowlevel.reschedule(tasks.popleft())
                if not tasks:
                    del self._waiting[uid]

    async def run(self) -> None:
        """Hold the rounds, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for tasks in self._waiting.values():
                for task in tasks:
                    trio.lowlevel.reschedule(task)
            self._waiting = {}
