"""Renderings: a file is rendered once for all who open it at the same moment.

Rule: an open gets a rendering that began after the open, or an older one if nothing has changed since.  A file that
shows ages is shared for `_SHARE` times as long as its rendering took, and a costly one even when something has changed:
it says of what time it is.  Any other file is not rendered again before that time, or half a second, is over.  So a
caller that opens a costly file in a loop gets a bounded part of the loop's time.
Example: a dashboard that takes 5 ms is rendered at most each 50 ms; `metrics` of 5000 pools that take 1 s, each 10 s.

A large file is rendered in a thread, once, and all its openers wait for it.  The kept bytes are bounded: small contents
and one large one are kept for the next open, other large ones only while they are open.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from weakref import ReferenceType, ref

import trio

from cephmonfs.errors import CephMonFSError, RequestTimeout
from cephmonfs.files.answers import Failure
from cephmonfs.files.tree import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from cephmonfs.files.tree import Node
    from cephmonfs.files.view import View
    from cephmonfs.fuse.slots import WaitSlots

log = logging.getLogger(__name__)

_SHARE: Final = 9.0
_PAUSE_MOST_S: Final = 0.5
_COSTLY_S: Final = 0.05
_THREAD_BYTES: Final = 256 << 10  # of a map or an answer; a file made from more is rendered in a thread
_THREADS: Final = 2
_SMALL: Final = 256 << 10  # contents up to this size are kept for the next opener, costly ones up to _MAX_KEPT / 2
_MAX_KEPT: Final = 8 << 20  # of all small contents together
_LARGE: Final = (
    24 << 20
)  # one costly content up to this size is kept, or an opener that timed out would time out again for ever
_MAX_KNOWN: Final = 20_000  # files of which size and time are kept


class Content:
    """The bytes of one rendering, shared by the handles that show it."""

    __slots__ = ("__weakref__", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a file's content was made from, and what it was."""

    key: object
    mtime: float
    content: Content

    @property
    def size(self) -> int:
        """Length of the content."""
        return len(self.content.data)


@dataclass(slots=True)
class _Known:
    """What is kept of a file's last rendering; `strong` holds a small content that is not open."""

    key: object
    size: int
    mtime: float
    weak: ReferenceType[Content]
    strong: Content | None
    began: float  # trio's clock
    took_s: float
    anew: bool  # made for an opener, with fresh answers

    @property
    def shared_until(self) -> float:
        return self.began + (1 + _SHARE) * self.took_s

    @property
    def again_at(self) -> float:
        return self.began + self.took_s + min(_SHARE * self.took_s, _PAUSE_MOST_S)

    def rendering(self) -> Rendering | None:
        content = self.weak()
        return None if content is None else Rendering(self.key, self.mtime, content)


