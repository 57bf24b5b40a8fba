"""MonMap: the monitors of a cluster.

Ceph v20.2.4: src/mon/MonMap.h and .cc, src/mon/mon_types.h.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr, EntityInstName, EntityType, Epoch, Rank
from cephmonfs.model.features import Feature, has
from cephmonfs.wire import limits
from cephmonfs.wire.cursor import Cursor, Utime

if TYPE_CHECKING:
    from cephmonfs.wire.encoder import Encoder

_NEWEST: Final = 10
_NEWEST_INFO: Final = 6
_AUTH_CIPHERS_MIN: Final = 16  # a branch of Ceph has a single bool as its version 10
_NEVER: Final = Utime(0, 0)

_FEATURE_RELEASES: Final = {0: 11, 1: 12, 2: 13, 4: 14, 5: 15, 6: 16, 8: 17, 9: 18, 10: 19, 11: 20}  # bit -> release


@dataclass(frozen=True, slots=True)
class MonInfo:
    """mon_info_t: one monitor.

    Wire: ENCODE_START v6 { string name, addresses (v3, before: one address), v2 le16 priority, v4 le16 weight,
    v5 map<string, string> crush_location, v6 utime time_added }.
    """

    name: str
    addrs: AddrVec
    priority: int = 0
    weight: int = 0
    crush_location: tuple[tuple[str, str], ...] = ()
    time_added: Utime | None = None  # None: sent by a release that did not have it

    @classmethod
    def decode(cls, cur: Cursor) -> MonInfo:
        """Read one; what a writer of its version does not know has its default."""
        v, body = cur.struct("mon_info_t", _NEWEST_INFO)
        return cls(
            name=body.text(),
            addrs=AddrVec.decode(body),
            priority=body.u16() if v >= 2 else 0,
            weight=body.u16() if v >= 4 else 0,
            crush_location=tuple(body.mapping(Cursor.text, Cursor.text, each=8).items()) if v >= 5 else (),
            time_added=body.utime() if v >= 6 else None,
        )

    def encode(self, enc: Encoder, v: int, newest: int, *, addr2: bool = True) -> None:
        """Append one in version `v`, as a monitor does for a peer with or without MSG_ADDR2.

        A monitor whose own version is `newest` writes the fields behind the addresses in any case.
        """
        with enc.struct(v, 1):
            enc.text(self.name)
            if v >= 3 and addr2:
                self.addrs.encode(enc)
            else:
                _encode_addr(enc, _old_addr(self.addrs), addr2=addr2)
            enc.u16(self.priority)
            if newest >= 5:
                enc.u16(self.weight).u32(len(self.crush_location))
                for key, value in self.crush_location:
                    enc.text(key).text(value)
            if newest >= 6:
                enc.utime(self.time_added or _NEVER)


def _encode_addr(enc: Encoder, addr: EntityAddr, *, addr2: bool) -> None:
    if addr2:
        addr.encode(enc)
    else:
        addr.encode_legacy(enc)


def _old_addr(addrs: AddrVec) -> EntityAddr:
    """Where an old form names one address: the v1 one; where there is none, another one passed off as v1."""
    addr = addrs.legacy_or_front
    return addr if addr.blank else replace(addr, type=AddrType.LEGACY)


def _decode_features(cur: Cursor) -> int:
    """mon_feature_t: ENCODE_START v1 { le64 }."""
    return cur.struct("mon_feature_t", 1)[1].u64()


@dataclass(frozen=True, slots=True)
class AuthCiphers:
    """The part of version 10: which key types the cluster wants.  Values are KeyType or newer."""

    epoch: int = 0
    service: int = 0
    allowed: tuple[int, ...] = ()
    preferred: int = 0


@dataclass(frozen=True, slots=True)
class MonMap:
    """The monitors, in rank order, and what they agreed upon.

    Wire: versions 1 and 2 begin with le16 version and have no length; from version 3 on ENCODE_START:

        fsid, le32 epoch,
        monitors (v1: list<entity_inst>, v2-v5: map<string, address>, v6+: not here),
        utime last_changed, utime created,
        v4  persistent and optional features
        v5  map<string, mon_info_t>
        v6  list<string> ranks
        v7  u8 min_mon_release
        v8  set<les32> removed_ranks, u8 strategy, set<string> disallowed_leaders
        v9  bool stretch_mode, string tiebreaker, set<string> stretch_marked_down
        v10 le32 auth_epoch, les32 service cipher, list<les32> allowed ciphers, les32 preferred cipher

    Version 1 has no names: the monitors are called by their rank.  Before version 6 ranks are not sent:
    they follow from the addresses.  Before version 7 the release is read off the persistent features.
    An empty map decodes; whether it is of use is for the reader to say.
    """

    version: int  # of the encoding
    fsid: UUID
    epoch: Epoch
    last_changed: Utime
    created: Utime
    mons: tuple[MonInfo, ...]  # in rank order
    persistent_features: int = 0
    optional_features: int = 0
    min_mon_release: int = 0
    removed_ranks: tuple[int, ...] = ()
    strategy: int = 1  # 1 classic, 2 disallow, 3 connectivity
    disallowed_leaders: tuple[str, ...] = ()
    stretch_mode: bool = False
    tiebreaker: str = ""
    stretch_marked_down: tuple[str, ...] = ()
    auth_ciphers: AuthCiphers = AuthCiphers()

    @classmethod
    def decode(cls, cur: Cursor) -> MonMap:
        """Read a map of any version.  Some monitors of 2012 put a second map behind a v2 one: it stays unread."""
        if cur.peek_u8() > 2:
            v, body = cur.struct("MonMap", _NEWEST)
            return cls._decode_body(body, v)
        v = cur.u16()
        if not 1 <= v <= 2:
            raise cur.error(f"version {v}")
        return cls._decode_body(cur, v)

    @classmethod
    def _decode_body(cls, cur: Cursor, v: int) -> MonMap:
        fsid, epoch = UUID(bytes=cur.raw(16)), Epoch(cur.u32())
        mons = _decode_old_mons(cur, v) if v < 6 else ()
        last_changed, created = cur.utime(), cur.utime()
        persistent, optional = (_decode_features(cur), _decode_features(cur)) if v >= 4 else (0, 0)
        if v >= 5:
            infos = cur.mapping(Cursor.text, MonInfo.decode, each=17, limit=limits.MAX_MONS)
            names = cur.items(Cursor.text, each=4, limit=limits.MAX_MONS) if v >= 6 else tuple(m.name for m in mons)
            if len(names) != len(infos) or set(names) != infos.keys():
                raise cur.error("the ranks and the monitors' infos do not name the same monitors")
            mons = tuple(replace(infos[name], name=name) for name in names)
        base = cls(
            version=v,
            fsid=fsid,
            epoch=epoch,
            last_changed=last_changed,
            created=created,
            mons=mons,
            persistent_features=persistent,
            optional_features=optional,
            min_mon_release=cur.u8() if v >= 7 else _infer_release(persistent),
        )
        return base if v < 8 else base._with_newer(cur)

    def _with_newer(self, cur: Cursor) -> MonMap:
        """Read what version 8 and later have."""
        new = replace(
            self,
            removed_ranks=cur.items(Cursor.s32, each=4),
            strategy=cur.u8(),
            disallowed_leaders=cur.items(Cursor.text, each=4),
        )
        if self.version >= 9:
            new = replace(
                new,
                stretch_mode=cur.boolean(),
                tiebreaker=cur.text(),
                stretch_marked_down=cur.items(Cursor.text, each=4),
            )
        if self.version >= 10 and cur.remaining >= _AUTH_CIPHERS_MIN:
            new = replace(new, auth_ciphers=AuthCiphers(cur.u32(), cur.s32(), cur.items(Cursor.s32, each=4), cur.s32()))
        return new

    def encode(self, enc: Encoder, features: int) -> None:
        """Append the form a monitor sends to a peer with these features.

        The newest form is the map's own `version`, or 9 when it came in an old one.
        """
        addr2 = has(features, Feature.MSG_ADDR2)
        v = min(self.version, _NEWEST) if self.version >= 6 else 9
        info_v = 3 if v < 8 else 5 if v < 10 else 6
        if not has(features, Feature.MONNAMES):
            self._encode_old(enc, 1, addr2=addr2)
        elif not has(features, Feature.MONENC):
            self._encode_old(enc, 2, addr2=addr2)
        elif not has(features, Feature.SERVER_NAUTILUS):
            with enc.struct(5, 3):
                self._encode_head(enc, 5, addr2=addr2)
                self._encode_infos(enc, 2, info_v, addr2=addr2)
        else:
            with enc.struct(v, 6):
                self._encode_head(enc, v, addr2=addr2)
                self._encode_infos(enc, info_v, info_v, addr2=addr2)
                enc.items([mon.name for mon in self.mons], lambda e, name: e.text(name))
                self._encode_newer(enc, v)

    def _encode_old(self, enc: Encoder, v: int, *, addr2: bool) -> None:
        enc.u16(v)
        self._encode_head(enc, v, addr2=addr2)

    def _encode_head(self, enc: Encoder, v: int, *, addr2: bool) -> None:
        enc.raw(self.fsid.bytes).u32(self.epoch)
        if v < 6:
            enc.u32(len(self.mons))
            for rank, mon in enumerate(self.mons) if v == 1 else self._by_name():
                if v == 1:
                    EntityInstName(EntityType.MON, rank).encode(enc)
                else:
                    enc.text(mon.name)
                addr = mon.addrs.legacy if v == 1 else _old_addr(mon.addrs)
                _encode_addr(enc, addr, addr2=addr2)
        enc.utime(self.last_changed).utime(self.created)
        if v >= 4:
            for mask in (self.persistent_features, self.optional_features):
                with enc.struct(1, 1):
                    enc.u64(mask)

    def _by_name(self) -> list[tuple[int, MonInfo]]:
        """The order of a map<string, ...>."""
        return sorted(enumerate(self.mons), key=lambda pair: pair[1].name)

    def _encode_infos(self, enc: Encoder, v: int, newest: int, *, addr2: bool) -> None:
        enc.u32(len(self.mons))
        for _, mon in self._by_name():
            enc.text(mon.name)
            mon.encode(enc, v, newest, addr2=addr2)

    def _encode_newer(self, enc: Encoder, v: int) -> None:
        if v >= 7:
            enc.u8(self.min_mon_release)
        if v >= 8:
            enc.items(self.removed_ranks, lambda e, rank: e.s32(rank)).u8(self.strategy)
            enc.items(self.disallowed_leaders, lambda e, name: e.text(name))
        if v >= 9:
            enc.boolean(self.stretch_mode).text(self.tiebreaker)
            enc.items(self.stretch_marked_down, lambda e, name: e.text(name))
        if v >= 10:
            auth = self.auth_ciphers
            enc.u32(auth.epoch).s32(auth.service).items(auth.allowed, lambda e, cipher: e.s32(cipher))
            enc.s32(auth.preferred)

    def rank_of(self, name: str) -> Rank | None:
        """Return a monitor's rank."""
        for rank, mon in enumerate(self.mons):
            if mon.name == name:
                return Rank(rank)
        return None

    def by_addr(self, addr: EntityAddr) -> MonInfo | None:
        """Return the monitor that listens there; protocol and nonce are not compared."""
        if not addr.family:
            return None
        for mon in self.mons:
            if any(own.family and own.hostport == addr.hostport for own in mon.addrs.addrs):
                return mon
        return None


def _decode_old_mons(cur: Cursor, v: int) -> tuple[MonInfo, ...]:
    """Read the monitors of versions 1 to 5, in rank order."""
    if v == 1:
        mons = []
        for rank in range(cur.count(each=9 + 7, limit=limits.MAX_MONS)):
            EntityInstName.decode(cur)
            mons.append(MonInfo(str(rank), AddrVec.decode(cur)))
        return tuple(mons)
    addrs = cur.mapping(Cursor.text, AddrVec.decode, each=4 + 7, limit=limits.MAX_MONS)
    return tuple(MonInfo(name, addrs[name]) for name in sorted(addrs, key=lambda name: _rank_key(addrs[name], name)))


def _rank_key(addrs: AddrVec, name: str) -> tuple[bytes, bytes, bytes, str]:
    """Order as Ceph's memcmp over entity_addr_t does: the port counts before the address."""
    addr = addrs.legacy_or_front
    return (addr.type.to_bytes(4, "little"), addr.nonce.to_bytes(4, "little"), addr.sockaddr, name)


def _infer_release(persistent_features: int) -> int:
    return max((release for bit, release in _FEATURE_RELEASES.items() if persistent_features >> bit & 1), default=0)
