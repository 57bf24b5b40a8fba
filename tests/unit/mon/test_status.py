"""SessionStatus: from connections to a state, and from session to session."""

from __future__ import annotations

from collections import deque

from cephmonfs.mon.connection import Phase
from cephmonfs.mon.connections import Connections
from cephmonfs.mon.hunt import Hunt
from cephmonfs.mon.report import Report
from cephmonfs.mon.requests import Requests
from cephmonfs.mon.snapshot import State
from cephmonfs.mon.status import SessionStatus
from tests.doubles.connection import OpenConnection, at


class Scene:
    def __init__(self) -> None:
        self.hunt = Hunt(lambda: 0.0)
        self.report = Report()
        self.connections = Connections(self.hunt, Requests(), self.report, deque())
        self.status = SessionStatus(self.connections, self.hunt, self.report)

    def add(self, number: int, *, is_open: bool = True) -> OpenConnection:
        conn = OpenConnection(number, is_open=is_open)
        self.connections.add(conn, 0.0, after_loss=False)
        return conn

    def state(self, now: float = 0.0) -> State:
        self.status.update(self.connections.late_at() <= now)
        return self.status.state


def test_states() -> None:
    scene = Scene()
    assert scene.state() is State.CONNECTING
    assert scene.report.take_changes() == frozenset()
    conn = scene.add(1, is_open=False)
    assert scene.state() is State.CONNECTING
    conn.phase = Phase.AUTH
    assert scene.state() is State.AUTHENTICATING
    scene.hunt.refused = True
    assert scene.state() is State.REFUSED
    conn.phase = Phase.MAPS
    assert scene.state() is State.AUTHENTICATING
    scene.hunt.refused = False
    scene.connections.current = conn
    scene.status.opened(conn, at(1.0))
    assert scene.state(1.0) is State.OPEN
    conn.keepalive_sent = 20.0
    assert scene.state(20.3) is State.HUNTING  # it is late
    scene.connections.close(conn)
    assert scene.state(20.3) is State.HUNTING
    assert scene.report.counters["hunts"] == 1
    assert scene.report.take_changes() == {"session"}


def test_sessions_are_counted_and_so_are_moves() -> None:
    scene = Scene()
    status, a, b = scene.status, scene.add(1), scene.add(2)
    scene.report.errors["a"] = "once"
    status.opened(a, at(1.0))
    status.lost("reset", at(2.0))
    status.opened(a, at(3.0))
    status.opened(b, at(4.0))
    assert (status.sessions, status.failovers, status.mon, status.mode) == (3, 1, "b", "crc")
    assert status.addr == str(b.candidate.addr)
    assert status.since == at(4.0)
    assert [(change.state, change.mon, change.reason) for change in scene.report.history] == [
        (State.OPEN, "a", ""),
        (State.HUNTING, "a", "reset"),
        (State.OPEN, "a", ""),
        (State.OPEN, "b", ""),
    ]
    assert not scene.report.errors


def test_keepalives_measure_the_way() -> None:
    scene = Scene()
    conn = scene.add(1)
    scene.report.errors["z"] = "long ago"
    scene.status.alive(conn, at(5.0))  # unasked
    assert scene.status.rtt == {}
    conn.keepalive_sent = 5.0
    scene.status.alive(conn, at(5.5))
    assert scene.status.rtt == {"a": 0.5}
    scene.status.alive(conn, at(9.0))  # once is enough
    scene.status.forget({"a"})
    assert scene.status.rtt == {"a": 0.5}
    assert not scene.report.errors
    assert scene.status.mons(None) == ()
