"""SessionStatus: the session's state, its monitor (or the last one), and counts and round trips of its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.mon.connection import Phase
from cephmonfs.mon.report import Cause
from cephmonfs.mon.snapshot import MonView, SessionChange, Stamp, State

if TYPE_CHECKING:
    from collections.abc import Collection

    from cephmonfs.model.monmap import MonMap
    from cephmonfs.mon.connection import MonConnection
    from cephmonfs.mon.connections import Connections
    from cephmonfs.mon.hunt import Hunt
    from cephmonfs.mon.report import Report


class SessionStatus:
    """What the files of `session/` show; the fields are those of Snapshot."""

    def __init__(self, connections: Connections, hunt: Hunt, report: Report) -> None:
        self._connections = connections
        self._hunt = hunt
        self._report = report
        self.state = State.CONNECTING
        self.since: Stamp | None = None
        self.last_contact: Stamp | None = None
        self.mon = ""
        self.addr = ""
        self.mode = ""
        self.sessions = 0
        self.failovers = 0
        self.rtt: dict[str, float] = {}

    def opened(self, conn: MonConnection, now: Stamp) -> None:
        """A session with this monitor began."""
        name = conn.candidate.name
        self.sessions += 1
        if self.mon and self.mon != name:
            self.failovers += 1
        self.mon, self.addr, self.mode = name, str(conn.candidate.addr), str(conn.mode)
        self.since = now
        self._report.over(Cause.REFUSED)
        self._report.errors.pop(name, None)
        if conn.connected_at is not None and conn.ready_at is not None:
            self.rtt.setdefault(name, conn.connected_at - conn.opened)
        self._report.history.append(SessionChange(now, State.OPEN, name, ""))
        self._report.changed("session")

    def lost(self, reason: str, now: Stamp) -> None:
        """The session ended."""
        self._report.history.append(SessionChange(now, State.HUNTING, self.mon, reason))

    def update(self, is_late: bool) -> None:
        """Set `state` as the connections are; `is_late`: the current monitor owes an answer for too long."""
        connections = self._connections
        if connections.current is not None:
            state = State.HUNTING if is_late or self._report.blames(Cause.NO_QUORUM) else State.OPEN
        elif self._hunt.refused and not any(conn.phase is Phase.MAPS for conn in connections.by_id.values()):
            state = State.REFUSED
        elif self.sessions:
            state = State.HUNTING
        elif any(conn.phase in (Phase.AUTH, Phase.MAPS) for conn in connections.by_id.values()):
            state = State.AUTHENTICATING
        else:
            state = State.CONNECTING
        if state is not self.state:
            self.state = state
            self._report.changed("session")
            if state is State.HUNTING:
                self._report.counters["hunts"] += 1

    def alive(self, conn: MonConnection, now: Stamp) -> None:
        """A keepalive came back: note the round trip."""
        if conn.keepalive_sent is not None:
            self.rtt[conn.candidate.name] = now.mono - conn.keepalive_sent
            conn.keepalive_sent = None

    def forget(self, there: Collection[str]) -> None:
        """Keep nothing about monitors other than these."""
        for kept in (self._report.errors, self.rtt):
            for name in kept.keys() - there:
                del kept[name]

    def mons(self, monmap: MonMap | None) -> tuple[MonView, ...]:
        """Return what we know of each monitor, in rank order."""
        return tuple(
            MonView(info.name, rank, info.addrs, self.rtt.get(info.name), self._report.errors.get(info.name, ""))
            for rank, info in enumerate(monmap.mons if monmap is not None else ())
        )
