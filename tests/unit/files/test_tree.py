from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from cephmonfs.errors import NoData, NotPermitted
from cephmonfs.files import answers
from cephmonfs.files.answers import OSDMAP
from cephmonfs.files.statvfs import NAME_MAX
from cephmonfs.files.tree import DEPENDENCIES, ROWS, Kind, Node, Tree, safe_name, safe_names
from cephmonfs.files.view import View
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.mon.mapstore import MapStore
from cephmonfs.mon.snapshot import CommandReply, Stamp
from cephmonfs.wire.cursor import Cursor
from tests.doubles.source import DESCRIPTIONS, WALL, map_record, snapshot
from tests.vectors import load_list


@pytest.fixture
def view(view_of: Callable[..., View]) -> View:
    described = CommandReply(0, "", json.dumps(DESCRIPTIONS).encode(), Stamp(999.0, WALL))
    return view_of(answers={answers.DESCRIPTIONS: described})


def walk(tree: Tree, view: View, node: Node | None = None) -> list[Node]:
    node = node or tree.root
    found = []
    for child in tree.children(node, view).values():
        found.append(child)
        if child.is_directory:
            found += walk(tree, view, child)
    return found


def test_every_row_is_named_once_and_lies_in_a_directory_of_the_table() -> None:
    paths = [row.path for row in ROWS]
    assert len(set(paths)) == len(paths)
    directories = {row.path for row in ROWS if row.kind is Kind.DIRECTORY}
    for row in ROWS[1:]:
        assert "/".join(row.parts[:-1]) in directories, row.path
        assert row.about
        assert set(row.depends) <= set(DEPENDENCIES)
        assert (row.render is None) == (row.kind in (Kind.DIRECTORY, Kind.RING, Kind.STREAM)), row.path
        assert not any(part.startswith(".") for part in row.parts)


def test_all_nodes_are_found_by_their_path(view: View) -> None:
    tree = Tree()
    nodes = walk(tree, view)
    assert len({node.path for node in nodes}) == len(nodes)
    for node in nodes:
        assert tree.find("/".join(node.path), view) == node
    assert tree.find("", view) == tree.root
    assert str(tree.root) == "/"
    for path in ("nosuch", "mon/x", "fsid/x", "mon/a/x"):
        assert tree.find(path, view) is None


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a", "a"),
        ("", "_"),
        (".", "_"),
        ("..", "_."),
        ("a/b", "a_b"),
        ("a\0b\n\x7f", "a_b__"),
        ("a\udcff\u202e\u2028\x9b", "a____"),
        ("ä" * 200, "ä" * 125),
    ],
    ids=ascii,
)
def test_names_of_the_cluster_become_file_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert len(safe_name(name).encode()) <= NAME_MAX


def test_names_that_collide_get_numbers() -> None:
    names = ["count", "a/b", "a_b", "a\nb", "x" * 300, "x" * 301]
    found = safe_names(names, {"count": None})
    assert list(found.values()) == names
    assert list(found)[:4] == ["count~2", "a_b", "a_b~2", "a_b~3"]
    assert all(len(name) <= NAME_MAX for name in found)


def test_a_monitor_with_an_odd_name_has_its_directory(view_of: Callable[..., View]) -> None:
    mons = tuple(replace(mon, name=name) for mon, name in zip(snapshot().mons, ("leader", "../x", "ok"), strict=True))
    view = view_of(mons=mons)
    tree = Tree()
    assert list(tree.children(cast("Node", tree.find("mon", view)), view)) == [
        "count", "quorum_count", "leader", "leader~2", "_._x", "ok",
    ]  # fmt: skip
    node = tree.find("mon/_._x/rank", view)
    assert node is not None
    assert node.render(view) == b"1\n"


def node(path: str, view: View) -> Node:
    found = Tree().find(path, view)
    assert found is not None, path
    return found


def test_mtime_is_that_of_the_newest_part(view_of: Callable[..., View]) -> None:
    view = view_of()
    assert node("monmap", view).mtime(view) == WALL
    assert node("mdsmap", view).mtime(view) == view.mounted.wall
    assert node("README", view).mtime(view) == view.mounted.wall
    assert node("session/last_contact", view).mtime(view) == WALL + 9.5


