"""Following: the maps that a session follows.

A session begins with whole maps, whatever we have: so nothing that a monitor has said outlives its session, but for the
ten seconds that `versions` gives it, and a map that does not come is one that our caps do not cover (any more).

A map is decoded before it takes the place of a good one.  Damage costs the monitor its session; but the same bytes
once more are the cluster's own word, and what is too new for us is nobody's fault: then that map is left out, and
everything else goes on.
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
from cephmonfs.mon.decoding import MapPayload, Outcomes
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.link import Link
from cephmonfs.mon.maps import MapStore
from cephmonfs.mon.snapshot import MapRecord, Stamp
from cephmonfs.mon.subs import MAPS, Subscriptions
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
"""What the session's own monitor is asked for; with the monmap each link begins."""


class Following:
    """Maps and subscriptions.  Methods that take a map return what to ask next."""

    def __init__(self, fsid: UUID | None, target: Target, journal: Journal, versions: Versions) -> None:
        self._wanted_fsid = fsid
        self._target = target
        self._journal = journal
        self._versions = versions
        self._subs = Subscriptions(mdsmap_at_once=target.fs is None)
        self._maps = MapStore()
        self.monmap: MonMap | None = None
        self.denied: set[str] = set()  # our caps do not cover them
        self._came: set[str] = set()  # in this session
        self.osdmap: OSDMap | None = None
        self._outcomes: Outcomes = {}  # of the message that is being taken, if it was decoded before
        self._bad: dict[str, int] = {}  # crc of the last one of each name that did not decode
        self.unread: set[str] = set()  # maps that the cluster has and we cannot read
        self._osdmap_asked_at = -1  # what we had when we last asked for a full one

    # ---- subscriptions

    def link_began(self) -> Items:
        """Return what to ask first: the monmap, whose fsid shows that this is our cluster."""
        return self._subs.whole(["monmap"])

    def session_began(self) -> Items:
        """Return what to ask of the session's monitor."""
        self._came.clear()
        self._osdmap_asked_at = -1
        return self._subs.whole(_BY_SESSION)

    def renewed(self) -> Items:
        """Return what to ask of a monitor that forgets subscriptions: everything after what we have."""
        return self._subs.next()

    def ask_again(self, now: float) -> Items:
        """Return what to ask for, whole, because a monitor has insisted on an older epoch for long enough."""
        due = self._versions.take_due(now)
        return self._subs.whole(name for name in MAPS if name in due)

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

    def on_map(self, link: Link, payload: MapPayload, now: Stamp, outcomes: Outcomes = _UNDECODED) -> Items:
        """Take another map than the monmap.  `outcomes`: what decoding it gave, if that was done before."""
        self._outcomes = outcomes
        match payload:
            case mon.MOSDMap():
                return self._on_osdmap(link, payload, now)
            case mon.MFSMap():
                return self._on_fsmap(link, payload, now)
            case mon.MMDSMap():
                self._on_mdsmap(link, payload, now)
            case mon.MMgrMap(epoch, mgrmap):
                if self._is_news("mgrmap", epoch, mgrmap, now):
                    self._got("mgrmap", epoch, mgrmap, now)
        return _NOTHING

    def _on_fsmap(self, link: Link, payload: mon.MFSMap, now: Stamp) -> Items:
        """Find the file system that was asked for, or the default one; another one has another mdsmap."""
        if not self._is_news("fsmap", payload.epoch, payload.fsmap, now):
            return _NOTHING
        fsmap = self._decoded(link, "fsmap", payload.epoch, payload.fsmap, FSMap.decode)
        if fsmap is None:
            return _NOTHING
        first = self._subs.have("fsmap") == 0
        self._got("fsmap", payload.epoch, payload.fsmap, now, fsmap)
        is_another = self._target.on_fsmap(fsmap)
        if self._target.fs is not None:
            is_another = self._subs.choose_mdsmap(self._target.fscid)
        elif first:
            is_another = self._no_mdsmap()  # it came by itself
        if not is_another:
            return _NOTHING
        self._forget("mdsmap")
        return _NOTHING if self._no_mdsmap() else self._subs.whole(["mdsmap"])

    def _on_mdsmap(self, link: Link, payload: mon.MMDSMap, now: Stamp) -> None:
        """Take the mdsmap, unless its file system has just been removed."""
        self.check_fsid_bytes(payload.fsid)
        if self._no_mdsmap() or not self._is_news("mdsmap", payload.epoch, payload.mdsmap, now):
            return
        mdsmap = self._decoded(link, "mdsmap", payload.epoch, payload.mdsmap, MDSMap.decode)
        if mdsmap is not None:
            self._got("mdsmap", payload.epoch, payload.mdsmap, now, mdsmap)
            self._target.on_mdsmap(mdsmap)

    def _on_osdmap(self, link: Link, payload: mon.MOSDMap, now: Stamp) -> Items:
        """Take full and incremental maps; a gap, or a chain that grew long, asks for a full one."""
        self.check_fsid_bytes(payload.fsid)
        full = max(payload.full, default=0)
        have = self._subs.have("osdmap")
        newest = max(full, *payload.incrementals, 0)
        if not newest or not self._counts("osdmap", newest, now):
            return _NOTHING
        if full and (full >= have or newest < have):
            self._on_full_osdmap(link, full, payload.full[full], now)
        for epoch in sorted(payload.incrementals):
            if epoch > self._subs.have("osdmap") and not self._go_on(link, epoch, payload.incrementals[epoch], now):
                return self._full_osdmap()
        return self._full_osdmap() if self._maps.osdmap_is_long() else _NOTHING

    def _on_full_osdmap(self, link: Link, epoch: int, blob: bytes, now: Stamp) -> None:
        old = self._maps.get("osdmap")
        if old is not None and old.blob == blob and not old.incrementals:
            return
        osdmap = self._decoded(link, "osdmap", epoch, blob, OSDMap.decode)
        if osdmap is None:
            return
        self.check_fsid(osdmap.fsid)
        if old is not None and osdmap == self.osdmap:
            self._maps.put("osdmap", epoch, blob, old.at, osdmap)  # no news, but without a chain
            return
        self._got("osdmap", epoch, blob, now, osdmap)
        self._now_osdmap(osdmap)

    def _go_on(self, link: Link, epoch: int, blob: bytes, now: Stamp) -> bool:
        """Go one epoch on; False if we cannot from where we are."""
        old = self.osdmap
        if old is None or epoch != old.epoch + 1:
            return False
        osdmap = self._decoded(link, "osdmap", epoch, blob, lambda cur: old.apply(Incremental.decode(cur)))
        if osdmap is None or not self._maps.put_incremental(epoch, blob, now, osdmap):
            return False
        self._subs.got("osdmap", epoch)
        self._journal.changed("osdmap")
        self._now_osdmap(osdmap)
        return True

    def _now_osdmap(self, osdmap: OSDMap | None) -> None:
        self.osdmap = osdmap
        self._target.on_osdmap(osdmap)

    def _full_osdmap(self) -> Items:
        """Once for what we have: a monitor that lags behind answers with a map that does not help."""
        have = self._subs.have("osdmap")
        if self._osdmap_asked_at == have:
            return _NOTHING
        self._osdmap_asked_at = have
        self._journal.counters["osdmap_full_asked"] += 1
        return self._subs.whole(["osdmap"])

    def _counts(self, name: str, epoch: int, now: Stamp) -> bool:
        """Whether this epoch may take the place of ours.  The caps cover the map: it came."""
        self._came.add(name)
        if name in self.denied:
            self.denied.discard(name)
            self._journal.changed(name)
        if self._versions.counts(name, epoch, self._subs.have(name), now.mono):
            return True
        self._journal.counters["maps_lagging"] += 1
        return False

    def _is_news(self, name: str, epoch: int, blob: bytes, now: Stamp) -> bool:
        """Whether this full map is to take the place of ours."""
        if not self._counts(name, epoch, now):
            return False
        record = self._maps.get(name)
        return record is None or (record.epoch, record.blob) != (epoch, blob)

    def _got(
        self, name: str, epoch: int, blob: bytes, now: Stamp, value: MonMap | FSMap | MDSMap | OSDMap | None = None
    ) -> None:
        self._maps.put(name, epoch, blob, now, value)
        self._versions.forget(name)
        self._subs.got(name, epoch)
        self.unread.discard(name)
        self._journal.changed(name)

    def _forget(self, name: str) -> None:
        """This map is not there, or not ours to see."""
        self._maps.forget(name)
        self._versions.forget(name)
        self._subs.got(name, 0)
        self._came.discard(name)
        self._journal.changed(name)

    def _decoded(
        self, link: Link, name: str, epoch: int, blob: bytes, decode: Callable[[Cursor], DecodedMap]
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
            self._journal.counters["maps_bad"] += 1
            if seen != crc and not isinstance(exc, UnknownEncoding):
                raise
            self.unread.add(name)
            self._journal.error(link.describe(exc))
            return None

    # ---- maps that do not come

    def awaited(self, name: str) -> bool:
        """Whether this map has never come, and may yet."""
        return self._subs.have(name) == 0 and name not in self.denied and name not in self.unread

    def _unanswered(self) -> list[str]:
        """Return the maps that this session's monitor has not sent."""
        missing = [name for name in _BY_SESSION if name not in self._came and name not in self.denied]
        return [name for name in missing if not (name == "mdsmap" and self._no_mdsmap())]

    def any_awaited(self) -> bool:
        """Whether any map has not come in this session, and may yet."""
        return bool(self._unanswered())

    def deny_awaited(self, entity: object) -> None:
        """What has not come by now, our caps do not cover; what they did cover once is told."""
        denied = self._unanswered()
        narrowed = [name for name in denied if self._maps.get(name) is not None]
        self.denied.update(denied)
        for name in denied:
            self._forget(name)
        if "osdmap" in denied:
            self._now_osdmap(None)
        if narrowed:
            names = ", ".join(narrowed)
            self._journal.error(
                f"the caps of {entity} do not cover any more: {names}. On the cluster: ceph auth get {entity}"
            )

    def _no_mdsmap(self) -> bool:
        """None was asked for, or there is no file system that has one."""
        return self._target.fscid is None and (self._target.fs is not None or self._subs.have("fsmap") != 0)

    # ---- what df is about

    def statfs_meant(self) -> bool:
        """Whether the maps have come that tell what a statfs is about: before them it would be of the whole cluster."""
        if self._target.pool is not None:
            return not self.awaited("osdmap")
        if self._target.fs is None or not self.awaited("mdsmap"):
            return True
        return self._target.fscid is None and not self.awaited("fsmap")
