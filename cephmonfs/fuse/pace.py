"""Fairness between users: a bounded number of one user's threads are answered at a time.

The kernel hands out requests in their order, so three thousand threads that open files are three thousand ahead of the
next `df`.  Each answer brings the next request of the same thread, so answering few of them keeps that queue short.

Rule: in each `_ROUND_S`, at most `_CALLERS` threads of a user are answered; the others wait for the next round, in
order of arrival.  A single thread never waits.  Only requests about files and names count; a statfs never waits here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from cephmonfs.fuse.slots import WaitSlots

_CALLERS: Final = 10
_ROUND_S: Final = 0.002


class Pace:
    """Counts the callers of each user in the present round."""

    def __init__(self, slots: WaitSlots) -> None:
        self._slots = slots
        self._round_ends = 0.0
        self._answered: dict[int, set[int]] = {}  # by user, the threads of this round
        self._waiting: dict[int, deque[trio.lowlevel.Task]] = {}
        self._nursery: trio.Nursery | None = None

    async def admit(self, uid: int, thread: int) -> None:
        """Return when this thread may be answered; at once if the user has few threads."""
        now = trio.current_time()
        if now >= self._round_ends:
            self._round_ends = now + _ROUND_S
            self._answered.clear()
        answered = self._answered.setdefault(uid, set())
        if not thread:  # a caller outside of our pid namespace: each of its requests may be of another thread
            thread = -1 - len(answered)
        if thread in answered:
            return
        if len(answered) < _CALLERS and uid not in self._waiting:
            answered.add(thread)
            return
        with self._slots.take() as may_wait:
            if may_wait and self._nursery is not None:
                await self._wait(uid)
                self._answered.setdefault(uid, set()).add(thread)

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
        """Admit waiting threads, round by round, until none waits."""
        while self._waiting:
            await trio.sleep_until(self._round_ends)
            self._round_ends = trio.current_time() + _ROUND_S
            self._answered.clear()
            for uid, tasks in tuple(self._waiting.items()):
                for _ in range(min(_CALLERS, len(tasks))):
                    trio.lowlevel.reschedule(tasks.popleft())
                if not tasks:
                    del self._waiting[uid]

    async def run(self) -> None:
        """Run the rounds, until cancelled."""
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
