"""StatfsCalls: the callers of statfs, from the question to the answer; HeldStatfs: the newest answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.errors import RequestTimeout
from cephmonfs.messages.mon import MStatfs
from cephmonfs.mon.events import Answered, Failed, SessionEvent
from cephmonfs.mon.requests import Kind
from cephmonfs.mon.snapshot import Stamp, StatfsRecord

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
        self._gathered_by = 0.0

    def record(self) -> StatfsRecord | None:
        """Return the newest answer, if it is about the present target."""
        return self._held.record_of(self._target.pool_id())

    def request(self, until: float) -> WaiterId:
        """Enter a caller, who waits until then."""
        problem = self._problem()
        if problem is not None:
            waiter = self._requests.waiter()
            self._events.append(Failed((waiter,), problem))
            return waiter
        now = self._report.now
        waiter, request = self._requests.join_statfs(self._make, now.mono, until)
        if request is not None:
            self._sender.everywhere(request, now)
        return waiter

    def ask_on_nobodys_behalf(self) -> None:
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
        """Fail the callers whose time has come; send what has waited long enough for more callers."""
        now = self._report.now.mono
        if expired := self._requests.take_expired(now):
            self._events.append(Failed(expired, RequestTimeout("no answer in time")))
        if self._requests.statfs_gathering and now >= self._gathered_by:
            self.gathered()

    def _fail(self, error: CephMonFSError) -> None:
        if waiters := self._requests.fail_statfs():
            self._events.append(Failed(waiters, error))

    def _problem(self) -> CephMonFSError | None:
        """Why a statfs cannot be asked at all, None if it can."""
        if self._caps.statfs_denied:
            return self._caps.denial()
        return self._target.problem(self._maps.denied, self._maps.unread, self._entity)

    def _make(self, fsid: bytes) -> ToMonitor:
        return MStatfs(fsid, self._target.pool_id())
