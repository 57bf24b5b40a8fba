"""Standing: the state that a session is in, the monitor that it is with or was last, and how that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.mon.journal import Cause
from cephmonfs.mon.link import Phase
from cephmonfs.mon.snapshot import MonView, SessionChange, Stamp, State

if TYPE_CHECKING:
    from collections.abc import Collection

    from cephmonfs.model.monmap import MonMap
    from cephmonfs.mon.hunt import Hunt
    from cephmonfs.mon.journal import Journal
    from cephmonfs.mon.link import Link
    from cephmonfs.mon.links import Links


class Standing:
    """What `session/` shows of it; the fields are those of Snapshot."""

    def __init__(self, links: Links, hunt: Hunt, journal: Journal) -> None:
        self._links = links
        self._hunt = hunt
        self._journal = journal
        self.state = State.CONNECTING
        self.since: Stamp | None = None
        self.last_contact: Stamp | None = None
        self.mon = ""
        self.addr = ""
        self.mode = ""
        self.sessions = 0
        self.failovers = 0
        self.rtt: dict[str, float] = {}

    def opened(self, link: Link, now: Stamp) -> None:
        """This link is the session now."""
        name = link.candidate.name
        self.sessions += 1
        if self.mon and self.mon != name:
            self.failovers += 1
        self.mon, self.addr, self.mode = name, str(link.candidate.addr), str(link.mode)
        self.since = now
        self._journal.over(Cause.REFUSED)
        self._journal.errors.pop(name, None)
        if link.connected_at is not None and link.ready_at is not None:
            self.rtt.setdefault(name, link.connected_at - link.opened)
        self._journal.history.append(SessionChange(now, State.OPEN, name, ""))
        self._journal.changed("session")

    def lost(self, reason: str, now: Stamp) -> None:
        """The session ended."""
        self._journal.history.append(SessionChange(now, State.HUNTING, self.mon, reason))

    def update(self, now: float) -> None:
        """Be in the state that the links are in."""
        links = self._links
        if links.current is not None:
            is_late = links.late_at() <= now or self._journal.blames(Cause.NO_QUORUM)
            state = State.HUNTING if is_late else State.OPEN
        elif self._hunt.refused and not any(link.phase is Phase.MAPS for link in links.by_id.values()):
            state = State.REFUSED
        elif self.sessions:
            state = State.HUNTING
        elif any(link.phase in (Phase.AUTH, Phase.MAPS) for link in links.by_id.values()):
            state = State.AUTHENTICATING
        else:
            state = State.CONNECTING
        if state is not self.state:
            self.state = state
            self._journal.changed("session")
            if state is State.HUNTING:
                self._journal.counters["hunts"] += 1

    def alive(self, link: Link, now: Stamp) -> None:
        """A keepalive came back: that is how long the way is."""
        if link.keepalive_sent is not None:
            self.rtt[link.candidate.name] = now.mono - link.keepalive_sent
            link.keepalive_sent = None

    def forget(self, there: Collection[str]) -> None:
        """Keep nothing about monitors other than these."""
        for kept in (self._journal.errors, self.rtt):
            for name in kept.keys() - there:
                del kept[name]

    def mons(self, monmap: MonMap | None) -> tuple[MonView, ...]:
        """Return what we know of each monitor, in rank order."""
        return tuple(
            MonView(info.name, rank, info.addrs, self.rtt.get(info.name), self._journal.errors.get(info.name, ""))
            for rank, info in enumerate(monmap.mons if monmap is not None else ())
        )
