"""HeldStatfs: the newest statfs answer.  An older version replaces it only when `versions` says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.mon.snapshot import Stamp, StatfsRecord

if TYPE_CHECKING:
    from cephmonfs.messages.mon import MStatfsReply
    from cephmonfs.mon.report import Report
    from cephmonfs.mon.versions import Versions


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