class Renderings:
    """The renderings of a mount, by inode number.  `run()` has to be running."""

    def __init__(self, view: Callable[[], View], slots: WaitSlots, patience_s: float) -> None:
        self._view = view
        self._slots = slots
        self._patience_s = patience_s
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._kept = 0  # bytes of the small contents
        self._large: Content | None = None  # the newest costly content that is too large for the others' room
        self._waits: dict[int, _Wait] = {}  # of files with openers that wait
        self._jobs: dict[int, _Job] = {}
        self._threads = trio.CapacityLimiter(_THREADS)
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Hold the renderings in threads, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._jobs.clear()

    def last(self, inode: int) -> tuple[int, float] | None:
        """Return size and time of the last rendering."""
        known = self._known.get(inode)
        return None if known is None else (known.size, known.mtime)

    def forget(self, inode: int) -> None:
        """The file is gone."""
        known = self._known.pop(inode, None)
        if known is not None and known.strong is not None:
            self._kept -= known.size

    async def size(self, inode: int, node: Node) -> int:
        """Return the length of the present content.  Raises what the rendering raises."""
        known = self._known.get(inode)
        if known is not None and known.key == node.key(self._view()):
            return known.size
        return (await self.of(inode, node, anew=False)).size

    def recent(self, inode: int, node: Node) -> Rendering | None:
        """Return a page with ages that an opener got a moment ago: the next shares it, and nothing is asked."""
        known = self._known.get(inode)
        if known is None or not known.anew or not node.row.ages:
            return None
        return self._shared(inode, node, trio.current_time(), anew=True)

    async def of(self, inode: int, node: Node, *, anew: bool, until: float | None = None) -> Rendering:
        """Return the present content; `anew` also when only its ages have changed.

        Raises what the rendering raises, and RequestTimeout at `until`: without one, after `cmd_timeout`.
        """
        came = trio.current_time()
        if inode not in self._waits:
            rendering = self._shared(inode, node, came, anew=anew)
            if rendering is not None:
                return rendering
            known = self._known.get(inode)
            if (known is None or came >= known.again_at) and not is_heavy(node, view := self._view()):
                return self._keep(inode, node, view, came, node.render(view), anew=anew)
        with self._slots.take() as may_wait:
            if not may_wait:
                raise RequestTimeout(f"too many wait for {node}")
            wait = self._waits.setdefault(inode, _Wait())
            wait.openers += 1
            try:
                with trio.move_on_at(came + self._patience_s if until is None else until):
                    async with wait.lock:
                        return await self._locked(inode, node, came, wait, anew=anew)
            finally:
                wait.openers -= 1
                if not wait.openers:
                    del self._waits[inode]
        raise RequestTimeout(f"{node} takes longer than {self._patience_s:g} s to print")

    async def _locked(self, inode: int, node: Node, came: float, wait: _Wait, *, anew: bool) -> Rendering:
        while (rendering := self._shared(inode, node, came, anew=anew)) is None:
            known = self._known.get(inode)
            if known is not None:
                await trio.sleep_until(known.again_at)
            view = self._view()
            if is_heavy(node, view):
                wait.newest = await self._in_thread(inode, node, view, anew=anew)
            else:
                wait.newest = self._keep(inode, node, view, trio.current_time(), node.render(view), anew=anew)
                return wait.newest
        return rendering

    def _shared(self, inode: int, node: Node, came: float, *, anew: bool) -> Rendering | None:
        """Return a kept rendering that an open of that time may get."""
        known = self._known.get(inode)
        rendering = None if known is None else known.rendering()
        if known is None or rendering is None:
            return None
        if known.began >= came:
            return rendering
        view, ages = self._view(), node.row.ages
        is_current = known.key == node.key(view) or (ages and known.anew and known.took_s >= _COSTLY_S)
        if not is_current or (ages and anew and came >= known.shared_until):
            return None
        if not node.row.ages:
            known.mtime = node.mtime(view)  # the same has arrived once more
        return replace(rendering, mtime=known.mtime)

    async def _in_thread(self, inode: int, node: Node, view: View, *, anew: bool) -> Rendering | None:
        """Render in a thread.  The rendering goes on when its openers time out."""
        job = self._jobs.get(inode)
        if job is None:
            if self._nursery is None:
                raise RuntimeError("Renderings.run() is not running")
            job = self._jobs[inode] = _Job()
            self._nursery.start_soon(self._run_job, inode, node, view, job, anew)
        await job.done.wait()
        if job.failure is not None:
            raise job.failure.error()
        return job.rendering

    async def _run_job(self, inode: int, node: Node, view: View, job: _Job, anew: bool) -> None:
        began = trio.current_time()
        try:
            data = await trio.to_thread.run_sync(node.render, view, limiter=self._threads, abandon_on_cancel=True)
            job.rendering = self._keep(inode, node, view, began, data, anew=anew)
        except CephMonFSError as exc:
            job.failure = Failure.of(exc, node)
        except Exception:
            log.exception("%s", node)
            job.failure = Failure(CephMonFSError, f"{node} cannot be printed")
        finally:
            del self._jobs[inode]
            job.done.set()

    def _keep(self, inode: int, node: Node, view: View, began: float, data: bytes, *, anew: bool) -> Rendering:
        self.forget(inode)
        rendering = Rendering(node.key(view), node.mtime(view), Content(data))
        content = rendering.content
        took_s = trio.current_time() - began
        small = content if len(data) <= (_MAX_KEPT // 2 if took_s >= _COSTLY_S else _SMALL) else None
        if small is None and took_s >= _COSTLY_S and len(data) <= _LARGE:
            self._large = content
        self._known[inode] = _Known(rendering.key, len(data), rendering.mtime, ref(content), small, began, took_s, anew)
        self._kept += len(data) if small else 0
        for other in tuple(self._known) if self._kept > _MAX_KEPT else ():
            known = self._known[other]
            if known.strong is not None and other != inode:
                known.strong = None
                self._kept -= known.size
            if self._kept <= _MAX_KEPT:
                break
        while len(self._known) > _MAX_KNOWN:
            self.forget(next(iter(self._known)))
        return rendering


class _Wait:
    """The openers that wait for one file."""

    __slots__ = ("lock", "newest", "openers")

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.openers = 0
        self.newest: Rendering | None = None  # keeps the content alive for the openers that wait


class _Job:
    """A rendering in a thread."""

    __slots__ = ("done", "failure", "rendering")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.failure: Failure | None = None
        self.rendering: Rendering | None = None


def is_heavy(node: Node, view: View) -> bool:
    """Return whether rendering it in the loop would delay other requests."""
    row = node.row
    if row.kind is Kind.BINARY or row.render is None:
        return False
    records = (view.snapshot.maps.get(name) for name in row.depends)
    if any(record is not None and len(record.blob) > _THREAD_BYTES for record in records):
        return True
    return not row.raw and any(view.answer(command).size > _THREAD_BYTES for command in row.commands)
