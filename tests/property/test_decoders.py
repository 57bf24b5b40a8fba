"""Whatever bytes come, a decoder gives a value or one of our errors, and soon."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cephmonfs.errors import ProtocolError
from cephmonfs.files.render import maps
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrVec, EntityAddr, EntityInstName, EntityName
from cephmonfs.model.features import DEFAULT_FEATURES
from cephmonfs.model.fsmap import FSMap, FSMapUser
from cephmonfs.model.mdsmap import CompatSet, MdsInfo, MDSMap
from cephmonfs.model.mgrmap import MgrMap
from cephmonfs.model.monmap import MonInfo, MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap, Pool
from cephmonfs.model.statfs import Statfs
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.vectors import load, load_list, names

if TYPE_CHECKING:
    from collections.abc import Callable

SOON_S: Final = 1.0  # generous: the slowest takes some milliseconds
QUICK: Final = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

DECODERS: Final[tuple[Callable[[Cursor], object], ...]] = (
    AddrVec.decode,
    CompatSet.decode,
    CryptoKey.decode,
    EntityAddr.decode,
    EntityInstName.decode,
    EntityName.decode,
    FSMap.decode,
    FSMapUser.decode,
    Incremental.decode,
    MDSMap.decode,
    MdsInfo.decode,
    MgrMap.decode,
    MonInfo.decode,
    MonMap.decode,
    OSDMap.decode,
    Pool.decode,
    Statfs.decode,
)


def _after_epoch(data: bytes) -> bytes:
    cur = Cursor(data)
    cur.skip(4)
    return cur.rest()


def _seeds() -> list[tuple[Callable[[Cursor], object], list[bytes]]]:
    """The decoder of each kind of map with all recorded maps of the kind."""
    return [
        (MonMap.decode, [load(*name) for name in names("*monmap-*.bin")]),
        (MDSMap.decode, [load(*name) for name in names("*mdsmap-*.bin")]),
        (FSMap.decode, [_after_epoch(load(*name)) for name in names("*fsmap-message-front.bin")]),
        (FSMapUser.decode, [_after_epoch(load(*name)) for name in names("*fsmap_user-message-front.bin")]),
        (MgrMap.decode, [load(*name) for name in names("*mgrmap-*.bin")]),
        (OSDMap.decode, [load(*name) for name in names("*osdmap-all.bin")]),
        (Incremental.decode, load_list("pacific-16.2.15", "osdmap-incrementals.bin")),
    ]


SEEDS: Final = _seeds()


def attempt(decode: Callable[[Cursor], object], data: bytes) -> object | None:
    """Decode; any exception but ours escapes and fails the test."""
    start = time.perf_counter()
    try:
        return decode(Cursor(data))
    except ProtocolError:
        return None
    finally:
        assert time.perf_counter() - start < SOON_S


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__qualname__)
@QUICK
@given(data=st.binary(max_size=400))
def test_any_bytes(decode: Callable[[Cursor], object], data: bytes) -> None:
    attempt(decode, data)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Callable[[Cursor], object], bytes]:
    """A recorded map with some bytes changed, or cut and followed by junk, or with an absurd length in it."""
    decode, maps_of_kind = draw(st.sampled_from(SEEDS))
    data = bytearray(draw(st.sampled_from(maps_of_kind)))
    # not far from the start: there the structure is, behind it the lists that are skipped
    place = st.integers(0, min(len(data), 3000) - 4)
    match draw(st.integers(0, 2)):
        case 0:
            for at in draw(st.lists(place, min_size=1, max_size=6)):
                data[at] ^= draw(st.integers(1, 255))
        case 1:
            del data[draw(place) :]
            data += draw(st.binary(max_size=64))
        case _:
            at = draw(place)
            absurd = draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 20, 1 << 16]))
            data[at : at + 4] = absurd.to_bytes(4, "little")
    return decode, bytes(data)


def _with_right_crc(decode: Callable[[Cursor], object], data: bytes) -> bytes:
    """An attacker makes the crc fit."""
    if decode == OSDMap.decode and len(data) > 4:
        cur = Cursor(data)
        body = cur.raw(len(data) - 4)
        return body + raw_crc32c(body, 0xFFFFFFFF).to_bytes(4, "little")
    if decode == Incremental.decode and len(data) > 8:
        cur = Cursor(data)
        body, _, tail = cur.raw(len(data) - 8), cur.u32(), cur.rest()
        return body + raw_crc32c(tail, raw_crc32c(body, 0xFFFFFFFF)).to_bytes(4, "little") + tail
    return data


@settings(QUICK, max_examples=1200)
@given(case=damaged())
def test_damaged_maps(case: tuple[Callable[[Cursor], object], bytes]) -> None:
    decode, data = case
    value = attempt(decode, _with_right_crc(decode, data))
    if value is not None:
        use(value)


def use(value: object) -> None:
    """Do with a value what the program does: print it, encode it, apply it."""
    enc = Encoder()
    match value:
        case MonMap():
            maps.monmap_text(value)
            maps.monmap_json(value)
            value.encode(enc, DEFAULT_FEATURES)
            again = MonMap.decode(Cursor(bytes(enc)))
            assert [mon.name for mon in again.mons] == [mon.name for mon in value.mons]
        case MDSMap():
            maps.mdsmap_text(value)
            maps.mdsmap_json(value)
            value.encode(enc)
            assert MDSMap.decode(Cursor(bytes(enc))).fs_name == value.fs_name
        case OSDMap():
            maps.osdmap_text(value)
            maps.osdmap_json(value)
        case Incremental():
            start = time.perf_counter()
            try:
                OSDMap(value.fsid, value.epoch, value.modified, value.modified, {}, {}, 0, 0, 4, (3,), ()).apply(value)
            except ProtocolError:
                pass
            assert time.perf_counter() - start < SOON_S
        case FSMap():
            value.for_user().fscid_of("")
