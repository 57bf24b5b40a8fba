"""The part of an OSDMap that places data: addresses of OSDs, exceptions for single PGs, erasure code profiles.

Decoded only when a file needs it, beside `OSDMap`, which checks versions and checksums; CRUSH itself is skipped.
Ceph v20.2.4: src/osd/OSDMap.h and .cc.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cephmonfs.model.entity import AddrVec
from cephmonfs.model.osdmap import OSD_EXISTS
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cephmonfs.model.osdmap import OSDMap

    K = TypeVar("K")
    V = TypeVar("V")

_ANY_V: Final = 255  # OSDMap has checked it
_NO_ADDRS: Final = AddrVec(())
AFFINITY_DEFAULT: Final = 0x10000  # 1.0


class PgId(NamedTuple):
    """pg_t.  Wire: u8 1, le64 pool, le32 seed, les32 -1."""

    pool: int
    seed: int

    @classmethod
    def decode(cls, cur: Cursor) -> PgId:
        """Read one."""
        cur.skip(1)
        pg = cls(cur.u64(), cur.u32())
        cur.skip(4)
        return pg

    def __str__(self) -> str:
        return f"{self.pool}.{self.seed:x}"


_PG_BYTES: Final = 17


def _osds(cur: Cursor) -> tuple[int, ...]:
    return cur.items(Cursor.s32, each=4)


def _pairs(cur: Cursor) -> tuple[tuple[int, int], ...]:
    return cur.items(lambda c: (c.s32(), c.s32()), each=8)


def _profile(cur: Cursor) -> dict[str, str]:
    return cur.mapping(Cursor.text, Cursor.text, each=8)


def _skip_pools(cur: Cursor) -> None:
    for _ in range(cur.count(each=8 + 6)):
        cur.skip(8)
        cur.struct("pg_pool_t", _ANY_V)
    for _ in range(cur.count(each=8 + 4)):
        cur.skip(8)
        cur.skip(cur.u32())


def _client_part(cur: Cursor, what: str) -> Cursor:
    _, body = cur.struct(what, _ANY_V)
    return body.struct(f"{what} (client part)", _ANY_V)[1]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where OSDs are, and which PGs are elsewhere than CRUSH says.

    Wire: in the client part of OSDMap, behind the weights: list<addresses>, map<pg_t, list<les32>> pg_temp,
    map<pg_t, les32> primary_temp, list<le32> affinity (may be empty), bytes crush, map<string, map<string, string>>
    erasure code profiles, map<pg_t, list<les32>> pg_upmap, map<pg_t, list<les32, les32>> pg_upmap_items, ...
    """

    addrs: tuple[AddrVec, ...] = ()
    affinity: tuple[int, ...] = ()  # empty: 1.0 for all
    pg_temp: Mapping[PgId, tuple[int, ...]] = field(default_factory=dict)
    primary_temp: Mapping[PgId, int] = field(default_factory=dict)
    erasure_profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pg_upmap: Mapping[PgId, tuple[int, ...]] = field(default_factory=dict)
    pg_upmap_items: Mapping[PgId, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @classmethod
    def decode(cls, cur: Cursor) -> Placement:
        """Read it off a full map."""
        body = _client_part(cur, "OSDMap")
        body.skip(16 + 4 + 8 + 8)  # fsid, epoch, times
        _skip_pools(body)
        body.skip(4 + 4 + 4)  # pool_max, flags, max_osd
        body.u32_array()  # states
        body.u32_array()  # weights
        addrs = body.items(AddrVec.decode, each=5)
        pg_temp = body.mapping(PgId.decode, _osds, each=_PG_BYTES + 4)
        primary_temp = body.mapping(PgId.decode, Cursor.s32, each=_PG_BYTES + 4)
        affinity = body.u32_array()
        body.sub_blob("crush")
        return cls(
            addrs=addrs,
            affinity=affinity,
            pg_temp=pg_temp,
            primary_temp=primary_temp,
            erasure_profiles=body.mapping(Cursor.text, _profile, each=8),
            pg_upmap=body.mapping(PgId.decode, _osds, each=_PG_BYTES + 4),
            pg_upmap_items=body.mapping(PgId.decode, _pairs, each=_PG_BYTES + 4),
        )

    def addr_of(self, osd: int) -> AddrVec:
        """Return an OSD's public addresses, none where there are none."""
        return self.addrs[osd] if osd < len(self.addrs) else _NO_ADDRS

    def affinity_of(self, osd: int) -> int:
        """Return an OSD's primary affinity; 0x10000 is 1.0."""
        return self.affinity[osd] if osd < len(self.affinity) else AFFINITY_DEFAULT

    def apply(self, cur: Cursor, before: OSDMap, after: OSDMap) -> Placement:
        """Return what an incremental makes of it, which has led from the one map to the other."""
        body = _client_part(cur, "OSDMap::Incremental")
        body.skip(16 + 4 + 8 + 8 + 4)  # fsid, epoch, time, pool_max, flags
        fullmap = body.sub_blob("OSDMap")
        if fullmap.remaining:
            return Placement.decode(fullmap)
        body.sub_blob("crush")
        body.skip(4)  # max_osd
        _skip_pools(body)
        body.skip(8 * body.count(each=8, kept=False))  # pools removed
        size = after.max_osd
        up = body.mapping(Cursor.s32, AddrVec.decode, each=4 + 5)
        states = body.mapping(Cursor.s32, Cursor.u32, each=8)
        body.skip(8 * body.count(each=8, kept=False))  # weights
        pg_temp = body.mapping(PgId.decode, _osds, each=_PG_BYTES + 4)
        primary_temp = body.mapping(PgId.decode, Cursor.s32, each=_PG_BYTES + 4)
        affinity = body.mapping(Cursor.s32, Cursor.u32, each=8)
        profiles = body.mapping(Cursor.text, _profile, each=8)
        old_profiles = body.items(Cursor.text, each=4)
        upmap = body.mapping(PgId.decode, _osds, each=_PG_BYTES + 4)
        old_upmap = body.items(PgId.decode, each=_PG_BYTES)
        items = body.mapping(PgId.decode, _pairs, each=_PG_BYTES + 4)
        old_items = body.items(PgId.decode, each=_PG_BYTES)
        # OSDMap has checked that all these OSDs are below max_osd
        gone = {osd for osd, bits in states.items() if bits & OSD_EXISTS and _exists(before, osd)}
        addrs = {**dict.fromkeys(gone, _NO_ADDRS), **up}
        changed = {**dict.fromkeys(gone, AFFINITY_DEFAULT), **affinity}
        return replace(
            self,
            addrs=tuple(addrs.get(osd, self.addr_of(osd)) for osd in range(size)),
            affinity=tuple(changed.get(osd, self.affinity_of(osd)) for osd in range(size))
            if self.affinity or affinity
            else (),
            pg_temp={pg: osds for pg, osds in {**self.pg_temp, **pg_temp}.items() if osds},
            primary_temp={pg: osd for pg, osd in {**self.primary_temp, **primary_temp}.items() if osd != -1},
            erasure_profiles=_without({**self.erasure_profiles, **profiles}, old_profiles),
            pg_upmap=_without({**self.pg_upmap, **upmap}, old_upmap),
            pg_upmap_items=_without({**self.pg_upmap_items, **items}, old_items),
        )


def _exists(osdmap: OSDMap, osd: int) -> bool:
    return osd < len(osdmap.states) and bool(osdmap.states[osd] & OSD_EXISTS)


def _without(values: dict[K, V], keys: Iterable[K]) -> dict[K, V]:
    for key in keys:
        values.pop(key, None)
    return values
