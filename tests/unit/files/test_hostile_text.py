"""Every row of the table of files, with every hostile answer and hostile names in the maps."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cephmonfs.errors import CephMonFSError, NoData, NotPermitted
from cephmonfs.files.answers import DESCRIPTIONS, DF_DETAIL, HEALTH, MON_METADATA, QUORUM, STATUS, Command
from cephmonfs.files.events import EventRing
from cephmonfs.files.observer import Observer
from cephmonfs.files.tree import Kind, Node, Tree
from cephmonfs.files.view import View
from cephmonfs.fuse.boundary import errno_for
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.mon.snapshot import CommandReply, MapRecord, MonView, Stamp
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.doubles import source as fake
from tests.doubles.source import map_record
from tests.support.hostile import ANSWERS, CONTROL, EVIL, RAW, encoded
from tests.vectors import load

AT = Stamp(999.0, fake.WALL + 9)
RELEASE = "tentacle-20.2.4"
COMMANDS: Mapping[str, tuple[Command, ...]] = {
    "health": (HEALTH,),
    "quorum_status": (QUORUM,),
    "df": (DF_DETAIL,),
    "status": (STATUS,),
    "mon metadata": (MON_METADATA,),
    "get_command_descriptions": (DESCRIPTIONS,),
}
LABELS = ("cluster", "health", "capacity", "monitors", "maps", "session")
CARDS = ("Health", "Capacity", "Monitors", "File systems", "Pools", "Session", "Maps")


def answers(scenario: str) -> dict[Command, CommandReply | CephMonFSError]:
    found: dict[Command, CommandReply | CephMonFSError] = {}
    for words, answer in ANSWERS[scenario].items():
        for command in COMMANDS[words]:
            if isinstance(answer, int):
                kind = NotPermitted if answer == -errno.EACCES else NoData
                found[command] = kind(f"{command}: {EVIL} ({answer})")
            else:
                found[command] = CommandReply(0, EVIL, encoded(answer), AT)
    return found


def bytes_of(encode: Callable[[Encoder], object]) -> bytes:
    enc = Encoder()
    encode(enc)
    return bytes(enc)


def hostile_maps() -> dict[str, MapRecord]:
    """Maps of a real cluster, with evil names where names are."""
    m = fake.monmap()
    mons = tuple(replace(mon, name=name) for mon, name in zip(m.mons, (RAW, "a", "../x\n"), strict=True))
    monmap = replace(m, mons=mons)
    fsmap = FSMap.decode(Cursor(load(RELEASE, "cli-fsmap.bin"), "fsmap"))
    fs = fsmap.filesystems[0]
    infos = tuple(replace(info, name=RAW) for info in fs.mdsmap.infos)
    mdsmap = replace(fs.mdsmap, fs_name=RAW, balancer=RAW, infos=infos)
    evil_fs = replace(fs, mdsmap=mdsmap)
    osdmap = OSDMap.decode(Cursor(load(RELEASE, "rich-osdmap-all.bin"), "osdmap"))
    names = dict.fromkeys(osdmap.pool_names, RAW)
    blobs = {
        "monmap": fake.encoded(monmap),
        "fsmap": bytes_of(replace(fsmap, filesystems=(evil_fs,)).encode),
        "mdsmap": bytes_of(mdsmap.encode),
        "osdmap": bytes_of(replace(osdmap, pool_names=names).encode),
    }
    return {name: map_record(name, 3, blob, AT) for name, blob in blobs.items()} | {
        "mgrmap": map_record("mgrmap", 3, b"", AT)
    }


@pytest.fixture(scope="module")
def maps() -> dict[str, MapRecord]:
    return hostile_maps()


@pytest.fixture
def view_in(view_of: Callable[..., View], maps: dict[str, MapRecord]) -> Callable[[str], View]:
    def make(scenario: str) -> View:
        monmap = MonMap.decode(Cursor(maps["monmap"].blob, "monmap"))
        mons = tuple(MonView(mon.name, i, mon.addrs, 0.001, "") for i, mon in enumerate(monmap.mons))
        return view_of(
            answers=answers(scenario), maps=maps, monmap=monmap, mons=mons, mon=mons[0].name, denied=frozenset()
        )

    return make


def walk(view: View, node: Node | None = None) -> Iterator[Node]:
    tree = Tree()
    children: Mapping[str, Node] = {}
    try:
        children = tree.children(node or tree.root, view)
    except CephMonFSError as exc:
        _expected(exc, node)
    for name, child in children.items():
        assert name == child.path[-1]
        assert name.isprintable(), name
        assert "/" not in name
        assert name not in (".", "..")
        assert len(name.encode()) <= 255
        yield child
        if child.is_directory:
            yield from walk(view, child)


def shown(node: Node, view: View) -> bytes | None:
    """Return what a reader gets; None for an error that is an answer.  Anything else fails."""
    try:
        return node.render(view)
    except CephMonFSError as exc:
        _expected(exc, node)
    return None


def _expected(exc: CephMonFSError, node: Node | None) -> None:
    if errno_for(exc) not in (errno.ENODATA, errno.EACCES, errno.ETIMEDOUT):
        pytest.fail(f"{node}: {exc!r}")


def _no_json(word: str) -> None:
    pytest.fail(f"{word} is no JSON")


@pytest.mark.parametrize("scenario", ANSWERS)
def test_every_file(scenario: str, view_in: Callable[[str], View], caplog: pytest.LogCaptureFixture) -> None:
    view = view_in(scenario)
    seen = set()
    for node in walk(view):
        kind = node.row.kind
        if kind in (Kind.DIRECTORY, Kind.RING, Kind.STREAM, Kind.BINARY) or node.path[0] == "ceph":
            continue
        seen.add(node.row.path)
        data = shown(node, view)
        if data is None:
            continue
        text = data.decode()
        assert not CONTROL.search(text), node
        if kind is Kind.VALUE:
            assert text.count("\n") == 1, node
        if kind is Kind.JSON:
            json.loads(text, parse_constant=_no_json)
    assert {"status", "metrics", "dashboard.html", "health", "mon/*/addr", "mdsmap", "osdmap.json"} <= seen
    assert not caplog.records  # no part failed for a fault of ours


@pytest.mark.parametrize("scenario", ANSWERS)
def test_the_rest_of_each_page_is_there(scenario: str, view_in: Callable[[str], View]) -> None:
    view = view_in(scenario)
    tree = Tree()
    pages = {}
    for path in ("status", "dashboard.html", "metrics", "health"):
        node = tree.find(path, view)
        assert node is not None
        data = shown(node, view)
        if data is None:
            assert (path, scenario) == ("health", "no access")
            continue
        pages[path] = data.decode()
    for label in LABELS:
        assert f"\n  {label}" in "\n" + pages["status"]
    assert max(map(len, pages["status"].splitlines())) <= 80
    assert len(pages["status"].splitlines()) < 60
    for title in CARDS:
        assert f"<h2>{title}</h2>" in pages["dashboard.html"]
    assert pages["dashboard.html"].rstrip().endswith("</html>")
    assert len(pages["dashboard.html"]) < 1 << 20
    names = set()
    for family in text_string_to_metric_families(pages["metrics"]):
        keys = {(sample.name, *sorted(sample.labels.items())) for sample in family.samples}
        assert len(keys) == len(family.samples), family.name
        assert family.name.startswith(("ceph_", "cephmonfs_"))
        names.add(family.name)
    assert {"cephmonfs_up", "ceph_osd_up", "ceph_pool_metadata", "ceph_mon_metadata"} <= names
    assert pages.get("health", "HEALTH_OK\n") in (f"HEALTH_{word}\n" for word in ("OK", "WARN", "ERR", "UNKNOWN"))


@pytest.mark.parametrize("scenario", ANSWERS)
def test_events(scenario: str, view_in: Callable[[str], View], caplog: pytest.LogCaptureFixture) -> None:
    observer, ring = Observer(), EventRing()
    view = view_in(scenario)
    for event, wall in observer.observe(view):
        ring.append(event, wall)
    lines = ring.read(0, 1 << 20).decode().splitlines()
    assert not CONTROL.search("".join(lines))
    told = {json.loads(line)["event"] for line in lines}
    assert {"session", "monmap", "osdmap", "capacity"} <= told
    assert observer.observe(view) == []  # all of it was taken note of
    assert not caplog.records


def test_a_fault_of_ours_costs_one_part(
    view_in: Callable[[str], View], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: View) -> object:
        raise OverflowError("int too large to convert to float")

    for name in ("quorum", "last_quorum"):
        monkeypatch.setattr(View, name, property(fail))
    view = view_in("objects")
    tree = Tree()
    for path, there in (
        ("status", "session   client.df"),
        ("dashboard.html", "<h2>Session</h2>"),
        ("metrics", "ceph_osd_up{"),
    ):
        node = tree.find(path, view)
        assert node is not None
        text = node.render(view).decode()
        assert there in text
        if path != "metrics":
            assert "not shown: OverflowError, see the file log" in text
    events = Observer().observe(view)
    assert {"monmap", "session", "capacity"} <= {event["event"] for event, _ in events}
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    caplog.clear()
