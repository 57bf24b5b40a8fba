"""Each request is sent once on each connection that may answer, and not before the maps it needs."""

from __future__ import annotations

from collections import deque

from cephmonfs.messages.mon import MMonSubscribe, MStatfs, SubscribeItem
from cephmonfs.mon.connection import Phase
from cephmonfs.mon.connections import Connections
from cephmonfs.mon.hunt import Hunt
from cephmonfs.mon.maps import Maps
from cephmonfs.mon.report import Report
from cephmonfs.mon.requests import Kind, Requests
from cephmonfs.mon.sending import Sender
from cephmonfs.mon.target import Target
from cephmonfs.mon.versions import Versions
from tests.doubles.connection import OpenConnection, at, monmap


class Scene:
    def __init__(self, *, fs: str | None = None) -> None:
        self.report = Report()
        self.requests = Requests()
        self.connections = Connections(Hunt(lambda: 0.0), self.requests, self.report, deque())
        self.maps = Maps(None, Target(fs, None), self.report, Versions())
        self.maps.monmap = monmap()
        self.sender = Sender(self.connections, self.requests, self.maps, self.report, "here")
        self.current, self.opening, self.beside = (OpenConnection(n, is_open=n != 2) for n in (1, 2, 3))
        for conn in (self.current, self.opening, self.beside):
            self.connections.add(conn, 0.0, after_loss=False)
        self.connections.current = self.current


def test_a_request_goes_once_to_all_that_may_answer() -> None:
    scene = Scene()
    scene.opening.ready_at, scene.opening.phase = 0.0, Phase.MAPS
    request = scene.requests.add(Kind.STATFS, MStatfs, 1.0)
    scene.sender.everywhere(request, at(1.0))
    scene.sender.everywhere(request, at(2.0))
    assert [len(conn.sent) for conn in (scene.current, scene.opening, scene.beside)] == [1, 0, 1]
    assert request.sent == {1: 1.0, 3: 1.0}
    assert request.asked == at(1.0)
    scene.sender.everything(scene.opening, at(3.0))
    assert scene.opening.sent == [(MStatfs(monmap().fsid.bytes), request.tid)]
    assert request.sends == scene.report.counters["messages_out"] == 3
    assert scene.report.counters["resends"] == 2


def test_before_the_first_monmap_nothing_leaves() -> None:
    scene = Scene()
    scene.maps.monmap = None
    request = scene.requests.add(Kind.COMMAND, MStatfs, 1.0)
    scene.sender.request(scene.current, request, at(1.0))
    assert not request.sends


def test_a_statfs_of_a_file_system_waits_for_its_maps() -> None:
    scene = Scene(fs="cephfs")
    statfs, version = (scene.requests.add(kind, MStatfs, 1.0) for kind in (Kind.STATFS, Kind.VERSION))
    scene.sender.everything(scene.current, at(1.0))
    assert (statfs.sends, version.sends) == (0, 1)


def test_a_command_does_not_leave_with_everything_else() -> None:
    scene = Scene()
    command = scene.requests.add(Kind.COMMAND, MStatfs, 1.0)
    probe = scene.requests.add(Kind.COMMAND, MStatfs, 1.0, optional=True)
    scene.sender.everything(scene.current, at(1.0))
    assert (command.sends, probe.sends) == (0, 1)


def test_subscriptions() -> None:
    scene = Scene()
    scene.sender.subscribe({}, (scene.current,))
    items = {"osdmap": SubscribeItem(3)}
    scene.sender.subscribe(items, (scene.current, scene.opening))
    assert scene.current.sent == [(MMonSubscribe(items, "here"), 0)]
    assert not scene.opening.sent
