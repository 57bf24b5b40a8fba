"""Connections: room and haste of hedges, who is late, what each timer does, what an end teaches the hunt."""

from __future__ import annotations

import math
from collections import deque

import pytest

from cephmonfs.errors import AuthError, CephMonFSError, DecodeError, ProtocolError, Unproven
from cephmonfs.messages.mon import MStatfs
from cephmonfs.model.entity import AddrVec
from cephmonfs.model.monmap import MonInfo
from cephmonfs.mon.connection import Phase
from cephmonfs.mon.connections import Connections
from cephmonfs.mon.events import Close, Connect, SessionEvent
from cephmonfs.mon.hunt import Candidate, Hunt
from cephmonfs.mon.report import Report
from cephmonfs.mon.requests import Kind, Request, Requests
from tests.doubles.connection import OpenConnection, at, candidate, monmap


class Scene:
    def __init__(self, mons: int = 3) -> None:
        self.hunt = Hunt(lambda: 0.0)
        self.hunt.set_candidates(candidate(n + 1) for n in range(mons))
        self.requests = Requests()
        self.report = Report()
        self.events: deque[SessionEvent] = deque()
        self.connections = Connections(self.hunt, self.requests, self.report, self.events)

    def add(self, now: float = 0.0, *, is_open: bool = True, after_loss: bool = False) -> OpenConnection:
        conn = OpenConnection(self.connections.new_id(), now, is_open=is_open)
        self.connections.add(conn, now, after_loss=after_loss)
        return conn

    def session(self, now: float = 0.0) -> OpenConnection:
        self.connections.current = conn = self.add(now)
        return conn

    def next_timeout(self, now: float) -> float:
        return self.connections.next_timeout(now, self.connections.late_at())

    def late(self, now: float) -> bool:
        return self.connections.late_at() <= now

    def ask(self, conn: OpenConnection, now: float, kind: Kind = Kind.STATFS, *, optional: bool = False) -> Request:
        request = self.requests.add(kind, MStatfs, now, optional=optional)
        request.sent[conn.id] = now
        return request


def test_links_follow_each_other_while_there_is_room() -> None:
    scene = Scene()
    first = scene.add()
    assert list(scene.events) == [Connect(1, first.candidate.addr)]
    assert not scene.connections.may_open(0.29)
    assert scene.connections.may_open(0.3)
    assert scene.next_timeout(0.1) == 0.3
    scene.add(0.3, after_loss=True)
    assert scene.connections.may_open(0.41)  # sooner
    scene.add(0.41)
    assert not scene.connections.may_open(1000.0)
    assert scene.next_timeout(0.5) == 2.0  # what is open beside no session at all
    assert scene.connections.addrs() == {candidate(n).addr for n in (1, 2, 3)}


def test_no_more_links_than_monitors() -> None:
    scene = Scene(mons=1)
    assert Scene(mons=0).next_timeout(0.0) == math.inf
    scene.add()
    assert not scene.connections.may_open(5.0)


def test_an_answered_session_wants_nothing_beside_it() -> None:
    scene = Scene()
    current = scene.session()
    beside = scene.add(0.3)
    scene.connections.only_current()
    assert list(scene.connections.by_id) == [current.id]
    assert scene.events[-1] == Close(beside.id)
    assert scene.connections.may_open(0.3)
    scene.connections.only_current()
    assert scene.connections.current is current


def test_late_is_who_owes_an_answer() -> None:
    scene = Scene()
    assert not scene.late(99.0)  # nobody
    current = scene.session()
    assert not scene.late(19.0)
    scene.ask(current, 1.0, optional=True)
    scene.requests.add(Kind.STATFS, MStatfs, 1.0)  # has not left
    assert not scene.late(19.0)
    scene.ask(current, 1.0, Kind.COMMAND)
    assert not scene.late(2.9)
    assert scene.late(3.0)
    scene.ask(current, 2.0)
    scene.ask(current, 2.1)
    assert scene.next_timeout(2.1) == 2.3
    assert scene.late(2.3)
    assert scene.next_timeout(2.3) == 0.3  # at once: time for another one


def test_a_keepalive_is_owed_too() -> None:
    scene = Scene()
    current = scene.session()
    assert scene.next_timeout(0.0) == 20.0
    assert scene.connections.check(current, at(19.0)) is None
    assert "keepalives" not in scene.report.counters
    assert scene.connections.check(current, at(20.0)) is None
    assert current.keepalive_sent == 20.0
    assert scene.report.counters["keepalives"] == 1
    assert scene.late(20.3)
    assert str(scene.connections.check(current, at(50.0))) == "silent for 30 s"


def test_a_session_that_answers_nothing_is_given_up() -> None:
    scene = Scene()
    current = scene.session()
    current.last_received = 15.0
    scene.ask(current, 1.0)
    assert scene.connections.check(current, at(21.2)) is None
    assert str(scene.connections.check(current, at(21.3))) == "answers nothing for 20 s"


