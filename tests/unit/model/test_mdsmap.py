"""MDSMaps of four releases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.mdsmap import (
    NO_RANK,
    STATE_ACTIVE,
    STATE_STANDBY,
    CompatSet,
    FeatureSet,
    MdsInfo,
    MDSMap,
    MdsMapTail,
    state_name,
)
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.unit.model.support import decode_all, encoded, relengthened, struct
from tests.vectors import RELEASES, STATES, load, load_json, names


@pytest.mark.parametrize(("release", "name"), names("*mdsmap-*.bin"))
def test_a_recorded_map_has_the_recorded_values(release: str, name: str) -> None:
    """The rest is compared by the tests of fs/render/maps.py."""
    m = decode_all(MDSMap.decode, load(release, name))
    shown = load_json(release, ("rich-" if "rich-" in name else "") + "fs_dump.json")["filesystems"][0]["mdsmap"]
    assert (m.epoch, m.fs_name, m.flags) == (shown["epoch"], shown["fs_name"], shown["flags"])
    assert dict(m.up) == {int(key[4:]): gid for key, gid in shown["up"].items()}
    (info,) = m.infos
    wanted = shown["info"][f"gid_{info.gid}"]
    assert (info.name, info.rank, state_name(info.state)) == (wanted["name"], wanted["rank"], wanted["state"])
    assert info.addrs.legacy.legacy_str == wanted["addr"]
    assert len(info.addrs.addrs) == (1 if "noaddr2" in name else 2)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("release", RELEASES)
def test_encoding_gives_the_bytes_of_the_real_monitor(release: str, state: str) -> None:
    data = load(release, f"{state}mdsmap-all.bin")
    assert encoded(MDSMap.decode(Cursor(data))) == data


@pytest.mark.parametrize(("release", "name"), names("*mdsmap-*.bin"))
def test_a_strict_prefix_is_an_error(release: str, name: str) -> None:
    data = load(release, name)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            MDSMap.decode(Cursor(data[:cut]))


@pytest.mark.parametrize("release", RELEASES)
def test_a_body_without_its_last_fields_is_an_error(release: str) -> None:
    data = load(release, "rich-mdsmap-all.bin")
    whole = MDSMap.decode(Cursor(data))
    for short in relengthened(data):
        try:
            m = MDSMap.decode(Cursor(short))
        except DecodeError:
            continue
        # only what no two branches agree upon may be missing
        assert replace(m, tail=None) == replace(whole, tail=None)
        assert m.ev >= 17


def reef() -> MDSMap:
    return MDSMap.decode(Cursor(load("reef-18.2.7", "mdsmap-all.bin")))


def tail_bytes(*parts: bytes) -> bytes:
    data = encoded(reef())
    assert reef().tail == MdsMapTail("-1", 65536)
    body = data[6 : -(4 + 2 + 8)] + b"".join(parts)
    return struct(5, 4, body)


MASK, SIZE = b"\x02\0\0\x000x", (65536).to_bytes(8, "little")


def test_the_end_of_the_map_in_either_order() -> None:
    assert MDSMap.decode(Cursor(tail_bytes(MASK, SIZE))).tail == MdsMapTail("0x", 65536)
    assert MDSMap.decode(Cursor(tail_bytes(SIZE, MASK))).tail == MdsMapTail("0x", 65536)
    assert MDSMap.decode(Cursor(tail_bytes(b"\xff\xff"))).tail is None


def test_versions_17_and_19_of_the_second_half() -> None:
    for ev, tail in ((17, MdsMapTail("0xf")), (19, MdsMapTail("-1", 1, 4152, (4152, 4153)))):
        m = replace(reef(), ev=ev, tail=tail)
        assert decode_all(MDSMap.decode, encoded(m)) == m


def test_a_map_without_its_end_is_encoded_with_a_default_one() -> None:
    assert MDSMap.decode(Cursor(encoded(replace(reef(), tail=None)))).tail == MdsMapTail()


@pytest.mark.parametrize("mask", [0, 1, 0x4100, 1 << 63, 1 << 64, 1 << 200])
def test_required_client_features(mask: int) -> None:
    m = replace(reef(), required_client_features=mask)
    assert decode_all(MDSMap.decode, encoded(m)) == m


def test_a_feature_set_of_absurd_size_is_refused() -> None:
    m = replace(reef(), required_client_features=1 << (64 * 1024))
    with pytest.raises(DecodeError, match="limit"):
        MDSMap.decode(Cursor(encoded(m)))


def test_older_forms_are_refused() -> None:
    with pytest.raises(DecodeError, match="older than Nautilus"):
        MDSMap.decode(Cursor(struct(3, 3, bytes(200))))
    with pytest.raises(DecodeError, match="older than Nautilus"):
        MDSMap.decode(Cursor(encoded(replace(reef(), ev=13))))
    with pytest.raises(DecodeError, match="older than Nautilus"):
        MdsInfo.decode(Cursor(struct(8, 4, bytes(200))))


def test_daemons_are_in_the_order_of_their_gids() -> None:
    (info,) = reef().infos
    infos = tuple(replace(info, gid=gid) for gid in (9, 5))
    assert [i.gid for i in MDSMap.decode(Cursor(encoded(replace(reef(), infos=infos)))).infos] == [5, 9]


def test_all_fields_of_a_daemon_come_back() -> None:
    (info,) = reef().infos
    info = replace(info, rank=NO_RANK, state=STATE_STANDBY, export_targets=(1, 2), join_fscid=3, flags=1)
    assert decode_all(MdsInfo.decode, encoded(info)) == info
    assert decode_all(MdsInfo.decode, encoded(replace(info, compat=None))).compat is None


def test_names_of_states() -> None:
    assert state_name(STATE_ACTIVE) == "up:active"
    assert state_name(99) == "???"


def test_compat_sets_print_as_ceph_does() -> None:
    compat = CompatSet(incompat=FeatureSet(0b110, ((1, "base v0.20"), (2, "more"))))
    assert str(compat) == "compat={},rocompat={},incompat={1=base v0.20,2=more}"
    assert compat.brief == "{c=[1],r=[1],i=[7]}"
    enc = Encoder()
    compat.encode(enc)
    assert decode_all(CompatSet.decode, bytes(enc)) == compat
