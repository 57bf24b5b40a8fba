"""Authentication messages: all of it on msgr1, ticket renewal on msgr2.

Ceph: src/messages/MAuth.h, MAuthReply.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cephmonfs.messages.message import MsgType
from cephmonfs.messages.mon import decode_paxos, encode_paxos
from cephmonfs.wire import limits

if TYPE_CHECKING:
    from cephmonfs.wire.cursor import Cursor
    from cephmonfs.wire.encoder import Encoder


@dataclass(frozen=True, slots=True)
class MAuth:
    """Wire: paxos, le32 protocol (0 first, then the method), blob payload, le32 monmap epoch."""

    TYPE: ClassVar = MsgType.AUTH
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    protocol: int
    payload: bytes
    monmap_epoch: int = 0

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        encode_paxos(enc)
        enc.u32(self.protocol).blob(self.payload).u32(self.monmap_epoch)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MAuth:
        """Read the front; the epoch was not always there."""
        decode_paxos(cur)
        protocol, payload = cur.u32(), cur.blob(limits.MAX_PREAUTH_FRAME)
        return cls(protocol, payload, cur.u32() if cur.remaining else 0)


@dataclass(frozen=True, slots=True)
class MAuthReply:
    """Wire: le32 protocol, le32 result (negative errno), le64 global_id, blob payload, str text."""

    TYPE: ClassVar = MsgType.AUTH_REPLY
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    protocol: int
    result: int
    global_id: int
    payload: bytes
    text: str = ""

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u32(self.protocol).s32(self.result).u64(self.global_id).blob(self.payload).text(self.text)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MAuthReply:
        """Read the front."""
        return cls(cur.u32(), cur.s32(), cur.u64(), cur.blob(2 * limits.MAX_TICKET_BLOB), cur.text())
