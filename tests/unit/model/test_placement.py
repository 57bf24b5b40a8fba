"""The placement part of recorded OSDMaps, and what incrementals make of it."""

from __future__ import annotations

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.entity import AddrVec
from cephmonfs.model.osdmap import OSD_EXISTS, Incremental, OSDMap
from cephmonfs.model.placement import AFFINITY_DEFAULT, PgId, Placement
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.unit.model.support import decode_all
from tests.unit.model.test_osdmap import VECTORS, inc, make
from tests.vectors import load, load_json, load_list


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_recorded_map(release: str, name: str) -> None:
    placement = decode_all(Placement.decode, load(release, name))
    shown = load_json(release, ("rich-" if name.startswith("rich-") else "") + "osd_dump.json")
    for osd in shown["osds"]:
        assert placement.addr_of(osd["osd"]).legacy_or_front.legacy_str == osd["public_addr"]
        assert placement.affinity_of(osd["osd"]) / AFFINITY_DEFAULT == osd["primary_affinity"]
    assert placement.erasure_profiles == shown["erasure_code_profiles"]
    assert (placement.pg_temp, placement.primary_temp) == ({}, {})
    assert (placement.pg_upmap, placement.pg_upmap_items) == ({}, {})


def test_what_a_short_map_does_not_say() -> None:
    assert Placement().addr_of(3) == AddrVec(())
    assert Placement().affinity_of(3) == AFFINITY_DEFAULT


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_damage_is_an_error_of_ours(release: str, name: str) -> None:
    data = load(release, name)
    for cut in range(0, len(data), 7):
        try:
            Placement.decode(Cursor(data[:cut]))
        except DecodeError:
            continue
        pytest.fail(f"{cut} bytes of {len(data)}")


def test_recorded_incrementals_lead_from_map_to_map() -> None:
    incs = load_list("pacific-16.2.15", "osdmap-incrementals.bin")
    fulls = load_list("pacific-16.2.15", "osdmap-fulls.bin")
    first = OSDMap.decode(Cursor(fulls[0]))
    assert Placement().apply(Cursor(incs[0]), make(), first) == Placement.decode(Cursor(fulls[0]))
    for before, change, after in zip(fulls[:-1], incs[1:], fulls[1:], strict=True):
        old, new = OSDMap.decode(Cursor(before)), OSDMap.decode(Cursor(after))
        made = Placement.decode(Cursor(before)).apply(Cursor(change), old, new)
        wanted = Placement.decode(Cursor(after))
        for osd in range(new.max_osd):
            if new.states[osd] & OSD_EXISTS:
                assert made.addr_of(osd) == wanted.addr_of(osd)
                assert made.affinity_of(osd) == wanted.affinity_of(osd)
        assert made.erasure_profiles == wanted.erasure_profiles
        assert (made.pg_temp, made.pg_upmap) == (wanted.pg_temp, wanted.pg_upmap)


def pg(enc: Encoder, pool: int, seed: int) -> None:
    enc.u8(1).u64(pool).u32(seed).s32(-1)


def change(**parts: dict[object, object]) -> bytes:
    """An incremental of placement alone."""
    enc = Encoder()
    with enc.struct(8, 7):
        with enc.struct(8, 1):
            enc.raw(bytes(16)).u32(6).utime(Utime(0, 0)).s64(-1).s32(-1).u32(0).u32(0).s32(-1)
            enc.u32(0).u32(0).u32(0).u32(0)  # pools, names, removed, up
            states = parts.get("states", {})
            enc.mapping(states, lambda e, k: e.s32(k), lambda e, v: e.u32(v))  # type: ignore[arg-type]
            enc.u32(0)
            for name in ("pg_temp", "primary_temp", "affinity", "profiles", "upmap", "items"):
                part = parts.get(name, {})
                enc.u32(len(part))
                for key, value in part.items():
                    match name:
                        case "pg_temp" | "upmap":
                            pg(enc, *key)  # type: ignore[misc]
                            enc.items(value, lambda e, osd: e.s32(osd))  # type: ignore[arg-type]
                        case "primary_temp":
                            pg(enc, *key)  # type: ignore[misc]
                            enc.s32(value)  # type: ignore[arg-type]
                        case "affinity":
                            enc.s32(key).u32(value)  # type: ignore[arg-type]
                        case "profiles":
                            enc.text(key).mapping(value, lambda e, k: e.text(k), lambda e, v: e.text(v))  # type: ignore[arg-type]
                        case _:
                            pg(enc, *key)  # type: ignore[misc]
                            enc.items(value, lambda e, pair: e.s32(pair[0]).s32(pair[1]))  # type: ignore[arg-type]
                if name in ("profiles", "upmap", "items"):
                    old = parts.get(f"old_{name}", {})
                    enc.u32(len(old))
                    for key in old:
                        if name == "profiles":
                            enc.text(key)  # type: ignore[arg-type]
                        else:
                            pg(enc, *key)  # type: ignore[misc]
        with enc.struct(1, 1):
            pass
    return bytes(enc)


def test_exceptions_come_and_go() -> None:
    before = make(max_osd=2, states=(3, 3), weights=(0x10000,) * 2)
    one = change(
        pg_temp={(1, 10): [2, 1]}, primary_temp={(1, 11): 1}, affinity={1: 0x8000}, profiles={"p": {"k": "2"}},
        upmap={(2, 0): [0, 1]}, items={(2, 255): [(0, 1)]},
    )  # fmt: skip
    now = Placement().apply(Cursor(one), before, before)
    assert now.affinity == (0x10000, 0x8000)
    assert {str(k): v for k, v in now.pg_temp.items()} == {"1.a": (2, 1)}
    assert now.primary_temp == {PgId(1, 11): 1}
    assert now.pg_upmap == {PgId(2, 0): (0, 1)}
    assert now.pg_upmap_items == {PgId(2, 255): ((0, 1),)}
    assert now.erasure_profiles == {"p": {"k": "2"}}
    two = change(
        pg_temp={(1, 10): []}, primary_temp={(1, 11): -1}, states={1: OSD_EXISTS}, old_profiles={"p": None},
        old_upmap={(2, 0): None}, old_items={(2, 255): None, (2, 256): None},
    )  # fmt: skip
    after = before.apply(inc(new_state={1: OSD_EXISTS}))
    assert now.apply(Cursor(two), before, after) == Placement(addrs=(AddrVec(()),) * 2, affinity=(0x10000,) * 2)


def test_an_osd_that_is_made_is_not_one_that_goes() -> None:
    before = make(max_osd=1, states=(0,), weights=(0,))
    after = make(max_osd=2, states=(1, 1), weights=(0, 0))
    made = Placement(affinity=(5,)).apply(Cursor(change(states={0: OSD_EXISTS, 1: OSD_EXISTS})), before, after)
    assert made.affinity == (5, AFFINITY_DEFAULT)


def test_the_incremental_reader_agrees_on_where_things_are() -> None:
    data = load_list("pacific-16.2.15", "osdmap-incrementals.bin")[5]
    assert Incremental.decode(Cursor(data)).fullmap is None
