"""A message as a messenger carries it: header, front, middle, data.

Ceph: src/msg/Message.h, src/include/msgr.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from cephmonfs.errors import DecodeError
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from typing import ClassVar, Protocol

    class Payload(Protocol):
        """What every class in `mon.py` and `auth.py` has."""

        TYPE: ClassVar[MsgType]
        VERSION: ClassVar[int]
        COMPAT: ClassVar[int]

        def encode(self, enc: Encoder) -> None:
            """Append the front."""


class MsgType(IntEnum):
    """CEPH_MSG_*, MSG_* of the messages between a client and a monitor."""

    MON_MAP = 4
    MON_GET_MAP = 5
    STATFS = 13
    STATFS_REPLY = 14
    MON_SUBSCRIBE = 15
    MON_SUBSCRIBE_ACK = 16
    AUTH = 17
    AUTH_REPLY = 18
    MON_GET_VERSION = 19
    MON_GET_VERSION_REPLY = 20
    MDS_MAP = 21
    OSD_MAP = 41
    FS_MAP = 45
    MON_COMMAND = 50
    MON_COMMAND_ACK = 51
    CONFIG = 62
    FS_MAP_USER = 103
    MGR_MAP = 0x704


PRIO_DEFAULT: Final = 127
_HEADER2: Final = struct.Struct("<QQHHHIHQBHH")
HEADER2_SIZE: Final = _HEADER2.size  # 41


@dataclass(frozen=True, slots=True)
class Message:
    """One message.  `type` stays a number: a newer monitor may send what we do not know."""

    type: int
    front: bytes
    version: int = 1
    compat: int = 1
    tid: int = 0
    middle: bytes = b""
    data: bytes = b""
    priority: int = PRIO_DEFAULT

    def header2(self, seq: int, ack_seq: int) -> bytes:
        """Return its ceph_msg_header2: the 41 bytes of a Header2."""
        return _HEADER2.pack(seq, self.tid, self.type, self.priority, self.version, 0, 0, ack_seq, 1, self.compat, 0)


class Header2(NamedTuple):
    """ceph_msg_header2, segment 0 of a msgr2 MESSAGE frame; 41 bytes.

    Wire: le64 seq, le64 tid, le16 type, le16 priority, le16 version, le32 data_pre_padding_len,
    le16 data_off, le64 ack_seq, u8 flags, le16 compat_version, le16 reserved.
    """

    seq: int
    tid: int
    type: int
    priority: int
    version: int
    ack_seq: int
    compat: int
    flags: int = 1

    @classmethod
    def decode(cls, data: bytes) -> Header2:
        """Read a header from its 41 bytes."""
        if len(data) != HEADER2_SIZE:
            raise DecodeError("ceph_msg_header2", 0, f"{len(data)} bytes, wanted {HEADER2_SIZE}")
        seq, tid, kind, priority, version, _pad, _off, ack, flags, compat, _reserved = _HEADER2.unpack(data)
        return cls(seq, tid, kind, priority, version, ack, compat, flags)


def to_message(payload: Payload, tid: int = 0, data: bytes = b"") -> Message:
    """Encode a payload with the version it has by itself."""
    enc = Encoder()
    payload.encode(enc)
    return Message(payload.TYPE, bytes(enc), payload.VERSION, payload.COMPAT, tid, b"", data)
