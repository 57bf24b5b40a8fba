"""A file's key holds all that its content is made from: else a rendering that is kept would pass for a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pyfuse3
import pytest
import trio
import trio.testing

from cephmonfs.errors import CephMonFSError, NotPermitted
from cephmonfs.files.answers import Answer, Command
from cephmonfs.files.tree import ROWS, Node, Row
from cephmonfs.files.view import Memo, View
from cephmonfs.mon.snapshot import MapRecord, Snapshot, Stamp
from tests.doubles.handlers import handlers
from tests.doubles.source import FakeSource, encoded, map_record, monmap
from tests.unit.files.test_every_file_in_every_state import known

pytestmark = pytest.mark.trio

# What changes with something else that is in the key.
FOLLOWS = {
    "mons": {"monmap", "map:monmap"},
    "map:monmap": {"monmap"},
    "fsid": {"map:monmap"},  # is the same as long as the mount lasts
    "addr": {"since"},
    "my_addr": {"since"},
    "sessions": {"since"},
}


class Read(set[str]):
    """What was looked at."""


@dataclass
class Watched:
    """A snapshot that says what is looked at."""

    real: Snapshot
    read: Read

    def __getattr__(self, name: str) -> object:
        if name == "maps":
            return WatchedMaps(self.real.maps, self.read)
        self.read.add(name)
        return getattr(self.real, name)


class WatchedMaps(Mapping[str, MapRecord]):
    def __init__(self, real: Mapping[str, MapRecord], read: Read) -> None:
        self._real, self._read = real, read

    def __getitem__(self, name: str) -> MapRecord:
        self._read.add(f"map:{name}")
        return self._real[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


class WatchedAnswers(Mapping[Command, Answer]):
    def __init__(self, real: Mapping[Command, Answer], read: Read) -> None:
        self._real, self._read = real, read

    def __getitem__(self, command: Command) -> Answer:
        self._read.add(str(command))
        return self._real[command]

    def __iter__(self) -> Iterator[Command]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


def looked_at(view: View, look: Callable[[View], object]) -> Read:
    read = Read()
    snapshot = cast("Snapshot", Watched(view.snapshot, read))
    try:
        look(replace(view, snapshot=snapshot, answers=WatchedAnswers(view.answers, read), memo=Memo()))
    except CephMonFSError:
        pass  # an error is content, too
    return read


@pytest.mark.parametrize("row", [row for row in ROWS if row.render and not row.ages], ids=lambda row: row.path)
async def test_it_holds_all_that_the_content_is_made_from(autojump_clock: trio.testing.MockClock, row: Row) -> None:
    source = FakeSource()
    known(source)
    async with handlers(source) as mount:
        for path in ("status", "metrics", "dashboard.html"):
            await mount.read(path)  # so that each command is answered
        view = mount.operations._view()
    node = Node(row, row.parts, ("a",) * row.path.count("*"))
    key = looked_at(view, node.key)
    missing = {name for name in looked_at(view, node.render) - key if not FOLLOWS.get(name, set()) & key}
    assert not missing


def another_monmap(source: FakeSource, epoch: int, names: str) -> None:
    new = monmap(epoch, names)
    maps = {**source.snap.maps, "monmap": map_record("monmap", epoch, encoded(new), source.now())}
    mons = tuple(mon for mon in source.snap.mons if mon.name in names)
    source.publish(maps=maps, monmap=new, mons=mons)


async def test_another_map_of_the_same_epoch(autojump_clock: trio.testing.MockClock) -> None:
    """As after a lie, or a rollback."""
    source = FakeSource()
    async with handlers(source) as mount:
        for path in ("monmap", "monmap.json", "maps/monmap.bin", "debug/monmap"):
            assert "mon.x" not in await mount.outcome(path)
        another_monmap(source, 3, "xyz")
        await trio.sleep(1)
        assert "mon.x" in await mount.outcome("monmap")
        assert '"x"' in await mount.outcome("monmap.json")
        assert await mount.read("maps/monmap.bin") == source.snap.maps["monmap"].blob


async def test_an_open_file_of_a_monitor_that_was_removed(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with handlers(source) as mount:
        names = ("rank", "addr", "in_quorum", "rtt_ms", "last_error")
        opened = {name: cast("Any", await mount.open(f"mon/c/{name}")) for name in names}
        for fh in opened.values():
            await mount.operations.read(fh, 0, 100)
        another_monmap(source, 4, "ab")
        await trio.sleep(1)
        for name, fh in opened.items():
            with pytest.raises(pyfuse3.FUSEError):
                pytest.fail(f"{name}: {(await mount.operations.read(fh, 0, 100))!r}")


async def test_a_whole_osdmap_in_place_of_incrementals(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    at = source.now()
    long = MapRecord(17, b"old", at, (b"change",), None, Stamp(at.mono - 60, at.wall - 60))
    source.publish(maps={**source.snap.maps, "osdmap": long})
    source.answers["osd getmap"] = -22
    async with handlers(source) as mount:
        assert await mount.read("maps/osdmap.bin") == b"old"
        source.publish(maps={**source.snap.maps, "osdmap": MapRecord(17, b"new", at)})
        await trio.sleep(1)
        assert await mount.read("maps/osdmap.bin") == b"new"


@pytest.mark.parametrize("was_known", [True, False])
async def test_a_statfs_that_the_caps_do_not_cover(autojump_clock: trio.testing.MockClock, was_known: bool) -> None:
    source = FakeSource()
    async with handlers(source) as mount:
        if was_known:
            assert await mount.outcome("capacity/objects") == "123456\n"
        else:
            source.publish(statfs=None)
        source.statfs_error = NotPermitted("made by the test")
        source.publish(denied=frozenset({"statfs"}))
        await trio.sleep(1)
        for name in ("total_bytes", "used_bytes", "avail_bytes", "objects", "used_ratio", "age_seconds"):
            assert await mount.outcome(f"capacity/{name}") == "EACCES"
        assert "ceph_cluster_total_bytes" not in await mount.outcome("metrics")
        assert await mount.outcome("status") != "EIO"
        assert await mount.outcome("dashboard.html") != "EIO"
