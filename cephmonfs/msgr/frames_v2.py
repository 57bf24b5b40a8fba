"""msgr2 frames: preamble, segments, epilogue, in the four layouts crc/secure x revision 0/1.

A preamble is 32 bytes: u8 tag, u8 number of segments, 4 x { le32 length, le16 alignment }, u8 flags, u8 reserved,
le32 crc of the 28 bytes before.  The layouts differ in what follows and in what is encrypted:

    crc, rev 1     preamble | seg0 | crc (if seg0 is not empty) | seg1..3 | epilogue 13 (if more than one segment)
    crc, rev 0     preamble | segments | epilogue 17
    secure, rev 1  GCM(preamble, 48 bytes of seg0) | GCM(rest of seg0) | GCM(seg1..3, epilogue 16), each only if needed
    secure, rev 0  GCM(preamble, segments, epilogue 16)

Both ends use this module; a layout is made once per direction.  Ceph v20.2.4: src/msg/async/frames_v2.h,
crypto_onwire.cc.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cephmonfs.errors import DecodeError, IntegrityError, ProtocolError
from cephmonfs.messages.message import HEADER2_SIZE
from cephmonfs.wire import limits
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.crypto import GCM_TAG, Gcm, GcmUnchecked
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from cephmonfs.wire.buffer import ReceiveBuffer


class Tag(IntEnum):
    """Frame tags.  11 to 16 are for lossless peers and never sent to a monitor client."""

    HELLO = 1
    AUTH_REQUEST = 2
    AUTH_BAD_METHOD = 3
    AUTH_REPLY_MORE = 4
    AUTH_REQUEST_MORE = 5
    AUTH_DONE = 6
    AUTH_SIGNATURE = 7
    CLIENT_IDENT = 8
    SERVER_IDENT = 9
    IDENT_MISSING_FEATURES = 10
    MESSAGE = 17
    KEEPALIVE2 = 18
    KEEPALIVE2_ACK = 19
    ACK = 20


PREAMBLE_SIZE: Final = 32
_INLINE: Final = 48  # bytes of seg0 that travel with the preamble in secure rev 1
_SEED: Final = 0xFFFFFFFF
_COMPLETE: Final = 0x0E
_ABORTED: Final = 0x01
_PREAMBLE = struct.Struct("<BBIHIHIHIHBB")
_PREAMBLE_CRC = struct.Struct("<BBIHIHIHIHBBI")
_CRC = struct.Struct("<I")
_EPILOGUE_CRC1 = struct.Struct("<BIII")
_EPILOGUE_CRC0 = struct.Struct("<BIIII")
_EPILOGUE_SECURE: Final = 16
_EPILOGUE: Final = bytes((_COMPLETE,)) + bytes(_EPILOGUE_SECURE - 1)
_ALIGNMENTS: Final = ((0, 0, 0, 0), (8, 0, 0, 0), (8, 8, 0, 0), (8, 8, 8, 0), (8, 8, 8, 4096))  # by number of segments
_PADDING: Final = tuple(bytes(-n % 16) for n in range(16))  # by length modulo 16


class Frame(NamedTuple):
    """One frame; `aborted` means the sender gave it up: drop it."""

    tag: int
    segments: tuple[bytes, ...]
    aborted: bool = False


class Preamble(NamedTuple):
    """The head of a frame, already checked."""

    tag: int
    lengths: tuple[int, ...]


class FrameLimits(Protocol):
    """What a receiver accepts in its present state; raises ProtocolError for anything larger."""

    def __call__(self, preamble: Preamble) -> None:
        """Check the lengths before a byte more is read."""


def handshake_limits(preamble: Preamble) -> None:
    """Before AUTH_DONE the peer is anyone."""
    if len(preamble.lengths) != 1 or preamble.lengths[0] > limits.MAX_PREAUTH_FRAME:
        raise ProtocolError(
            f"frame {preamble.tag} of {preamble.lengths} bytes before authentication; "
            f"limit one segment of {limits.MAX_PREAUTH_FRAME}"
        )


def session_limits(preamble: Preamble) -> None:
    """Afterwards: a MESSAGE has its header and bounded parts, everything else one small segment."""
    if preamble.tag != Tag.MESSAGE:
        handshake_limits(preamble)
        return
    header, front, middle, data = (*preamble.lengths, 0, 0, 0)[:4]
    if header != HEADER2_SIZE:
        raise ProtocolError(f"message header of {header} bytes, wanted {HEADER2_SIZE}")
    if front > limits.MAX_FRONT or middle > limits.MAX_MIDDLE or data > limits.MAX_DATA:
        raise ProtocolError(f"message of {front}+{middle}+{data} bytes is over the limit")
    if front + data > limits.MAX_MESSAGE:
        raise ProtocolError(f"message of {front + data} bytes, limit {limits.MAX_MESSAGE}")


def pack_preamble(tag: int, segments: tuple[bytes, ...]) -> bytes:
    """Return the 32 bytes; alignment is 8, and 4096 for a message's data."""
    l0, l1, l2, l3 = (*map(len, segments), 0, 0, 0)[:4]
    a0, a1, a2, a3 = _ALIGNMENTS[len(segments)]
    head = _PREAMBLE.pack(tag, len(segments), l0, a0, l1, a1, l2, a2, l3, a3, 0, 0)
    return head + _CRC.pack(raw_crc32c(head, 0))


