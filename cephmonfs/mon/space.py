"""Space: the last statfs answer, which never goes back in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.mon.snapshot import Stamp, StatfsRecord

if TYPE_CHECKING:
    from cephmonfs.messages.mon import MStatfsReply
    from cephmonfs.mon.journal import Journal

_ROLLED_BACK_S: Final = 10.0  # versions below ours for so long: the cluster was rolled back, believe it


class Space:
    """Keeps the newest numbers."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.record: StatfsRecord | None = None
        self._version = 0
        self._lagging_since: float | None = None

    def take(self, reply: MStatfsReply, pool: int | None, asked: Stamp, now: Stamp) -> StatfsRecord:
        """Return the record that answers the question; a monitor that lags behind gets the numbers we already had."""
        old = self.record
        if old is not None and old.pool == pool and reply.version < self._version:
            self._journal.counters["statfs_lagging"] += 1
            if self._lagging_since is None:
                self._lagging_since = now.mono
            if now.mono < self._lagging_since + _ROLLED_BACK_S:
                return old
        self._lagging_since = None
        self._version = reply.version
        if reply.stats.kb_used > reply.stats.kb or reply.stats.kb_avail > reply.stats.kb:
            self._journal.counters["statfs_implausible"] += 1
        self.record = StatfsRecord(reply.stats, pool, asked, now)
        return self.record
