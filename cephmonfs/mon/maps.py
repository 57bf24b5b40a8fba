"""Maps: subscribes to the cluster's maps, checks what comes, and keeps it.

Each session asks for whole maps, whatever we have.  So nothing that a monitor said outlives its session (but for the
10 s that `versions` gives it), and a map that does not come is one that our caps do not cover (any more).

A map is decoded before it replaces a good one.  A map that does not decode ends the session with its monitor.  If
another monitor sends the same bytes, or if the encoding is newer than we know, the map is left out instead: the cluster
really has it, and everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast
from uuid import UUID

from cephmonfs.errors import CephMonFSError, DecodeError, ForeignCluster, IntegrityError, UnknownEncoding
from cephmonfs.messages import mon
from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.mon.connection import MonConnection
from cephmonfs.mon.decoding import MapPayload, Outcomes
from cephmonfs.mon.mapstore import MapStore
from cephmonfs.mon.report import Report
from cephmonfs.mon.snapshot import MAPS, MapRecord, Stamp
from cephmonfs.mon.subscriptions import Subscriptions
from cephmonfs.mon.target import Target
from cephmonfs.mon.versions import Versions
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor

DecodedMap = TypeVar("DecodedMap", FSMap, MDSMap, OSDMap)
Decoded = MonMap | FSMap | MDSMap | OSDMap
Items = Mapping[str, SubscribeItem]

_NOTHING: Final[Items] = {}
_UNDECODED: Final[Outcomes] = {}
_BY_SESSION: Final = tuple(name for name in MAPS if name != "monmap")
"""What the session's own monitor is asked for; with the monmap each connection begins."""


