"""Reads advance by what they return, or raise and stay put."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cephmonfs.errors import DecodeError, TooLarge
from cephmonfs.wire import limits
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("seconds", "utime"),
    [
        (1.5, Utime(1, 500_000_000)),
        (2.0**32 - 1, Utime(2**32 - 1, 0)),
        (2.0**32 + 7, Utime(7, 0)),
        (2.0**40, Utime(0, 0)),
        (-0.5, Utime(2**32 - 1, 500_000_000)),
    ],
)
def test_any_moment_is_a_utime(seconds: float, utime: Utime) -> None:
    assert Utime.of(seconds) == utime
    assert len(bytes(Encoder().utime(utime))) == 8


READS: list[tuple[str, bytes, Callable[[Cursor], object], object]] = [
    ("u8", b"\xff", Cursor.u8, 255),
    ("u16", b"\x01\x02", Cursor.u16, 0x0201),
    ("u32", b"\x01\x02\x03\x84", Cursor.u32, 0x84030201),
    ("u64", b"\x01\0\0\0\0\0\0\x80", Cursor.u64, 1 << 63 | 1),
    ("s16", b"\xfe\xff", Cursor.s16, -2),
    ("s32", b"\xfe\xff\xff\xff", Cursor.s32, -2),
    ("s64", b"\xfe\xff\xff\xff\xff\xff\xff\xff", Cursor.s64, -2),
    ("boolean", b"\x07", Cursor.boolean, True),
    ("u16_be", b"\x0c\xe4", Cursor.u16_be, 3300),
    ("utime", b"\x01\0\0\0\x02\0\0\0", Cursor.utime, Utime(1, 2)),
    ("blob", b"\x03\0\0\0abc", Cursor.blob, b"abc"),
    ("text", b"\x03\0\0\0a\xffc", Cursor.text, "a\ufffdc"),
    ("text with commands", b"\x05\0\0\0a\x1b[2\n", Cursor.text, "a?[2?"),
    ("lines", b"\x07\0\0\0a\x1b[2\n\tb", Cursor.lines, "a?[2\n\tb"),
    ("raw", b"abc", lambda cur: cur.raw(3), b"abc"),
    ("items", b"\x02\0\0\0\x05\x06", lambda cur: cur.items(Cursor.u8, each=1), (5, 6)),
    ("mapping", b"\x01\0\0\0\x05\x06\0", lambda cur: cur.mapping(Cursor.u8, Cursor.u16, each=3), {5: 6}),
    ("u32_array", b"\x02\0\0\0\x05\0\0\0\x06\0\0\0", Cursor.u32_array, (5, 6)),
    ("sub", b"ab", lambda cur: cur.sub(2, "inner").rest(), b"ab"),
    ("sub_blob", b"\x02\0\0\0ab", lambda cur: cur.sub_blob("inner").rest(), b"ab"),
    ("struct", b"\x03\x01\x01\0\0\0a", lambda cur: cur.struct("s", v=2)[1].rest(), b"a"),
    ("skip", b"ab", lambda cur: cur.skip(2), None),
]


@pytest.mark.parametrize(("data", "read", "wanted"), [r[1:] for r in READS], ids=[r[0] for r in READS])
def test_a_read_returns_its_value_and_advances(data: bytes, read: Callable[[Cursor], object], wanted: object) -> None:
    cur = Cursor(data + b"tail")
    assert read(cur) == wanted
    assert cur.offset == len(data)
    assert cur.rest() == b"tail"


@pytest.mark.parametrize(("data", "read"), [r[1:3] for r in READS], ids=[r[0] for r in READS])
def test_a_read_of_too_few_bytes_raises(data: bytes, read: Callable[[Cursor], object]) -> None:
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            read(Cursor(data[:cut]))


SIMPLE = [r for r in READS if r[0] not in ("items", "mapping", "u32_array")]


@pytest.mark.parametrize(("data", "read"), [r[1:3] for r in SIMPLE], ids=[r[0] for r in SIMPLE])
def test_a_failed_read_stays_put(data: bytes, read: Callable[[Cursor], object]) -> None:
    for cut in range(len(data)):
        cur = Cursor(data[:cut], "here")
        with pytest.raises(DecodeError) as caught:
            read(cur)
        assert cur.offset == 0
        assert str(caught.value) == f"{caught.value.what} at byte {caught.value.offset}: {caught.value.reason}"


def test_lengths_and_counts_obey_their_limits() -> None:
    with pytest.raises(DecodeError, match="limit 2"):
        Cursor(b"\x03\0\0\0abc").blob(2)
    with pytest.raises(DecodeError, match="limit 1"):
        Cursor(b"\x02\0\0\0ab").count(each=1, limit=1)
    with pytest.raises(DecodeError, match="for 3 each"):
        Cursor(b"\x02\0\0\0abcde").count(each=3)
    with pytest.raises(TooLarge, match="limit 2"):
        Cursor(b"\x03\0\0\0" + bytes(12)).u32_array(limit=2)
    with pytest.raises(DecodeError, match="0 bytes left"):
        Cursor((limits.MAX_MAP_ITEMS + 1).to_bytes(4, "little")).u32_array()


def test_an_absurd_length_allocates_nothing() -> None:
    with pytest.raises(DecodeError):
        Cursor(b"\xff\xff\xff\xff").u32_array()
    with pytest.raises(DecodeError):
        Cursor(b"\xff\xff\xff\xff").text()


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(DecodeError):
        Cursor(b"abc").raw(-1)


def test_a_struct_that_needs_a_newer_decoder_is_refused() -> None:
    cur = Cursor(b"\x05\x03\0\0\0\0")
    with pytest.raises(DecodeError, match="needs decoder v3, ours is v2"):
        cur.struct("s", v=2)
    assert cur.offset == 0


def test_a_child_cannot_read_past_its_end() -> None:
    cur = Cursor(b"\x01\x01\x02\0\0\0abcd")
    _, body = cur.struct("s", v=1)
    assert body.remaining == 2
    with pytest.raises(DecodeError):
        body.u32()
    assert cur.rest() == b"cd"


def test_peek() -> None:
    cur = Cursor(b"a")
    assert cur.peek_u8() == cur.u8()
    with pytest.raises(DecodeError):
        cur.peek_u8()


def test_finish_refuses_trailing_bytes() -> None:
    cur = Cursor(b"ab")
    cur.skip(2)
    cur.finish()
    with pytest.raises(DecodeError, match="2 bytes too many"):
        Cursor(b"ab").finish()


def test_between_shows_only_what_was_read() -> None:
    cur = Cursor(b"abcd")
    cur.skip(3)
    assert bytes(cur.between(1, 3)) == b"bc"
    with pytest.raises(RuntimeError):
        cur.between(1, 4)


def test_error_names_structure_and_place() -> None:
    cur = Cursor(b"ab", "thing")
    cur.skip(1)
    error = cur.error("odd")
    assert (error.what, error.offset, error.reason) == ("thing", 1, "odd")


def test_utime_in_seconds() -> None:
    assert Utime(3, 500_000_000).as_seconds() == 3.5


def test_what_the_encoder_writes_the_cursor_reads() -> None:
    enc = Encoder()
    enc.u8(1).u16(2).u32(3).u64(4).s16(-5).s32(-6).s64(-7).boolean(True).boolean(False).u16_be(8)
    enc.utime(Utime(9, 10)).raw(b"raw").blob(b"blob").text("t\u00e9xt")
    enc.items([1, 2], lambda e, x: e.u8(x)).mapping({3: "c"}, lambda e, k: e.u8(k), lambda e, v: e.text(v))
    enc.blob_u16(b"banner")
    with enc.length():
        enc.raw(b"sized")
    with enc.struct(4, 2):
        enc.u8(11)
    assert len(enc) == len(bytes(enc))
    cur = Cursor(bytes(enc))
    assert (cur.u8(), cur.u16(), cur.u32(), cur.u64()) == (1, 2, 3, 4)
    assert (cur.s16(), cur.s32(), cur.s64()) == (-5, -6, -7)
    assert (cur.boolean(), cur.boolean(), cur.u16_be()) == (True, False, 8)
    assert (cur.utime(), cur.raw(3), cur.blob(), cur.text()) == (Utime(9, 10), b"raw", b"blob", "t\u00e9xt")
    assert cur.items(Cursor.u8, each=1) == (1, 2)
    assert cur.mapping(Cursor.u8, Cursor.text, each=5) == {3: "c"}
    assert cur.raw(cur.u16()) == b"banner"
    assert cur.blob() == b"sized"
    version, body = cur.struct("s", v=4)
    assert (version, body.u8()) == (4, 11)
    cur.finish()
