"""Inode numbers: of each path always the same, and kept only while the kernel knows it."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cephmonfs.files.tree import Node

ROOT: Final = 1  # FUSE_ROOT_ID
_MASK: Final = (1 << 63) - 1


class Inodes:
    """The nodes that the kernel may ask for by number.

    A number is made from the path, so it lasts as long as the mount without being stored.
    """

    def __init__(self, root: Node) -> None:
        self._nodes: dict[int, Node] = {ROOT: root}
        self._lookups: dict[int, int] = {}

    def number(self, path: tuple[str, ...]) -> int:
        """Return the number of a path."""
        if not path:
            return ROOT
        text = "/".join(path).encode("utf-8", "surrogatepass")
        number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") & _MASK
        while number <= ROOT or (number in self._nodes and self._nodes[number].path != path):
            number = number + 1 & _MASK
        return number

    def looked_up(self, node: Node) -> int:
        """Count one more lookup by the kernel; return the node's number."""
        number = self.number(node.path)
        self._nodes[number] = node
        self._lookups[number] = self._lookups.get(number, 0) + 1
        return number

    def get(self, number: int) -> Node | None:
        """Return the node that the kernel means."""
        return self._nodes.get(number)

    def forget(self, forgotten: Iterable[tuple[int, int]]) -> list[int]:
        """Subtract lookups that the kernel forgets; return the numbers that it no longer knows."""
        gone = []
        for number, lookups in forgotten:
            left = self._lookups.get(number, 0) - lookups
            if left > 0:
                self._lookups[number] = left
            elif number != ROOT:
                self._lookups.pop(number, None)
                if self._nodes.pop(number, None) is not None:
                    gone.append(number)
        return gone
