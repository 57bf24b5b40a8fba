"""MDSMap: one file system and the metadata servers that carry it.

Ceph v20.2.4: src/mds/MDSMap.h and .cc, src/include/CompatSet.h.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import DecodeError, UnknownEncoding
from cephmonfs.model.entity import AddrVec, Epoch
from cephmonfs.wire.cursor import Cursor, Utime

if TYPE_CHECKING:
    from cephmonfs.wire.encoder import Encoder

_NEWEST: Final = 5
_OLDEST_EV: Final = 14  # what Nautilus sends
_OLDEST_INFO: Final = 9
_NEWEST_INFO: Final = 10
_BITS: Final = 64 * 1024  # of a feature bitset; real: below 64
_NEVER: Final = Utime(0, 0)

NO_RANK: Final = -1
NO_FSCID: Final = -1

# CEPH_MDSMAP_*
FLAG_NOT_JOINABLE: Final = 1 << 0
FLAG_ALLOW_SNAPS: Final = 1 << 1
FLAG_ALLOW_MULTIMDS_SNAPS: Final = 1 << 4
FLAG_ALLOW_STANDBY_REPLAY: Final = 1 << 5
FLAG_REFUSE_CLIENT_SESSION: Final = 1 << 6
FLAG_REFUSE_STANDBY_FOR_ANOTHER_FS: Final = 1 << 7
FLAG_BALANCE_AUTOMATE: Final = 1 << 8

_STATE_NAMES: Final = {
    -1: "down:stopped",
    -4: "up:boot",
    -5: "up:standby",
    -6: "up:creating",
    -7: "up:starting",
    -8: "up:standby-replay",
    -9: "up:oneshot-replay",
    0: "down:dne",
    8: "up:replay",
    9: "up:resolve",
    10: "up:reconnect",
    11: "up:rejoin",
    12: "up:clientreplay",
    13: "up:active",
    14: "up:stopping",
    15: "down:damaged",
}
STATE_ACTIVE: Final = 13
STATE_STANDBY: Final = -5


def state_name(state: int) -> str:
    """ceph_mds_state_name(): "up:active"; "???" for a state newer than we are."""
    return _STATE_NAMES.get(state, "???")


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """CompatSet::FeatureSet.  Wire: le64 mask, map<le64, string>."""

    mask: int = 0  # on the wire bit 0 is clear, Ceph sets it when it reads
    names: tuple[tuple[int, str], ...] = ()

    @classmethod
    def decode(cls, cur: Cursor) -> FeatureSet:
        """Read one."""
        return cls(cur.u64(), tuple(cur.mapping(Cursor.u64, Cursor.text, each=12).items()))

    def encode(self, enc: Encoder) -> None:
        """Append one."""
        enc.u64(self.mask).u32(len(self.names))
        for number, name in self.names:
            enc.u64(number).text(name)

    def __str__(self) -> str:
        return "{" + ",".join(f"{number}={name}" for number, name in self.names) + "}"


_NO_FEATURES: Final = FeatureSet()


@dataclass(frozen=True, slots=True)
class CompatSet:
    """What a daemon must understand to read and write the data."""

    compat: FeatureSet = _NO_FEATURES
    ro_compat: FeatureSet = _NO_FEATURES
    incompat: FeatureSet = _NO_FEATURES

    @classmethod
    def decode(cls, cur: Cursor) -> CompatSet:
        """Read the three sets."""
        return cls(FeatureSet.decode(cur), FeatureSet.decode(cur), FeatureSet.decode(cur))

    def encode(self, enc: Encoder) -> None:
        """Append the three sets."""
        for features in (self.compat, self.ro_compat, self.incompat):
            features.encode(enc)

    def __str__(self) -> str:
        return f"compat={self.compat},rocompat={self.ro_compat},incompat={self.incompat}"

    @property
    def brief(self) -> str:
        """CompatSet::printlite(): the masks alone."""
        masks = (features.mask | 1 for features in (self.compat, self.ro_compat, self.incompat))
        return "{{c=[{:x}],r=[{:x}],i=[{:x}]}}".format(*masks)


_NO_COMPAT: Final = CompatSet()


@dataclass(frozen=True, slots=True)
class MdsInfo:
    """mds_info_t: one metadata server.

    Wire: ENCODE_START v10 { le64 gid, string name, les32 rank, les32 incarnation, les32 state, le64 state_seq,
    addresses, utime laggy_since, les32 and string (unused), set<les32> export_targets, le64 features,
    les32 join_fscid, bool (unused), v9 le64 flags, v10 compat set }.
    """

    gid: int
    name: str
    rank: int
    incarnation: int
    state: int
    state_seq: int
    addrs: AddrVec
    laggy_since: Utime = _NEVER
    export_targets: tuple[int, ...] = ()
    features: int = 0
    join_fscid: int = NO_FSCID
    flags: int = 0
    compat: CompatSet | None = None  # None: sent by a release that did not have it

    @classmethod
    def decode(cls, cur: Cursor) -> MdsInfo:
        """Read one, as any release since Nautilus sends it."""
        v, body = cur.struct("mds_info_t", _NEWEST_INFO)
        if v < _OLDEST_INFO:
            raise UnknownEncoding(body.what, 0, f"version {v}, older than Nautilus")
        info = cls(
            gid=body.u64(),
            name=body.text(),
            rank=body.s32(),
            incarnation=body.s32(),
            state=body.s32(),
            state_seq=body.u64(),
            addrs=AddrVec.decode(body),
            laggy_since=body.utime(),
        )
        body.s32()
        body.text()
        export_targets, features, join_fscid = body.items(Cursor.s32, each=4), body.u64(), body.s32()
        body.boolean()
        return replace(
            info,
            export_targets=export_targets,
            features=features,
            join_fscid=join_fscid,
            flags=body.u64(),
            compat=CompatSet.decode(body) if v >= 10 else None,
        )

    def encode(self, enc: Encoder) -> None:
        """Append one, as version 10, or 9 when there is no compat set."""
        with enc.struct(9 if self.compat is None else 10, 4):
            enc.u64(self.gid).text(self.name).s32(self.rank).s32(self.incarnation)
            enc.s32(self.state).u64(self.state_seq)
            self.addrs.encode(enc)
            enc.utime(self.laggy_since).s32(NO_RANK).text("")
            enc.items(self.export_targets, lambda e, rank: e.s32(rank))
            enc.u64(self.features).s32(self.join_fscid).boolean(False).u64(self.flags)
            if self.compat is not None:
                self.compat.encode(enc)


@dataclass(frozen=True, slots=True)
class MdsMapTail:
    """What comes last in an MDSMap, where branches of Ceph disagree about the order.

    Released versions have string bal_rank_mask, then le64 max_xattr_size; others the reverse.
    """

    bal_rank_mask: str = "-1"
    max_xattr_size: int = 0
    qdb_leader: int = 0
    qdb_members: tuple[int, ...] = ()

    @classmethod
    def decode(cls, cur: Cursor, ev: int) -> MdsMapTail | None:
        """Read it, None where it makes no sense.  A size read as a string's length does not fit."""
        rest = cur.rest()
        for size_first in (False, True):
            try:
                return cls._decode_order(Cursor(rest, cur.what), ev, size_first=size_first)
            except DecodeError:
                continue
        return None

    @classmethod
    def _decode_order(cls, cur: Cursor, ev: int, *, size_first: bool) -> MdsMapTail:
        size = cur.u64() if size_first and ev >= 18 else 0
        mask = cur.text()
        if not size_first and ev >= 18:
            size = cur.u64()
        leader, members = (cur.u64(), cur.items(Cursor.u64, each=8)) if ev >= 19 else (0, ())
        return cls(mask, size, leader, members)

    def encode(self, enc: Encoder, ev: int) -> None:
        """Append it in the order of the releases."""
        enc.text(self.bal_rank_mask)
        if ev >= 18:
            enc.u64(self.max_xattr_size)
        if ev >= 19:
            enc.u64(self.qdb_leader).items(self.qdb_members, lambda e, gid: e.u64(gid))


