"""Links: room and haste of hedges, who is late, what each timer does, what an end teaches the hunt."""

from __future__ import annotations

import math
from collections import deque

import pytest

from cephmonfs.errors import AuthError, CephMonFSError, DecodeError, ProtocolError, Unproven
from cephmonfs.messages.mon import MStatfs
from cephmonfs.model.entity import AddrVec
from cephmonfs.model.monmap import MonInfo
from cephmonfs.mon.events import Close, Connect, SessionEvent
from cephmonfs.mon.hunt import Candidate, Hunt
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.link import Phase
from cephmonfs.mon.links import Links
from cephmonfs.mon.requests import Kind, Request, Requests
from tests.unit.mon.fakes import OpenLink, at, candidate, monmap


class Scene:
    def __init__(self, mons: int = 3) -> None:
        self.hunt = Hunt(lambda: 0.0)
        self.hunt.set_candidates(candidate(n + 1) for n in range(mons))
        self.requests = Requests()
        self.journal = Journal()
        self.events: deque[SessionEvent] = deque()
        self.links = Links(self.hunt, self.requests, self.journal, self.events)

    def add(self, now: float = 0.0, *, is_open: bool = True, after_loss: bool = False) -> OpenLink:
        link = OpenLink(self.links.new_id(), now, is_open=is_open)
        self.links.add(link, now, after_loss=after_loss)
        return link

    def session(self, now: float = 0.0) -> OpenLink:
        self.links.current = link = self.add(now)
        return link

    def late(self, now: float) -> bool:
        return self.links.late_at() <= now

    def ask(self, link: OpenLink, now: float, kind: Kind = Kind.STATFS, *, optional: bool = False) -> Request:
        request = self.requests.add(kind, MStatfs, now, optional=optional)
        request.sent[link.id] = now
        return request


def test_links_follow_each_other_while_there_is_room() -> None:
    scene = Scene()
    first = scene.add()
    assert list(scene.events) == [Connect(1, first.candidate.addr)]
    assert not scene.links.may_open(0.29)
    assert scene.links.may_open(0.3)
    assert scene.links.next_timeout(0.1) == 0.3
    scene.add(0.3, after_loss=True)
    assert scene.links.may_open(0.41)  # sooner
    scene.add(0.41)
    assert not scene.links.may_open(1000.0)
    assert scene.links.next_timeout(0.5) == 2.0  # what is open beside no session at all
    assert scene.links.addrs() == {candidate(n).addr for n in (1, 2, 3)}


def test_no_more_links_than_monitors() -> None:
    scene = Scene(mons=1)
    assert Scene(mons=0).links.next_timeout(0.0) == math.inf
    scene.add()
    assert not scene.links.may_open(5.0)


def test_an_answered_session_wants_nothing_beside_it() -> None:
    scene = Scene()
    current = scene.session()
    beside = scene.add(0.3)
    scene.links.only_current()
    assert list(scene.links.by_id) == [current.id]
    assert scene.events[-1] == Close(beside.id)
    assert scene.links.may_open(0.3)
    scene.links.only_current()
    assert scene.links.current is current


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
    assert scene.links.next_timeout(2.1) == 2.3
    assert scene.late(2.3)
    assert scene.links.next_timeout(2.3) == 0.3  # at once: time for another one


def test_a_keepalive_is_owed_too() -> None:
    scene = Scene()
    current = scene.session()
    assert scene.links.next_timeout(0.0) == 20.0
    assert scene.links.check(current, at(19.0)) is None
    assert "keepalives" not in scene.journal.counters
    assert scene.links.check(current, at(20.0)) is None
    assert current.keepalive_sent == 20.0
    assert scene.journal.counters["keepalives"] == 1
    assert scene.late(20.3)
    assert str(scene.links.check(current, at(50.0))) == "silent for 30 s"


def test_a_session_that_answers_nothing_is_given_up() -> None:
    scene = Scene()
    current = scene.session()
    current.last_received = 15.0
    scene.ask(current, 1.0)
    assert scene.links.check(current, at(21.2)) is None
    assert str(scene.links.check(current, at(21.3))) == "answers nothing for 20 s"


def test_a_handshake_has_its_time() -> None:
    scene = Scene()
    link = scene.add(is_open=False)
    assert scene.links.check(link, at(9.9)) is None
    assert str(scene.links.check(link, at(10.0))) == "no session within 10 s"


