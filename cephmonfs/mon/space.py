"""Space: the last statfs answer, which goes back to an older version only if monitors insist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.mon.snapshot import Stamp, StatfsRecord

if TYPE_CHECKING:
    from cephmonfs.messages.mon import MStatfsReply
    from cephmonfs.mon.journal import Journal
    from cephmonfs.mon.versions import Versions


class Space:
    """Keeps the newest numbers."""

    def __init__(self, journal: Journal, versions: Versions) -> None:
        self._journal = journal
        self._versions = versions
        self.record: StatfsRecord | None = None
        self._version = 0

    def record_of(self, pool: int | None) -> StatfsRecord | None:
        """Return the last answer, if it is about this pool."""
        return self.record if self.record is not None and self.record.pool == pool else None

    def take(self, reply: MStatfsReply, pool: int | None, asked: Stamp, now: Stamp) -> StatfsRecord:
        """Return the record that answers the question; a monitor that lags behind gets the numbers we already had."""
        old = self.record
        known = self._version if old is not None and old.pool == pool else 0
        if not self._versions.counts("statfs", reply.version, known, now.mono):
            self._journal.counters["statfs_lagging"] += 1
            if old is not None:
                return old
        self._versions.forget("statfs")
        self._version = reply.version
        if reply.stats.kb_used > reply.stats.kb or reply.stats.kb_avail > reply.stats.kb:
            self._journal.counters["statfs_implausible"] += 1
        self.record = StatfsRecord(reply.stats, pool, asked, now)
        return self.record
