"""OSDMaps of four releases, and incrementals of one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from cephmonfs.errors import DecodeError, IntegrityError, UnknownEncoding
from cephmonfs.model.entity import Epoch
from cephmonfs.model.osdmap import (
    OSD_AUTOOUT,
    OSD_EXISTS,
    OSD_NEW,
    OSD_UP,
    WEIGHT_IN,
    Incremental,
    OSDMap,
    Pool,
    PoolSnap,
)
from cephmonfs.wire import limits
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor, Utime
from tests.unit.model.support import decode_all, encoded, relengthened, struct
from tests.vectors import load, load_json, load_list, names

VECTORS = names("*osdmap-all.bin") + names("*osdmap-msgr1-noaddr2.bin")
SAME_NAME = (
    *("type", "size", "crush_rule", "object_hash", "pg_num", "flags", "min_size", "quota_max_bytes"),
    *("quota_max_objects", "tier_of", "read_tier", "write_tier", "stripe_width", "erasure_code_profile"),
    *("pg_num_target", "pg_num_pending", "fast_read", "snap_seq"),
)
FSID = UUID(int=7)


def make(**fields: Any) -> OSDMap:
    base = OSDMap(FSID, Epoch(5), Utime(1, 0), Utime(2, 0), {}, {}, 0, 0, 0, (), ())
    return replace(base, **fields)


def inc(**fields: Any) -> Incremental:
    return Incremental(FSID, Epoch(6), **fields)


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_recorded_map_has_the_recorded_values(release: str, name: str) -> None:
    m = decode_all(OSDMap.decode, load(release, name))
    shown = load_json(release, ("rich-" if name.startswith("rich-") else "") + "osd_dump.json")
    assert (str(m.fsid), m.epoch, m.pool_max) == (shown["fsid"], shown["epoch"], shown["pool_max"])
    assert (m.flags, ",".join(m.flag_names)) == (shown["flags_num"], shown["flags"])
    assert (m.max_osd, m.num_osds) == (shown["max_osd"], len(shown["osds"]))
    assert m.num_up_osds == sum(osd["up"] for osd in shown["osds"])
    assert m.num_in_osds == sum(osd["in"] for osd in shown["osds"])
    assert [weight / WEIGHT_IN for weight in m.weights] == [osd["weight"] for osd in shown["osds"]]
    assert len(m.pools) == len(m.pool_names) == len(shown["pools"])
    for wanted in shown["pools"]:
        pool = m.pools[wanted["pool"]]
        assert m.pool_names[wanted["pool"]] == wanted["pool_name"]
        assert {key: getattr(pool, key) for key in SAME_NAME} == {key: wanted[key] for key in SAME_NAME}
        assert pool.pgp_num == wanted["pg_placement_num"]
        assert pool.pgp_num_target == wanted["pg_placement_num_target"]
        assert str(pool.last_change) == wanted["last_change"]
        assert pool.compression_mode == wanted["options"].get("compression_mode", "")
        assert ",".join(pool.flag_names) == wanted["flags_names"]
        assert list(pool.applications) == list(wanted["application_metadata"])
        assert ("off", "warn", "on")[pool.pg_autoscale_mode] == wanted["pg_autoscale_mode"]
        assert [(snap.id, snap.name) for snap in pool.snaps] == [
            (snap["snapid"], snap["name"]) for snap in wanted["pool_snaps"]
        ]


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_strict_prefix_is_an_error(release: str, name: str) -> None:
    data = load(release, name)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            OSDMap.decode(Cursor(data[:cut]))


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_every_damaged_byte_is_found(release: str, name: str) -> None:
    data = bytearray(load(release, name))
    for at in range(len(data)):
        data[at] ^= 0x10
        with pytest.raises((DecodeError, IntegrityError)):
            OSDMap.decode(Cursor(data))
        data[at] ^= 0x10


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_map_comes_back(release: str, name: str) -> None:
    m = OSDMap.decode(Cursor(load(release, name)))
    assert decode_all(OSDMap.decode, encoded(m)) == m


def test_ten_thousand_osds_take_a_moment() -> None:
    states = (OSD_EXISTS | OSD_UP,) * 9_000 + (OSD_EXISTS,) * 500 + (0,) * 500
    m = make(max_osd=10_000, states=states, weights=(WEIGHT_IN,) * 8_000 + (0,) * 2_000)
    data = encoded(m)
    start = time.perf_counter()
    decoded = OSDMap.decode(Cursor(data))
    numbers = decoded.num_osds, decoded.num_up_osds, decoded.num_in_osds
    assert time.perf_counter() - start < 0.5  # in truth 2 ms
    assert numbers == (9_500, 9_000, 8_000)


def test_recorded_incrementals_lead_from_map_to_map() -> None:
    incs = [decode_all(Incremental.decode, data) for data in load_list("pacific-16.2.15", "osdmap-incrementals.bin")]
    fulls = [decode_all(OSDMap.decode, data) for data in load_list("pacific-16.2.15", "osdmap-fulls.bin")]
    assert incs[0].fullmap is not None
    assert incs[0].fullmap.epoch == 1
    for before, change, after in zip(fulls[:-1], incs[1:], fulls[1:], strict=True):
        assert before.apply(change) == after
    assert any(change.new_up for change in incs)
    assert any(change.old_pools for change in incs)


def test_prefixes_and_damage_of_incrementals() -> None:
    for data in load_list("pacific-16.2.15", "osdmap-incrementals.bin")[:12]:
        for cut in range(len(data)):
            with pytest.raises(DecodeError):
                Incremental.decode(Cursor(data[:cut]))
        damaged = bytearray(data)
        for at in range(len(damaged)):
            damaged[at] ^= 1
            with pytest.raises((DecodeError, IntegrityError)):
                Incremental.decode(Cursor(damaged))
            damaged[at] ^= 1


def test_an_incremental_comes_back() -> None:
    full = inc(
        modified=Utime(3, 4),
        new_pool_max=9,
        new_flags=128,
        fullmap=make(),
        new_max_osd=4,
        new_pools={3: Pool()},
        new_pool_names={3: "x"},
        old_pools=frozenset({1}),
        new_up=(0, 2),
        new_state={1: 2},
        new_weight={1: 0},
    )
    for value in (full, inc()):
        assert decode_all(Incremental.decode, encoded(value)) == value


def test_an_incremental_with_a_full_map_replaces_all() -> None:
    after = make(epoch=Epoch(6), flags=1)
    assert make().apply(inc(fullmap=after)) == after


@pytest.mark.parametrize(
    "change", [Incremental(FSID, Epoch(7)), Incremental(FSID, Epoch(5)), Incremental(UUID(int=8), Epoch(6))]
)
def test_an_incremental_must_follow(change: Incremental) -> None:
    with pytest.raises(DecodeError, match="does not follow"):
        make().apply(change)


@pytest.mark.parametrize(
    "fields",
    [
        {"new_max_osd": limits.MAX_MAP_ITEMS + 1},
        {"new_max_osd": 2, "new_up": (2,)},
        {"new_max_osd": 2, "new_state": {-1: 1}},
        {"new_weight": {0: 1}},
    ],
)
def test_an_incremental_beyond_the_map_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="max_osd"):
        make().apply(inc(**fields))


def test_a_map_of_negative_size_is_refused() -> None:
    with pytest.raises(DecodeError, match="max_osd"):
        make(max_osd=-2).apply(inc())


def test_states_flip() -> None:
    up, exists = OSD_EXISTS | OSD_UP, OSD_EXISTS
    before = make(max_osd=4, states=(up, up, exists | OSD_NEW, exists), weights=(WEIGHT_IN,) * 4)
    after = before.apply(inc(new_state={0: 0, 1: OSD_UP, 2: OSD_EXISTS, 3: OSD_NEW}))
    assert after.states == (exists, exists, 0, exists | OSD_NEW)


def test_weights_and_new_osds() -> None:
    before = make(max_osd=1, states=(OSD_EXISTS | OSD_AUTOOUT,), weights=(0,))
    after = before.apply(inc(new_max_osd=3, new_weight={0: WEIGHT_IN, 1: 0}, new_up=(2,)))
    assert after.states == (OSD_EXISTS, 0, OSD_EXISTS | OSD_UP)
    assert after.weights == (WEIGHT_IN, 0, 0)
    assert (after.num_osds, after.num_up_osds, after.num_in_osds) == (2, 1, 1)
    assert after.apply(Incremental(FSID, Epoch(7), new_max_osd=1)).states == (OSD_EXISTS,)


def test_pools_come_and_go() -> None:
    before = make(pools={1: Pool(), 3: Pool()}, pool_names={1: "a", 3: "c"}, pool_max=3, flags=5)
    after = before.apply(
        inc(new_pools={2: Pool(size=2)}, new_pool_names={2: "b", 3: "d"}, old_pools=frozenset({1}), new_pool_max=7)
    )
    assert list(after.pools) == [2, 3]
    assert after.pool_names == {2: "b", 3: "d"}
    assert (after.pools[2].last_change, after.pools[2].size, after.pool_max, after.flags) == (6, 2, 7, 5)
    assert after.apply(Incremental(FSID, Epoch(7), new_flags=0)).flags == 0


def test_flags_we_do_not_know_have_a_number() -> None:
    assert make(flags=1 << 7 | 1 << 31).flag_names == ("noout",)
    assert Pool(flags=1 << 60).flag_names == ("???",)


def test_all_fields_of_a_pool_come_back() -> None:
    pool = Pool(
        type=3, size=6, crush_rule=2, pg_num=8, pgp_num=4, last_change=9, snap_seq=3,
        snaps=(PoolSnap(1, Utime(2, 3), "s"),), flags=1, min_size=4, quota_max_bytes=5, quota_max_objects=6,
        tiers=(7,), tier_of=8, cache_mode=1, read_tier=9, write_tier=10, stripe_width=4096, erasure_code_profile="p",
        fast_read=True, applications=("rbd", "x"), create_time=Utime(4, 5), pg_num_target=1, pgp_num_target=2,
        pg_num_pending=3, pg_autoscale_mode=2, compression_mode="force", last_force_op_resend=11,
    )  # fmt: skip
    data = encoded(pool)
    assert decode_all(Pool.decode, data) == pool
    needed = len(data) - 75  # the last merge of PGs is not read
    for short in relengthened(data):
        if len(short) < needed:
            with pytest.raises(DecodeError):
                Pool.decode(Cursor(short))


def test_of_the_options_of_a_pool_one_is_read() -> None:
    def options(v: int, *pairs: bytes) -> bytes:
        return struct(v, 1, len(pairs).to_bytes(4, "little") + b"".join(pairs))

    def pair(key: int, kind: int, value: bytes) -> bytes:
        return key.to_bytes(4, "little") + kind.to_bytes(4, "little") + value

    text = (4).to_bytes(4, "little") + b"lz4x"
    nothing = options(2)
    plain = encoded(Pool())
    assert plain.count(nothing) == 1
    some = pair(3, 2, bytes(8)), pair(7, 0, text), pair(6, 0, text)
    for found in (options(2, pair(1, 1, bytes(8)), *some), options(1, pair(1, 1, bytes(4)), *some)):
        body = plain[6:].replace(nothing, found)
        assert decode_all(Pool.decode, struct(29, 5, body)) == Pool(compression_mode="lz4x")


def with_crc(v: int, client: bytes) -> bytes:
    body = client + struct(1, 1, b"")
    front = bytes([v, 7]) + (len(body) + 4).to_bytes(4, "little") + body
    return front + raw_crc32c(front, 0xFFFFFFFF).to_bytes(4, "little")


def test_version_7_has_no_crc() -> None:
    m = make(flags=3)
    body = encoded(m)[6:-4]
    assert decode_all(OSDMap.decode, struct(7, 7, body)) == m


@pytest.mark.parametrize("decode", [OSDMap.decode, Incremental.decode])
def test_older_forms_are_refused(decode: Any) -> None:
    with pytest.raises(DecodeError, match="older than Nautilus"):
        decode(Cursor(struct(6, 6, bytes(200))))
    with pytest.raises((DecodeError), match="older than Nautilus"):
        decode(Cursor(with_crc(8, struct(7, 1, bytes(200)))))
    with pytest.raises(DecodeError, match="older than Nautilus"):
        Pool.decode(Cursor(struct(28, 5, bytes(200))))


def test_a_wrong_crc_says_so() -> None:
    data = bytearray(encoded(make()))
    data[-1] ^= 1
    with pytest.raises(IntegrityError, match="crc"):
        OSDMap.decode(Cursor(data))


@pytest.mark.parametrize("head", ["0500", "0600"])
def test_forms_of_before_2013_are_told_as_such(head: str) -> None:
    """What today's monitors still send to a peer without OSDMAP_ENC."""
    data = bytes.fromhex(head) + bytes(400)
    for cls in (OSDMap, Incremental):
        with pytest.raises(UnknownEncoding, match="older"):
            cls.decode(Cursor(data))
