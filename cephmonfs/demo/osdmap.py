"""The OSDMap of the embedded cluster, encoded in full: the `ceph` program decodes every byte of it.

Wire: ENCODE_START v8 { client part v9, OSD part v9, le32 crc }.  The crc is over everything but itself.
Ceph v16.2.15: src/osd/OSDMap.cc, src/osd/osd_types.cc, src/crush/CrushWrapper.cc.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cephmonfs.demo.cluster import HOSTS, OSDS_PER_HOST, DemoCluster, Pool, State
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

OSDMAP_FLAGS: Final = 0x588000  # sortbitwise, recovery_deletes, purged_snapdirs, pglog_hardlimit
POOL_FLAGS: Final = 1  # hashpspool
FULL, BACKFILLFULL, NEARFULL = 0.95, 0.90, 0.85
_CRC_SEED: Final = 0xFFFFFFFF
_WEIGHT_ONE: Final = 0x10000
_OSD_WEIGHT: Final = 4 * _WEIGHT_ONE  # 4 TiB
_STRAW2: Final = 5
_TAKE, _CHOOSELEAF_FIRSTN, _EMIT = 1, 6, 4
_TYPES: Final = {0: "osd", 1: "host", 3: "rack", 10: "region", 11: "root"}
_MIN_COMPAT_LUMINOUS: Final = 12
_PACIFIC: Final = 16
_NEVER: Final = Utime(0, 0)
_FEATURES: Final = 0x3F01CFBDFFFDFFFF  # of every daemon
_FIRST_OSD_SLOT: Final = 8
APPLICATIONS: Final[dict[int, dict[str, dict[str, str]]]] = {
    1: {"mgr_devicehealth": {}},
    2: {"cephfs": {"metadata": "cephfs"}},
    3: {"cephfs": {"data": "cephfs"}},
    4: {"rbd": {}},
}


def osd_uuid(cluster: DemoCluster, osd: int) -> UUID:
    """Return the uuid of an OSD."""
    return UUID(int=cluster.fsid.int ^ (osd + 1) << 8, version=4)


def osd_slot(osd: int) -> int:
    """Return the first of the four address slots of an OSD."""
    return _FIRST_OSD_SLOT + 4 * osd


def encode_osdmap(cluster: DemoCluster, state: State) -> bytes:
    """Return the full map."""
    enc = Encoder()
    with enc.struct(8, 7):
        with enc.struct(9, 1):
            _encode_client_part(enc, cluster, state)
        with enc.struct(9, 1):
            _encode_osd_part(enc, cluster, state)
        enc.u32(0)
    text = bytes(enc)[:-4]
    return text + struct.pack("<I", raw_crc32c(text, _CRC_SEED))


def encode_incremental(cluster: DemoCluster, state: State) -> bytes:
    """Return the incremental that leads to this epoch: one that brings the whole map with it.

    Wire: ENCODE_START v8 { client part v8, OSD part v9, le32 crc of the rest, le32 crc of the full map }.
    """
    full = encode_osdmap(cluster, state)
    enc = Encoder()
    with enc.struct(8, 7):
        with enc.struct(8, 1):
            enc.raw(cluster.fsid.bytes).u32(state.osdmap.epoch).utime(Utime.of(state.osd_modified))
            enc.s64(-1).s32(-1).blob(full).blob(b"").s32(-1)  # pool max, flags, full map, crush, max osd
            for _ in range(17 + 4):  # what changed: nothing besides; two times
                enc.u32(0)
        with enc.struct(9, 1):
            for _ in range(4):  # hb_back, up_thru, last_clean_interval, lost
                enc.u32(0)
            enc.u32(0).u32(0).u32(0)  # blocklist new and old, up_cluster
            enc.text("").u32(0).u32(0).u32(0)  # snapshot, uuids, xinfo, hb_front
            enc.u64(_FEATURES).raw(struct.pack("<fff", -1, -1, -1)).u8(255).u8(255)
            enc.u32(0).u32(0)  # crush node flags, device class flags
        enc.u32(0)
        enc.u32(struct.unpack("<I", full[-4:])[0])
    text = bytes(enc)
    crc = raw_crc32c(text[-4:], raw_crc32c(text[:-8], _CRC_SEED))
    return text[:-8] + struct.pack("<I", crc) + text[-4:]


def _encode_client_part(enc: Encoder, cluster: DemoCluster, state: State) -> None:
    pools = [use.pool for use in state.pools]
    enc.raw(cluster.fsid.bytes).u32(state.osdmap.epoch)
    enc.utime(Utime.of(cluster.created)).utime(Utime.of(state.osd_modified))
    enc.u32(len(pools))
    for pool in pools:
        enc.s64(pool.id)
        _encode_pool(enc, cluster, pool)
    enc.u32(len(pools))
    for pool in pools:
        enc.s64(pool.id).text(pool.name)
    enc.s32(max(pool.id for pool in pools)).u32(OSDMAP_FLAGS).s32(len(state.osd_up))
    enc.items([3 if up else 1 for up in state.osd_up], Encoder.u32)
    enc.items([_WEIGHT_ONE] * len(state.osd_up), Encoder.u32)
    _encode_addrs(enc, cluster, state, 0)
    enc.u32(0).u32(0).u32(0)  # pg_temp, primary_temp, primary affinity
    enc.blob(encode_crush())
    profile = {"k": "2", "m": "2", "plugin": "jerasure", "technique": "reed_sol_van"}
    enc.u32(1).text("default").mapping(profile, Encoder.text, Encoder.text)
    enc.u32(0).u32(0)  # pg_upmap, pg_upmap_items
    enc.u32(3).u32(0).u32(0)  # crush version, new removed and new purged snaps
    enc.utime(Utime.of(state.osd_modified)).utime(Utime.of(cluster.created))  # last up, last in change


def _encode_addrs(enc: Encoder, cluster: DemoCluster, state: State, which: int) -> None:
    enc.u32(len(state.osd_up))
    for osd in range(len(state.osd_up)):
        cluster.daemon_addrs(osd_slot(osd) + which).encode(enc)


def _encode_osd_part(enc: Encoder, cluster: DemoCluster, state: State) -> None:
    count = len(state.osd_up)
    _encode_addrs(enc, cluster, state, 2)
    enc.u32(count)
    for up in state.osd_up:
        born = state.osdmap.epoch - 900
        enc.u8(1).u32(0).u32(0).u32(born).u32(born + 5).u32(0 if up else state.osdmap.epoch).u32(0)
    enc.u32(0)  # blocklist
    _encode_addrs(enc, cluster, state, 1)
    enc.u32(0).text("")
    enc.u32(count)
    for osd in range(count):
        enc.raw(osd_uuid(cluster, osd).bytes)
    enc.u32(count)
    for up in state.osd_up:
        with enc.struct(4, 1):
            enc.utime(_NEVER if up else Utime.of(state.osd_modified)).u32(0).u32(0)
            enc.u64(_FEATURES).u32(0).utime(Utime.of(cluster.created)).u32(0)
    _encode_addrs(enc, cluster, state, 3)
    enc.raw(struct.pack("<fff", NEARFULL, FULL, BACKFILLFULL)).u8(_MIN_COMPAT_LUMINOUS).u8(_PACIFIC)
    enc.u32(0).u32(0).u32(0)  # removed snaps queue, crush node flags, device class flags


def _encode_pool(enc: Encoder, cluster: DemoCluster, pool: Pool) -> None:
    """pg_pool_t, version 29."""
    with enc.struct(29, 5):
        enc.u8(1).u8(pool.size).u8(0).u8(2).u32(pool.pg_num).u32(pool.pg_num).u32(0).u32(0)
        enc.u32(20 + pool.id).u64(0).u32(0).u32(0).u32(0).u64(0).u64(POOL_FLAGS).u32(0)
        enc.u8(2).u64(0).u64(0).u32(0).s64(-1).u8(0).s64(-1).s64(-1).u32(0)
        with enc.struct(1, 1):  # hit set: none
            enc.u8(0)
        enc.u32(0).u32(0).u32(0)  # period, count, stripe width
        enc.u64(0).u64(0).u32(400000).u32(800000).u32(0).u32(0)
        enc.text("").u32(0).u32(0).u64(0).u32(600000).u32(0)
        enc.boolean(True).boolean(False).s32(0).u32(0)
        with enc.struct(2, 1):  # options: none
            enc.u32(0)
        enc.u32(0)
        enc.u32(len(APPLICATIONS[pool.id]))
        for name, values in APPLICATIONS[pool.id].items():
            enc.text(name).mapping(values, Encoder.text, Encoder.text)
        enc.utime(Utime.of(cluster.created + 100 * pool.id))
        enc.u32(pool.pg_num).u32(pool.pg_num).u32(pool.pg_num).u32(0).u32(0).u32(0).u8(2)
        with enc.struct(1, 1):  # pg merge: never
            enc.u8(1).u64(0).u32(0).s32(-1).raw(bytes(3 * 4 + 2 * 12))


def encode_crush() -> bytes:
    """Return the CRUSH map: one root, hosts, straw2 buckets, one replicated rule."""
    enc = Encoder().u32(0x00010000).s32(8).u32(1).s32(HOSTS * OSDS_PER_HOST)
    hosts = [-2 - host for host in range(HOSTS)]
    _encode_bucket(enc, -1, 11, hosts, OSDS_PER_HOST * _OSD_WEIGHT)
    for host in range(HOSTS):
        osds = range(host * OSDS_PER_HOST, (host + 1) * OSDS_PER_HOST)
        _encode_bucket(enc, hosts[host], 1, list(osds), _OSD_WEIGHT)
    for _ in range(8 - 1 - HOSTS):
        enc.u32(0)
    steps = ((_TAKE, -1, 0), (_CHOOSELEAF_FIRSTN, 0, 1), (_EMIT, 0, 0))
    enc.u32(1).u32(len(steps)).u8(0).u8(1).u8(1).u8(10)
    for op, arg1, arg2 in steps:
        enc.u32(op).s32(arg1).s32(arg2)
    text: Callable[[Encoder, str], object] = Encoder.text
    enc.mapping(_TYPES, Encoder.s32, text)
    names = {hosts[host]: f"node{host}" for host in reversed(range(HOSTS))} | {-1: "default"}
    enc.mapping(names | {osd: f"osd.{osd}" for osd in range(HOSTS * OSDS_PER_HOST)}, Encoder.s32, text)
    enc.mapping({0: "replicated_rule"}, Encoder.s32, text)
    enc.u32(0).u32(0).u32(50).u32(1).u8(1).u8(1).u32(54).u8(1)  # tunables of Jewel
    enc.mapping(dict.fromkeys(range(HOSTS * OSDS_PER_HOST), 0), Encoder.s32, Encoder.s32)
    enc.mapping({0: "hdd"}, Encoder.s32, text)
    return bytes(enc.u32(0).u32(0))  # class buckets, choose_args


def _encode_bucket(enc: Encoder, number: int, kind: int, items: list[int], weight: int) -> None:
    enc.u32(_STRAW2).s32(number).u16(kind).u8(_STRAW2).u8(0).u32(weight * len(items)).items(items, Encoder.s32)
    for _ in items:
        enc.u32(weight)