def parse_preamble(head: bytes) -> Preamble:
    """Check crc, flags and number of segments before a length is believed.  `head` begins with the preamble."""
    if len(head) < PREAMBLE_SIZE:
        raise DecodeError("preamble", 0, f"{len(head)} bytes, wanted {PREAMBLE_SIZE}")
    tag, count, l0, _, l1, _, l2, _, l3, _, flags, _reserved, crc = _PREAMBLE_CRC.unpack_from(head)
    if raw_crc32c(head[: _PREAMBLE.size], 0) != crc:
        raise IntegrityError("preamble crc does not match")
    if flags:
        raise ProtocolError(f"frame flags 0x{flags:x}: compression was never agreed")
    if not 1 <= count <= 4:
        raise ProtocolError(f"{count} segments, wanted 1 to 4")
    lengths = (l0, l1, l2, l3)
    if any(lengths[count:]):
        raise ProtocolError("a length beyond the number of segments")
    lengths = lengths[:count]
    if count > 1 and not lengths[-1]:
        raise ProtocolError("the last of several segments is empty")
    return Preamble(tag, lengths)


def trim(segments: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Drop empty segments at the end; one stays."""
    count = len(segments)
    while count > 1 and not segments[count - 1]:
        count -= 1
    return segments[:count]


def _late_status(status: int) -> bool:
    """Return whether the frame was aborted; rev 1 and both secure layouts of rev 1."""
    low = status & 0x0F
    if low not in (_COMPLETE, _ABORTED):
        raise ProtocolError(f"late status 0x{status:x}")
    return low == _ABORTED


def _pad16(n: int) -> int:
    return (n + 15) & ~15


def _padded(segment: bytes) -> bytes:
    return segment + _PADDING[len(segment) & 15]


class Layout(Protocol):
    """One of the four layouts, for one direction of one connection."""

    head_size: int

    def encode(self, tag: int, segments: tuple[bytes, ...]) -> bytes:
        """Return a frame's wire bytes; segments already trimmed."""

    def open_head(self, head: bytes) -> Preamble:
        """Check the first `head_size` bytes."""

    def body_size(self, preamble: Preamble) -> int:
        """How many bytes follow the head."""

    def open_body(self, preamble: Preamble, head: bytes, body: bytes) -> Frame:
        """Check and take apart what followed."""


class CrcRev1:
    """Checksums, revision 1; also the layout of the handshake."""

    head_size = PREAMBLE_SIZE

    def encode(self, tag: int, segments: tuple[bytes, ...]) -> bytes:
        """Return the wire bytes."""
        first = segments[0]
        parts = [pack_preamble(tag, segments), first]
        if first:
            parts.append(_CRC.pack(raw_crc32c(first, _SEED)))
        if len(segments) > 1:
            rest = segments[1:]
            crcs = [raw_crc32c(s, _SEED) for s in rest] + [0] * (3 - len(rest))
            parts += (*rest, _EPILOGUE_CRC1.pack(_COMPLETE, *crcs))
        return b"".join(parts)

    def open_head(self, head: bytes) -> Preamble:
        """Check the preamble."""
        return parse_preamble(head)

    def body_size(self, preamble: Preamble) -> int:
        """Segments, crc, epilogue."""
        first, *rest = preamble.lengths
        return first + (4 if first else 0) + (sum(rest) + _EPILOGUE_CRC1.size if rest else 0)

    def open_body(self, preamble: Preamble, head: bytes, body: bytes) -> Frame:
        """Check every crc."""
        cur = Cursor(body, "frame")
        first, *rest = preamble.lengths
        segments = [cur.raw(first)]
        if first and raw_crc32c(segments[0], _SEED) != cur.u32():
            raise IntegrityError("segment 0 crc does not match")
        aborted = False
        if rest:
            segments += (cur.raw(n) for n in rest)
            aborted = _late_status(cur.u8())
            for index, segment in enumerate(segments[1:], 1):
                if raw_crc32c(segment, _SEED) != cur.u32() and not aborted:
                    raise IntegrityError(f"segment {index} crc does not match")
        return Frame(preamble.tag, tuple(segments), aborted)


class CrcRev0:
    """Checksums, revision 0."""

    head_size = PREAMBLE_SIZE

    def encode(self, tag: int, segments: tuple[bytes, ...]) -> bytes:
        """Return the wire bytes."""
        crcs = [raw_crc32c(s, _SEED) for s in segments] + [0] * (4 - len(segments))
        return b"".join((pack_preamble(tag, segments), *segments, _EPILOGUE_CRC0.pack(0, *crcs)))

    def open_head(self, head: bytes) -> Preamble:
        """Check the preamble."""
        return parse_preamble(head)

    def body_size(self, preamble: Preamble) -> int:
        """Segments and epilogue."""
        return sum(preamble.lengths) + _EPILOGUE_CRC0.size

    def open_body(self, preamble: Preamble, head: bytes, body: bytes) -> Frame:
        """Check every crc."""
        cur = Cursor(body, "frame")
        segments = tuple(cur.raw(n) for n in preamble.lengths)
        aborted = bool(cur.u8() & 1)
        for index, segment in enumerate(segments):
            if raw_crc32c(segment, _SEED) != cur.u32() and not aborted:
                raise IntegrityError(f"segment {index} crc does not match")
        return Frame(preamble.tag, segments, aborted)


class Nonces:
    """The nonces of one direction; none comes round twice under one key.

    Revision 1: le32 fixed, le64 counter per GCM message.  Revision 0: le32 counter per frame, 8 fixed bytes.
    """

    __slots__ = ("_counter", "_first", "_mask", "_of", "_started")

    def __init__(self, nonce: bytes, rev: int) -> None:
        cur = Cursor(nonce, "nonce")
        self._of: Callable[[int], bytes]  # the nonce with this counter
        if rev:
            self._of = partial(struct.Struct("<4sQ").pack, cur.raw(4))
            self._counter = cur.u64()
        else:
            self._counter = cur.u32()
            fixed = cur.raw(8)
            self._of = lambda counter: struct.pack("<I8s", counter, fixed)
        self._mask = 0xFFFFFFFFFFFFFFFF if rev else 0xFFFFFFFF
        self._first = self._counter
        self._started = False

    def peek(self) -> bytes:
        """Return the nonce that `next` returns next."""
        return self._of(self._counter)

    def next(self) -> bytes:
        """Return a nonce never returned before; raises ProtocolError when they are used up."""
        counter = self._counter
        if counter == self._first and self._started:
            raise ProtocolError("nonces are used up")
        self._started = True
        self._counter = (counter + 1) & self._mask
        return self._of(counter)


class SecureRev1:
    """AES-128-GCM, revision 1."""

    head_size = PREAMBLE_SIZE + _INLINE + GCM_TAG

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._gcm = Gcm(key)
        self._nonces = Nonces(nonce, rev=1)
        self._inline = b""

    def encode(self, tag: int, segments: tuple[bytes, ...]) -> bytes:
        """Return the wire bytes."""
        first = segments[0]
        seal, nonces = self._gcm.seal, self._nonces
        if len(first) <= _INLINE:
            out = seal(nonces.next(), pack_preamble(tag, segments) + first + bytes(_INLINE - len(first)))
        else:
            padded = _padded(first)
            out = seal(nonces.next(), pack_preamble(tag, segments) + padded[:_INLINE])
            out += seal(nonces.next(), padded[_INLINE:])
        if len(segments) > 1:
            out += seal(nonces.next(), b"".join((*map(_padded, segments[1:]), _EPILOGUE)))
        return out

    def open_head(self, head: bytes) -> Preamble:
        """Check the tag, then the preamble."""
        plain = self._gcm.open(self._nonces.next(), head)
        self._inline = plain[PREAMBLE_SIZE:]
        return parse_preamble(plain)

    def body_size(self, preamble: Preamble) -> int:
        """What did not fit beside the preamble, and the later segments with their epilogue."""
        first, *rest = preamble.lengths
        more = (first + 15 & ~15) - _INLINE  # _pad16 written out, here and below: each frame would call it four times
        size = more + GCM_TAG if more > 0 else 0
        if rest:
            size += _EPILOGUE_SECURE + GCM_TAG
            for n in rest:
                size += n + 15 & ~15
        return size

    def open_body(self, preamble: Preamble, head: bytes, body: bytes) -> Frame:
        """Check the tags and take the segments; `body` has exactly `body_size` bytes, and so has all that is cut."""
        first, *rest = preamble.lengths
        text = self._inline
        if (more := (first + 15 & ~15) - _INLINE) > 0:
            more += GCM_TAG
            text += self._gcm.open(self._nonces.next(), body[:more])
            body = body[more:]
        segments = [text[:first]]
        aborted = False
        if rest:
            plain = self._gcm.open(self._nonces.next(), body)
            start = 0
            for n in rest:
                segments.append(plain[start : start + n])
                start += n + 15 & ~15
            aborted = plain[start] != _COMPLETE and _late_status(plain[start])
        return Frame(preamble.tag, tuple(segments), aborted)


class SecureRev0:
    """AES-128-GCM, revision 0: lengths are unauthenticated until the whole frame is there."""

    head_size = PREAMBLE_SIZE

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._gcm = Gcm(key)
        self._head = GcmUnchecked(key)
        self._nonces = Nonces(nonce, rev=0)

    def encode(self, tag: int, segments: tuple[bytes, ...]) -> bytes:
        """Return the wire bytes."""
        plain = b"".join((pack_preamble(tag, segments), *map(_padded, segments), bytes(_EPILOGUE_SECURE)))
        return self._gcm.seal(self._nonces.next(), plain)

    def open_head(self, head: bytes) -> Preamble:
        """Decrypt the preamble ahead of its tag."""
        return parse_preamble(self._head.head(self._nonces.peek(), head))

    def body_size(self, preamble: Preamble) -> int:
        """Segments, epilogue, tag."""
        return sum(map(_pad16, preamble.lengths)) + _EPILOGUE_SECURE + GCM_TAG

    def open_body(self, preamble: Preamble, head: bytes, body: bytes) -> Frame:
        """Check the tag of the whole frame and take the segments."""
        cur = Cursor(self._gcm.open(self._nonces.next(), head + body), "frame")
        cur.skip(PREAMBLE_SIZE)
        segments = []
        for n in preamble.lengths:
            segments.append(cur.raw(n))
            cur.skip(_pad16(n) - n)
        return Frame(preamble.tag, tuple(segments), bool(cur.u8() & 1))


def secure_layouts(secret: bytes, rev: int, *, server: bool = False) -> tuple[Layout, Layout]:
    """Make (receive, send) from a connection secret of at least 40 bytes.

    Bytes 0-15 are the key, 16-27 the nonce of server to client, 28-39 that of client to server.
    """
    cur = Cursor(secret, "connection secret")
    key, to_client, to_server = cur.raw(16), cur.raw(12), cur.raw(12)
    make: type[SecureRev1] | type[SecureRev0] = SecureRev1 if rev else SecureRev0
    rx, tx = (to_server, to_client) if server else (to_client, to_server)
    return make(key, rx), make(key, tx)


def crc_layout(rev: int) -> Layout:
    """Make the layout of the handshake and of crc mode."""
    return CrcRev1() if rev else CrcRev0()


class FrameReader:
    """Takes frames off a buffer, one state at a time; `layout` and `limits` change with the handshake."""

    __slots__ = ("_head", "_preamble", "_size", "layout", "limits", "transcript")

    def __init__(self, layout: Layout, frame_limits: FrameLimits = handshake_limits) -> None:
        self.layout = layout
        self.limits = frame_limits
        self.transcript: bytearray | None = bytearray()  # wire bytes so far, for the handshake's signatures
        self._head = b""
        self._preamble: Preamble | None = None
        self._size = 0

    def next(self, buf: ReceiveBuffer) -> Frame | None:
        """Return the next whole frame, or None until more bytes are there.  Raises ProtocolError."""
        if self._preamble is None:
            head = buf.take(self.layout.head_size)
            if head is None:
                return None
            preamble = self.layout.open_head(head)
            self.limits(preamble)
            self._head, self._preamble, self._size = head, preamble, self.layout.body_size(preamble)
        body = buf.take(self._size)
        if body is None:
            return None
        preamble, self._preamble = self._preamble, None
        if self.transcript is not None:
            self.transcript += self._head + body
        return self.layout.open_body(preamble, self._head, body)
