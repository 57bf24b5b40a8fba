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
the size comes from getattr.

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
from itertools import islice
from typing import TYPE_CHECKING, Final

import pyfuse3
import trio

from cephmonfs.errors import CephMonFSError, RequestTimeout
from cephmonfs.files.answers import DESCRIPTIONS, UNASKED
from cephmonfs.files.render import metrics, values
from cephmonfs.files.settings import FsSettings
from cephmonfs.files.statvfs import to_statvfs
from cephmonfs.files.tree import Kind, Node, Tree
from cephmonfs.fuse.boundary import fuse_handler
from cephmonfs.fuse.handles import DirectoryHandle, Handle, Handles
from cephmonfs.fuse.inodes import Inodes
from cephmonfs.fuse.pace import Pace
from cephmonfs.fuse.poll import Moment, Pollers
from cephmonfs.fuse.refusals import ReadOnly
from cephmonfs.fuse.renderings import Renderings
from cephmonfs.fuse.slots import MAX_TASKS, MIN_TASKS
from cephmonfs.fuse.views import Views
from cephmonfs.fuse.watch import Watch, supervised

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    from cephmonfs.files.events import EventRing, Place
    from cephmonfs.files.logring import LogRing
    from cephmonfs.files.source import Source
    from cephmonfs.files.tree import Children
    from cephmonfs.fuse.renderings import Rendering
    from cephmonfs.mon.snapshot import StatfsRecord

__all__ = ["MAX_TASKS", "CephMonOperations", "FsSettings", "make_operations", "run_mounted"]

log = logging.getLogger(__name__)

_HEARTBEAT_S: Final = 1.0  # longest silence of events_pipe; a reader that waits can only be killed in between
_STATFS_YOUNG_S: Final = 1.0  # numbers of this age are good enough for the size of a page
_WRITE_BITS: Final = 0o222
_SIZE_UNKNOWN: Final = 4096  # of a file whose command has not run yet


