"""OSDMap: pools and OSDs, as far as a summary goes.

Placement is not decoded here: CRUSH, pg_temp and the fields after them are skipped by their length, so a map
of ten thousand OSDs takes a few milliseconds.  Ceph v20.2.4: src/osd/OSDMap.h and .cc, src/osd/osd_types.cc.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cephmonfs.errors import DecodeError, IntegrityError, TooLarge, UnknownEncoding
from cephmonfs.model.entity import BLANK_ADDR, AddrVec, Epoch
from cephmonfs.wire import limits
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEWEST: Final = 8
_FIRST_FRAMED: Final = 7
_NEWEST_CLIENT: Final = 10
_OLDEST_CLIENT: Final = 8  # what Nautilus sends; also of the client part of an incremental
_NEWEST_POOL: Final = 32
_OLDEST_POOL: Final = 29
_SEED: Final = 0xFFFFFFFF
_NEVER: Final = Utime(0, 0)

_COMPRESSION_MODE: Final = 6  # pool_opts_t::key_t
_OPT_STR: Final = 0  # pool_opts_t::type_t
_OPT_INT: Final = 1

OSD_EXISTS: Final = 1 << 0
OSD_UP: Final = 1 << 1
OSD_AUTOOUT: Final = 1 << 2
OSD_NEW: Final = 1 << 3
WEIGHT_IN: Final = 0x10000  # 1.0

POOL_REPLICATED: Final = 1
POOL_ERASURE: Final = 3

_FLAG_NAMES: Final = {  # in the order of OSDMap::get_flag_string()
    0: "nearfull",
    1: "full",
    2: "pauserd",
    3: "pausewr",
    4: "pauserec",
    5: "noup",
    6: "nodown",
    7: "noout",
    8: "noin",
    9: "nobackfill",
    14: "norebalance",
    10: "norecover",
    11: "noscrub",
    12: "nodeep-scrub",
    13: "notieragent",
    21: "nosnaptrim",
    15: "sortbitwise",
    16: "require_jewel_osds",
    17: "require_kraken_osds",
    18: "require_luminous_osds",
    19: "recovery_deletes",
    20: "purged_snapdirs",
    22: "pglog_hardlimit",
    23: "noautoscale",
}

_POOL_FLAG_NAMES: Final = {
    0: "hashpspool",
    1: "full",
    2: "ec_overwrites",
    3: "incomplete_clones",
    4: "nodelete",
    5: "nopgchange",
    6: "nosizechange",
    7: "write_fadvise_dontneed",
    8: "noscrub",
    9: "nodeep-scrub",
    10: "full_quota",
    11: "nearfull",
    12: "backfillfull",
    13: "selfmanaged_snaps",
    14: "pool_snaps",
    15: "creating",
    16: "eio",
    17: "bulk",
    18: "crimson",
    19: "ec_optimizations",
}


@dataclass(frozen=True, slots=True)
class PoolSnap:
    """pool_snap_info_t.  Wire: ENCODE_START v2 { le64 id, utime stamp, string name }."""

    id: int
    stamp: Utime
    name: str

    @classmethod
    def decode(cls, cur: Cursor) -> PoolSnap:
        """Read one."""
        _, body = cur.struct("pool_snap_info_t", v=2)
        return cls(body.u64(), body.utime(), body.text())

    def encode(self, enc: Encoder) -> None:
        """Append one."""
        with enc.struct(2, 2):
            enc.u64(self.id).utime(self.stamp).text(self.name)


@dataclass(frozen=True, slots=True)
class Pool:
    """pg_pool_t, without what only an OSD or a cache tier asks for.

    Wire: ENCODE_START v29 to v32; the sequence of fields is that of `decode`.
    """

    type: int = POOL_REPLICATED
    size: int = 1
    crush_rule: int = 0
    object_hash: int = 2  # rjenkins
    pg_num: int = 1
    pgp_num: int = 1
    last_change: int = 0
    snap_seq: int = 0
    snaps: tuple[PoolSnap, ...] = ()
    flags: int = 0
    min_size: int = 1
    quota_max_bytes: int = 0
    quota_max_objects: int = 0
    tiers: tuple[int, ...] = ()
    tier_of: int = -1
    cache_mode: int = 0
    read_tier: int = -1
    write_tier: int = -1
    stripe_width: int = 0
    erasure_code_profile: str = ""
    fast_read: bool = False
    applications: tuple[str, ...] = ()
    create_time: Utime = _NEVER
    pg_num_target: int = 1
    pgp_num_target: int = 1
    pg_num_pending: int = 1
    pg_autoscale_mode: int = 0  # 0 off, 1 warn, 2 on
    compression_mode: str = ""  # empty: the cluster's own
    last_force_op_resend: int = 0  # that of before Nautilus, which is what clients go by

    @classmethod
    def decode(cls, cur: Cursor) -> Pool:
        """Read a pool as any release since Nautilus sends it."""
        v, body = cur.struct("pg_pool_t", _NEWEST_POOL)
        if v < _OLDEST_POOL:
            raise UnknownEncoding(body.what, 0, f"version {v}, older than Nautilus")
        kind, size, crush_rule, object_hash = body.u8(), body.u8(), body.u8(), body.u8()
        pg_num, pgp_num = body.u32(), body.u32()
        body.skip(4 + 4)  # localized PGs of 2010
        last_change, snap_seq = body.u32(), body.u64()
        body.skip(4)  # snap_epoch
        snaps = tuple(body.mapping(Cursor.u64, PoolSnap.decode, each=8 + 6).values())
        body.skip(16 * body.count(each=16, kept=False))  # removed_snaps
        body.skip(8)  # auid
        flags = body.u64()
        body.skip(4)  # crash replay
        min_size, quota_max_bytes, quota_max_objects = body.u8(), body.u64(), body.u64()
        tiers, tier_of, cache_mode = body.items(Cursor.u64, each=8), body.s64(), body.u8()
        read_tier, write_tier = body.s64(), body.s64()
        body.mapping(Cursor.text, Cursor.text, each=8)  # properties
        body.struct("HitSet::Params", v=1)
        body.skip(4 + 4)  # hit set period, count
        stripe_width = body.u32()
        body.skip(8 + 8 + 4 * 4)  # cache targets
        erasure_code_profile = body.text()
        body.skip(4 + 4 + 8 + 4 + 4 + 1)  # resends, recencies, expected objects, cache ratio, gmt hit sets
        fast_read = body.boolean()
        body.skip(4 + 4)  # hit set decay
        compression_mode = _decode_compression(body)
        last_force_op_resend = body.u32()
        applications = tuple(body.mapping(Cursor.text, _decode_strings, each=8))
        create_time = body.utime()
        targets = body.u32(), body.u32(), body.u32()
        body.skip(4 + 4 + 4)  # epochs of the last merge, last_force_op_resend
        return cls(
            type=kind,
            size=size,
            crush_rule=crush_rule,
            object_hash=object_hash,
            pg_num=pg_num,
            pgp_num=pgp_num,
            last_change=last_change,
            snap_seq=snap_seq,
            snaps=snaps,
            flags=flags,
            min_size=min_size,
            quota_max_bytes=quota_max_bytes,
            quota_max_objects=quota_max_objects,
            tiers=tiers,
            tier_of=tier_of,
            cache_mode=cache_mode,
            read_tier=read_tier,
            write_tier=write_tier,
            stripe_width=stripe_width,
            erasure_code_profile=erasure_code_profile,
            fast_read=fast_read,
            applications=applications,
            create_time=create_time,
            pg_num_target=targets[0],
            pgp_num_target=targets[1],
            pg_num_pending=targets[2],
            pg_autoscale_mode=body.u8(),
            compression_mode=compression_mode,
            last_force_op_resend=last_force_op_resend,
        )

    def encode(self, enc: Encoder) -> None:
        """Append version 29; what this class does not hold has Ceph's defaults."""
        with enc.struct(29, 5):
            enc.u8(self.type).u8(self.size).u8(self.crush_rule).u8(self.object_hash)
            enc.u32(self.pg_num).u32(self.pgp_num).u32(0).u32(0)
            enc.u32(self.last_change).u64(self.snap_seq).u32(0).u32(len(self.snaps))
            for snap in self.snaps:
                enc.u64(snap.id)
                snap.encode(enc)
            enc.u32(0).u64(0).u64(self.flags).u32(0)
            enc.u8(self.min_size).u64(self.quota_max_bytes).u64(self.quota_max_objects)
            enc.items(self.tiers, lambda e, tier: e.u64(tier)).s64(self.tier_of).u8(self.cache_mode)
            enc.s64(self.read_tier).s64(self.write_tier).u32(0)
            with enc.struct(1, 1):
                enc.u8(0)  # no hit sets
            enc.u32(0).u32(0).u32(self.stripe_width)
            enc.u64(0).u64(0).u32(400000).u32(800000).u32(0).u32(0)
            enc.text(self.erasure_code_profile).u32(0).u32(0).u64(0).u32(600000).u32(0).boolean(True)
            enc.boolean(self.fast_read).u32(0).u32(0)
            with enc.struct(2, 1):
                enc.u32(1 if self.compression_mode else 0)
                if self.compression_mode:
                    enc.s32(_COMPRESSION_MODE).s32(_OPT_STR).text(self.compression_mode)
            enc.u32(self.last_force_op_resend).u32(len(self.applications))
            for name in self.applications:
                enc.text(name).u32(0)
            enc.utime(self.create_time).u32(self.pg_num_target).u32(self.pgp_num_target).u32(self.pg_num_pending)
            enc.u32(0).u32(0).u32(0).u8(self.pg_autoscale_mode)
            with enc.struct(1, 1):  # the last merge of PGs: none
                enc.u8(1).u64(0).u32(0).s32(-1).u32(0).u32(0).u32(0)
                enc.u64(0).u32(0).u64(0).u32(0)

    @property
    def flag_names(self) -> tuple[str, ...]:
        """Names of the flags, lowest bit first, as pg_pool_t::get_flags_string() has them."""
        bits = (bit for bit in range(self.flags.bit_length()) if self.flags >> bit & 1)
        return tuple(_POOL_FLAG_NAMES.get(bit, "???") for bit in bits)


