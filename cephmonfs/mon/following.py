"""Following: the maps that a session follows, and what they say about `fs=` and `pool=`.

A map is decoded before it takes the place of a good one.  Damage costs the monitor its session; but the same bytes
once more are the cluster's own word, and what is too new for us is nobody's fault: then that map is left out, and
everything else goes on.  A map that nobody sends although we asked for it is one that our caps do not cover.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from uuid import UUID

from cephmonfs.errors import (
    CephMonFSError,
    DecodeError,
    ForeignCluster,
    IntegrityError,
    NoData,
    NotPermitted,
    UnknownEncoding,
)
from cephmonfs.messages import mon
from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.link import Link
from cephmonfs.mon.maps import MapStore
from cephmonfs.mon.snapshot import MapRecord, Stamp
from cephmonfs.mon.subs import MAPS, Subscriptions
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor

DecodedMap = TypeVar("DecodedMap", FSMap, MDSMap, OSDMap)
Items = Mapping[str, SubscribeItem]

_NOTHING: Final[Items] = {}
_FULL_OSDMAP: Final[Items] = {"osdmap": SubscribeItem(0)}


class Following:
    """Maps, subscriptions, and the choice of file system and pool.  Methods that take a map return what to ask next."""

    def __init__(self, fsid: UUID | None, fs: str | None, pool: str | None, journal: Journal) -> None:
        self._wanted_fsid = fsid
        self._fs = fs
        self._pool = pool
        self._journal = journal
        self._subs = Subscriptions(mdsmap_at_once=fs is None)
        self._maps = MapStore()
        self.monmap: MonMap | None = None
        self.fscid: int | None = None
        self.fs_missing = False
        self.denied: set[str] = set()  # our caps do not cover them
        self._fs_pool: int | None = None  # the one data pool of the chosen file system
        self._osdmap: OSDMap | None = None
        self._bad: dict[str, int] = {}  # crc of the last one of each name that did not decode
        self._unread: set[str] = set()  # maps that the cluster has and we cannot read
        self._osdmap_asked_at = -1  # what we had when we last asked for a full one

    # ---- subscriptions

    def items(self, *, whole_monmap: bool) -> Items:
        """Return what to ask of a monitor: everything after what we have."""
        return self._subs.items(whole_monmap=whole_monmap)

    def records(self) -> Mapping[str, MapRecord]:
        """Return the maps as received."""
        return self._maps.records()

    def check_fsid(self, fsid: UUID) -> None:
        """Raise ForeignCluster for another cluster than the one asked for, or than the one we began with."""
        wanted = self.monmap.fsid if self.monmap is not None else self._wanted_fsid
        if wanted is not None and fsid != wanted:
            raise ForeignCluster(f"belongs to cluster {fsid}, wanted {wanted}")

    def check_fsid_bytes(self, fsid: bytes) -> None:
        """Do the same with the 16 bytes of a message."""
        if self.monmap is None or self.monmap.fsid.bytes != fsid:
            self.check_fsid(UUID(bytes=fsid))

    # ---- maps that come

    def on_monmap(self, payload: mon.MMonMap, now: Stamp) -> MonMap | None:
        """Return the new monmap, None if it is not newer.  One without monitors is refused."""
        monmap = MonMap.decode(Cursor(payload.monmap, "MonMap"))
        self.check_fsid(monmap.fsid)
        if not monmap.mons:
            raise DecodeError("MonMap", 0, "no monitors in it")
        if not self._got("monmap", monmap.epoch, payload.monmap, now):
            return None
        self.monmap = monmap
        return monmap

    def on_mgrmap(self, payload: mon.MMgrMap, now: Stamp) -> None:
        """Take the mgrmap."""
        self._got("mgrmap", payload.epoch, payload.mgrmap, now)

    def on_fsmap(self, link: Link, payload: mon.MFSMap, now: Stamp) -> Items:
        """Find the file system that was asked for, or the first."""
        fsmap = self._decoded(link, "fsmap", payload.epoch, payload.fsmap, FSMap.decode)
        if fsmap is None or not self._got("fsmap", payload.epoch, payload.fsmap, now):
            return _NOTHING
        if self._fs is None:
            first = fsmap.legacy_client_fscid
            self.fscid = first if first >= 0 else None
            return _NOTHING
        self.fscid = fsmap.for_user().fscid_of(self._fs)
        self.fs_missing = self.fscid is None
        if not self._subs.choose_mdsmap(self.fscid):
            return _NOTHING
        self._maps.forget("mdsmap")
        self._fs_pool = None
        return self._subs.item("mdsmap")

    def on_mdsmap(self, link: Link, payload: mon.MMDSMap, now: Stamp) -> None:
        """Take the mdsmap; with `fs=` its only data pool is what `df` is about."""
        self.check_fsid_bytes(payload.fsid)
        mdsmap = self._decoded(link, "mdsmap", payload.epoch, payload.mdsmap, MDSMap.decode)
        if mdsmap is None or not self._got("mdsmap", payload.epoch, payload.mdsmap, now):
            return
        if self._fs is not None:
            pools = mdsmap.data_pools
            self._fs_pool = pools[0] if len(pools) == 1 else None

    def on_osdmap(self, link: Link, payload: mon.MOSDMap, now: Stamp) -> Items:
        """Take full and incremental maps; a gap, or a chain that grew long, asks for a full one."""
        self.check_fsid_bytes(payload.fsid)
        newest = max(payload.full, default=0)
        if newest and newest >= self._subs.have("osdmap"):
            osdmap = self._decoded(link, "osdmap", newest, payload.full[newest], OSDMap.decode)
            if osdmap is not None:
                self.check_fsid(osdmap.fsid)
                self._got("osdmap", newest, payload.full[newest], now)
                self._osdmap = osdmap
        for epoch in sorted(payload.incrementals):
            if epoch > self._subs.have("osdmap") and not self._go_on(link, epoch, payload.incrementals[epoch], now):
                return self._full_osdmap()
        return self._full_osdmap() if self._maps.osdmap_is_long() else _NOTHING

    def _go_on(self, link: Link, epoch: int, blob: bytes, now: Stamp) -> bool:
        """Go one epoch on; False if we cannot from where we are."""
        old = self._osdmap
        if old is None or epoch != old.epoch + 1:
            return False
        osdmap = self._decoded(link, "osdmap", epoch, blob, lambda cur: old.apply(Incremental.decode(cur)))
        if osdmap is None or not self._maps.put_incremental(epoch, blob, now):
            return False
        self._osdmap = osdmap
        self._subs.got("osdmap", epoch)
        self._journal.changed("osdmap")
        return True

    def _full_osdmap(self) -> Items:
        """Once for what we have: a monitor that lags behind answers with a map that does not help."""
        have = self._subs.have("osdmap")
        if self._osdmap_asked_at == have:
            return _NOTHING
        self._osdmap_asked_at = have
        self._journal.counters["osdmap_full_asked"] += 1
        return _FULL_OSDMAP

    def _got(self, name: str, epoch: int, blob: bytes, now: Stamp) -> bool:
        if not self._maps.put(name, epoch, blob, now):
            return False
        self._subs.got(name, epoch)
        self.denied.discard(name)
        self._unread.discard(name)
        self._journal.changed(name)
        return True

    def _decoded(
        self, link: Link, name: str, epoch: int, blob: bytes, decode: Callable[[Cursor], DecodedMap]
    ) -> DecodedMap | None:
        """Decode a map before it takes the place of a good one; None: we do without it."""
        try:
            value = decode(Cursor(blob, name))
            if value.epoch != epoch:
                raise DecodeError(name, 0, f"epoch {value.epoch} where {epoch} was announced")
            return value
        except (DecodeError, IntegrityError) as exc:
            crc = raw_crc32c(blob, 0)
            seen, self._bad[name] = self._bad.get(name), crc
            self._journal.counters["maps_bad"] += 1
            if seen != crc and not isinstance(exc, UnknownEncoding):
                raise
            self._unread.add(name)
            self._journal.error(link.describe(exc))
            return None

    # ---- maps that do not come

    def awaited(self, name: str) -> bool:
        """Whether this map has not come, and may yet."""
        return self._subs.have(name) == 0 and name not in self.denied and name not in self._unread

    def any_awaited(self) -> bool:
        """Whether any map has not come, and may yet."""
        return any(self.awaited(name) for name in MAPS)

    def deny_awaited(self) -> None:
        """What has not come by now, our caps do not cover."""
        for name in MAPS:
            if self.awaited(name) and not (name == "mdsmap" and self._no_mdsmap()):
                self.denied.add(name)
                self._journal.changed(name)

    def _no_mdsmap(self) -> bool:
        """None was asked for, or there is no file system that has one."""
        return self.fscid is None and (self._fs is not None or self._subs.have("fsmap") != 0)

    # ---- what df is about

    def statfs_pool(self) -> int | None:
        """Return the pool that a statfs asks for, None for the whole cluster."""
        return self._pool_id() if self._pool is not None else self._fs_pool

    def _pool_id(self) -> int | None:
        wanted = self._pool
        names = self._osdmap.pool_names if self._osdmap is not None else {}
        for number, name in names.items():
            if name == wanted:
                return number
        return int(wanted) if wanted is not None and wanted.isdigit() and int(wanted) in names else None

    def statfs_meant(self) -> bool:
        """Whether the maps have come that tell what a statfs is about: before them it would be of the whole cluster."""
        if self._pool is not None:
            return self._maps.get("osdmap") is not None or "osdmap" in self._unread
        if self._fs is None or not self.awaited("mdsmap"):
            return True
        return self.fscid is None and not self.awaited("fsmap")

    def statfs_problem(self, entity: object) -> CephMonFSError | None:
        """Return why a statfs cannot be asked at all, None if it can."""
        if self._pool is not None and self.monmap is not None and self._maps.get("osdmap") is not None:
            if self._pool_id() is None:
                return NoData(f"the cluster has no pool {self._pool}")
        elif self._pool is not None and "osdmap" in self.denied:
            return NotPermitted(f"{entity} may not read the osdmap that names pools")
        if self.fs_missing:
            return NoData(f"the cluster has no file system {self._fs}")
        if self._fs is not None and "fsmap" in self.denied:
            return NotPermitted(f"{entity} may not read the fsmap that names file systems")
        return None
