"""Outbox: each request once on each link, on those links that may answer, and not before the maps it needs."""

from __future__ import annotations

from collections import deque

from cephmonfs.messages.mon import MMonSubscribe, MStatfs, SubscribeItem
from cephmonfs.mon.following import Following
from cephmonfs.mon.hunt import Hunt
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.link import Phase
from cephmonfs.mon.links import Links
from cephmonfs.mon.outbox import Outbox
from cephmonfs.mon.requests import Kind, Requests
from cephmonfs.mon.target import Target
from cephmonfs.mon.versions import Versions
from tests.unit.mon.fakes import OpenLink, at, monmap


class Scene:
    def __init__(self, *, fs: str | None = None) -> None:
        self.journal = Journal()
        self.requests = Requests()
        self.links = Links(Hunt(lambda: 0.0), self.requests, self.journal, deque())
        self.following = Following(None, Target(fs, None), self.journal, Versions())
        self.following.monmap = monmap()
        self.outbox = Outbox(self.links, self.requests, self.following, self.journal, "here")
        self.current, self.opening, self.beside = (OpenLink(n, is_open=n != 2) for n in (1, 2, 3))
        for link in (self.current, self.opening, self.beside):
            self.links.add(link, 0.0, after_loss=False)
        self.links.current = self.current


def test_a_request_goes_once_to_all_that_may_answer() -> None:
    scene = Scene()
    scene.opening.ready_at, scene.opening.phase = 0.0, Phase.MAPS
    request = scene.requests.add(Kind.STATFS, MStatfs, 1.0)
    scene.outbox.everywhere(request, at(1.0))
    scene.outbox.everywhere(request, at(2.0))
    assert [len(link.sent) for link in (scene.current, scene.opening, scene.beside)] == [1, 0, 1]
    assert request.sent == {1: 1.0, 3: 1.0}
    assert request.asked == at(1.0)
    scene.outbox.everything(scene.opening, at(3.0))
    assert scene.opening.sent == [(MStatfs(monmap().fsid.bytes), request.tid)]
    assert request.sends == scene.journal.counters["messages_out"] == 3
    assert scene.journal.counters["resends"] == 2


def test_before_the_first_monmap_nothing_leaves() -> None:
    scene = Scene()
    scene.following.monmap = None
    request = scene.requests.add(Kind.COMMAND, MStatfs, 1.0)
    scene.outbox.request(scene.current, request, at(1.0))
    assert not request.sends


def test_a_statfs_of_a_file_system_waits_for_its_maps() -> None:
    scene = Scene(fs="cephfs")
    statfs, version = (scene.requests.add(kind, MStatfs, 1.0) for kind in (Kind.STATFS, Kind.VERSION))
    scene.outbox.everything(scene.current, at(1.0))
    assert (statfs.sends, version.sends) == (0, 1)


def test_a_command_does_not_leave_with_everything_else() -> None:
    scene = Scene()
    command = scene.requests.add(Kind.COMMAND, MStatfs, 1.0)
    probe = scene.requests.add(Kind.COMMAND, MStatfs, 1.0, optional=True)
    scene.outbox.everything(scene.current, at(1.0))
    assert (command.sends, probe.sends) == (0, 1)


def test_subscriptions() -> None:
    scene = Scene()
    scene.outbox.subscribe({}, (scene.current,))
    items = {"osdmap": SubscribeItem(3)}
    scene.outbox.subscribe(items, (scene.current, scene.opening))
    assert scene.current.sent == [(MMonSubscribe(items, "here"), 0)]
    assert not scene.opening.sent
