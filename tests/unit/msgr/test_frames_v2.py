"""msgr2 frames in all four layouts: there and back, and what a receiver refuses."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephmonfs.errors import CephMonFSError, IntegrityError, ProtocolError
from cephmonfs.messages.message import HEADER2_SIZE
from cephmonfs.msgr import frames_v2
from cephmonfs.msgr.frames_v2 import (
    PREAMBLE_SIZE,
    CrcRev0,
    CrcRev1,
    Frame,
    FrameReader,
    Layout,
    Nonces,
    Preamble,
    Tag,
    crc_layout,
    handshake_limits,
    pack_preamble,
    parse_preamble,
    secure_layouts,
    session_limits,
    trim,
)
from cephmonfs.wire import limits
from cephmonfs.wire.buffer import ReceiveBuffer
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.crypto import Gcm

SECRET = bytes(range(64))
LAYOUTS = list(itertools.product(["crc", "secure"], [0, 1]))


def pair(kind: str, rev: int) -> tuple[Layout, Layout]:
    """The sender's and the receiver's end of one direction."""
    if kind == "crc":
        return crc_layout(rev), crc_layout(rev)
    return secure_layouts(SECRET, rev, server=True)[1], secure_layouts(SECRET, rev)[0]


def anything(preamble: Preamble) -> None:
    """No limits."""


def receive(layout: Layout, data: bytes, step: int = 1 << 30) -> list[Frame]:
    reader, buf = FrameReader(layout, anything), ReceiveBuffer()
    frames = []
    for at in range(0, len(data), step):
        buf.feed(data[at : at + step])
        while (frame := reader.next(buf)) is not None:
            frames.append(frame)
    assert not len(buf)
    return frames


SEGMENTS = [
    (b"",),
    (b"x",),
    (b"h" * 47,),
    (b"h" * 48,),
    (b"h" * 49,),
    (b"h" * 1000,),
    (b"h" * 41, b"front"),
    (b"h" * 41, b"", b"", b"data"),
    (b"", b"f"),
    (b"h" * 41, b"f" * 16, b"m" * 17, b"d" * 5000),
    (b"h" * 64, b"f" * 15),
]


@pytest.mark.parametrize(("kind", "rev"), LAYOUTS)
@pytest.mark.parametrize("step", [1, 7, 1 << 30])
def test_there_and_back(kind: str, rev: int, step: int) -> None:
    sender, receiver = pair(kind, rev)
    data = b"".join(sender.encode(Tag.MESSAGE, segments) for segments in SEGMENTS)
    assert receive(receiver, data, step) == [Frame(Tag.MESSAGE, segments) for segments in SEGMENTS]


@pytest.mark.parametrize(("kind", "rev"), LAYOUTS)
def test_every_flipped_bit_of_a_frame(kind: str, rev: int) -> None:
    wire = pair(kind, rev)[0].encode(Tag.MESSAGE, (b"h" * 50, b"front", b"", b"data"))
    unprotected = {
        ("crc", 0): {len(wire) - 17},  # the late flags and, in revision 1, the high nibble of the late status
        ("crc", 1): {len(wire) - 13},
    }.get((kind, rev), set())
    for at, bit in itertools.product(range(len(wire)), (0, 3, 7)):
        damaged = bytearray(wire)
        damaged[at] ^= 1 << bit
        reader, buf = FrameReader(pair(kind, rev)[1], session_like), ReceiveBuffer()
        buf.feed(damaged)
        try:
            frame = reader.next(buf)
        except ProtocolError:
            continue
        assert frame is not None
        assert at in unprotected


def session_like(preamble: Preamble) -> None:
    """A length from a damaged preamble would only make us wait."""
    if sum(preamble.lengths) > 200:
        raise ProtocolError("too long")


@pytest.mark.parametrize(("kind", "rev"), LAYOUTS)
def test_frames_swapped_or_sent_again(kind: str, rev: int) -> None:
    """In secure mode each has its own nonce; crc mode does not promise that."""
    sender, receiver = pair(kind, rev)
    first, second = sender.encode(Tag.ACK, (b"1" * 8,)), sender.encode(Tag.ACK, (b"2" * 8,))
    if kind == "crc":
        assert len(receive(receiver, second + first + first)) == 3
        return
    with pytest.raises(ProtocolError):
        receive(receiver, second)
    with pytest.raises(ProtocolError):
        receive(pair(kind, rev)[1], first + first)


def test_crc_rev1_late_status() -> None:
    wire = bytearray(CrcRev1().encode(Tag.MESSAGE, (b"h", b"front")))
    status = len(wire) - 13
    wire[status] = 0x01
    wire[-1] ^= 1  # an aborted frame's crcs mean nothing
    wire[-9] ^= 1
    assert receive(CrcRev1(), bytes(wire)) == [Frame(Tag.MESSAGE, (b"h", b"front"), aborted=True)]
    wire[status] = 0x03
    with pytest.raises(ProtocolError, match="late status"):
        receive(CrcRev1(), bytes(wire))


def test_crc_rev0_aborted() -> None:
    wire = bytearray(CrcRev0().encode(Tag.MESSAGE, (b"h", b"front")))
    wire[-17] = 1
    wire[-16] ^= 1
    assert receive(CrcRev0(), bytes(wire)) == [Frame(Tag.MESSAGE, (b"h", b"front"), aborted=True)]


@pytest.mark.parametrize(("rev", "status", "aborted"), [(1, 0x0E, False), (1, 0x01, True), (0, 0, False), (0, 1, True)])
def test_secure_late_status(rev: int, status: int, aborted: bool) -> None:
    """The sender gives a frame up inside what it authenticates."""
    _, receiver = pair("secure", rev)
    gcm = Gcm(SECRET[:16])
    nonces = Nonces(SECRET[16:28], rev)
    preamble = pack_preamble(Tag.MESSAGE, (b"h" * 16, b"f" * 16))
    tail = bytes((status,)) + bytes(15)
    if rev:
        wire = gcm.seal(nonces.next(), preamble + b"h" * 16 + bytes(32)) + gcm.seal(nonces.next(), b"f" * 16 + tail)
    else:
        wire = gcm.seal(nonces.next(), preamble + b"h" * 16 + b"f" * 16 + tail)
    assert receive(receiver, wire) == [Frame(Tag.MESSAGE, (b"h" * 16, b"f" * 16), aborted)]


def signed(head: bytes) -> bytes:
    return head + raw_crc32c(head, 0).to_bytes(4, "little")


def preamble(count: int, lengths: tuple[int, int, int, int], flags: int = 0) -> bytes:
    fields = [field for length in lengths for field in (length, 8)]
    return signed(frames_v2._PREAMBLE.pack(Tag.MESSAGE, count, *fields, flags, 0))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (preamble(0, (0, 0, 0, 0)), "segments"),
        (preamble(5, (1, 1, 1, 1)), "segments"),
        (preamble(1, (1, 1, 0, 0)), "beyond"),
        (preamble(2, (1, 1, 0, 1)), "beyond"),
        (preamble(2, (1, 0, 0, 0)), "empty"),
        (preamble(1, (1, 0, 0, 0), flags=1), "compression"),
    ],
)
def test_bad_preambles(data: bytes, match: str) -> None:
    assert len(data) == PREAMBLE_SIZE
    with pytest.raises(ProtocolError, match=match):
        parse_preamble(bytes(data))


def test_preamble_crc_comes_first() -> None:
    data = bytearray(preamble(9, (0xFFFFFFFF,) * 4))
    data[-1] ^= 1
    with pytest.raises(IntegrityError):
        parse_preamble(bytes(data))


def test_limits() -> None:
    handshake_limits(Preamble(Tag.HELLO, (limits.MAX_PREAUTH_FRAME,)))
    for lengths in ((limits.MAX_PREAUTH_FRAME + 1,), (1, 1)):
        with pytest.raises(ProtocolError, match="before authentication"):
            handshake_limits(Preamble(Tag.HELLO, lengths))
    session_limits(Preamble(Tag.ACK, (8,)))
    session_limits(Preamble(Tag.MESSAGE, (HEADER2_SIZE, limits.MAX_FRONT)))
    session_limits(Preamble(Tag.MESSAGE, (HEADER2_SIZE, 0, 0, limits.MAX_DATA)))
    for bad in (
        (HEADER2_SIZE - 1, 1),
        (HEADER2_SIZE, limits.MAX_FRONT + 1),
        (HEADER2_SIZE, 0, 1),
        (HEADER2_SIZE, 0, 0, limits.MAX_DATA + 1),
        (HEADER2_SIZE, limits.MAX_MESSAGE - limits.MAX_DATA + 1, 0, limits.MAX_DATA),
    ):
        with pytest.raises(ProtocolError):
            session_limits(Preamble(Tag.MESSAGE, bad))
    with pytest.raises(ProtocolError):
        session_limits(Preamble(Tag.ACK, (limits.MAX_PREAUTH_FRAME + 1,)))


def test_trim() -> None:
    assert trim((b"h", b"", b"", b"")) == (b"h",)
    assert trim((b"", b"", b"", b"")) == (b"",)
    assert trim((b"h", b"", b"", b"d")) == (b"h", b"", b"", b"d")


@pytest.mark.parametrize("rev", [0, 1])
def test_nonces_never_come_round(rev: int) -> None:
    width, last = (8, 2**64 - 1) if rev else (4, 2**32 - 1)
    start = last.to_bytes(width, "little")
    nonces = Nonces(b"fixd" + start if rev else start + b"fixedfix", rev)
    assert nonces.next() == (b"fixd" + start if rev else start + b"fixedfix")
    assert nonces.next() == (b"fixd" + bytes(width) if rev else bytes(width) + b"fixedfix")
    nonces._counter = last
    with pytest.raises(ProtocolError, match="used up"):
        nonces.next()


@given(st.sampled_from(LAYOUTS), st.binary(max_size=300), st.booleans())
def test_junk_raises_only_our_errors(which: tuple[str, int], data: bytes, good_preamble: bool) -> None:
    if good_preamble and which[0] == "crc":
        data = preamble(1 + len(data) % 4, (len(data), 1, 1, 1)) + data
    reader, buf = FrameReader(pair(*which)[1]), ReceiveBuffer()
    buf.feed(data)
    try:
        while reader.next(buf) is not None:
            pass
    except CephMonFSError:
        pass


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=4), st.sampled_from(LAYOUTS))
def test_any_segments_there_and_back(parts: list[bytes], which: tuple[str, int]) -> None:
    segments = trim(tuple(parts))
    sender, receiver = pair(*which)
    assert receive(receiver, sender.encode(Tag.MESSAGE, segments)) == [Frame(Tag.MESSAGE, segments)]
