"""The files without a mount, for `cephmonfs get`: the same tree and the same renderers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cephmonfs.errors import CephMonFSError, ConfigError
from cephmonfs.files.answers import DESCRIPTIONS
from cephmonfs.files.observer import Observer
from cephmonfs.files.tree import Kind, Node, Tree
from cephmonfs.fuse.views import Views
from cephmonfs.model.usertext import shown
from cephmonfs.mon.snapshot import MAPS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cephmonfs.files.logring import LogRing
    from cephmonfs.files.settings import FsSettings
    from cephmonfs.files.source import Source
    from cephmonfs.files.tree import Children
    from cephmonfs.mon.snapshot import Snapshot


class Reader:
    """Finds and renders; `run()` has to be running."""

    def __init__(self, source: Source, settings: FsSettings, log_ring: LogRing | None = None) -> None:
        self._source = source
        self._settings = settings
        self._views = Views(source, settings, log_ring)
        self.view = self._views.now  # the present moment
        self._commands = self._views.commands
        self._events = self._views.records.events
        self._observer = Observer()
        self._tree = Tree()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the commands, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._commands.run)
            await trio.lowlevel.checkpoint()
            task_status.started()

    async def find(self, path: str) -> Node | None:
        """Return the node at a path; asks the monitors where names come from them."""
        node = self._tree.root
        for part in filter(None, path.split("/")):
            found = (await self.children(node)).get(part) if node.is_directory else None
            if found is None:
                return None
            node = found
        return node

    async def children(self, node: Node) -> Children:
        """Return what a directory holds, listed or not."""
        if node.row.grow is not None:
            await self._commands.ensure(DESCRIPTIONS)
        return self._tree.children(node, self.view())

    async def listed(self, node: Node) -> Children:
        """Return what a directory lists."""
        children = await self.children(node)
        if node.row.grow is not None:
            await self._commands.prove([command for child in children.values() for command in child.row.commands])
        return self._tree.listed(node, self.view())

    async def read(self, node: Node) -> bytes:
        """Return a file's content, as a mount would show it a moment after it was made.

        Maps come one after the other: waits for those that the file is made from, and no longer than `cmd_timeout`.
        """
        row = node.row
        if row.kind in (Kind.RING, Kind.STREAM):
            return b"".join([chunk async for chunk in self.events(1)])
        with trio.move_on_after(self._settings.cmd_timeout):
            await self._maps_there(frozenset(row.depends) & set(MAPS))
        async with trio.open_nursery() as nursery:
            for command in row.commands:
                nursery.start_soon(self._commands.ensure, command)
            if row.statfs:
                nursery.start_soon(self._try_statfs)
        return node.render(self.view())

    async def events(self, changes: int | None = None) -> AsyncIterator[bytes]:
        """Follow what happens: so many changes of the session, or without end."""
        seen, place = 0, self._events.end()
        while changes is None or changes > 0:
            seen = await self._source.wait_change(seen)
            for event, wall in self._observer.observe(self.view()):
                self._events.append(event, wall)
            if self._events.pending(place):
                yield self._events.follow(place, 1 << 20)
            changes = None if changes is None else changes - 1

    async def _try_statfs(self) -> None:
        try:
            await self._views.statfs()
        except CephMonFSError:
            pass  # the file then shows the last numbers with their age, or none

    async def _maps_there(self, names: frozenset[str]) -> None:
        seen = 0
        while any(_may_come(name, self._source.snapshot()) for name in names):
            seen = await self._source.wait_change(seen)


def _may_come(name: str, view: Snapshot) -> bool:
    if name in view.maps or name in view.denied:
        return False
    no_fs = "fsmap" in view.maps and view.fscid is None
    return not (name == "mdsmap" and no_fs)


def no_such_file(path: str) -> CephMonFSError:
    """Return the error for a path that does not exist: wrong usage."""
    return ConfigError(f"there is no file {shown(path)}; `cephmonfs get /` lists what there is")
