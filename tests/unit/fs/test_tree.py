from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest

from cephmonfs.errors import NotPermitted
from cephmonfs.fs import answers
from cephmonfs.fs.answers import OSDMAP
from cephmonfs.fs.statvfs import NAME_MAX
from cephmonfs.fs.tree import DEPENDENCIES, ROWS, Kind, Node, Tree, safe_name, safe_names
from cephmonfs.fs.view import View
from cephmonfs.mon.snapshot import CommandReply, Stamp
from tests.fuse.fake import DESCRIPTIONS, WALL, map_record, snapshot


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


def test_keys_change_with_the_data_and_not_with_its_arrival(view_of: Callable[..., View]) -> None:
    record = snapshot().maps["osdmap"]
    before, again, after = (
        view_of(maps={"osdmap": map_record("osdmap", epoch, record.blob, Stamp(at, at))})
        for epoch, at in ((17, 1.0), (17, 2.0), (18, 2.0))
    )
    osdmap = node("osdmap", before)
    assert osdmap.key(before) == osdmap.key(again) != osdmap.key(after)


def test_a_directory_has_no_content(view: View) -> None:
    with pytest.raises(RuntimeError):
        Tree().root.render(view)


def test_the_encoded_osdmap_is_the_newest_there_is(view_of: Callable[..., View]) -> None:
    reply = CommandReply(0, "", b"asked for", Stamp(999.0, 1.0))
    maps = {"osdmap": map_record("osdmap", 17, b"received", Stamp(990.0, 1.0))}
    changed = {"osdmap": replace(maps["osdmap"], incrementals=(b"a change",))}
    for snap_maps, known, wanted in (
        (maps, {OSDMAP: reply}, b"received"),
        (changed, {OSDMAP: reply}, b"asked for"),
        (changed, {OSDMAP: NotPermitted("caps")}, b"received"),
    ):
        view = view_of(answers=known, maps=snap_maps)
        node = Tree().find("maps/osdmap.bin", view)
        assert node is not None
        assert node.render(view) == wanted