def test_keys_change_with_the_data(view_of: Callable[..., View]) -> None:
    """The session keeps its record of a map that comes once more; another one of the same epoch is another map."""
    record = snapshot().maps["osdmap"]
    before, again, another, after = (
        view_of(maps={"osdmap": map_record("osdmap", epoch, record.blob, Stamp(at, at))})
        for epoch, at in ((17, 1.0), (17, 1.0), (17, 2.0), (18, 2.0))
    )
    osdmap = node("osdmap", before)
    assert osdmap.key(before) == osdmap.key(again)
    assert len({osdmap.key(before), osdmap.key(another), osdmap.key(after)}) == 3


def test_a_directory_has_no_content(view: View) -> None:
    with pytest.raises(RuntimeError):
        Tree().root.render(view)


# ---- maps/osdmap.bin: its bytes, their epoch and their time belong together

FULLS = load_list("pacific-16.2.15", "osdmap-fulls.bin")
CHANGES = load_list("pacific-16.2.15", "osdmap-incrementals.bin")
CAME, CHANGED, ASKED = Stamp(900.0, 10.0), Stamp(990.0, 100.0), Stamp(950.0, 60.0)
FIRST = OSDMap.epoch_of(Cursor(FULLS[0]))


def answer_at(stamp: Stamp, data: bytes) -> CommandReply:
    return CommandReply(0, "", data, stamp)


@pytest.mark.parametrize(
    ("changes", "known", "wanted", "at"),
    [
        (0, answer_at(ASKED, FULLS[0]), FULLS[0], CAME),
        (0, answer_at(ASKED, FULLS[3]), FULLS[0], CAME),  # there is no newer epoch: that answer is not of this map
        (3, answer_at(ASKED, FULLS[3]), FULLS[3], ASKED),
        (3, answer_at(ASKED, FULLS[2]), FULLS[2], ASKED),  # from before the last change, and says so by its time
        (3, answer_at(ASKED, FULLS[0]), FULLS[0], CAME),  # no newer than what was received
        (3, NotPermitted("caps"), FULLS[0], CAME),
        (3, answer_at(ASKED, b"no map"), FULLS[0], CAME),
        (3, answer_at(ASKED, b""), FULLS[0], CAME),
        (3, None, FULLS[0], CAME),
    ],
)
def test_an_encoded_osdmap_has_the_time_at_which_it_came(
    view_of: Callable[..., View], changes: int, known: CommandReply | NotPermitted | None, wanted: bytes, at: Stamp
) -> None:
    store = MapStore()
    osdmap = OSDMap.decode(Cursor(FULLS[0]))
    store.put("osdmap", FIRST, FULLS[0], CAME, osdmap)
    for number in range(1, changes + 1):
        osdmap = osdmap.apply(Incremental.decode(Cursor(CHANGES[number])))
        assert store.put_incremental(osdmap.epoch, CHANGES[number], CHANGED, osdmap)
    view = view_of(answers={} if known is None else {OSDMAP: known}, maps=store.records())
    node = Tree().find("maps/osdmap.bin", view)
    epoch = Tree().find("epoch/osdmap", view)
    assert node is not None
    assert epoch is not None
    assert node.render(view) == wanted
    assert node.mtime(view) == at.wall
    assert epoch.mtime(view) == (CHANGED if changes else CAME).wall


def test_no_osdmap_has_no_time(view_of: Callable[..., View]) -> None:
    view = view_of(answers={OSDMAP: answer_at(ASKED, FULLS[0])}, maps={})
    node = Tree().find("maps/osdmap.bin", view)
    assert node is not None
    assert node.mtime(view) == view.mounted.wall
    with pytest.raises(NoData):
        node.render(view)


@pytest.mark.parametrize("number", range(0, len(FULLS), 7))
def test_the_epoch_of_an_encoded_osdmap(number: int) -> None:
    assert OSDMap.epoch_of(Cursor(FULLS[number])) == OSDMap.decode(Cursor(FULLS[number])).epoch