def test_a_handshake_has_its_time() -> None:
    scene = Scene()
    conn = scene.add(is_open=False)
    assert scene.connections.check(conn, at(9.9)) is None
    assert str(scene.connections.check(conn, at(10.0))) == "no session within 10 s"


def test_mute_hedges_live_twice_as_long_each_time() -> None:
    scene = Scene()
    scene.session()
    conn = scene.add()
    for life in (2, 4, 8, 16, 20, 20):
        assert scene.connections.check(conn, at(life - 0.1)) is None
        assert str(scene.connections.check(conn, at(life))) == f"answers nothing for {life} s"
    scene.connections.only_current()
    assert scene.connections.check(scene.add(), at(2)) is not None


@pytest.mark.parametrize(
    ("reason", "shunned", "refused"),
    [(ProtocolError("reset"), False, False), (DecodeError("x", 0, "y"), True, False), (AuthError("no"), False, True)],
)
def test_why_a_link_ended_tells_whom_to_try(reason: CephMonFSError, shunned: bool, refused: bool) -> None:
    scene = Scene(mons=1)
    conn = scene.add(is_open=False)
    assert scene.hunt.pick(0.0, (), asked=True) is not None
    request = scene.ask(conn, 0.0)
    sentence = scene.connections.drop(conn, reason, 0.0)
    assert str(reason) in sentence
    assert scene.report.errors == {"a": sentence}
    assert scene.report.counters["decode_errors"] == int(shunned)
    assert scene.events[-1] == Close(conn.id)
    assert not request.sent
    assert scene.connections.may_open(0.0)  # no waiting after that
    scene.hunt.pick(0.0, (), asked=True)
    assert (scene.hunt.next_time() == 0.25) is shunned
    assert scene.hunt.refused is refused


@pytest.mark.parametrize("ready", [False, True], ids=["handshake", "renewal"])
def test_who_cannot_prove_itself_is_distrusted(ready: bool) -> None:
    scene = Scene(mons=1)
    for number, pause in enumerate((1.0, 2.0, 4.0), 1):
        now = 1000.0 * number
        conn = OpenConnection(1, now, is_open=ready)
        scene.connections.add(conn, now, after_loss=False)
        scene.hunt.pick(now, (), asked=True)
        scene.connections.drop(conn, Unproven("cannot prove"), now)
        scene.hunt.pick(now, (), asked=True)
        scene.hunt.pick(now + 0.9, (), asked=True)
        assert scene.hunt.next_time() == now + pause
        assert scene.hunt.refused
        scene.hunt.succeeded(conn.candidate.addr)
        assert scene.report.counters["proofs_failed"] == number
        assert scene.report.counters["decode_errors"] == 0


def test_proofs_count_however_a_link_ends() -> None:
    scene = Scene(mons=1)
    for number in range(3600):
        conn = OpenConnection(1)
        conn.proofs_sent = 1
        scene.connections.add(conn, 0.0, after_loss=False)
        if number % 2:
            scene.connections.close(conn)
        else:
            scene.connections.drop(conn, ProtocolError("reset"), 0.0)
    scene.hunt.pick(0.0, (), asked=True)  # ends the round
    scene.hunt.pick(1.0, (), asked=True)
    assert scene.hunt.next_time() == pytest.approx(10.0)


def test_the_session_is_none_once_its_link_is_closed() -> None:
    scene = Scene()
    current, beside = scene.session(), scene.add()
    unready = scene.add(is_open=False)
    scene.connections.leave(current)
    assert scene.connections.current is None
    assert scene.report.last_error == "monitor a at v2:10.0.0.1:3300/0: open: left, it did not answer"
    assert scene.connections.successor() is beside
    scene.connections.close(current)  # once more is nothing
    assert [event for event in scene.events if isinstance(event, Close)] == [Close(current.id)]
    scene.connections.drop(beside, ProtocolError("reset"), 1.0)
    unready.phase = Phase.OPEN
    assert scene.connections.successor() is None


def test_a_link_takes_the_name_of_the_monmap() -> None:
    scene = Scene()
    conn = scene.add()
    addr = conn.candidate.addr
    assert scene.connections.rename(conn, monmap())  # given, and not listed: that may come
    assert conn.candidate == candidate(1)
    assert scene.connections.rename(conn, monmap(MonInfo("x", AddrVec((addr,)), 3, 5)))
    assert conn.candidate == Candidate("x", addr, 3, 5)
    assert not scene.connections.rename(conn, monmap())


def test_the_view_of_requests() -> None:
    scene = Scene()
    current = scene.session()
    scene.ask(current, 1.0)
    scene.requests.add(Kind.COMMAND, MStatfs, 2.0)
    views = scene.connections.request_views(3.0)
    assert [(view.tid, view.kind, view.age_s, view.mon) for view in views] == [
        (1, "statfs", 2.0, "a"),
        (2, "mon_command", 1.0, ""),
    ]