class Maps:
    """Maps and subscriptions.  Methods that take a map return what to subscribe to next."""

    def __init__(self, fsid: UUID | None, target: Target, report: Report, versions: Versions) -> None:
        self._wanted_fsid = fsid
        self._target = target
        self._report = report
        self._versions = versions
        self._subscriptions = Subscriptions(mdsmap_at_once=target.fs is None)
        self._store = MapStore()
        self.monmap: MonMap | None = None
        self.denied: set[str] = set()  # our caps do not cover them
        self._came: set[str] = set()  # in this session
        self.osdmap: OSDMap | None = None
        self._outcomes: Outcomes = {}  # of the message that is being taken, if it was decoded before
        self._bad: dict[str, int] = {}  # crc of the last one of each name that did not decode
        self.unread: set[str] = set()  # maps that the cluster has and we cannot read
        self._osdmap_asked_at = -1  # what we had when we last asked for a full one

    # ---- subscriptions

    def connection_began(self) -> Items:
        """Return what to ask first: the monmap, whose fsid shows that this is our cluster."""
        return self._subscriptions.whole(["monmap"])

    def session_began(self) -> Items:
        """Return what to ask of the session's monitor."""
        self._came.clear()
        self._osdmap_asked_at = -1
        return self._subscriptions.whole(_BY_SESSION)

    def renewed(self) -> Items:
        """Return what to ask of a monitor that forgets subscriptions: everything after what we have."""
        return self._subscriptions.next()

    def ask_again(self, now: float) -> Items:
        """Return what to ask for, whole, because a monitor has insisted on an older epoch for long enough."""
        due = self._versions.take_due(now)
        return self._subscriptions.whole(name for name in MAPS if name in due)

    def records(self) -> Mapping[str, MapRecord]:
        """Return the maps as received."""
        return self._store.records()

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
        """Return the new monmap, None if it is no news.  One without monitors is refused."""
        monmap = MonMap.decode(Cursor(payload.monmap, "MonMap"))
        self.check_fsid(monmap.fsid)
        if not monmap.mons:
            raise DecodeError("MonMap", 0, "no monitors in it")
        if not self._is_news("monmap", monmap.epoch, payload.monmap, now):
            return None
        self._got("monmap", monmap.epoch, payload.monmap, now, monmap)
        self.monmap = monmap
        return monmap

    def comes(self, payload: MapPayload) -> None:
        """A map is here and will be taken: the caps cover it."""
        names = {mon.MOSDMap: "osdmap", mon.MFSMap: "fsmap", mon.MMDSMap: "mdsmap", mon.MMgrMap: "mgrmap"}
        self._came.add(names[type(payload)])

    def on_map(self, conn: MonConnection, payload: MapPayload, now: Stamp, outcomes: Outcomes = _UNDECODED) -> Items:
        """Take another map than the monmap.  `outcomes`: what decoding it gave, if that was done before."""
        self._outcomes = outcomes
        match payload:
            case mon.MOSDMap():
                return self._on_osdmap(conn, payload, now)
            case mon.MFSMap():
                return self._on_fsmap(conn, payload, now)
            case mon.MMDSMap():
                self._on_mdsmap(conn, payload, now)
            case mon.MMgrMap(epoch, mgrmap):
                if self._is_news("mgrmap", epoch, mgrmap, now):
                    self._got("mgrmap", epoch, mgrmap, now)
        return _NOTHING

    def _on_fsmap(self, conn: MonConnection, payload: mon.MFSMap, now: Stamp) -> Items:
        """Find the file system that was asked for, or the default one; another one has another mdsmap."""
        if not self._is_news("fsmap", payload.epoch, payload.fsmap, now):
            return _NOTHING
        fsmap = self._decoded(conn, "fsmap", payload.epoch, payload.fsmap, FSMap.decode)
        if fsmap is None:
            return _NOTHING
        first = self._subscriptions.have("fsmap") == 0
        self._got("fsmap", payload.epoch, payload.fsmap, now, fsmap)
        is_another = self._target.on_fsmap(fsmap)
        if self._target.fs is not None:
            is_another = self._subscriptions.choose_mdsmap(self._target.fscid)
        elif first:
            is_another = self._no_mdsmap()  # it came by itself
        if not is_another:
            return _NOTHING
        self._forget("mdsmap")
        return _NOTHING if self._no_mdsmap() else self._subscriptions.whole(["mdsmap"])

    def _on_mdsmap(self, conn: MonConnection, payload: mon.MMDSMap, now: Stamp) -> None:
        """Take the mdsmap, unless its file system has just been removed."""
        self.check_fsid_bytes(payload.fsid)
        if self._no_mdsmap() or not self._is_news("mdsmap", payload.epoch, payload.mdsmap, now):
            return
        mdsmap = self._decoded(conn, "mdsmap", payload.epoch, payload.mdsmap, MDSMap.decode)
        if mdsmap is not None:
            self._got("mdsmap", payload.epoch, payload.mdsmap, now, mdsmap)
            self._target.on_mdsmap(mdsmap)

    def _on_osdmap(self, conn: MonConnection, payload: mon.MOSDMap, now: Stamp) -> Items:
        """Take full and incremental maps; a gap, or a chain that grew long, asks for a full one."""
        self.check_fsid_bytes(payload.fsid)
        full = max(payload.full, default=0)
        have = self._subscriptions.have("osdmap")
        newest = max(full, *payload.incrementals, 0)
        if not newest or not self._counts("osdmap", newest, now):
            return _NOTHING
        if full and (full >= have or newest < have):
            self._on_full_osdmap(conn, full, payload.full[full], now)
        for epoch in sorted(payload.incrementals):
            if epoch > self._subscriptions.have("osdmap") and not self._go_on(
                conn, epoch, payload.incrementals[epoch], now
            ):
                return self._full_osdmap()
        return self._full_osdmap() if self._store.osdmap_is_long() else _NOTHING

    def _on_full_osdmap(self, conn: MonConnection, epoch: int, blob: bytes, now: Stamp) -> None:
        old = self._store.get("osdmap")
        if old is not None and old.blob == blob and not old.incrementals:
            return
        osdmap = self._decoded(conn, "osdmap", epoch, blob, OSDMap.decode)
        if osdmap is None:
            return
        self.check_fsid(osdmap.fsid)
        if old is not None and osdmap == self.osdmap:
            self._store.put("osdmap", epoch, blob, old.at, osdmap)  # no news, but without a chain
            return
        self._got("osdmap", epoch, blob, now, osdmap)
        self._now_osdmap(osdmap)

    def _go_on(self, conn: MonConnection, epoch: int, blob: bytes, now: Stamp) -> bool:
        """Go one epoch on; False if we cannot from where we are."""
        old = self.osdmap
        if old is None or epoch != old.epoch + 1:
            return False
        osdmap = self._decoded(conn, "osdmap", epoch, blob, lambda cur: old.apply(Incremental.decode(cur)))
        if osdmap is None or not self._store.put_incremental(epoch, blob, now, osdmap):
            return False
        self._subscriptions.got("osdmap", epoch)
        self._report.changed("osdmap")
        self._now_osdmap(osdmap)
        return True

    def _now_osdmap(self, osdmap: OSDMap | None) -> None:
        self.osdmap = osdmap
        self._target.on_osdmap(osdmap)

    def _full_osdmap(self) -> Items:
        """Once for what we have: a monitor that lags behind answers with a map that does not help."""
        have = self._subscriptions.have("osdmap")
        if self._osdmap_asked_at == have:
            return _NOTHING
        self._osdmap_asked_at = have
        self._report.counters["osdmap_full_asked"] += 1
        return self._subscriptions.whole(["osdmap"])

    def _counts(self, name: str, epoch: int, now: Stamp) -> bool:
        """Whether this epoch may take the place of ours.  The caps cover the map: it came."""
        self._came.add(name)
        if name in self.denied:
            self.denied.discard(name)
            self._report.changed(name)
        if self._versions.counts(name, epoch, self._subscriptions.have(name), now.mono):
            return True
        self._report.counters["maps_lagging"] += 1
        return False

    def _is_news(self, name: str, epoch: int, blob: bytes, now: Stamp) -> bool:
        """Whether this full map is to take the place of ours."""
        if not self._counts(name, epoch, now):
            return False
        record = self._store.get(name)
        return record is None or (record.epoch, record.blob) != (epoch, blob)

    def _got(
        self, name: str, epoch: int, blob: bytes, now: Stamp, value: MonMap | FSMap | MDSMap | OSDMap | None = None
    ) -> None:
        self._store.put(name, epoch, blob, now, value)
        self._versions.forget(name)
        self._subscriptions.got(name, epoch)
        self.unread.discard(name)
        self._report.changed(name)

    def _forget(self, name: str) -> None:
        """This map is not there, or not ours to see."""
        self._store.forget(name)
        self._versions.forget(name)
        self._subscriptions.got(name, 0)
        self._came.discard(name)
        self._report.changed(name)

    def _decoded(
        self, conn: MonConnection, name: str, epoch: int, blob: bytes, decode: Callable[[Cursor], DecodedMap]
    ) -> DecodedMap | None:
        """Decode a map before it takes the place of a good one; None: we do without it."""
        try:
            outcome = self._outcomes.get((name, epoch)) or decode(Cursor(blob, name))
            if isinstance(outcome, CephMonFSError):
                raise outcome
            value = cast("DecodedMap", outcome)
            if value.epoch != epoch:
                raise DecodeError(name, 0, f"epoch {value.epoch} where {epoch} was announced")
            return value
        except (DecodeError, IntegrityError) as exc:
            crc = raw_crc32c(blob, 0)
            seen, self._bad[name] = self._bad.get(name), crc
            self._report.counters["maps_bad"] += 1
            if seen != crc and not isinstance(exc, UnknownEncoding):
                raise
            self.unread.add(name)
            self._report.error(conn.describe(exc))
            return None

    # ---- maps that do not come

    def awaited(self, name: str) -> bool:
        """Whether this map has never come, and may yet."""
        return self._subscriptions.have(name) == 0 and name not in self.denied and name not in self.unread

    def _unanswered(self) -> list[str]:
        """Return the maps that this session's monitor has not sent."""
        missing = [name for name in _BY_SESSION if name not in self._came and name not in self.denied]
        return [name for name in missing if not (name == "mdsmap" and self._no_mdsmap())]

    def any_awaited(self) -> bool:
        """Whether any map has not come in this session, and may yet."""
        return bool(self._unanswered())

    def deny_awaited(self, entity: object) -> None:
        """Deny the maps that have not come by now; report those that came in an earlier session."""
        denied = self._unanswered()
        narrowed = [name for name in denied if self._store.get(name) is not None]
        self.denied.update(denied)
        for name in denied:
            self._forget(name)
        if "osdmap" in denied:
            self._now_osdmap(None)
        if narrowed:
            names = ", ".join(narrowed)
            self._report.error(
                f"the caps of {entity} do not cover any more: {names}. On the cluster: ceph auth get {entity}"
            )

    def _no_mdsmap(self) -> bool:
        """None was asked for, or there is no file system that has one."""
        return self._target.fscid is None and (self._target.fs is not None or self._subscriptions.have("fsmap") != 0)

    # ---- what df is about

    def statfs_meant(self) -> bool:
        """Whether the maps have come that tell what a statfs is about: before them it would be of the whole cluster."""
        if self._target.pool is not None:
            return not self.awaited("osdmap")
        if self._target.fs is None or not self.awaited("mdsmap"):
            return True
        return self._target.fscid is None and not self.awaited("fsmap")
