"""Standing: from links to a state, and from session to session."""

from __future__ import annotations

from collections import deque

from cephmonfs.mon.hunt import Hunt
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.link import Phase
from cephmonfs.mon.links import Links
from cephmonfs.mon.requests import Requests
from cephmonfs.mon.snapshot import State
from cephmonfs.mon.standing import Standing
from tests.unit.mon.fakes import OpenLink, at


class Scene:
    def __init__(self) -> None:
        self.hunt = Hunt(lambda: 0.0)
        self.journal = Journal()
        self.links = Links(self.hunt, Requests(), self.journal, deque())
        self.standing = Standing(self.links, self.hunt, self.journal)

    def add(self, number: int, *, is_open: bool = True) -> OpenLink:
        link = OpenLink(number, is_open=is_open)
        self.links.add(link, 0.0, after_loss=False)
        return link

    def state(self, now: float = 0.0) -> State:
        self.standing.update(now)
        return self.standing.state


def test_states() -> None:
    scene = Scene()
    assert scene.state() is State.CONNECTING
    assert scene.journal.take_changes() == frozenset()
    link = scene.add(1, is_open=False)
    assert scene.state() is State.CONNECTING
    link.phase = Phase.AUTH
    assert scene.state() is State.AUTHENTICATING
    scene.hunt.refused = True
    assert scene.state() is State.REFUSED
    link.phase = Phase.MAPS
    assert scene.state() is State.AUTHENTICATING
    scene.hunt.refused = False
    scene.links.current = link
    scene.standing.opened(link, at(1.0))
    assert scene.state(1.0) is State.OPEN
    link.keepalive_sent = 20.0
    assert scene.state(20.3) is State.HUNTING  # it is late
    scene.links.close(link)
    assert scene.state(20.3) is State.HUNTING
    assert scene.journal.counters["hunts"] == 1
    assert scene.journal.take_changes() == {"session"}


def test_sessions_are_counted_and_so_are_moves() -> None:
    scene = Scene()
    standing, a, b = scene.standing, scene.add(1), scene.add(2)
    scene.journal.errors["a"] = "once"
    standing.opened(a, at(1.0))
    standing.lost("reset", at(2.0))
    standing.opened(a, at(3.0))
    standing.opened(b, at(4.0))
    assert (standing.sessions, standing.failovers, standing.mon, standing.mode) == (3, 1, "b", "crc")
    assert standing.addr == str(b.candidate.addr)
    assert standing.since == at(4.0)
    assert [(change.state, change.mon, change.reason) for change in scene.journal.history] == [
        (State.OPEN, "a", ""),
        (State.HUNTING, "a", "reset"),
        (State.OPEN, "a", ""),
        (State.OPEN, "b", ""),
    ]
    assert not scene.journal.errors


def test_keepalives_measure_the_way() -> None:
    scene = Scene()
    link = scene.add(1)
    scene.journal.errors["z"] = "long ago"
    scene.standing.alive(link, at(5.0))  # unasked
    assert scene.standing.rtt == {}
    link.keepalive_sent = 5.0
    scene.standing.alive(link, at(5.5))
    assert scene.standing.rtt == {"a": 0.5}
    scene.standing.alive(link, at(9.0))  # once is enough
    scene.standing.forget({"a"})
    assert scene.standing.rtt == {"a": 0.5}
    assert not scene.journal.errors
    assert scene.standing.mons(None) == ()
