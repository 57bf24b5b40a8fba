"""The file system as pyfuse3 calls it.

Reading.  A file is rendered when it is opened and stays as it is for that handle; a read at offset 0 after something
new has arrived renders anew, as in sysfs.  Every file has direct_io and its real size: with the page cache a reader
would get stale bytes, and without a size tar would store nothing.  `events` alone goes through the page cache, because
it only grows, and `tail -f` follows it by its size.

Attributes are never cached by the kernel (timeouts 0), so size and mtime are those of the newest data; for a moment
after an open they are those of what that open rendered, or tar would find that each file changes under its hands.
getattr renders what it can from memory and never waits: a file made from a command that has not run yet says 4096, as
sysfs does, until somebody opens it, and then the size of what was rendered last.  With 0 tar, find and file would take
it for empty and never open it; all that copy ask again once it is open.  readdir and lookup render nothing at all;
whoever wants the size asks getattr.

Walking.  Programs that walk the tree read all that is listed, some of them through links, and fail when one file fails.
So what cannot be read to its end is found by its name and not listed: a stream, and what the monitors refuse or do not
have.  Whether a command is refused is known when it has run once, so that the first list of a directory runs each.

Waiting.  Only statfs, opens of files made from commands and capacity, and events_pipe wait, each in bounded time and
each with a slot (slots.py), so that the others always find a worker.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pyfuse3
import trio

from cephmonfs.errors import CephMonFSError
from cephmonfs.fs.boundary import fuse_handler
from cephmonfs.fs.commands import DESCRIPTIONS, HEALTH, QUORUM
from cephmonfs.fs.door import one_door
from cephmonfs.fs.events import Observer
from cephmonfs.fs.handles import Handle, Rendering
from cephmonfs.fs.poll import Pollers
from cephmonfs.fs.refusals import ReadOnly
from cephmonfs.fs.render import metrics, values
from cephmonfs.fs.settings import FsSettings
from cephmonfs.fs.slots import MAX_TASKS, MIN_TASKS
from cephmonfs.fs.statvfs import to_statvfs
from cephmonfs.fs.tree import Kind, Node, Tree
from cephmonfs.fs.view import View, Views

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pyfuse3 import (
        EntryAttributes,
        FileHandleT,
        FileInfo,
        FileNameT,
        FlagT,
        InodeT,
        ModeT,
        PollHandle,
        ReaddirToken,
        RequestContext,
        StatvfsData,
        XAttrNameT,
    )

    from cephmonfs.fs.logring import LogRing
    from cephmonfs.fs.source import Source
    from cephmonfs.mon.snapshot import StatfsRecord

__all__ = ["MAX_TASKS", "CephMonOperations", "FsSettings", "make_operations", "run_mounted"]

log = logging.getLogger(__name__)

_HEARTBEAT_S: Final = 1.0  # longest silence of events_pipe; a reader that waits can only be killed in between
_COALESCE_S: Final = 0.02  # changes closer together than this are looked at as one
_COALESCE_MOST_S: Final = 0.1  # the same, when they do not end
_RESTART_S: Final = 1.0  # before a failed background task starts again
_SIZE_UNKNOWN: Final = 4096  # of a file whose command has not run yet
_THREAD_BYTES: Final = 256 << 10  # a map larger than this is decoded and printed in a thread
_KEEP_CONTENT: Final = 1 << 20  # renderings up to this size are kept for the next opener


@dataclass(slots=True)
class _Inodes:
    """Inode numbers: one for each path that was ever seen, for as long as the mount lasts."""

    nodes: dict[int, Node] = field(default_factory=dict)
    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    def of(self, node: Node) -> int:
        number = self.numbers.setdefault(node.path, len(self.numbers) + pyfuse3.ROOT_INODE)
        self.nodes[number] = node
        return number


class CephMonOperations(ReadOnly):
    """All handlers but those that only refuse.  `run()` has to be running beside pyfuse3.main."""

    def __init__(self, source: Source, settings: FsSettings, log_ring: LogRing | None = None) -> None:
        super().__init__()
        self._source = source
        self._settings = settings
        views = Views(source, settings, log_ring)
        self._view = views.now
        self._slots = views.slots
        self._gate = views.gate
        self._commands = views.commands
        self._commands.on_answer = lambda _: self._look()
        self._events = views.events
        self._observer = Observer()
        self._capacity = views.capacity
        self._tree = Tree()
        self._inodes = _Inodes()
        self._inodes.of(self._tree.root)
        self._renderings: dict[int, Rendering] = {}
        self._latest: dict[int, Handle] = {}  # of each inode, the one opened last while it is open
        self._handles: dict[int, Handle | list[tuple[bytes, Node]]] = {}
        self._next_handle = 1
        self._pollers = Pollers(self._events)
        self._followed = trio.Event()  # somebody holds a file open whose changes nobody else asks for
        self._followers = trio.lowlevel.ParkingLot()  # readers of events_pipe
        self._mounted = views.began
        self._shown: tuple[StatfsRecord | None, StatvfsData] = (None, pyfuse3.StatvfsData())

    # ---- background

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what serves the handlers, until cancelled."""
        async with trio.open_nursery() as nursery:
            for task in (self._commands.run, self._watch, self._tick):
                nursery.start_soon(_supervised, task)
            task_status.started()

    async def _watch(self) -> None:
        """Look at each published change; seldom enough, while one follows the other, not to show in what df takes."""
        seen, pause_s = 0, _COALESCE_S
        while True:
            began = trio.current_time()
            seen = await self._source.wait_change(seen)
            waited = trio.current_time() - began > pause_s
            pause_s = _COALESCE_S if waited else min(2 * pause_s, _COALESCE_MOST_S)
            self._look()
            await trio.sleep(pause_s)

    async def _tick(self) -> None:
        """Ask on behalf of those who wait for a change: they are readers too, though they do not read."""
        while True:
            await self._followed.wait()
            await trio.sleep(max(1.0, self._settings.refresh))
            nodes = [handle.node for handle in self._open_files() if handle.polled]
            wanted = {command for node in nodes for command in node.row.commands}
            streams = any(handle.node.row.kind in (Kind.RING, Kind.STREAM) for handle in self._open_files())
            if streams:
                wanted |= {HEALTH, QUORUM}
            if not nodes and not streams:
                self._followed = trio.Event()
            for command in wanted:
                self._commands.refresh(command)
            if any(node.row.statfs for node in nodes):
                await self._try_statfs()
            self._look()

    def _look(self) -> None:
        """Note what happened and tell those who wait for it."""
        view = self._view()
        events = self._observer.observe(view)
        self._capacity.note(view.snapshot.statfs)
        if any(event["event"] in ("monmap", "session") for event, _ in events):
            self._commands.expire(QUORUM)
            self._commands.expire(HEALTH)
            self._commands.expire(DESCRIPTIONS)
            self._commands.expire_refused()
        for event, wall in events:
            self._events.append(event, wall)
        if events:
            self._followers.unpark_all()
        self._pollers.look(view)

    def _open_files(self) -> list[Handle]:
        return [handle for handle in self._handles.values() if isinstance(handle, Handle)]

    # ---- rendering

    async def _prepare(self, node: Node) -> None:
        """Have fresh answers where the file is made from answers, within `cmd_timeout`."""
        row = node.row
        if not row.commands and not row.statfs:
            return
        async with trio.open_nursery() as nursery:
            for command in row.commands:
                nursery.start_soon(self._commands.ensure, command)
            if row.statfs:
                nursery.start_soon(self._try_statfs)

    async def _try_statfs(self) -> None:
        try:
            await self._gate.get()
        except CephMonFSError:
            pass  # whoever shows the numbers finds the last ones with their age, or none

    async def _render(self, inode: int, node: Node, *, anew: bool) -> Rendering:
        """Return the present content; `anew` also when only its ages have changed."""
        view = self._view()
        key = node.key(view)
        held = self._renderings.get(inode)
        if held is not None and held.key == key and not (anew and (node.row.ages or held.content is None)):
            return held
        if self._is_heavy(node, view):
            content = await trio.to_thread.run_sync(node.render, view)
        else:
            content = node.render(view)
        kept = content if len(content) <= _KEEP_CONTENT else None
        rendering = Rendering(key, len(content), node.mtime(view), kept)
        self._renderings[inode] = rendering
        return Rendering(key, len(content), rendering.mtime, content)

    @staticmethod
    def _is_heavy(node: Node, view: View) -> bool:
        records = (view.snapshot.maps.get(name) for name in node.row.depends)
        return node.row.kind is not Kind.BINARY and any(r is not None and len(r.blob) > _THREAD_BYTES for r in records)

    def _attributes(self, inode: int, node: Node, size: int, mtime: float) -> EntryAttributes:
        mode = self._settings.mode & node.row.mode & 0o444
        attributes = pyfuse3.EntryAttributes()
        if node.is_directory:
            mode = self._settings.mode & 0o444
            mode |= stat.S_IFDIR | mode >> 2
        else:
            mode |= stat.S_IFREG
        attributes.st_ino = inode
        attributes.st_mode = mode
        attributes.st_nlink = 2 if node.is_directory else 1
        attributes.st_uid, attributes.st_gid = self._settings.uid, self._settings.gid
        attributes.st_size = size
        attributes.st_blocks = -(-size // 512)
        mtime_ns = int(mtime * 1e9)
        attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = mtime_ns
        attributes.attr_timeout = attributes.entry_timeout = 0
        return attributes

    def _known(self, node: Node) -> EntryAttributes:
        """Return attributes as far as they are known without rendering."""
        inode = self._inodes.of(node)
        held = self._renderings.get(inode)
        if held is None:
            return self._attributes(inode, node, 0, self._mounted.wall)
        return self._attributes(inode, node, held.size, held.mtime)

    def _node(self, inode: int) -> Node:
        node = self._inodes.nodes.get(inode)
        if node is None:
            raise pyfuse3.FUSEError(errno.ESTALE)
        return node

    # ---- names and attributes

    @fuse_handler
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        """Find a name in a directory."""
        parent = self._node(parent_inode)
        text = name.decode("utf-8", "surrogateescape")
        if text == ".":
            return self._known(parent)
        if text == "..":
            return self._known(self._parent(parent))
        children = await self._children(parent)
        node = children.get(text)
        if node is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._known(node)

    def _parent(self, node: Node) -> Node:
        number = self._inodes.numbers.get(node.path[:-1])
        return self._tree.root if number is None else self._inodes.nodes[number]

    async def _children(self, node: Node) -> dict[str, Node]:
        if not node.is_directory:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        if node.row.grow is not None:
            await self._commands.ensure(DESCRIPTIONS)
        return self._tree.children(node, self._view())

    @fuse_handler
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Do nothing: inode numbers last as long as the mount."""

    @fuse_handler
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Return the attributes of the newest data there is, without waiting for more."""
        node = self._node(inode)
        view = self._view()
        latest = self._latest.get(inode)
        if latest is not None and latest.in_one_go:
            return self._attributes(inode, node, latest.rendering.size, latest.rendering.mtime)
        match node.row.kind:
            case Kind.DIRECTORY:
                return self._attributes(inode, node, 0, node.mtime(view))
            case Kind.STREAM:
                return self._attributes(inode, node, 0, node.mtime(view))
            case Kind.RING:
                return self._attributes(inode, node, self._events.size, node.mtime(view))
        try:
            rendering = await self._render(inode, node, anew=False)
        except CephMonFSError:
            self._renderings.pop(inode, None)
            return self._attributes(inode, node, _SIZE_UNKNOWN if node.awaits(view) else 0, node.mtime(view))
        return self._attributes(inode, node, rendering.size, node.mtime(view))

    @fuse_handler
    async def access(self, inode: InodeT, mode: ModeT, ctx: RequestContext) -> bool:
        """Refuse writing; the rest is default_permissions' business."""
        if mode & os.W_OK:
            raise pyfuse3.FUSEError(errno.EROFS)
        return True

    @fuse_handler
    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        """Return the two attributes of the root that the kernel client has."""
        if inode == pyfuse3.ROOT_INODE:
            if name == b"ceph.cluster_fsid":
                return values.xattr_fsid(self._view())
            if name == b"ceph.client_id":
                return values.xattr_client_id(self._view())
        raise pyfuse3.FUSEError(pyfuse3.ENOATTR)

    @fuse_handler
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        """List nothing, as the kernel client does: cp -a would try to copy them."""
        return []

    # ---- directories

    @fuse_handler
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Take the list of names once, so that a directory that changes is not read half old and half new."""
        node = self._node(inode)
        children = await self._children(node)
        if node.row.grow is not None:
            await self._commands.prove([command for child in children.values() for command in child.row.commands])
        view = self._view()
        listed = [(name, child) for name, child in children.items() if child.is_listed(view)]
        return self._add([(name.encode("utf-8", "surrogateescape"), child) for name, child in listed])

    @fuse_handler
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """Hand out entries from `start_id` on."""
        entries = self._handles[fh]
        if isinstance(entries, Handle):
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        for i in range(start_id, len(entries)):
            name, node = entries[i]
            if not pyfuse3.readdir_reply(token, name, self._known(node), i + 1):
                break

    @fuse_handler
    async def releasedir(self, fh: FileHandleT) -> None:
        """Forget the list."""
        self._handles.pop(fh, None)

    def _add(self, handle: Handle | list[tuple[bytes, Node]]) -> int:
        fh = self._next_handle
        self._next_handle += 1
        self._handles[fh] = handle
        if isinstance(handle, Handle) and handle.node.row.kind in (Kind.RING, Kind.STREAM):
            self._followed.set()
        return fh

    # ---- files

    @fuse_handler
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        """Render the file, or place a reader in the stream."""
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise pyfuse3.FUSEError(errno.EROFS)
        node = self._node(inode)
        if node.row.kind in (Kind.STREAM, Kind.RING):
            for command in (HEALTH, QUORUM):
                self._commands.refresh(command)
            now = Rendering(self._events.version, 0, 0.0, b"")
            handle = Handle(node, inode, now, b"", trio.current_time())
            handle.nonblocking = bool(flags & os.O_NONBLOCK)
            if node.row.kind is Kind.RING:
                return pyfuse3.FileInfo(fh=self._add(handle), keep_cache=False)
            handle.place = self._events.end()
            return pyfuse3.FileInfo(fh=self._add(handle), direct_io=True, keep_cache=False, nonseekable=True)
        await self._prepare(node)
        rendering = await self._render(inode, node, anew=True)
        handle = Handle(node, inode, rendering, rendering.content or b"", trio.current_time())
        self._latest[inode] = handle
        return pyfuse3.FileInfo(fh=self._add(handle), direct_io=True, keep_cache=False)

    @fuse_handler
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Read from the rendering of this handle."""
        handle = self._file(fh)
        match handle.node.row.kind:
            case Kind.RING:
                handle.rendering.key = self._events.version
                return self._events.read(off, size)
            case Kind.STREAM:
                return await self._follow(handle, size)
        if off == 0:
            await self._start_over(handle)
        handle.was_read = True
        return handle.content[off : off + size]

    async def _start_over(self, handle: Handle) -> None:
        """Render anew at offset 0 if there is something new."""
        if not handle.was_read and handle.in_one_go:
            return
        await self._prepare(handle.node)
        rendering = await self._render(handle.inode, handle.node, anew=True)
        handle.rendering, handle.content = rendering, rendering.content or b""

    async def _follow(self, handle: Handle, size: int) -> bytes:
        """Return the next lines; a lone newline after a second of silence, since a reader cannot be interrupted."""
        if handle.place is None:
            raise RuntimeError("a stream without a place")
        if not self._events.pending(handle.place):
            if handle.nonblocking:
                raise pyfuse3.FUSEError(errno.EAGAIN)
            with self._slots.take() as may_wait:
                if not may_wait:
                    raise pyfuse3.FUSEError(errno.EAGAIN)
                with trio.move_on_after(_HEARTBEAT_S):
                    while not self._events.pending(handle.place):
                        await self._followers.park()
        if self._events.pending(handle.place):
            return self._events.follow(handle.place, size)
        return b"\n"

    @fuse_handler
    async def release(self, fh: FileHandleT) -> None:
        """Forget the handle and its rendering."""
        handle = self._handles.pop(fh, None)
        self._pollers.forget(fh)
        if isinstance(handle, Handle) and self._latest.get(handle.inode) is handle:
            del self._latest[handle.inode]

    @fuse_handler
    async def flush(self, fh: FileHandleT) -> None:
        """Nothing to do: nothing was written."""

    def _file(self, fh: int) -> Handle:
        handle = self._handles.get(fh)
        if not isinstance(handle, Handle):
            raise pyfuse3.FUSEError(errno.EBADF)
        return handle

    # ---- poll

    @fuse_handler
    async def poll(self, inode: InodeT, fh: FileHandleT, poll_handle: PollHandle | None, ctx: RequestContext) -> int:
        """Say whether the file has changed since this handle read it, now and later."""
        handle = self._file(fh)
        if not handle.polled:
            handle.polled = True
            self._followed.set()
            for command in handle.node.row.commands:
                self._commands.refresh(command)
        ready = self._pollers.ready(handle, self._view())
        if poll_handle is not None:
            self._pollers.wait(fh, handle, poll_handle)
        return ready

    # ---- df

    @fuse_handler
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Answer df; callers that share an answer share its form, too."""
        record = await self._gate.get()
        if self._shown[0] is not record:
            self._shown = (record, _statvfs_data(record))
        return self._shown[1]


def _statvfs_data(record: StatfsRecord) -> StatvfsData:
    data = pyfuse3.StatvfsData()
    numbers = to_statvfs(record)
    data.f_bsize, data.f_frsize, data.f_namemax = numbers.f_bsize, numbers.f_frsize, numbers.f_namemax
    data.f_blocks, data.f_bfree, data.f_bavail = numbers.f_blocks, numbers.f_bfree, numbers.f_bavail
    data.f_files, data.f_ffree, data.f_favail = numbers.f_files, numbers.f_ffree, numbers.f_favail
    return data


async def _supervised(task: Callable[[], Awaitable[None]]) -> None:
    """Start a task again when it fails, and say why it did."""
    while True:
        try:
            await task()
        except Exception:
            log.exception("%s failed; it starts again", getattr(task, "__qualname__", task))
        await trio.sleep(_RESTART_S)


def make_operations(source: Source, settings: FsSettings, log_ring: LogRing | None = None) -> CephMonOperations:
    """Build the file system on a session; hand it to pyfuse3.init, then await `run_mounted`."""
    metrics.load()
    return CephMonOperations(source, settings, log_ring)


async def run_mounted(operations: CephMonOperations) -> None:
    """Serve an initialised mount until it is unmounted or pyfuse3.terminate is called."""
    async with trio.open_nursery() as nursery:
        await nursery.start(operations.run)
        with one_door():
            await pyfuse3.main(min_tasks=MIN_TASKS, max_tasks=MAX_TASKS)
        nursery.cancel_scope.cancel()
