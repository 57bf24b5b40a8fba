"""poll(2): who waits is told of his file, and costs the others nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from cephmonfs.files.tree import ROWS, Kind, Node
from cephmonfs.files.view import View
from cephmonfs.mon.snapshot import State
from tests.doubles.handlers import Handlers, Waiter, handlers
from tests.doubles.source import QUORUM, FakeSource
from tests.unit.files.test_every_file_in_every_state import known

pytestmark = pytest.mark.trio


async def waiting(mount: Handlers, path: str, count: int = 1) -> list[Waiter]:
    waiters = [Waiter() for _ in range(count)]
    for waiter in waiters:
        fh = await mount.open(path)
        await mount.operations.read(cast("Any", fh), 0, 100)
        await mount.poll(fh, waiter)
    return waiters


def count_calls(monkeypatch: pytest.MonkeyPatch, looks: dict[str, int]) -> None:
    def counting(name: str, real: Callable[[Node, View], object]) -> Callable[[Node, View], object]:
        def counted(node: Node, view: View) -> object:
            looks[name] += 1
            return real(node, view)

        return counted

    for name in looks:
        monkeypatch.setattr(Node, name, counting(name, getattr(Node, name)))


PATHS = [row.path.replace("*", "b") for row in ROWS if row.kind not in (Kind.DIRECTORY, Kind.STREAM, Kind.RING)]


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_is_looked_at_once_however_many_wait_for_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    source = FakeSource()
    known(source)
    async with handlers(source) as mount:
        await waiting(mount, path, 30)
        looks = {"key": 0, "render": 0}
        count_calls(monkeypatch, looks)
        source.publish(last_error="made by the test")
        await trio.sleep(0.5)
        assert 1 <= looks["key"] <= 3
        assert looks["render"] <= 3


async def test_a_file_that_cannot_be_printed_holds_up_nobody_else(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Node.render

    def render(node: Node, view: View) -> bytes:
        if str(node) == "mon/leader" and view.snapshot.last_error:
            raise ValueError("made by the test")
        return real(node, view)

    monkeypatch.setattr(Node, "render", render)
    source = FakeSource()
    async with handlers(source, refresh=2.0) as mount:
        [broken] = await waiting(mount, "mon/leader")
        [other] = await waiting(mount, "session/state")
        source.answers["quorum_status"] = json.dumps(QUORUM | {"quorum_leader_name": "b"}).encode()
        source.publish(last_error="made by the test", state=State.HUNTING)
        await trio.sleep(5)
        assert other.told == 1
        assert broken.told == 1  # a reader gets EIO
    caplog.clear()