def test_mute_hedges_live_twice_as_long_each_time() -> None:
    scene = Scene()
    scene.session()
    link = scene.add()
    for life in (2, 4, 8, 16, 20, 20):
        assert scene.links.check(link, at(life - 0.1)) is None
        assert str(scene.links.check(link, at(life))) == f"answers nothing for {life} s"
    scene.links.only_current()
    assert scene.links.check(scene.add(), at(2)) is not None


@pytest.mark.parametrize(
    ("reason", "shunned", "refused"),
    [(ProtocolError("reset"), False, False), (DecodeError("x", 0, "y"), True, False), (AuthError("no"), False, True)],
)
def test_why_a_link_ended_tells_whom_to_try(reason: CephMonFSError, shunned: bool, refused: bool) -> None:
    scene = Scene(mons=1)
    link = scene.add(is_open=False)
    assert scene.hunt.pick(0.0, (), asked=True) is not None
    request = scene.ask(link, 0.0)
    sentence = scene.links.drop(link, reason, 0.0)
    assert str(reason) in sentence
    assert scene.journal.errors == {"a": sentence}
    assert scene.journal.counters["decode_errors"] == int(shunned)
    assert scene.events[-1] == Close(link.id)
    assert not request.sent
    assert scene.links.may_open(0.0)  # no waiting after that
    scene.hunt.pick(0.0, (), asked=True)
    assert (scene.hunt.next_time() == 0.25) is shunned
    assert scene.hunt.refused is refused


@pytest.mark.parametrize("ready", [False, True], ids=["handshake", "renewal"])
def test_who_cannot_prove_itself_is_distrusted(ready: bool) -> None:
    scene = Scene(mons=1)
    for number, pause in enumerate((1.0, 2.0, 4.0), 1):
        now = 1000.0 * number
        link = OpenLink(1, now, is_open=ready)
        scene.links.add(link, now, after_loss=False)
        scene.hunt.pick(now, (), asked=True)
        scene.links.drop(link, Unproven("cannot prove"), now)
        scene.hunt.pick(now, (), asked=True)
        scene.hunt.pick(now + 0.9, (), asked=True)
        assert scene.hunt.next_time() == now + pause
        assert scene.hunt.refused
        scene.hunt.succeeded(link.candidate.addr)
        assert scene.journal.counters["proofs_failed"] == number
        assert scene.journal.counters["decode_errors"] == 0


def test_proofs_count_however_a_link_ends() -> None:
    scene = Scene(mons=1)
    for number in range(3600):
        link = OpenLink(1)
        link.proofs_sent = 1
        scene.links.add(link, 0.0, after_loss=False)
        if number % 2:
            scene.links.close(link)
        else:
            scene.links.drop(link, ProtocolError("reset"), 0.0)
    scene.hunt.pick(0.0, (), asked=True)  # ends the round
    scene.hunt.pick(1.0, (), asked=True)
    assert scene.hunt.next_time() == pytest.approx(10.0)


def test_the_session_is_none_once_its_link_is_closed() -> None:
    scene = Scene()
    current, beside = scene.session(), scene.add()
    unready = scene.add(is_open=False)
    scene.links.leave(current)
    assert scene.links.current is None
    assert scene.journal.last_error == "monitor a at v2:10.0.0.1:3300/0: open: left, it did not answer"
    assert scene.links.successor() is beside
    scene.links.close(current)  # once more is nothing
    assert [event for event in scene.events if isinstance(event, Close)] == [Close(current.id)]
    scene.links.drop(beside, ProtocolError("reset"), 1.0)
    unready.phase = Phase.OPEN
    assert scene.links.successor() is None


def test_a_link_takes_the_name_of_the_monmap() -> None:
    scene = Scene()
    link = scene.add()
    addr = link.candidate.addr
    assert scene.links.rename(link, monmap())  # given, and not listed: that may come
    assert link.candidate == candidate(1)
    assert scene.links.rename(link, monmap(MonInfo("x", AddrVec((addr,)), 3, 5)))
    assert link.candidate == Candidate("x", addr, 3, 5)
    assert not scene.links.rename(link, monmap())


def test_the_view_of_requests() -> None:
    scene = Scene()
    current = scene.session()
    scene.ask(current, 1.0)
    scene.requests.add(Kind.COMMAND, MStatfs, 2.0)
    views = scene.links.request_views(3.0)
    assert [(view.tid, view.kind, view.age_s, view.mon) for view in views] == [
        (1, "statfs", 2.0, "a"),
        (2, "mon_command", 1.0, ""),
    ]