@dataclass(frozen=True, slots=True)
class MDSMap:
    """One file system.

    Wire: ENCODE_START v5 { le32 epoch, le32 flags, le32 last_failure, les32 root, le32 session_timeout,
    le32 session_autoclose, le64 max_file_size, les32 max_mds, map<le64 gid, mds_info_t>, list<les64> data_pools,
    les64 cas_pool, le16 ev, compat set, les64 metadata_pool, utime created, utime modified, les32 tableserver,
    set<les32> in, map<les32, les32> inc, map<les32 rank, le64 gid> up, set<les32> failed, set<les32> stopped,
    le32 last_failure_osd_epoch, u8 ever_allowed_features, u8 explicitly_allowed_features, bool inline_data,
    bool enabled, string fs_name, set<les32> damaged, string balancer, les32 standby_count_wanted,
    les32 (unused), u8 min_compat_client, ev 16 required_client_features (le32 length, words), ev 17 `MdsMapTail` }.
    """

    ev: int  # version of the second half
    epoch: Epoch
    flags: int
    last_failure: int
    root: int
    session_timeout: int
    session_autoclose: int
    max_file_size: int
    max_mds: int
    infos: tuple[MdsInfo, ...]  # in the order of their gids
    data_pools: tuple[int, ...]
    cas_pool: int
    compat: CompatSet
    metadata_pool: int
    created: Utime
    modified: Utime
    tableserver: int
    in_ranks: tuple[int, ...]
    inc: tuple[tuple[int, int], ...]
    up: tuple[tuple[int, int], ...]  # rank, gid
    failed: tuple[int, ...]
    stopped: tuple[int, ...]
    last_failure_osd_epoch: int
    ever_allowed_features: int
    explicitly_allowed_features: int
    inline_data: bool
    enabled: bool
    fs_name: str
    damaged: tuple[int, ...]
    balancer: str
    standby_count_wanted: int  # -1: not set
    min_compat_client: int = 0  # a release; 255 or 0: unset
    required_client_features: int = 0  # a mask
    tail: MdsMapTail | None = None

    @classmethod
    def decode(cls, cur: Cursor) -> MDSMap:
        """Read a map of any release since Nautilus."""
        v, body = cur.struct("MDSMap", _NEWEST)
        if v < 4:
            raise UnknownEncoding(body.what, 0, f"version {v}, older than Nautilus")
        head = (body.u32(), body.u32(), body.u32(), body.s32(), body.u32(), body.u32(), body.u64(), body.s32())
        infos = body.mapping(Cursor.u64, MdsInfo.decode, each=8 + 6)
        data_pools, cas_pool = body.items(Cursor.s64, each=8), body.s64()
        ev = body.u16()
        if ev < _OLDEST_EV:
            raise UnknownEncoding(body.what, 0, f"version {ev} of the second half, older than Nautilus")
        base = cls(
            ev=ev,
            epoch=Epoch(head[0]),
            flags=head[1],
            last_failure=head[2],
            root=head[3],
            session_timeout=head[4],
            session_autoclose=head[5],
            max_file_size=head[6],
            max_mds=head[7],
            infos=tuple(info for _, info in sorted(infos.items())),
            data_pools=data_pools,
            cas_pool=cas_pool,
            compat=CompatSet.decode(body),
            metadata_pool=body.s64(),
            created=body.utime(),
            modified=body.utime(),
            tableserver=body.s32(),
            in_ranks=body.items(Cursor.s32, each=4),
            inc=tuple(body.mapping(Cursor.s32, Cursor.s32, each=8).items()),
            up=tuple(body.mapping(Cursor.s32, Cursor.u64, each=12).items()),
            failed=body.items(Cursor.s32, each=4),
            stopped=body.items(Cursor.s32, each=4),
            last_failure_osd_epoch=body.u32(),
            ever_allowed_features=body.u8(),
            explicitly_allowed_features=body.u8(),
            inline_data=body.boolean(),
            enabled=body.boolean(),
            fs_name=body.text(),
            damaged=body.items(Cursor.s32, each=4),
            balancer=body.text(),
            standby_count_wanted=body.s32(),
        )
        body.s32()
        return replace(
            base,
            min_compat_client=body.u8(),
            required_client_features=int.from_bytes(body.blob(_BITS // 8), "little") if ev >= 16 else 0,
            tail=MdsMapTail.decode(body, ev) if ev >= 17 else None,
        )

    def encode(self, enc: Encoder) -> None:
        """Append the map in the version `ev` that it has."""
        with enc.struct(5, 4):
            enc.u32(self.epoch).u32(self.flags).u32(self.last_failure).s32(self.root)
            enc.u32(self.session_timeout).u32(self.session_autoclose).u64(self.max_file_size).s32(self.max_mds)
            enc.u32(len(self.infos))
            for info in self.infos:
                enc.u64(info.gid)
                info.encode(enc)
            enc.items(self.data_pools, lambda e, pool: e.s64(pool)).s64(self.cas_pool).u16(self.ev)
            self._encode_rest(enc)

    def _encode_rest(self, enc: Encoder) -> None:
        self.compat.encode(enc)
        enc.s64(self.metadata_pool).utime(self.created).utime(self.modified).s32(self.tableserver)
        _encode_ranks(enc, self.in_ranks)
        enc.u32(len(self.inc))
        for rank, number in self.inc:
            enc.s32(rank).s32(number)
        enc.u32(len(self.up))
        for rank, gid in self.up:
            enc.s32(rank).u64(gid)
        _encode_ranks(enc, self.failed)
        _encode_ranks(enc, self.stopped)
        enc.u32(self.last_failure_osd_epoch).u8(self.ever_allowed_features).u8(self.explicitly_allowed_features)
        enc.boolean(self.inline_data).boolean(self.enabled).text(self.fs_name)
        _encode_ranks(enc, self.damaged)
        enc.text(self.balancer).s32(self.standby_count_wanted).s32(0).u8(self.min_compat_client)
        if self.ev >= 16:
            words = -(-self.required_client_features.bit_length() // 64)
            enc.blob(self.required_client_features.to_bytes(8 * words, "little"))
        if self.ev >= 17:
            (self.tail or MdsMapTail()).encode(enc, self.ev)


def _encode_ranks(enc: Encoder, ranks: tuple[int, ...]) -> None:
    enc.items(ranks, lambda e, rank: e.s32(rank))
