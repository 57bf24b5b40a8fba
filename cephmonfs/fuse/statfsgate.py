"""Every statfs call goes through this gate: fresh if possible, in bounded time always.

The session shares questions among callers, so that no answer is older than its question; here is decided how long a
call waits, and what it gets then.

A call waits until `statfs_timeout` has passed since the oldest question that is still open, but at least for a grace
period.  So the first calls of a fault wait a second; later ones know already that the answer is late, and wait only as
long as a fresh answer is plausible.  The open question stays open: its answer is the sign that things are well again.
They may be well for a moment only, as when one election follows the other: for a while after a wait in vain, a new
question is given no more time than answers usually take, twice, as long as there is an answer that can stand in.
When many wait, their waits end one after the other, not all at once.
The grace grows with the number of callers, for otherwise a thousand of them coming back every 50 ms would leave no
time for anything else.
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
_APART_S: Final = 0.0003  # about what ending one wait costs: so far apart do the waits of many callers end
_DOUBT_S: Final = 10.0  # after a wait in vain
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
        """Ask, and wait as long as it makes sense.  Without a slot nobody waits, and nothing is asked."""
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
        """Note how a call ended."""
        self.results[result] += 1
        self._duration_sum_s += took_s
        self._durations[bisect_left(BUCKETS_S, took_s)] += 1