class CephMonOperations(ReadOnly):
    """All handlers but those that only refuse.  `run()` has to be running beside pyfuse3.main."""

    def __init__(self, source: Source, settings: FsSettings, log_ring: LogRing | None = None) -> None:
        super().__init__()
        self._settings = settings
        views = Views(source, settings, log_ring)
        self._view = views.now
        self._slots = views.slots
        self._statfs = views.statfs
        self._commands = views.commands
        self._tree = Tree()
        self._inodes = Inodes(self._tree.root)
        self._renderings = Renderings(views.now, views.slots, settings.cmd_timeout)
        self._latest: dict[int, Handle] = {}  # of each inode, the one opened last while it is open
        self._handles = Handles()
        self._pollers = Pollers()
        self._pace = Pace(views.slots)
        self._watch = Watch(source, settings, views, self._handles, self._pollers)
        self._mounted = views.began
        self._shown: tuple[StatfsRecord | None, StatvfsData] = (None, pyfuse3.StatvfsData())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what serves the handlers, until cancelled."""
        async with trio.open_nursery() as nursery:
            for task in (self._commands.run, self._renderings.run, self._pace.run):
                nursery.start_soon(supervised, task)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(self._watch.run)
            task_status.started()

    # ---- rendering

    async def _prepare(self, node: Node) -> None:
        """Have fresh answers where the file is made from answers, within `cmd_timeout`."""
        row = node.row
        view = self._view()
        for command in row.commands:
            if view.answer(command).asked is not None and view.is_stale(command):
                self._commands.expire(command)  # young or not, it would not be shown
        old = [command for command in row.commands if not self._commands.is_young(command)]
        if not old:
            if row.statfs:
                await self._watch.try_statfs()
            return
        async with trio.open_nursery() as nursery:
            for command in old:
                nursery.start_soon(self._commands.ensure, command)
            if row.statfs:
                nursery.start_soon(self._watch.try_statfs)

    async def _rendered(self, inode: int, node: Node) -> Rendering:
        """Ask what an open asks, and print; both together within `cmd_timeout`."""
        until = trio.current_time() + self._settings.cmd_timeout
        with trio.move_on_at(until):
            await self._prepare(node)
        return await self._renderings.of(inode, node, anew=True, until=until)

    def _is_prepared(self, node: Node) -> bool:
        """Tell whether all answers are as new as those that an open asks for."""
        row = node.row
        if row.statfs:
            view = self._view()
            record = view.snapshot.statfs
            if record is None or view.age_s(record.asked) > _STATFS_YOUNG_S:
                return False
        return all(map(self._commands.is_young, row.commands))

    def _attributes(self, inode: int, node: Node, size: int, mtime: float) -> EntryAttributes:
        mode = self._settings.mode & node.row.mode & 0o444
        attributes = pyfuse3.EntryAttributes()
        if node.is_directory:
            mode = self._settings.mode & 0o444
            mode |= stat.S_IFDIR | mode >> 2
        else:
            mode |= stat.S_IFREG
        if self._settings.show_as_rw:
            mode |= _WRITE_BITS
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

    def _known(self, inode: int, node: Node) -> EntryAttributes:
        """Return attributes as far as they are known without rendering."""
        size, mtime = self._renderings.last(inode) or (0, self._mounted.wall)
        return self._attributes(inode, node, size, mtime)

    def _node(self, inode: int) -> Node:
        node = self._inodes.get(inode)
        if node is None:
            raise pyfuse3.FUSEError(errno.ESTALE)
        return node

    # ---- names and attributes

    @fuse_handler
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        """Find a name in a directory."""
        await self._pace.admit(ctx.uid, ctx.pid)
        parent = self._node(parent_inode)
        text = name.decode("utf-8", "surrogateescape")
        if text == ".":
            node: Node | None = parent
        elif text == "..":
            node = self._inodes.get(self._inodes.number(parent.path[:-1])) or self._tree.root
        else:
            children = await self._children(parent)
            node = children.get(text)
        if node is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._known(self._inodes.looked_up(node), node)

    async def _children(self, node: Node) -> Children:
        if not node.is_directory:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        if node.row.grow is not None:
            await self._describe()
        return self._tree.children(node, self._view())

    async def _describe(self) -> None:
        """Get the list of commands; an old one is enough, and none if the monitors are silent.

        The kernel looks up one name at a time in a directory, so one caller that waits here makes all others wait.
        """
        is_known = self._commands.answers.get(DESCRIPTIONS, UNASKED).reply is not None
        if is_known or self._commands.is_overdue(DESCRIPTIONS):
            self._commands.refresh(DESCRIPTIONS)
        else:
            await self._commands.ensure(DESCRIPTIONS)

    @fuse_handler
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Forget what the kernel has forgotten; a number is made from its path and comes back with it."""
        for inode in self._inodes.forget(inode_list):
            self._renderings.forget(inode)

    @fuse_handler
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Return the attributes of the newest data there is, without waiting for more."""
        await self._pace.admit(ctx.uid, ctx.pid)
        node = self._node(inode)
        view = self._view()
        latest = self._latest.get(inode)
        if latest is not None and latest.in_one_go:
            return self._attributes(inode, node, len(latest.data), latest.mtime)
        match node.row.kind:
            case Kind.DIRECTORY:
                return self._attributes(inode, node, 0, node.mtime(view))
            case Kind.STREAM:
                return self._attributes(inode, node, 0, node.mtime(view))
            case Kind.RING:
                return self._attributes(inode, node, node.ring(view).size, node.mtime(view))
        last = self._renderings.last(inode)
        if last is not None and node.row.ages and not self._is_prepared(node):
            # An open will ask, and then print: a page that is printed now would be old, and keep it waiting.
            return self._attributes(inode, node, last[0], node.mtime(view))
        try:
            size = await self._renderings.size(inode, node)
        except RequestTimeout:  # it may be there for an open; tar takes 0 for empty
            size = self._size_awaited(inode)
        except CephMonFSError:
            size = self._size_awaited(inode) if node.awaits(view) else 0
        return self._attributes(inode, node, size, node.mtime(view))

    def _size_awaited(self, inode: int) -> int:
        """Return the size of a file whose answers are old or not there: an open will ask for them."""
        last = self._renderings.last(inode)
        return last[0] if last is not None and last[0] else _SIZE_UNKNOWN

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
        await self._pace.admit(ctx.uid, ctx.pid)
        node = self._node(inode)
        until = trio.current_time() + self._settings.cmd_timeout
        children = await self._children(node)
        if node.row.grow is not None:
            with trio.move_on_at(until):
                await self._commands.prove([command for child in children.values() for command in child.row.commands])
        return self._handles.add(DirectoryHandle(self._tree.listed(node, self._view()), ctx.uid))

    @fuse_handler
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """Hand out entries from `start_id` on."""
        handle = self._handles.get(fh)
        if not isinstance(handle, DirectoryHandle):
            raise pyfuse3.FUSEError(errno.EBADF)
        for i, (name, node) in enumerate(islice(handle.children.items(), start_id, None), start_id + 1):
            attributes = self._known(self._inodes.number(node.path), node)
            if not pyfuse3.readdir_reply(token, name.encode("utf-8", "surrogateescape"), attributes, i):
                break
            self._inodes.looked_up(node)

    @fuse_handler
    async def releasedir(self, fh: FileHandleT) -> None:
        """Forget the list."""
        self._handles.pop(fh)

    # ---- files

    @fuse_handler
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        """Render the file, or place a reader in the stream."""
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise pyfuse3.FUSEError(errno.EROFS)
        await self._pace.admit(ctx.uid, ctx.pid)
        node = self._node(inode)
        handle = Handle(node, inode, ctx.uid, trio.current_time())
        if node.row.kind in (Kind.STREAM, Kind.RING):
            for command in node.row.refreshed:
                self._commands.refresh(command)
            handle.ring = node.ring(self._view())
            handle.key = handle.ring.version
            handle.nonblocking = bool(flags & os.O_NONBLOCK)
            if node.row.kind is Kind.RING:
                return pyfuse3.FileInfo(fh=self._handles.add(handle), keep_cache=False)
            handle.place = handle.ring.end()
            return pyfuse3.FileInfo(fh=self._handles.add(handle), direct_io=True, keep_cache=False, nonseekable=True)
        rendering = self._renderings.recent(inode, node)
        if rendering is None:
            rendering = await self._rendered(inode, node)
        handle.opened_at = trio.current_time()
        handle.show(rendering)
        fh = self._handles.add(handle)
        self._latest[inode] = handle
        return pyfuse3.FileInfo(fh=fh, direct_io=True, keep_cache=False)

    @fuse_handler
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Read from the rendering of this handle."""
        handle = self._file(fh)
        if handle.ring is not None:
            if handle.place is not None:
                return await self._follow(handle, handle.ring, handle.place, size)
            handle.key = handle.ring.version
            return handle.ring.read(off, size)
        if off == 0:
            await self._start_over(handle)
        handle.was_read = True
        return handle.data[off : off + size]

    async def _start_over(self, handle: Handle) -> None:
        """Render anew at offset 0 if there is something new."""
        if not handle.was_read and handle.in_one_go:
            return
        try:
            rendering = await self._rendered(handle.inode, handle.node)
        except CephMonFSError:
            self._handles.show_error(handle, handle.node.key(self._view()))
            raise
        self._handles.show(handle, rendering)

    async def _follow(self, handle: Handle, ring: EventRing, place: Place, size: int) -> bytes:
        """Return the next lines; a lone newline after a second of silence, since a reader cannot be interrupted."""
        if not ring.pending(place):
            if handle.nonblocking:
                raise pyfuse3.FUSEError(errno.EAGAIN)
            with self._slots.take() as may_wait:
                if not may_wait:
                    raise pyfuse3.FUSEError(errno.EAGAIN)
                with trio.move_on_after(_HEARTBEAT_S):
                    while not ring.pending(place):
                        await self._watch.followers.park()
        if ring.pending(place):
            return ring.follow(place, size)
        return b"\n"

    @fuse_handler
    async def release(self, fh: FileHandleT) -> None:
        """Forget the handle and its rendering."""
        handle = self._handles.pop(fh)
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
            for command in handle.node.row.commands:
                self._commands.refresh(command)
        ready = self._pollers.ready(handle, Moment(self._view()))
        if poll_handle is not None:
            self._pollers.wait(fh, handle, poll_handle)
        return ready

    # ---- df

    @fuse_handler
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Answer df; the converted answer is kept for callers that share it."""
        record = await self._statfs()
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


def make_operations(source: Source, settings: FsSettings, log_ring: LogRing | None = None) -> CephMonOperations:
    """Build the file system on a session; hand it to pyfuse3.init, then await `run_mounted`."""
    metrics.load()
    return CephMonOperations(source, settings, log_ring)


async def run_mounted(operations: CephMonOperations) -> None:
    """Serve an initialised mount until it is unmounted or pyfuse3.terminate is called."""
    async with trio.open_nursery() as nursery:
        await nursery.start(operations.run)
        await pyfuse3.main(min_tasks=MIN_TASKS, max_tasks=MAX_TASKS)
        nursery.cancel_scope.cancel()
