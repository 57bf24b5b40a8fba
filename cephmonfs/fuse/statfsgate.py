"""How long a statfs call waits, and what it gets then: a fresh answer, the last one, or RequestTimeout.

The session shares questions among callers, so that no answer is older than its question.

Rule: a call waits until `statfs_timeout` has passed since the oldest question that is still open, and at least for a
grace period of _GRACE_S.  For _DOUBT_S after a timeout, it waits at most twice the usual latency, if the last answer
may stand in.  The question stays open: its answer shows that the monitors answer again.

Example, `statfs_timeout=1`, the monitor stops: the first calls wait 1 s; later ones 0.04 s, until an answer comes.

When many calls wait, their waits end _APART_S apart and not all at once.  The grace period grows with the number of
callers, or a thousand of them that come back every 40 ms would leave no time for other requests.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.errors import CephMonFSError, RequestTimeout, SessionLost
from cephmonfs.files.tally import BUCKETS_S, StatfsTally

if TYPE_CHECKING:
    from cephmonfs.files.settings import FsSettings
    from cephmonfs.files.source import Source
    from cephmonfs.fuse.slots import WaitSlots
    from cephmonfs.mon.snapshot import StatfsRecord

_GRACE_S: Final = 0.04
_APART_S: Final = 0.0003  # about the cost of ending one wait; the waits of many callers end this far apart
_DOUBT_S: Final = 10.0  # after a timeout, the wait is short for this time
_USUAL_MIN_S: Final = 0.02
_USUAL_WEIGHT: Final = 0.1
_GRACE_PER_CALLER_S: Final = 0.0005  # keeps 1000 callers of a silent cluster under 2000 calls a second


class StatfsGate:
    """Answers `get()`."""

    def __init__(self, source: Source, settings: FsSettings, slots: WaitSlots) -> None:
        self._source = source
        self._settings = settings
        self._slots = slots
        self._doubt_until = 0.0
        self._usual_s = 0.0  # how long a fresh answer takes, over the last few
        self._durations = [0] * (len(BUCKETS_S) + 1)
        self._duration_sum_s = 0.0
        self.results = {"fresh": 0, "held": 0, "error": 0}

    def tally(self) -> StatfsTally:
        """Return the counts of this moment."""
        return StatfsTally(tuple(self._durations), self._duration_sum_s, dict(self.results))

    async def get(self) -> StatfsRecord:
        """Return a fresh answer, or the last one if it is young enough, else raise RequestTimeout."""
        begin = trio.current_time()
        try:
            record = await self._fresh(begin)
            if record is not None:
                took_s = record.at.mono - begin
                if took_s < 0.0:  # the monitor lags behind, and this one is from before
                    took_s = trio.current_time() - begin
                self._usual_s += (took_s - self._usual_s) * _USUAL_WEIGHT
                self._count("fresh", took_s)
                return record
            record = self._held()
        except CephMonFSError:
            self._count("error", trio.current_time() - begin)
            raise
        self._count("held", trio.current_time() - begin)
        return record

    async def _fresh(self, now: float) -> StatfsRecord | None:
        """Ask and wait; without a slot do neither."""
        with self._slots.take() as may_wait:
            if may_wait:
                try:
                    return await self._source.statfs(now + self._wait_s(now))
                except RequestTimeout:
                    self._doubt_until = trio.current_time() + _DOUBT_S
                except SessionLost:
                    pass
        return None

    def _wait_s(self, now: float) -> float:
        timeout = limit = self._settings.statfs_timeout
        if now < self._doubt_until and self._has_held():
            limit = 2 * max(self._usual_s, _USUAL_MIN_S)
        others = self._slots.waiting - 1
        if others:
            limit -= min(limit / 2, others * _APART_S)
        since = self._source.statfs_open_since()
        if since is not None:
            limit -= now - since
        return min(timeout, max(limit, _GRACE_S, (others + 1) * _GRACE_PER_CALLER_S))

    def _has_held(self) -> bool:
        snapshot = self._source.snapshot()
        record = snapshot.statfs
        return record is not None and self._settings.stands_in(snapshot.now.mono - record.asked.mono)

    def _held(self) -> StatfsRecord:
        snapshot = self._source.snapshot()
        record = snapshot.statfs
        if record is None:
            raise RequestTimeout("no monitor has answered a statfs yet")
        age_s = snapshot.now.mono - record.asked.mono
        if not self._settings.stands_in(age_s):
            raise RequestTimeout(f"the last statfs answer is {age_s:.1f} s old")
        return record

    def _count(self, result: str, took_s: float) -> None:
        """Count how a call ended."""
        self.results[result] += 1
        self._duration_sum_s += took_s
        self._durations[bisect_left(BUCKETS_S, took_s)] += 1
