"""What an open file remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from cephmonfs.fs.events import Place
    from cephmonfs.fs.tree import Node

_IN_ONE_GO_S: Final = 1.0  # open, fstat, first read and fstat within this time see one rendering


@dataclass(slots=True)
class Rendering:
    """What a file's content was made from, and what it was."""

    key: object
    size: int
    mtime: float
    content: bytes | None  # None: too large to keep


@dataclass(slots=True)
class Handle:
    """One open file."""

    node: Node
    inode: int
    rendering: Rendering
    content: bytes
    opened_at: float  # trio's clock
    nonblocking: bool = False
    was_read: bool = False
    polled: bool = False
    place: Place | None = None  # of a stream

    @property
    def in_one_go(self) -> bool:
        """True while its reader may still be at the first reading."""
        return not self.polled and trio.current_time() - self.opened_at < _IN_ONE_GO_S
