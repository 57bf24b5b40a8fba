"""Target: the subject of `df`: the cluster, a named pool, or the one data pool of a file system.

A pool or file system that was found once is known by its number, so that a new name of it can be reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.errors import CephMonFSError, NoData, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cephmonfs.model.fsmap import FSMap
    from cephmonfs.model.mdsmap import MDSMap
    from cephmonfs.model.osdmap import OSDMap


class Target:
    """Follows the options `fs=` and `pool=` through the maps."""

    def __init__(self, fs: str | None, pool: str | None) -> None:
        self.fs = fs
        self.pool = pool
        self.fscid: int | None = None  # of the file system that was asked for, or of the default one
        self._filesystems: Mapping[int, str] | None = None  # None until a fsmap has come
        self._pools: Mapping[int, str] | None = None  # None until an osdmap has come
        self._data_pools: tuple[int, ...] = ()
        self._had_fscid: int | None = None
        self._had_pool: int | None = None

    # ---- maps

    def on_fsmap(self, fsmap: FSMap) -> bool:
        """Find the file system; returns whether it is another one than before."""
        self._filesystems = {one.fscid: one.mdsmap.fs_name for one in fsmap.filesystems}
        before = self.fscid
        if self.fs is not None:
            self.fscid = fsmap.for_user().fscid_of(self.fs)
        else:
            first = fsmap.legacy_client_fscid
            self.fscid = first if first in self._filesystems else None
        self._had_fscid = self.fscid if self.fscid is not None else self._had_fscid
        if self.fscid != before:
            self._data_pools = ()
        return self.fscid != before

    def on_mdsmap(self, mdsmap: MDSMap) -> None:
        """With `fs=`, its only data pool is what `df` is about."""
        self._data_pools = tuple(mdsmap.data_pools)

    def on_osdmap(self, osdmap: OSDMap | None) -> None:
        """Find the pool; None: the pools are not ours to see any more."""
        self._pools = osdmap.pool_names if osdmap is not None else None
        self._had_pool = found if (found := self._named_pool()) is not None else self._had_pool

    # ---- what follows from them

    @property
    def fs_missing(self) -> bool:
        """Whether the file system that was asked for is not there."""
        return self.fs is not None and self._filesystems is not None and self.fscid is None

    def pool_id(self) -> int | None:
        """Return the pool that a statfs asks for, None for the whole cluster."""
        return self._named_pool() if self.pool is not None else self._fs_pool()

    def _fs_pool(self) -> int | None:
        return self._data_pools[0] if self.fs is not None and len(self._data_pools) == 1 else None

    def _named_pool(self) -> int | None:
        """A name comes before a number."""
        pools, wanted = self._pools or {}, self.pool
        for number, name in pools.items():
            if name == wanted:
                return number
        return next((number for number in pools if str(number) == wanted), None)

    def problem(self, denied: Collection[str], unread: Collection[str], entity: object) -> CephMonFSError | None:
        """Return why nothing can be asked at all, None if it can.  `unread`: maps that we have and cannot read."""
        if self.pool is None and self.fs is None:
            return None
        if self.pool is not None and self._pools is None and "osdmap" in unread:
            return NoData(f"the osdmap that names pools cannot be read, so that pool {self.pool} is not known")
        if self.fs is not None and self._filesystems is None and "fsmap" in unread:
            return NoData(f"the fsmap cannot be read, so that file system {self.fs} is not known")
        if self.pool is not None and self._pools is not None and self._named_pool() is None:
            return NoData(f"the cluster has no pool {self.pool}{_instead(self._pools, self._had_pool)}")
        if self.pool is not None and "osdmap" in denied:
            return NotPermitted(f"{entity} may not read the osdmap that names pools")
        if self.fs_missing:
            instead = _instead(self._filesystems or {}, self._had_fscid)
            return NoData(f"the cluster has no file system {self.fs}{instead}")
        if self.fs is not None and "fsmap" in denied:
            return NotPermitted(f"{entity} may not read the fsmap that names file systems")
        pool = self._fs_pool()
        if self.pool is None and pool is not None and self._pools is not None and pool not in self._pools:
            return NoData(f"the cluster has no pool {pool}, which is the data pool of file system {self.fs}")
        return None


def _instead(names: Mapping[int, str], number: int | None) -> str:
    """Say what became of the one that we knew by this number."""
    if number is None:
        return ""
    return f" any more: it is called {names[number]} now" if number in names else " any more: it was removed"
