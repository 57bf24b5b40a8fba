"""Connections: all connections of a session, which one is current, and when a silent monitor is hedged.

If the current monitor leaves a request unanswered for 0.3 s, other monitors are connected beside it: one every 0.3 s,
at most three connections in all.  The first monitor that answers becomes current.  A hedge that answers nothing is
closed, to make room for another.  An idle connection is sent a keepalive after 20 s.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import (
    AuthError,
    CephMonFSError,
    DecodeError,
    ForeignCluster,
    IntegrityError,
    MissingFeatures,
    ProtocolError,
    UnexpectedMessage,
    Unproven,
    WrongProtocol,
)
from cephmonfs.mon.connection import Phase
from cephmonfs.mon.events import Close, Connect, SessionEvent
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.report import Cause
from cephmonfs.mon.requests import LATE_AFTER_S
from cephmonfs.mon.snapshot import RequestView
from cephmonfs.wire.cursor import Utime

if TYPE_CHECKING:
    from collections import deque

    from cephmonfs.model.entity import EntityAddr
    from cephmonfs.model.monmap import MonMap
    from cephmonfs.mon.connection import MonConnection
    from cephmonfs.mon.hunt import Hunt
    from cephmonfs.mon.report import Report
    from cephmonfs.mon.requests import ConnectionId, Requests
    from cephmonfs.mon.snapshot import Stamp

HEDGE_EVERY_S: Final = 0.3
"""Silence that opens one more connection."""

_LOST_HASTE: Final = 1 / 3  # of that after a lost session: a caller waits, and the next monitor may be electing
_MAX_CONNECTIONS: Final = 3
_HANDSHAKE_S: Final = 10.0  # connect to SERVER_IDENT
_HEDGE_LIFE_S: Final = 20.0  # a connection beside the current one that answers nothing makes room for another one
_HEDGE_FIRST_LIFE_S: Final = 2.0  # the first such one; doubled with each.  If all were silent, new ones may not be
_PING_S: Final = 20.0  # idle time after which a sign of life is asked for
_SILENT_S: Final = 30.0  # without a byte although one was due: the connection is dead


class Connections:
    """All connections by their number; `current` is one of them, or None while there is no session.

    Closing goes through `close` and `drop`, which tell the driver and the requests that were out there.
    """

    def __init__(
        self,
        hunt: Hunt,
        requests: Requests,
        report: Report,
        events: deque[SessionEvent],
        late_after_s: float = HEDGE_EVERY_S,
    ) -> None:
        self.by_id: dict[ConnectionId, MonConnection] = {}
        self.current: MonConnection | None = None
        self._hunt = hunt
        self._requests = requests
        self._report = report
        self._events = events
        self._hedge_every_s = late_after_s
        self._late_after_s = {kind: max(late_after_s, own_s) for kind, own_s in LATE_AFTER_S.items()}
        self._last_id = 0
        self._next_hedge = 0.0
        self._mute_hedges = 0  # in a row, dropped for their silence

    # ---- opening and closing

    def may_open(self, now: float) -> bool:
        """Whether there is room for one more connection, and its time has come."""
        return len(self.by_id) < self._limit() and now >= self._next_hedge

    def _limit(self) -> int:
        return min(_MAX_CONNECTIONS, len(self._hunt.candidates))

    def addrs(self) -> set[EntityAddr]:
        """Return the addresses that have a connection."""
        return {conn.candidate.addr for conn in self.by_id.values()}

    def new_id(self) -> ConnectionId:
        """Return the number for a new connection."""
        self._last_id += 1
        return self._last_id

    def add(self, conn: MonConnection, now: float, *, after_loss: bool) -> None:
        """Add it, and tell the driver to connect.  After a lost session the next one follows sooner."""
        self.by_id[conn.id] = conn
        self._report.counters["connects"] += 1
        self._next_hedge = now + self._hedge_every_s * (_LOST_HASTE if after_loss else 1)
        self._events.append(Connect(conn.id, conn.candidate.addr))

    def close(self, conn: MonConnection) -> None:
        """Close without blame."""
        if self.by_id.pop(conn.id, None) is None:
            return
        if conn is self.current:
            self.current = None
        self._requests.connection_closed(conn.id)
        self._hunt.shown_proof(conn.proofs_sent)
        self._events.append(Close(conn.id))

    def drop(self, conn: MonConnection, reason: CephMonFSError, now: float) -> str:
        """Close a connection that failed, and remember why; returns it in words."""
        sentence = conn.describe(reason)
        addr = conn.candidate.addr
        self._report.errors[conn.candidate.name] = sentence
        self._report.counters["links_failed"] += 1
        if isinstance(reason, DecodeError):
            self._report.counters["decode_errors"] += 1
        refused = isinstance(reason, AuthError | WrongProtocol | MissingFeatures)
        self.close(conn)
        if isinstance(reason, Unproven):
            self._report.counters["proofs_failed"] += 1
            self._hunt.distrust(addr, now)
        elif isinstance(reason, DecodeError | IntegrityError | UnexpectedMessage | ForeignCluster):
            self._hunt.shun(addr, now)
        if conn.ready_at is not None and not refused:
            self._hunt.lost(addr)
        else:
            self._hunt.failed(addr, refused=refused)
        self._next_hedge = 0.0
        if refused:
            self._report.blame(Cause.REFUSED, sentence)
        else:
            self._report.error(sentence)
        return sentence

    def leave(self, conn: MonConnection) -> None:
        """Close the current connection: it left unanswered what another answered."""
        sentence = self._report.errors[conn.candidate.name] = conn.describe("left, it did not answer")
        self._report.error(sentence)
        self._report.counters["left_silent"] += 1
        self.close(conn)

    def rename(self, conn: MonConnection, monmap: MonMap) -> bool:
        """Give it the monitor's name of a new monmap; returns False if the monitor was removed from it."""
        info = monmap.by_addr(conn.candidate.addr)
        if info is None:
            return not conn.listed
        conn.listed = True
        conn.candidate = Candidate(info.name, conn.candidate.addr, info.priority, info.weight)
        return True

    def successor(self) -> MonConnection | None:
        """Return one that can be the session at once."""
        return next((conn for conn in self.by_id.values() if conn.ready and conn.phase is Phase.OPEN), None)

    def only_current(self) -> None:
        """Close all others: the current monitor answers."""
        if len(self.by_id) > 1:
            for conn in tuple(self.by_id.values()):
                if conn is not self.current:
                    self.close(conn)
        self._next_hedge = 0.0
        self._mute_hedges = 0

    # ---- who is late

    def late_at(self) -> float:
        """Return when the current monitor is late with something, if it stays silent; inf if it owes nothing."""
        conn = self.current
        if conn is None:
            return math.inf
        due = self._requests.late_at(conn.id, self._late_after_s)
        if conn.keepalive_sent is not None:
            due = min(due, conn.keepalive_sent + self._hedge_every_s)
        return due

    # ---- timers

    def next_timeout(self, now: float, late_at: float) -> float:
        """Return when a connection is due for `check`, or another one is wanted; inf for never."""
        current = self.current
        if current is not None and late_at > now and len(self.by_id) == 1:
            ping = self._ping_at(current)
            return ping if ping < late_at else late_at
        has_room = len(self.by_id) < self._limit()
        first = max(self._next_hedge, self._hunt.next_time()) if has_room else math.inf
        for conn in self.by_id.values():
            due = self._check_at(conn)
            if due < first:
                first = due
        return first

    def _check_at(self, conn: MonConnection) -> float:
        if conn.ready_at is None:
            return conn.opened + _HANDSHAKE_S
        if conn is not self.current:
            return conn.ready_at + self._hedge_life()
        return min(self._ping_at(conn), self._owes_until(conn))

    def _ping_at(self, conn: MonConnection) -> float:
        """Return when an idle connection is asked for a sign of life, or given up because none came."""
        return conn.last_received + _PING_S if conn.keepalive_sent is None else conn.keepalive_sent + _SILENT_S

    def _owes_until(self, conn: MonConnection) -> float:
        """Return when a connection is given up because it does not answer a request."""
        return self._requests.late_at(conn.id, self._late_after_s) + _HEDGE_LIFE_S

    def _hedge_life(self) -> float:
        return min(_HEDGE_FIRST_LIFE_S * 2.0**self._mute_hedges, _HEDGE_LIFE_S)

    def check(self, conn: MonConnection, now: Stamp) -> ProtocolError | None:
        """Return why this connection is given up now, None if it is not.  It may be asked for a sign of life."""
        if now.mono < self._check_at(conn):
            return None
        if conn.ready_at is None:
            return ProtocolError(f"no session within {_HANDSHAKE_S:g} s")
        if conn is not self.current:
            life = self._hedge_life()
            self._mute_hedges += 1
            return ProtocolError(f"answers nothing for {life:g} s")
        if now.mono >= self._owes_until(conn):
            return ProtocolError(f"answers nothing for {_HEDGE_LIFE_S:g} s")
        if conn.keepalive_sent is not None:
            return ProtocolError(f"silent for {_SILENT_S:g} s")
        conn.send_keepalive(now.mono, Utime.of(now.wall))
        self._report.counters["keepalives"] += 1
        return None

    # ---- the view

    def request_views(self, now: float) -> tuple[RequestView, ...]:
        """Return what is unanswered, and with which monitor."""
        views = []
        for request in self._requests.pending():
            conn = next((self.by_id[i] for i in request.sent if i in self.by_id), None)
            name = conn.candidate.name if conn is not None else ""
            views.append(RequestView(request.tid, request.kind, now - request.created, name, request.sends))
        return tuple(views)
