"""Inode numbers come from paths; nodes are kept while the kernel knows them."""

from __future__ import annotations

from cephmonfs.files.tree import ROWS, Node
from cephmonfs.fuse.inodes import ROOT, Inodes

TOP = Node(ROWS[0], ())


def node(*path: str) -> Node:
    return Node(ROWS[1], path)


def test_a_number_lasts_longer_than_the_node() -> None:
    inodes = Inodes(TOP)
    number = inodes.looked_up(node("mon", "a"))
    assert inodes.looked_up(node("mon", "a")) == number
    assert inodes.get(number) == node("mon", "a")
    assert inodes.forget([(number, 1)]) == []
    assert inodes.get(number) is not None
    assert inodes.forget([(number, 1)]) == [number]
    assert inodes.get(number) is None
    assert inodes.forget([(number, 1)]) == []
    assert inodes.looked_up(node("mon", "a")) == number


def test_the_root_stays() -> None:
    inodes = Inodes(TOP)
    assert inodes.number(()) == ROOT
    assert inodes.forget([(ROOT, 1000)]) == []
    assert inodes.get(ROOT) is TOP


def test_numbers_differ_also_where_names_are_no_text() -> None:
    inodes = Inodes(TOP)
    paths = [("a", "b"), ("a/b",), ("ab",), ("\udcff",), ("\ud800",)]
    numbers = [inodes.looked_up(node(*path)) for path in paths]
    assert len(set(numbers)) == len(paths)
    assert all(ROOT < number < 1 << 63 for number in numbers)