def _decode_compression(cur: Cursor) -> str:
    """pool_opts_t: ENCODE_START v2 { le32 count of { les32 key, les32 kind, value } }; all but one are passed over.

    The value is a string for kind 0, 8 bytes for the others (integers of version 1 have 4).
    """
    v, body = cur.struct("pool_opts_t", v=2)
    found = ""
    for _ in range(body.count(each=12)):
        key, kind = body.s32(), body.s32()
        if kind != _OPT_STR:
            body.skip(4 if kind == _OPT_INT and v < 2 else 8)
            continue
        text = body.text()
        if key == _COMPRESSION_MODE:
            found = text
    return found


def _decode_strings(cur: Cursor) -> None:
    cur.mapping(Cursor.text, Cursor.text, each=8)


def _check_classic(cur: Cursor, what: str) -> None:
    """Refuse the forms of before OSDMAP_ENC (2013): a bare le16 version of 5 or 6, no length, no crc."""
    if (v := cur.peek_u8()) < _FIRST_FRAMED:
        raise UnknownEncoding(what, cur.offset, f"version {v}, older than Nautilus")


def _check_crc(cur: Cursor, what: str, start: int, crc_at: int, wanted: int) -> None:
    """The crc covers the whole encoding but itself."""
    actual = raw_crc32c(cur.between(start, crc_at), _SEED)
    actual = raw_crc32c(cur.between(crc_at + 4, cur.offset), actual)
    if actual != wanted:
        raise IntegrityError(f"{what}: crc 0x{actual:08x}, wanted 0x{wanted:08x}")


