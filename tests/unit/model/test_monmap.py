"""Every form of the monmap that four releases were seen to send, and some that only the past has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.entity import BLANK_ADDR, AddrType, AddrVec, EntityAddr, Epoch
from cephmonfs.model.features import DEFAULT_FEATURES
from cephmonfs.model.monmap import AuthCiphers, MonInfo, MonMap
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.unit.model.support import decode_all, relengthened
from tests.vectors import RELEASES, STATES, load, load_json, names

ADDR2, NAUTILUS, MONENC, MONNAMES = 1 << 59, 1 << 2, 1 << 15, 1 << 5
WITHOUT = {
    "all": 0,
    "noaddr2": ADDR2,
    "nonautilus": NAUTILUS,
    "nonautilus-noaddr2": NAUTILUS | ADDR2,
    "nomonenc": MONENC,
    "nomonenc-noaddr2": MONENC | ADDR2,
    "nomonnames": MONNAMES,
    "nomonnames-noaddr2": MONNAMES | ADDR2,
}
# made by a monitor that had forgotten the others' time_added, or before their locations were set
NOT_OF_ONE_MOMENT = {
    ("tentacle-20.2.4", "monmap-msgr1-nonautilus-noaddr2.bin"),
    ("pacific-16.2.15", "rich-monmap-msgr1-nonautilus-noaddr2.bin"),
    ("reef-18.2.7", "rich-monmap-msgr1-nonautilus-noaddr2.bin"),
    ("tentacle-20.2.4", "rich-monmap-msgr1-nonautilus-noaddr2.bin"),
}
VECTORS = names("*monmap-msgr*.bin")
FSID = UUID(int=7)


def encode(m: MonMap, without: int = 0) -> bytes:
    enc = Encoder()
    m.encode(enc, DEFAULT_FEATURES & ~without)
    return bytes(enc)


def make(**fields: Any) -> MonMap:
    base = MonMap(9, FSID, Epoch(3), Utime(5, 6), Utime(7, 8), ())
    return replace(base, **fields)


def v2(host: str, port: int = 3300) -> EntityAddr:
    return EntityAddr.of(host, port, AddrType.MSGR2)


def v1(host: str, port: int = 6789) -> EntityAddr:
    return EntityAddr.of(host, port, AddrType.LEGACY)


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_recorded_map_has_the_recorded_values(release: str, name: str) -> None:
    data = load(release, name)
    m = decode_all(MonMap.decode, data)
    shown = load_json(release, ("rich-" if name.startswith("rich-") else "") + "mon_dump.json")
    assert (str(m.fsid), m.epoch) == (shown["fsid"], shown["epoch"])
    named = m.version > 1
    for mon, wanted in zip(m.mons, shown["mons"], strict=True):
        assert mon.name == (wanted["name"] if named else str(wanted["rank"]))
        addrs = [{"type": a.type_name, "addr": a.hostport, "nonce": a.nonce} for a in mon.addrs.addrs]
        every = wanted["public_addrs"]["addrvec"]
        assert addrs == (every if m.version >= 6 and "noaddr2" not in name else every[1:])
    if m.version >= 4:
        assert m.persistent_features.bit_count() == len(shown["features"]["persistent"])
        assert m.min_mon_release == shown["min_mon_release"]
    if m.version >= 8:
        assert m.strategy == shown["election_strategy"]
        assert ",".join(map(str, m.removed_ranks)) == shown.get("removed_ranks: ", shown.get("removed_ranks"))
        assert [mon.weight for mon in m.mons] == [mon["weight"] for mon in shown["mons"]]
    if m.version >= 10:
        assert m.auth_ciphers == AuthCiphers(0, 2, (2,), 2)


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_strict_prefix_is_an_error(release: str, name: str) -> None:
    data = load(release, name)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            MonMap.decode(Cursor(data[:cut]))


@pytest.mark.parametrize("release", RELEASES)
def test_a_body_without_its_last_fields_is_an_error(release: str) -> None:
    data = load(release, "rich-monmap-msgr2-all.bin")
    whole = MonMap.decode(Cursor(data))
    for short in relengthened(data):
        try:
            m = MonMap.decode(Cursor(short))
        except DecodeError:
            continue
        # version 10 may be that of a branch that has less there
        assert m == replace(whole, auth_ciphers=AuthCiphers())


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("form", WITHOUT)
def test_encoding_gives_the_bytes_of_the_real_monitor(release: str, state: str, form: str) -> None:
    m = MonMap.decode(Cursor(load(release, f"{state}monmap-msgr2-all.bin")))
    name = f"{state}monmap-msgr1-{form}.bin"
    data = encode(m, WITHOUT[form])
    if (release, name) in NOT_OF_ONE_MOMENT:
        assert len(data) == len(load(release, name)) or state
    else:
        assert data == load(release, name)


def test_an_empty_map_decodes() -> None:
    for without in WITHOUT.values():
        assert MonMap.decode(Cursor(encode(make(), without))).mons == ()


@pytest.mark.parametrize("data", [b"\0\0" + bytes(40), b"\1\1" + bytes(40), b"\2\1" + bytes(40)])
def test_other_versions_of_the_bare_form_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="version"):
        MonMap.decode(Cursor(data))


def test_a_map_for_newer_decoders_is_refused() -> None:
    data = bytearray(encode(make()))
    data[:2] = b"\x0b\x0b"
    with pytest.raises(DecodeError, match="v11"):
        MonMap.decode(Cursor(data))


def test_what_a_newer_version_adds_is_skipped() -> None:
    m = make(mons=(MonInfo("a", AddrVec((v2("10.0.0.1"),)), time_added=Utime(0, 0)),), version=10)
    data = bytearray(encode(m) + b"more")
    data[0] = 11
    data[2:6] = (len(data) - 6).to_bytes(4, "little")
    assert decode_all(MonMap.decode, bytes(data)) == replace(m, version=11)


def test_version_10_of_another_branch_has_a_bool_there() -> None:
    data = bytearray(encode(make(version=9)) + b"\1")
    data[0] = 10
    data[2:6] = (len(data) - 6).to_bytes(4, "little")
    assert decode_all(MonMap.decode, bytes(data)).auth_ciphers == AuthCiphers()


@pytest.mark.parametrize("version", [3, 4])
def test_versions_that_only_the_past_has(version: int) -> None:
    """Versions 3 and 4: version 2 in an ENCODE_START block, then with the features."""
    m = make(mons=(MonInfo("a", AddrVec((v1("10.0.0.1"),))),))
    body = encode(m, MONENC)[2:]
    if version == 4:
        body += (b"\1\1\x08\0\0\0" + (0x1F).to_bytes(8, "little")) * 2
    data = bytes([version, 3]) + len(body).to_bytes(4, "little") + body
    if version == 4:
        m = replace(m, persistent_features=0x1F, optional_features=0x1F, min_mon_release=14)
    assert decode_all(MonMap.decode, data) == replace(m, version=version)


def test_what_follows_version_2_is_not_read() -> None:
    m = make(mons=(MonInfo("a", AddrVec((v1("10.0.0.1"),))),))
    data = encode(m, MONENC)
    cur = Cursor(data + encode(m))
    assert MonMap.decode(cur) == replace(m, version=2)
    assert cur.offset == len(data)


def test_a_map_from_an_old_form_is_encoded_as_version_9() -> None:
    m = replace(make(mons=(MonInfo("a", AddrVec((v1("10.0.0.1"),))),)), version=2)
    assert MonMap.decode(Cursor(encode(m))) == replace(m, version=9)


def test_version_6_says_no_release() -> None:
    m = make(version=6, persistent_features=0xF)
    assert MonMap.decode(Cursor(encode(m))).min_mon_release == 13
    assert MonMap.decode(Cursor(encode(replace(m, persistent_features=0)))).min_mon_release == 0


def test_version_8_of_octopus() -> None:
    m = make(version=8, min_mon_release=15, removed_ranks=(1,), strategy=2, disallowed_leaders=("a",))
    assert decode_all(MonMap.decode, encode(m)) == m


def test_before_ranks_were_sent_they_follow_from_the_addresses() -> None:
    hosts = {"b": v1("10.0.0.9", 6789), "a": v1("10.0.0.10", 6789), "c": v1("10.0.0.1", 6790), "z": BLANK_ADDR}
    m = make(mons=tuple(MonInfo(name, AddrVec((addr,))) for name, addr in hosts.items()))
    for without in (MONENC, NAUTILUS):
        assert [mon.name for mon in MonMap.decode(Cursor(encode(m, without))).mons] == ["z", "b", "a", "c"]


def test_a_monitor_without_a_v1_address_in_old_forms() -> None:
    m = make(mons=(MonInfo("a", AddrVec((v2("10.0.0.1"),))),))
    first = MonMap.decode(Cursor(encode(m, MONNAMES)))
    assert first.mons[0].addrs == AddrVec((BLANK_ADDR,))
    for without in (MONENC, NAUTILUS):
        old = MonMap.decode(Cursor(encode(m, without)))
        assert old.mons[0].addrs == AddrVec((v1("10.0.0.1", 3300),))


def test_ranks_and_monitors_must_agree() -> None:
    m = make(mons=(MonInfo("a", AddrVec(())), MonInfo("b", AddrVec(()))))
    data = encode(m)
    ranks = b"\x02\0\0\0\x01\0\0\0a\x01\0\0\0b"
    for wrong in (b"\x02\0\0\0\x01\0\0\0a\x01\0\0\0c", b"\x02\0\0\0\x01\0\0\0a\x01\0\0\0a"):
        assert data.count(ranks) == 1
        with pytest.raises(DecodeError, match="same monitors"):
            MonMap.decode(Cursor(data.replace(ranks, wrong)))


def test_too_many_monitors_are_refused() -> None:
    mons = tuple(MonInfo(f"m{n}", AddrVec(())) for n in range(257))
    for without in WITHOUT.values():
        with pytest.raises(DecodeError, match="limit"):
            MonMap.decode(Cursor(encode(make(mons=mons), without)))


def test_all_fields_come_back() -> None:
    info = MonInfo("a", AddrVec((v2("::1"),)), 1, 2, (("rack", "r"), ("host", "h")), Utime(3, 4))
    m = make(
        version=10,
        mons=(info,),
        removed_ranks=(2, 5),
        strategy=3,
        disallowed_leaders=("x",),
        stretch_mode=True,
        tiebreaker="t",
        stretch_marked_down=("y",),
        auth_ciphers=AuthCiphers(1, 2, (1, 2), 3),
    )
    assert decode_all(MonMap.decode, encode(m)) == m


def test_finding_a_monitor() -> None:
    m = make(mons=(MonInfo("a", AddrVec((v2("10.0.0.1"), v1("10.0.0.1")))), MonInfo("b", AddrVec((BLANK_ADDR,)))))
    assert (m.rank_of("a"), m.rank_of("b"), m.rank_of("c")) == (0, 1, None)
    assert m.by_addr(EntityAddr.of("10.0.0.1", 3300, AddrType.ANY, 9)) == m.mons[0]
    assert m.by_addr(v2("10.0.0.2")) is None
    assert m.by_addr(BLANK_ADDR) is None


def test_mon_info_of_version_1() -> None:
    enc = Encoder()
    with enc.struct(1, 1):
        enc.text("a")
        v1("10.0.0.1").encode_legacy(enc)
    assert MonInfo.decode(Cursor(bytes(enc))) == MonInfo("a", AddrVec((v1("10.0.0.1"),)))
