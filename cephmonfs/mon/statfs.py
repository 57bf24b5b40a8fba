"""How long a statfs call waits, and what it gets then: a fresh answer, the last one, or RequestTimeout.

Calls share questions, so that no answer is older than its question.

Rule: a call waits until `statfs_timeout` has passed since the oldest question that is still open, and at least for a
grace period of _GRACE_S.  For _DOUBT_S after a timeout, it waits at most twice the usual latency, if the last answer
may stand in.  The question stays open: its answer shows that the monitors answer again.

Example, `statfs_timeout=1`, the monitor stops: the first calls wait 1 s; later ones 0.04 s, until an answer comes.

When many calls wait, their waits end _APART_S apart and not all at once.  The grace period grows with the number of
callers, or a thousand of them that come back every 40 ms would leave no time for other requests.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import RequestTimeout
from cephmonfs.messages.mon import MStatfs
from cephmonfs.mon.events import Answered, Failed, SessionEvent
from cephmonfs.mon.requests import Kind
from cephmonfs.mon.snapshot import Stamp, StatfsRecord
from cephmonfs.mon.tally import BUCKETS_S, StatfsTally

if TYPE_CHECKING:
    from collections import deque

    from cephmonfs.errors import CephMonFSError
    from cephmonfs.messages.mon import MStatfsReply
    from cephmonfs.messages.registry import ToMonitor
    from cephmonfs.model.entity import EntityName
    from cephmonfs.mon.caps import Caps
    from cephmonfs.mon.connection import MonConnection
    from cephmonfs.mon.maps import Maps
    from cephmonfs.mon.report import Report
    from cephmonfs.mon.requests import Request, Requests, WaiterId
    from cephmonfs.mon.sending import Sender
    from cephmonfs.mon.target import Target
    from cephmonfs.mon.versions import Versions

_GATHER_S: Final = 0.005  # longest that a shared statfs waits for more callers
_GRACE_S: Final = 0.04
_GRACE_PER_CALLER_S: Final = 0.0005  # keeps 1000 callers of a silent cluster under 2000 calls a second
_APART_S: Final = 0.0003  # about the cost of ending one wait; the waits of many callers end this far apart
_DOUBT_S: Final = 10.0  # after a timeout, the wait is short for this time
_USUAL_MIN_S: Final = 0.02
_USUAL_WEIGHT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller waits, and how old an answer it takes instead of a fresh one (0: none, inf: any)."""

    timeout_s: float
    stale_after_s: float

    def takes(self, age_s: float) -> bool:
        """Tell whether an answer of this age may stand in for a fresh one."""
        return self.stale_after_s > 0 and (math.isinf(self.stale_after_s) or age_s < self.stale_after_s)


class StatfsWaits:
    """Decides how long calls wait and what they get then, and counts how they end."""

    def __init__(self) -> None:
        self._doubt_until = 0.0
        self._usual_s = 0.0  # how long a fresh answer takes, over the last few
        self._durations = [0] * (len(BUCKETS_S) + 1)
        self._duration_sum_s = 0.0
        self._results = {"fresh": 0, "held": 0, "error": 0}

    def wait_s(
        self, patience: Patience, now: float, *, others: int, open_since: float | None, last: StatfsRecord | None
    ) -> float:
        """Return how long a call waits; `others` wait too, and the oldest open question was asked at `open_since`.

        `last` is the last answer; it matters in doubt only.
        """
        timeout = limit = patience.timeout_s
        if self.in_doubt(now) and last is not None and patience.takes(now - last.asked.mono):
            limit = 2 * max(self._usual_s, _USUAL_MIN_S)
        if others:
            limit -= min(limit / 2, others * _APART_S)
        if open_since is not None:
            limit -= now - open_since
        return min(timeout, max(limit, _GRACE_S, (others + 1) * _GRACE_PER_CALLER_S))

    def in_doubt(self, now: float) -> bool:
        """Whether a call waited in vain a short while ago."""
        return now < self._doubt_until

    def fresh(self, took_s: float) -> None:
        """A call got a fresh answer."""
        self._usual_s += (took_s - self._usual_s) * _USUAL_WEIGHT
        self._count("fresh", took_s)

    def in_vain(self, now: float) -> None:
        """A call has waited in vain."""
        self._doubt_until = now + _DOUBT_S

    def held(self, patience: Patience, last: StatfsRecord | None, began: float, now: float) -> StatfsRecord:
        """Return the last answer for a call that waits no longer.  Raises RequestTimeout if it may not stand in."""
        age_s = now - last.asked.mono if last is not None else math.inf
        if last is not None and patience.takes(age_s):
            self._count("held", now - began)
            return last
        self._count("error", now - began)
        if last is None:
            raise RequestTimeout("no monitor has answered a statfs yet")
        raise RequestTimeout(f"the last statfs answer is {age_s:.1f} s old")

    def failed(self, took_s: float) -> None:
        """A call got an error."""
        self._count("error", took_s)

    def tally(self) -> StatfsTally:
        """Return the counts of this moment."""
        return StatfsTally(tuple(self._durations), self._duration_sum_s, dict(self._results))

    def _count(self, result: str, took_s: float) -> None:
        self._results[result] += 1
        self._duration_sum_s += took_s
        self._durations[bisect_left(BUCKETS_S, took_s)] += 1


