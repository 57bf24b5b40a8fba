"""Background tasks of a mount.

They look at each change of the session, write events, and notify readers that wait.  Between changes they look when
something becomes stale.  They ask for health and quorum each `refresh`, more often if `stale_after` is short, so that
`events` does not depend on who reads; and for the commands of files that are polled.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.errors import CephMonFSError, NotPermitted
from cephmonfs.files.answers import DESCRIPTIONS, HEALTH, OSDMAP, QUORUM
from cephmonfs.files.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cephmonfs.files.settings import FsSettings
    from cephmonfs.files.source import Source
    from cephmonfs.fuse.handles import Handles
    from cephmonfs.fuse.poll import Pollers
    from cephmonfs.fuse.views import Views

log = logging.getLogger(__name__)

_COALESCE_S: Final = 0.02  # changes closer together than this are looked at as one
_COALESCE_MOST_S: Final = 0.1  # the same, when they do not end
_RESTART_S: Final = 1.0  # before a failed background task starts again
_PULSE_MIN_S: Final = 1.0
_PULSE_LEAST_S: Final = 0.2  # where `stale_after` wants it
_PULSES: Final = 3  # within `stale_after`
_PULSE: Final = (HEALTH, QUORUM)


def pulse_s(settings: FsSettings) -> float:
    """Return the interval of the commands for health and quorum: `refresh`, or a third of `stale_after` if less."""
    wanted = max(_PULSE_MIN_S, settings.refresh)
    if settings.stale_after > 0:
        wanted = min(wanted, settings.stale_after / _PULSES)
    return max(_PULSE_LEAST_S, wanted)


class Watch:
    """Background tasks of a mount; `run()` has to be running."""

    def __init__(self, source: Source, settings: FsSettings, views: Views, handles: Handles, pollers: Pollers) -> None:
        self._source = source
        self._settings = settings
        self._views = views
        self._handles = handles
        self._pollers = pollers
        self._observer = Observer()
        self.followers = trio.lowlevel.ParkingLot()  # readers of events_pipe
        views.commands.on_answer = lambda _: self.look()

    async def run(self) -> None:
        """Run all of them, until cancelled."""
        async with trio.open_nursery() as nursery:
            for task in (self._changes, self._pulse, self._stale):
                nursery.start_soon(supervised, task)

    async def _changes(self) -> None:
        """Look at each published change; while changes follow each other, seldom enough not to slow down df."""
        seen, pause_s = 0, _COALESCE_S
        while True:
            began = trio.current_time()
            seen = await self._source.wait_change(seen)
            waited = trio.current_time() - began > pause_s
            pause_s = _COALESCE_S if waited else min(2 * pause_s, _COALESCE_MOST_S)
            self.look()
            await trio.sleep(pause_s)

    async def _stale(self) -> None:
        """Look when no quorum has answered for `stale_after`."""
        while True:
            ends_at = self._views.now().freshness.ends_at
            pause_s = ends_at - trio.current_time() if ends_at < math.inf else self._settings.refresh
            await trio.sleep(max(_COALESCE_S, pause_s + _COALESCE_S))
            self.look()

    async def _pulse(self) -> None:
        """Ask on behalf of `events` and of polled files."""
        every_s = pulse_s(self._settings)
        while True:
            nodes = [handle.node for handle in self._handles.files() if handle.polled]
            commands = self._views.commands
            for command in _PULSE:
                commands.refresh(command, every_s)
            for command in {command for node in nodes for command in node.row.commands}:
                commands.refresh(command)
            if any(node.row.statfs for node in nodes) or self._is_mute():
                await self.try_statfs()
            self.look()
            await trio.sleep(every_s)

    def _is_mute(self) -> bool:
        """Return whether the caps cover no command, so that only a statfs proves a quorum."""
        answers = (self._views.commands.answers.get(command) for command in _PULSE)
        return all(a is not None and a.failure is not None and a.failure.kind is NotPermitted for a in answers)

    async def try_statfs(self) -> None:
        """Have fresh numbers if possible."""
        try:
            await self._views.statfs()
        except CephMonFSError:
            pass  # the file then shows the last numbers with their age, or none

    def look(self) -> None:
        """Write events and notify waiting readers; never raises, or it would end the calling task."""
        try:
            self._look()
        except Exception:
            log.exception("a look at what is new failed")

    def _look(self) -> None:
        view = self._views.now()
        events = self._observer.observe(view)
        view.records.capacity.note(view.snapshot.statfs)
        if any(event["event"] in ("monmap", "session") for event, _ in events):
            for command in (*_PULSE, DESCRIPTIONS):
                self._views.commands.expire(command)
            self._views.commands.expire_refused()
            for command in _PULSE:
                self._views.commands.refresh(command)
        if any(event["event"] == "osdmap" for event, _ in events):
            self._views.commands.expire(OSDMAP)
        for event, wall in events:
            view.records.events.append(event, wall)
        if events:
            self.followers.unpark_all()
        self._pollers.look(view)


async def supervised(task: Callable[[], Awaitable[None]]) -> None:
    """Start a task again when it fails, and say why it did."""
    while True:
        try:
            await task()
        except Exception:
            log.exception("%s failed; it starts again", getattr(task, "__qualname__", task))
        await trio.sleep(_RESTART_S)
