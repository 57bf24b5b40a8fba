"""Each method's bytes, as Ceph's encode() writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from cephmonfs.wire.cursor import Utime
from cephmonfs.wire.encoder import Encoder


@pytest.mark.parametrize(
    ("write", "wanted"),
    [
        (lambda e: e.u8(0xFE), "fe"),
        (lambda e: e.u16(0x0102), "0201"),
        (lambda e: e.u32(0x01020304), "04030201"),
        (lambda e: e.u64(0x0102030405060708), "0807060504030201"),
        (lambda e: e.s16(-2), "feff"),
        (lambda e: e.s32(-2), "feffffff"),
        (lambda e: e.s64(-2), "feffffffffffffff"),
        (lambda e: e.boolean(True).boolean(False), "0100"),
        (lambda e: e.u16_be(3300), "0ce4"),
        (lambda e: e.utime(Utime(1, 2)), "0100000002000000"),
        (lambda e: e.raw(b"\x07\x08"), "0708"),
        (lambda e: e.blob(b"\x07\x08"), "020000000708"),
        (lambda e: e.blob_u16(b"\x07\x08"), "02000708"),
        (lambda e: e.text("\u00e9"), "02000000c3a9"),
        (lambda e: e.text("\udcff"), "01000000ff"),  # a byte that was no UTF-8 goes out as it came
        (lambda e: e.items((1, 2), Encoder.u16), "0200000001000200"),
        (lambda e: e.mapping({2: b"x", 1: b""}, Encoder.u8, Encoder.blob), "02000000" "0201000000" "78" "0100000000"),
    ],
)  # fmt: skip
def test_bytes(write: Callable[[Encoder], object], wanted: str) -> None:
    enc = Encoder()
    write(enc)
    assert bytes(enc).hex() == wanted
    assert len(enc) == len(wanted) // 2


def test_lengths_are_filled_in_inside_out() -> None:
    enc = Encoder().u8(9)
    with enc.struct(8, 7):
        enc.u8(1)
        with enc.length():
            enc.u16(2)
    assert bytes(enc).hex() == "0908070700000001020000000200"


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (Encoder.u8, 256), (Encoder.u8, -1), (Encoder.u16, 1 << 16), (Encoder.u32, -1), (Encoder.u32, 1 << 32),
        (Encoder.u64, 1 << 64), (Encoder.s16, 1 << 15), (Encoder.s32, 1 << 31), (Encoder.s64, 1 << 63),
        (Encoder.u16_be, 1 << 16),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_our_own_misuse(write: Callable[[Encoder, int], object], value: int) -> None:
    enc = Encoder()
    with pytest.raises((struct.error, ValueError)):
        write(enc, value)
    assert bytes(enc) == b""