class HeldStatfs:
    """Keeps the newest answer."""

    def __init__(self, report: Report, versions: Versions) -> None:
        self._report = report
        self._versions = versions
        self.record: StatfsRecord | None = None
        self._version = 0

    def record_of(self, pool: int | None) -> StatfsRecord | None:
        """Return the last answer, if it is about this pool."""
        return self.record if self.record is not None and self.record.pool == pool else None

    def take(self, reply: MStatfsReply, pool: int | None, asked: Stamp, now: Stamp) -> StatfsRecord:
        """Return the record for this reply; the one that we have if the reply is from a monitor that lags behind."""
        old = self.record
        known = self._version if old is not None and old.pool == pool else 0
        if not self._versions.counts("statfs", reply.version, known, now.mono):
            self._report.counters["statfs_lagging"] += 1
            if old is not None:
                return old
        self._versions.forget("statfs")
        self._version = reply.version
        if reply.stats.kb_used > reply.stats.kb or reply.stats.kb_avail > reply.stats.kb:
            self._report.counters["statfs_implausible"] += 1
        self.record = StatfsRecord(reply.stats, pool, asked, now)
        return self.record


class StatfsCalls:
    """Asks for callers, and answers them."""

    def __init__(
        self,
        entity: EntityName,
        requests: Requests,
        sender: Sender,
        maps: Maps,
        target: Target,
        caps: Caps,
        versions: Versions,
        report: Report,
        events: deque[SessionEvent],
    ) -> None:
        self._entity = entity
        self._requests = requests
        self._sender = sender
        self._maps = maps
        self._target = target
        self._caps = caps
        self._report = report
        self._events = events
        self._held = HeldStatfs(report, versions)
        self._waits = StatfsWaits()
        self._calls: dict[WaiterId, tuple[Patience, float]] = {}  # that have a patience, and when they came
        self._gathered_by = 0.0

    def record(self) -> StatfsRecord | None:
        """Return the newest answer, if it is about the present target."""
        return self._held.record_of(self._target.pool_id())

    def tally(self) -> StatfsTally:
        """Return how calls ended so far."""
        return self._waits.tally()

    def request(self, patience: Patience | None) -> WaiterId:
        """Enter a caller; without a patience it waits until there is an answer."""
        problem = self._problem()
        if problem is not None:
            waiter = self._requests.waiter()
            if patience is not None:
                self._waits.failed(0.0)
            self._events.append(Failed((waiter,), problem))
            return waiter
        now = self._report.now
        until = math.inf if patience is None else now.mono + self._wait_s(patience, now.mono)
        waiter, request = self._requests.join_statfs(self._make, now.mono, until)
        if patience is not None:
            self._calls[waiter] = patience, now.mono
        if request is not None:
            self._sender.everywhere(request, now)
        return waiter

    def _wait_s(self, patience: Patience, now: float) -> float:
        since = self._requests.statfs_open_since()
        last = self.record() if self._waits.in_doubt(now) else None
        return self._waits.wait_s(patience, now, others=len(self._calls), open_since=since, last=last)

    def take_held(self, patience: Patience) -> WaiterId:
        """Answer a caller that cannot wait, with the last answer if that may stand in; nothing is asked."""
        waiter = self._requests.waiter()
        self._stop_waiting(waiter, patience, self._report.now.mono)
        return waiter

    def give_up(self, waiter: WaiterId) -> None:
        """The caller left."""
        self._calls.pop(waiter, None)

    def _stop_waiting(self, waiter: WaiterId, patience: Patience, began: float) -> None:
        try:
            record = self._waits.held(patience, self.record(), began, self._report.now.mono)
        except RequestTimeout as exc:
            self._events.append(Failed((waiter,), exc))
        else:
            self._events.append(Answered((waiter,), record))

    def ask_without_caller(self) -> None:
        """Ask although no caller does: the answer, or its lack, tells about the caps."""
        self._requests.ask_statfs(self._make, self._report.now.mono)

    def gathered(self) -> None:
        """No other caller is about to ask: send the statfs."""
        request = self._requests.next_statfs(self._make, self._report.now.mono)
        if request is not None:
            self._sender.everywhere(request, self._report.now)

    def on_reply(self, conn: MonConnection, tid: int, payload: MStatfsReply) -> Request | None:
        """Answer the callers; returns the request that they shared, None if there is none."""
        request = self._requests.answered(tid, Kind.STATFS, conn.id)
        if request is None:
            self._report.counters["replies_unasked"] += 1
            return None
        self._maps.check_fsid_bytes(payload.fsid)
        self._report.counters["statfs"] += 1
        self._caps.statfs_answered()
        now = self._report.now
        record = self._held.take(payload, self._target.pool_id(), request.asked or now, now)
        if request.waiters:
            self._events.append(Answered(tuple(request.waiters), record))
            for waiter in request.waiters:
                if (call := self._calls.pop(waiter, None)) is not None:
                    took_s = record.at.mono - call[1]
                    # an answer of a monitor that lags behind was replaced by an older one
                    self._waits.fresh(took_s if took_s >= 0.0 else now.mono - call[1])
        self._report.changed("statfs")
        self._gathered_by = now.mono + _GATHER_S
        return request

    def maps_changed(self) -> None:
        """A map came, or will not come: send the statfs that waited for it, or fail it."""
        # after a refusal for caps each new session asks by itself
        problem = None if self._caps.statfs_denied else self._problem()
        self._report.tell_problem(str(problem or ""))
        if problem is not None:
            self._held.record = None
            self._fail(problem)
            return
        for request in self._requests.pending():
            if request.kind is Kind.STATFS:
                self._sender.everywhere(request, self._report.now)

    def deny(self) -> None:
        """The caps do not cover it.  From now on a call fails at once; each new session asks again by itself."""
        error = self._caps.denial()
        self._report.error(str(error))
        self._fail(error)

    def next_timeout(self) -> float:
        """Return when `handle_timeout` has something to do, inf for never."""
        requests = self._requests
        return min(requests.first_until, self._gathered_by) if requests.statfs_gathering else requests.first_until

    def handle_timeout(self) -> None:
        """Answer the callers whose time has come; send what has waited long enough for more callers."""
        now = self._report.now.mono
        for waiter in self._requests.take_expired(now):
            self._waits.in_vain(now)
            self._stop_waiting(waiter, *self._calls.pop(waiter))
        if self._requests.statfs_gathering and now >= self._gathered_by:
            self.gathered()

    def _fail(self, error: CephMonFSError) -> None:
        if waiters := self._requests.fail_statfs():
            for waiter in waiters:
                if (call := self._calls.pop(waiter, None)) is not None:
                    self._waits.failed(self._report.now.mono - call[1])
            self._events.append(Failed(waiters, error))

    def _problem(self) -> CephMonFSError | None:
        """Why a statfs cannot be asked at all, None if it can."""
        if self._caps.statfs_denied:
            return self._caps.denial()
        return self._target.problem(self._maps.denied, self._maps.unread, self._entity)

    def _make(self, fsid: bytes) -> ToMonitor:
        return MStatfs(fsid, self._target.pool_id())
