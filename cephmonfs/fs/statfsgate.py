"""Every statfs call is answered through this gate: shared, fresh, and in bounded time.

At most one request is under way.  A call never joins it, because it may have left before the call came; it joins the
next one, together with everybody else who waits by then.  So no answer is older than its question, and a thousand
callers cost the monitor two requests, not a thousand.

A call waits until `statfs_timeout` has passed since the oldest question that is still open, but at least for a grace
period.  So the first calls of a fault wait a second; later ones know already that the answer is late, and wait only as
long as a fresh answer is plausible.  The open question stays open: its answer is the sign that things are well again.
The grace grows with the number of callers, for otherwise a thousand of them coming back every 50 ms would leave no
time for anything else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.errors import CephMonFSError, RequestTimeout, SessionLost
from cephmonfs.fs.slots import wake_gently

if TYPE_CHECKING:
    from cephmonfs.fs.settings import FsSettings
    from cephmonfs.fs.slots import WaitSlots
    from cephmonfs.fs.source import Source
    from cephmonfs.mon.snapshot import StatfsRecord

log = logging.getLogger(__name__)

_GRACE_S: Final = 0.05
_GRACE_PER_CALLER_S: Final = 0.0005  # keeps 1000 callers of a silent cluster under 2000 calls a second
_ASK_AGAIN_S: Final = 0.1  # after the session said that it cannot ask
_ASK_LIMIT_S: Final = 30.0  # no question stays open for longer without being asked anew

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class _Batch:
    """Those who wait for one and the same answer."""

    __slots__ = ("lot", "result")

    def __init__(self) -> None:
        self.lot = trio.lowlevel.ParkingLot()
        self.result: StatfsRecord | CephMonFSError | None = None


class StatfsGate:
    """Answers `get()`; `run()` has to be running."""

    def __init__(self, source: Source, settings: FsSettings, slots: WaitSlots) -> None:
        self._source = source
        self._settings = settings
        self._slots = slots
        self._next = _Batch()
        self._wanted = trio.Event()
        self._open_since: float | None = None  # when the oldest unanswered question was asked
        # For `metrics`: calls by duration (the last bucket is "longer"), their total time, and what came out.
        self.durations = [0] * (len(BUCKETS_S) + 1)
        self.duration_sum_s = 0.0
        self.results = {"fresh": 0, "held": 0, "error": 0}

    async def get(self) -> StatfsRecord:
        """Return a fresh answer, or the last one if it is young enough, else raise RequestTimeout."""
        begin = trio.current_time()
        try:
            record, kind = await self._get(begin)
        except CephMonFSError:
            self._count("error", begin)
            raise
        self._count(kind, begin)
        return record

    async def _get(self, begin: float) -> tuple[StatfsRecord, str]:
        batch = self._next
        with self._slots.take() as may_wait:
            if may_wait:
                self._wanted.set()
                with trio.move_on_after(self._wait_s(begin)):
                    await batch.lot.park()
        match batch.result:
            case None:
                return self._held(), "held"
            case CephMonFSError() as refusal:
                raise refusal
            case record:
                return record, "fresh"

    def _wait_s(self, now: float) -> float:
        timeout = self._settings.statfs_timeout
        grace = max(_GRACE_S, self._slots.waiting * _GRACE_PER_CALLER_S)
        if self._open_since is None:
            return timeout
        return min(timeout, max(grace, self._open_since + timeout - now))

    def _held(self) -> StatfsRecord:
        snapshot = self._source.snapshot()
        record = snapshot.statfs
        if record is None:
            raise RequestTimeout("no monitor has answered a statfs yet")
        age_s = snapshot.now.mono - record.asked.mono
        if not self._settings.stands_in(age_s):
            raise RequestTimeout(f"the last statfs answer is {age_s:.1f} s old")
        return record

    def _count(self, result: str, begin: float) -> None:
        took_s = trio.current_time() - begin
        self.results[result] += 1
        self.duration_sum_s += took_s
        for i, bound in enumerate(BUCKETS_S):
            if took_s <= bound:
                self.durations[i] += 1
                return
        self.durations[-1] += 1

    async def run(self) -> None:
        """Ask whenever somebody waits."""
        self._open_since = None
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if not self._next.lot:
                continue  # they were gone before we came to ask
            self._open_since = trio.current_time()
            batches, result = await self._ask()
            self._open_since = None
            for batch in batches:
                batch.result = result
                await wake_gently(batch.lot)

    async def _ask(self) -> tuple[list[_Batch], StatfsRecord | CephMonFSError]:
        """Ask until there is an answer; whoever has come before the last attempt gets it."""
        batches: list[_Batch] = []
        while True:
            batches = [*(batch for batch in batches if batch.lot), self._next]
            self._next = _Batch()
            try:
                with trio.fail_after(_ASK_LIMIT_S):
                    return batches, await self._source.statfs()
            except (SessionLost, RequestTimeout, trio.TooSlowError) as exc:
                log.debug("statfs: asking again: %s", exc)
                await trio.sleep(_ASK_AGAIN_S)
            except CephMonFSError as exc:
                return batches, exc
