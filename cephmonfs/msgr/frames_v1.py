"""msgr1 on the wire: the connect exchange, one-byte tags, messages with their header and footer.

    banner    "ceph v027", no newline; the server adds its own address and the client's as it sees it,
              the client adds its own
    connect   33 bytes and an authorizer; reply 26 bytes and an authorizer
    session   u8 tag, and what belongs to it:
              MSG       header 53 | front | middle | data | footer 21 (13 without MSG_AUTH)
              ACK       le64 seq
              KEEPALIVE2, KEEPALIVE2_ACK   utime
              KEEPALIVE, CLOSE             nothing

Both ends use this module.  All crcs are raw CRC-32C from seed 0; an empty part has crc 0.  Addresses have the
136 bytes of before ADDR2, whatever the features.  Ceph v20.2.4: src/include/msgr.h, src/msg/async/ProtocolV1.cc.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

from cephmonfs.errors import IntegrityError, ProtocolError, UnexpectedMessage
from cephmonfs.messages.message import Message
from cephmonfs.wire import limits
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from cephmonfs.wire.buffer import ReceiveBuffer

BANNER: Final = b"ceph v027"
LEGACY_ADDR_SIZE: Final = 136
SERVER_HELLO_SIZE: Final = len(BANNER) + 2 * LEGACY_ADDR_SIZE
MON_PROTOCOL: Final = 15  # CEPH_MONC_PROTOCOL


class Tag(IntEnum):
    """CEPH_MSGR_TAG_*: of connect replies, and of what follows once connected."""

    READY = 1
    RESETSESSION = 2
    WAIT = 3
    RETRY_SESSION = 4
    RETRY_GLOBAL = 5
    CLOSE = 6
    MSG = 7
    ACK = 8
    KEEPALIVE = 9
    BADPROTOVER = 10
    BADAUTHORIZER = 11
    FEATURES = 12
    SEQ = 13
    KEEPALIVE2 = 14
    KEEPALIVE2_ACK = 15
    CHALLENGE_AUTHORIZER = 16


def tag_name(tag: int) -> str:
    """Name a tag for people, also one that we do not know."""
    return Tag(tag).name if tag in Tag.__members__.values() else f"unknown ({tag})"


_CONNECT = struct.Struct("<QIIIIIIB")
_REPLY = struct.Struct("<BQIIIIB")
CONNECT_SIZE: Final = _CONNECT.size  # 33
REPLY_SIZE: Final = _REPLY.size  # 26
LOSSY: Final = 1


@dataclass(frozen=True, slots=True)
class Connect:
    """ceph_msg_connect, without an authorizer: monitors take none.

    Wire: le64 features, le32 host_type, global_seq, connect_seq, protocol_version, authorizer_protocol,
    authorizer_len, u8 flags.
    """

    features: int
    host_type: int
    global_seq: int
    connect_seq: int = 0
    protocol: int = MON_PROTOCOL
    authorizer_protocol: int = 0
    authorizer_len: int = 0
    flags: int = LOSSY

    def encode(self) -> bytes:
        """Return the 33 bytes."""
        return _CONNECT.pack(
            self.features,
            self.host_type,
            self.global_seq,
            self.connect_seq,
            self.protocol,
            self.authorizer_protocol,
            self.authorizer_len,
            self.flags,
        )

    @classmethod
    def decode(cls, cur: Cursor) -> Connect:
        """Read the 33 bytes."""
        return cls(*_CONNECT.unpack(cur.raw(CONNECT_SIZE)))


@dataclass(frozen=True, slots=True)
class ConnectReply:
    """ceph_msg_connect_reply.

    Wire: u8 tag, le64 features, le32 global_seq, connect_seq, protocol_version, authorizer_len, u8 flags.
    """

    tag: int
    features: int
    global_seq: int = 0
    connect_seq: int = 0
    protocol: int = MON_PROTOCOL
    authorizer_len: int = 0
    flags: int = LOSSY

    def encode(self) -> bytes:
        """Return the 26 bytes."""
        return _REPLY.pack(
            self.tag,
            self.features,
            self.global_seq,
            self.connect_seq,
            self.protocol,
            self.authorizer_len,
            self.flags,
        )

    @classmethod
    def decode(cls, cur: Cursor) -> ConnectReply:
        """Read the 26 bytes."""
        return cls(*_REPLY.unpack(cur.raw(REPLY_SIZE)))


_HEADER = struct.Struct("<QQHHHIIIHBqHH")
_HEADER_CRC = struct.Struct("<I")
HEADER_SIZE: Final = _HEADER.size + _HEADER_CRC.size  # 53
_FOOTER = struct.Struct("<IIIQB")
_FOOTER_OLD = struct.Struct("<IIIB")
_COMPLETE: Final = 1
_NO_DATA_CRC: Final = 2


@dataclass(frozen=True, slots=True)
class Header:
    """ceph_msg_header; 53 bytes.

    Wire: le64 seq, le64 tid, le16 type, le16 priority, le16 version, le32 front_len, middle_len, data_len,
    le16 data_off, u8 and les64 src (entity_name_t), le16 compat_version, le16 reserved, le32 crc of all before.
    """

    seq: int
    tid: int
    type: int
    priority: int
    version: int
    front_len: int
    middle_len: int
    data_len: int
    src_type: int
    src_num: int
    compat: int

    def encode(self) -> bytes:
        """Return the 53 bytes."""
        head = _HEADER.pack(
            self.seq,
            self.tid,
            self.type,
            self.priority,
            self.version,
            self.front_len,
            self.middle_len,
            self.data_len,
            0,
            self.src_type,
            self.src_num,
            self.compat,
            0,
        )
        return head + _HEADER_CRC.pack(raw_crc32c(head, 0))

    @classmethod
    def decode(cls, cur: Cursor) -> Header:
        """Read one header; its crc is checked before a length is believed."""
        head = cur.raw(_HEADER.size)
        if raw_crc32c(head, 0) != cur.u32():
            raise IntegrityError("message header crc does not match")
        seq, tid, kind, priority, version, front, middle, data, _off, src, num, compat, _reserved = _HEADER.unpack(head)
        return cls(seq, tid, kind, priority, version, front, middle, data, src, num, compat)


class MessageLimits(Protocol):
    """What a receiver accepts in its present state; raises ProtocolError for anything larger."""

    def __call__(self, header: Header) -> None:
        """Check the lengths before a byte more is read."""


def handshake_limits(header: Header) -> None:
    """Before authentication the peer is anyone."""
    if header.front_len > limits.MAX_PREAUTH_FRAME or header.middle_len or header.data_len:
        raise ProtocolError(
            f"message {header.type} of {header.front_len}+{header.middle_len}+{header.data_len} bytes before "
            f"authentication; limit {limits.MAX_PREAUTH_FRAME}"
        )


def session_limits(header: Header) -> None:
    """Afterwards: bounded parts."""
    front, middle, data = header.front_len, header.middle_len, header.data_len
    if front > limits.MAX_FRONT or middle > limits.MAX_MIDDLE or data > limits.MAX_DATA:
        raise ProtocolError(f"message of {front}+{middle}+{data} bytes is over the limit")
    if front + data > limits.MAX_MESSAGE:
        raise ProtocolError(f"message of {front + data} bytes, limit {limits.MAX_MESSAGE}")


def encode_message(message: Message, seq: int, src: tuple[int, int], *, msg_auth: bool) -> bytes:
    """Return tag, header, parts and footer; `src` is type and number of the sender, `sig` stays 0."""
    front, middle, data = message.front, message.middle, message.data
    header = Header(
        seq,
        message.tid,
        message.type,
        message.priority,
        message.version,
        len(front),
        len(middle),
        len(data),
        *src,
        message.compat,
    )
    crcs = (raw_crc32c(front, 0), raw_crc32c(middle, 0), raw_crc32c(data, 0))
    footer = _FOOTER.pack(*crcs, 0, _COMPLETE) if msg_auth else _FOOTER_OLD.pack(*crcs, _COMPLETE)
    return b"".join((bytes((Tag.MSG,)), header.encode(), front, middle, data, footer))


def encode_ack(seq: int) -> bytes:
    """Return an ACK."""
    return bytes(Encoder().u8(Tag.ACK).u64(seq))


def encode_keepalive2(stamp: Utime, *, ack: bool = False) -> bytes:
    """Return a KEEPALIVE2, or its acknowledgement."""
    return bytes(Encoder().u8(Tag.KEEPALIVE2_ACK if ack else Tag.KEEPALIVE2).utime(stamp))


@dataclass(frozen=True, slots=True)
class Frame:
    """A tag with what came behind it: a message with its seq, or a few bytes."""

    tag: int
    body: bytes = b""
    seq: int = 0
    message: Message | None = None  # of MSG, None when its sender gave it up: drop it


_BODY_SIZE: Final[dict[int, int]] = {
    Tag.CLOSE: 0,
    Tag.ACK: 8,
    Tag.KEEPALIVE: 0,
    Tag.KEEPALIVE2: 8,
    Tag.KEEPALIVE2_ACK: 8,
}


class FrameReader:
    """Takes tags and messages off a buffer; `limits` and `msg_auth` change with the handshake."""

    __slots__ = ("_header", "_tag", "limits", "msg_auth")

    def __init__(self) -> None:
        self.limits: MessageLimits = handshake_limits
        self.msg_auth = False
        self._tag: int | None = None
        self._header: Header | None = None

    def next(self, buf: ReceiveBuffer) -> Frame | None:
        """Return the next frame, or None until more bytes are there.  Raises ProtocolError."""
        if self._tag is None:
            head = buf.take(1)
            if head is None:
                return None
            self._tag = head[0]
        if self._tag == Tag.MSG:
            return self._next_message(buf)
        size = _BODY_SIZE.get(self._tag)
        if size is None:
            raise UnexpectedMessage(f"tag {tag_name(self._tag)} in a session")
        body = buf.take(size)
        if body is None:
            return None
        tag, self._tag = self._tag, None
        return Frame(tag, body)

    def _next_message(self, buf: ReceiveBuffer) -> Frame | None:
        if self._header is None:
            head = buf.take(HEADER_SIZE)
            if head is None:
                return None
            header = Header.decode(Cursor(head, "ceph_msg_header"))
            self.limits(header)
            self._header = header
        header = self._header
        footer_size = _FOOTER.size if self.msg_auth else _FOOTER_OLD.size
        body = buf.take(header.front_len + header.middle_len + header.data_len + footer_size)
        if body is None:
            return None
        self._tag = self._header = None
        return self._open(header, Cursor(body, "message"))

    def _open(self, header: Header, cur: Cursor) -> Frame:
        """Check every crc."""
        front, middle, data = cur.raw(header.front_len), cur.raw(header.middle_len), cur.raw(header.data_len)
        front_crc, middle_crc, data_crc = cur.u32(), cur.u32(), cur.u32()
        if self.msg_auth:
            cur.u64()  # sig: monitors sign nothing, no authorizer was exchanged
        flags = cur.u8()
        if not flags & _COMPLETE:
            return Frame(Tag.MSG, seq=header.seq)
        if flags & _NO_DATA_CRC:
            data_crc = raw_crc32c(data, 0)
        for name, part, crc in (("front", front, front_crc), ("middle", middle, middle_crc), ("data", data, data_crc)):
            if raw_crc32c(part, 0) != crc:
                raise IntegrityError(f"message {name} crc does not match")
        message = Message(header.type, front, header.version, header.compat, header.tid, middle, data, header.priority)
        return Frame(Tag.MSG, seq=header.seq, message=message)
