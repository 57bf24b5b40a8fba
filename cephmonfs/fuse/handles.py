"""Open files and directories, and bounds on what one user may hold open."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.errors import TooManyOpen

if TYPE_CHECKING:
    from cephmonfs.files.events import EventRing, Place
    from cephmonfs.files.tree import Children, Node
    from cephmonfs.fuse.renderings import Content, Rendering

_IN_ONE_GO_S: Final = 1.0  # open, fstat, first read and fstat within this time see one rendering
_MAX_OPEN: Final = 20_000  # of one user; some hundred bytes each
_MAX_BYTES: Final = 24 << 20  # of the contents that one user holds open, beyond the first
_MAX_BYTES_OF_ALL: Final = 48 << 20
_ALWAYS: Final = 1 << 20  # bytes of contents that one user may hold open whatever the others hold


@dataclass(slots=True)
class Handle:
    """One open file."""

    node: Node
    inode: int
    uid: int
    opened_at: float  # trio's clock; when the open ended
    key: object = None  # of what it shows; of a ring, the version that was read last
    mtime: float = 0.0
    content: Content | None = None  # None for a ring and a stream
    nonblocking: bool = False
    was_read: bool = False
    polled: bool = False
    ring: EventRing | None = None  # of a ring or stream
    place: Place | None = None  # of a stream

    @property
    def data(self) -> bytes:
        """What reads are answered from."""
        return b"" if self.content is None else self.content.data

    @property
    def in_one_go(self) -> bool:
        """True while its reader may still do the first read."""
        return not self.polled and trio.current_time() - self.opened_at < _IN_ONE_GO_S

    def show(self, rendering: Rendering) -> None:
        """Show this from now on."""
        self.key, self.mtime, self.content = rendering.key, rendering.mtime, rendering.content


@dataclass(slots=True)
class DirectoryHandle:
    """One open directory; its list is the tree's own, which is replaced and not changed."""

    children: Children
    uid: int


@dataclass(slots=True)
class _Held:
    """What one user holds open.  A content counts once, however many handles show it."""

    handles: int = 0
    contents: Counter[Content] = field(default_factory=Counter)
    bytes: int = 0


class Handles:
    """All open handles by number.  Raises TooManyOpen when a user would exceed a bound."""

    def __init__(self) -> None:
        self._open: dict[int, Handle | DirectoryHandle] = {}
        self._held: dict[int, _Held] = {}
        self._bytes = 0
        self._next = 1

    def add(self, handle: Handle | DirectoryHandle) -> int:
        """Return the number of a new handle."""
        held = self._held.get(handle.uid) or _Held()
        if held.handles >= _MAX_OPEN:
            raise TooManyOpen(f"uid {handle.uid} has {held.handles} files open")
        if isinstance(handle, Handle) and handle.content is not None:
            self._hold(held, handle.uid, handle.content)
        held.handles += 1
        self._held[handle.uid] = held
        number, self._next = self._next, self._next + 1
        self._open[number] = handle
        return number

    def show(self, handle: Handle, rendering: Rendering) -> None:
        """Let an open file show another rendering in place of its first, or nothing where that is too large."""
        held, before = self._held[handle.uid], handle.content
        if before is not None:
            self._let_go(held, before)
        handle.content = None
        self._hold(held, handle.uid, rendering.content)
        handle.show(rendering)

    def show_error(self, handle: Handle, key: object) -> None:
        """Let an open file show nothing: its reader got an error, and what came before is not true any more."""
        before = handle.content
        handle.key, handle.content = key, None
        if before is not None:
            self._let_go(self._held[handle.uid], before)

    def get(self, number: int) -> Handle | DirectoryHandle | None:
        """Return an open handle."""
        return self._open.get(number)

    def pop(self, number: int) -> Handle | DirectoryHandle | None:
        """Close one."""
        handle = self._open.pop(number, None)
        if handle is None:
            return None
        held = self._held[handle.uid]
        held.handles -= 1
        if isinstance(handle, Handle) and handle.content is not None:
            self._let_go(held, handle.content)
        if not held.handles:
            del self._held[handle.uid]
        return handle

    def files(self) -> list[Handle]:
        """Return all open files."""
        return [handle for handle in self._open.values() if isinstance(handle, Handle)]

    def _hold(self, held: _Held, uid: int, content: Content) -> None:
        size = len(content.data)
        if content not in held.contents:
            if held.bytes and held.bytes + size > _MAX_BYTES:
                raise TooManyOpen(f"uid {uid} has {held.bytes} bytes of files open")
            if uid and self._bytes and self._bytes + size > _MAX_BYTES_OF_ALL and held.bytes + size > _ALWAYS:
                raise TooManyOpen(f"{self._bytes} bytes of files are open")
            held.bytes += size
            self._bytes += size
        held.contents[content] += 1

    def _let_go(self, held: _Held, content: Content) -> None:
        held.contents[content] -= 1
        if not held.contents[content]:
            del held.contents[content]
            held.bytes -= len(content.data)
            self._bytes -= len(content.data)