def _append_with_crc(enc: Encoder, body: Encoder, tail: bytes = b"") -> None:
    """Append ENCODE_START v8 { body, le32 crc of all but itself, tail }."""
    front = Encoder().u8(8).u8(7).u32(len(body) + 4 + len(tail)).raw(bytes(body))
    crc = raw_crc32c(tail, raw_crc32c(bytes(front), _SEED))
    enc.raw(bytes(front)).u32(crc).raw(tail)


@dataclass(frozen=True, slots=True)
class OSDMap:
    """Pools, flags, and the state and weight of every OSD.

    Wire: ENCODE_START v8 { client part ENCODE_START v10 { fsid, le32 epoch, utime created, utime modified,
    map<les64, pg_pool_t>, map<les64, string> names, les32 pool_max, le32 flags, les32 max_osd, list<le32> states,
    list<le32> weights, ... }, OSDs' part, le32 crc }.
    """

    fsid: UUID
    epoch: Epoch
    created: Utime
    modified: Utime
    pools: Mapping[int, Pool]
    pool_names: Mapping[int, str]
    pool_max: int
    flags: int
    max_osd: int
    states: tuple[int, ...]
    weights: tuple[int, ...]

    @classmethod
    def decode(cls, cur: Cursor) -> OSDMap:
        """Read a full map of any release since Nautilus.  Raises IntegrityError when its crc does not match."""
        _check_classic(cur, "OSDMap")
        start = cur.offset
        v, body = cur.struct("OSDMap", _NEWEST)
        client_v, client = body.struct("OSDMap (client part)", _NEWEST_CLIENT)
        body.struct("OSDMap (OSDs' part)", v=255)
        if v >= 8:
            crc_at = start + 6 + body.offset
            _check_crc(cur, "OSDMap", start, crc_at, body.u32())
        if client_v < _OLDEST_CLIENT:
            raise UnknownEncoding(client.what, 0, f"version {client_v}, older than Nautilus")
        return cls(
            fsid=UUID(bytes=client.raw(16)),
            epoch=Epoch(client.u32()),
            created=client.utime(),
            modified=client.utime(),
            pools=client.mapping(Cursor.s64, Pool.decode, each=8 + 6, limit=limits.MAX_POOLS),
            pool_names=client.mapping(Cursor.s64, Cursor.text, each=8 + 4, limit=limits.MAX_POOLS),
            pool_max=client.s32(),
            flags=client.u32(),
            max_osd=client.s32(),
            states=client.u32_array(),
            weights=client.u32_array(),
        )

    @staticmethod
    def epoch_of(cur: Cursor) -> Epoch:
        """Return the epoch of an encoded map, without reading it all.  Raises DecodeError."""
        _check_classic(cur, "OSDMap")
        _, body = cur.struct("OSDMap", _NEWEST)
        _, client = body.struct("OSDMap (client part)", _NEWEST_CLIENT)
        client.skip(16)  # fsid
        return Epoch(client.u32())

    def encode(self, enc: Encoder) -> None:
        """Append a map without CRUSH and placement: enough for a reader that decodes it as this class does."""
        body = Encoder()
        with body.struct(9, 1):
            body.raw(self.fsid.bytes).u32(self.epoch).utime(self.created).utime(self.modified)
            _encode_pools(body, self.pools, self.pool_names)
            body.s32(self.pool_max).u32(self.flags).s32(self.max_osd)
            for numbers in (self.states, self.weights):
                body.items(numbers, lambda e, number: e.u32(number))
            body.u32(self.max_osd)
            for _ in range(self.max_osd):
                AddrVec((BLANK_ADDR,)).encode(body)
            body.u32(0).u32(0).u32(0).u32(0).u32(0)  # pg_temp, primary_temp, affinity, crush, profiles
            body.u32(0).u32(0).s32(1).u32(0).u32(0).utime(_NEVER).utime(_NEVER)
        with body.struct(1, 1):
            pass
        _append_with_crc(enc, body)

    def apply(self, inc: Incremental) -> OSDMap:
        """Return the next map.  Raises DecodeError when the incremental does not follow on this one."""
        if inc.fsid != self.fsid or inc.epoch != self.epoch + 1:
            raise DecodeError("OSDMap::Incremental", 0, f"epoch {inc.epoch} does not follow on {self.epoch}")
        if inc.fullmap is not None:
            return inc.fullmap
        max_osd = self.max_osd if inc.new_max_osd < 0 else inc.new_max_osd
        if not 0 <= max_osd <= max(limits.MAX_OSDS, self.max_osd):
            raise DecodeError("OSDMap::Incremental", 0, f"max_osd {max_osd}, limit {limits.MAX_OSDS}")
        for osd in (*inc.new_weight, *inc.new_state, *inc.new_up):
            if not 0 <= osd < max_osd:
                raise DecodeError("OSDMap::Incremental", 0, f"osd.{osd} where max_osd is {max_osd}")
        states, weights = _resized(self.states, max_osd), _resized(self.weights, max_osd)
        for osd, weight in inc.new_weight.items():
            weights[osd] = weight
            if weight:
                states[osd] = (states[osd] | OSD_EXISTS) & ~(OSD_AUTOOUT | OSD_NEW)
        for osd, bits in inc.new_state.items():
            if states[osd] & bits & OSD_EXISTS:
                states[osd] = 0  # the OSD is gone
            else:
                states[osd] ^= bits or OSD_UP
        for osd in inc.new_up:
            states[osd] |= OSD_EXISTS | OSD_UP
        pools = {**self.pools, **{id: replace(pool, last_change=inc.epoch) for id, pool in inc.new_pools.items()}}
        names = {**self.pool_names, **inc.new_pool_names}
        if max(len(pools), len(names)) > limits.MAX_POOLS:
            raise TooLarge("OSDMap::Incremental", 0, f"{len(pools)} pools, limit {limits.MAX_POOLS}")
        return replace(
            self,
            epoch=inc.epoch,
            modified=inc.modified,
            pools={id: pools[id] for id in sorted(pools) if id not in inc.old_pools},
            pool_names={id: names[id] for id in sorted(names) if id not in inc.old_pools},
            pool_max=self.pool_max if inc.new_pool_max < 0 else inc.new_pool_max,
            flags=self.flags if inc.new_flags < 0 else inc.new_flags,
            max_osd=max_osd,
            states=tuple(states),
            weights=tuple(weights),
        )

    @property
    def flag_names(self) -> tuple[str, ...]:
        """Names of the flags in the order of `ceph osd dump`, which is silent about those it does not know."""
        return tuple(name for bit, name in _FLAG_NAMES.items() if self.flags >> bit & 1)

    @property
    def num_osds(self) -> int:
        """OSDs that exist."""
        return sum(state & OSD_EXISTS for state in self.states)

    @property
    def num_up_osds(self) -> int:
        """OSDs that exist and are up."""
        return sum(state & (OSD_EXISTS | OSD_UP) == OSD_EXISTS | OSD_UP for state in self.states)

    @property
    def num_in_osds(self) -> int:
        """OSDs that exist and have a weight."""
        pairs = zip(self.states, self.weights, strict=False)
        return sum(1 for state, weight in pairs if state & OSD_EXISTS and weight)


