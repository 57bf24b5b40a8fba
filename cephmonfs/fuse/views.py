"""Views: makes the view of the present moment, for a mount and for a program that reads without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.files.view import Memo, Records, View
from cephmonfs.fuse.commands import CommandCache
from cephmonfs.fuse.slots import WaitSlots

if TYPE_CHECKING:
    from cephmonfs.files.logring import LogRing
    from cephmonfs.files.settings import FsSettings
    from cephmonfs.files.source import Source
    from cephmonfs.mon.snapshot import StatfsRecord


class Views:
    """Holds the parts of a view, once for a mount or for `cephmonfs get`; `now` makes a view."""

    def __init__(self, source: Source, settings: FsSettings, log: LogRing | None) -> None:
        self._source = source
        self._settings = settings
        self._memo = Memo()
        self.slots = WaitSlots()
        self._patience = settings.patience
        self.commands = CommandCache(source, settings, self.slots)
        self.records = Records(log=log)
        self.began = source.snapshot().now

    def now(self) -> View:
        """Return the present moment."""
        snapshot = self._source.snapshot()
        return View(
            snapshot,
            self._settings,
            self.commands.answers,
            self.records,
            self._memo,
            self.began,
            snapshot.statfs_tally,
            dict(self.commands.results),
        )

    async def statfs(self) -> StatfsRecord:
        """Ask for the space; without a slot nobody waits, and the last answer is returned."""
        with self.slots.take() as may_wait:
            return await self._source.statfs(self._patience, may_wait=may_wait)
