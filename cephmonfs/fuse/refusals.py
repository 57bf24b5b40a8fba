"""Handlers of everything that would change something: EROFS.

The kernel refuses these calls itself while the mount is flagged ro; with `show_as_rw` it does not.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

import pyfuse3

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyfuse3 import (
        EntryAttributes,
        FileHandleT,
        FileInfo,
        FileNameT,
        FlagT,
        InodeT,
        ModeT,
        RequestContext,
        SetattrFields,
        XAttrNameT,
    )


class ReadOnly(pyfuse3.Operations):
    """The handlers that only refuse."""

    enable_writeback_cache = False

    def __init__(self) -> None:
        super().__init__()
        self.on_live: Callable[[], None] = lambda: None

    def init(self) -> None:
        """The kernel's INIT is answered: from now on there are requests."""
        self.on_live()

    async def _refuse(self) -> NoReturn:
        raise pyfuse3.FUSEError(errno.EROFS)

    async def setattr(
        self, inode: InodeT, attr: EntryAttributes, fields: SetattrFields, fh: FileHandleT | None, ctx: RequestContext
    ) -> EntryAttributes:
        """EROFS."""
        await self._refuse()

    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """EROFS."""
        await self._refuse()

    async def mkdir(self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext) -> EntryAttributes:
        """EROFS."""
        await self._refuse()

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """EROFS."""
        await self._refuse()

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """EROFS."""
        await self._refuse()

    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """EROFS."""
        await self._refuse()

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        """EROFS."""
        await self._refuse()

    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """EROFS."""
        await self._refuse()

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        """EROFS."""
        await self._refuse()

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """EROFS."""
        await self._refuse()

    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        """EROFS."""
        await self._refuse()

    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        """EROFS."""
        await self._refuse()