def _resized(numbers: tuple[int, ...], size: int) -> list[int]:
    return [*numbers[:size], *([0] * (size - len(numbers)))]


def _encode_pools(enc: Encoder, pools: Mapping[int, Pool], names: Mapping[int, str]) -> None:
    enc.u32(len(pools))
    for id, pool in pools.items():
        enc.s64(id)
        pool.encode(enc)
    enc.u32(len(names))
    for id, name in names.items():
        enc.s64(id).text(name)


@dataclass(frozen=True, slots=True)
class Incremental:
    """OSDMap::Incremental: what changed from one epoch to the next, as far as the summary goes.

    Wire: ENCODE_START v8 { client part ENCODE_START v9 { fsid, le32 epoch, utime modified, les64 new_pool_max,
    les32 new_flags, bytes full map, bytes crush, les32 new_max_osd, map<les64, pg_pool_t> new_pools,
    map<les64, string> new_pool_names, set<les64> old_pools, map<les32, addresses> new_up_client,
    map<les32, le32> new_state (bits to flip; 0: UP), map<les32, le32> new_weight, ... }, OSDs' part,
    le32 crc (of all but itself), le32 crc of the full map that results }.  -1 and -1 max and flags: unchanged.
    Ceph v20.2.4: src/osd/OSDMap.cc, OSDMap::Incremental::decode, OSDMap::apply_incremental.
    """

    fsid: UUID
    epoch: Epoch
    modified: Utime = _NEVER
    new_pool_max: int = -1
    new_flags: int = -1
    fullmap: OSDMap | None = None
    new_max_osd: int = -1
    new_pools: Mapping[int, Pool] = field(default_factory=dict)
    new_pool_names: Mapping[int, str] = field(default_factory=dict)
    old_pools: frozenset[int] = frozenset()
    new_up: tuple[int, ...] = ()
    new_state: Mapping[int, int] = field(default_factory=dict)
    new_weight: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def decode(cls, cur: Cursor) -> Incremental:
        """Read one of any release since Nautilus.  Raises IntegrityError when its crc does not match."""
        _check_classic(cur, "OSDMap::Incremental")
        start = cur.offset
        v, body = cur.struct("OSDMap::Incremental", _NEWEST)
        if v < 8:
            raise UnknownEncoding(body.what, 0, f"version {v}, older than Nautilus")
        client_v, client = body.struct("OSDMap::Incremental (client part)", _NEWEST_CLIENT)
        body.struct("OSDMap::Incremental (OSDs' part)", v=255)
        _check_crc(cur, "OSDMap::Incremental", start, start + 6 + body.offset, body.u32())
        if client_v < _OLDEST_CLIENT:
            raise UnknownEncoding(client.what, 0, f"version {client_v}, older than Nautilus")
        head = UUID(bytes=client.raw(16)), Epoch(client.u32()), client.utime(), client.s64(), client.s32()
        fullmap = client.sub_blob("OSDMap")
        client.sub_blob("crush")
        return cls(
            *head,
            fullmap=OSDMap.decode(fullmap) if fullmap.remaining else None,
            new_max_osd=client.s32(),
            new_pools=client.mapping(Cursor.s64, Pool.decode, each=8 + 6, limit=limits.MAX_POOLS),
            new_pool_names=client.mapping(Cursor.s64, Cursor.text, each=8 + 4, limit=limits.MAX_POOLS),
            old_pools=frozenset(client.items(Cursor.s64, each=8)),
            new_up=tuple(client.mapping(Cursor.s32, AddrVec.decode, each=4 + 5)),
            new_state=client.mapping(Cursor.s32, Cursor.u32, each=8),
            new_weight=client.mapping(Cursor.s32, Cursor.u32, each=8),
        )

    def encode(self, enc: Encoder) -> None:
        """Append one without placement: enough for a reader that decodes it as this class does."""
        body = Encoder()
        with body.struct(8, 1):
            body.raw(self.fsid.bytes).u32(self.epoch).utime(self.modified).s64(self.new_pool_max).s32(self.new_flags)
            with body.length():
                if self.fullmap is not None:
                    self.fullmap.encode(body)
            body.u32(0).s32(self.new_max_osd)  # no crush
            _encode_pools(body, self.new_pools, self.new_pool_names)
            body.items(self.old_pools, lambda e, id: e.s64(id)).u32(len(self.new_up))
            for osd in self.new_up:
                body.s32(osd)
                AddrVec((BLANK_ADDR,)).encode(body)
            for numbers in (self.new_state, self.new_weight):
                body.mapping(numbers, lambda e, osd: e.s32(osd), lambda e, number: e.u32(number))
            for _ in range(11):  # pg_temp, primary_temp, affinity, profiles, upmaps and snaps
                body.u32(0)
            body.utime(_NEVER).utime(_NEVER)
        with body.struct(1, 1):
            pass
        _append_with_crc(enc, body, tail=bytes(4))
