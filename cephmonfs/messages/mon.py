"""What client and monitors say to each other besides authentication.

Each class is one message: `encode` appends its front, `decode` reads it.  Both directions are here, since
the embedded monitors speak the other half.  Maps stay encoded; `mon/` decodes them.
Ceph: src/messages/M*.h.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from cephmonfs.messages.message import MsgType
from cephmonfs.model.statfs import Statfs
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.wire.encoder import Encoder

ONETIME: Final = 1  # CEPH_SUBSCRIBE_ONETIME
NO_FSID: Final = bytes(16)
_PAXOS: Final = struct.pack("<QhQ", 0, -1, 0)
_STATFS_REPLY: Final = struct.Struct("<16sQ4Q")


def encode_paxos(enc: Encoder) -> None:
    """PaxosServiceMessage: le64 version, two fields no longer used."""
    enc.raw(_PAXOS)


def decode_paxos(cur: Cursor) -> None:
    """Skip the paxos fields."""
    cur.skip(18)


@dataclass(frozen=True, slots=True)
class MMonMap:
    """A MonMap.  Wire: blob."""

    TYPE: ClassVar = MsgType.MON_MAP
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    monmap: bytes

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.blob(self.monmap)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonMap:
        """Read the front."""
        return cls(cur.blob())


@dataclass(frozen=True, slots=True)
class MMonGetMap:
    """Asks for one MonMap.  Wire: nothing."""

    TYPE: ClassVar = MsgType.MON_GET_MAP
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    def encode(self, enc: Encoder) -> None:
        """Append nothing."""

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonGetMap:
        """Read nothing."""
        return cls()


@dataclass(frozen=True, slots=True)
class MStatfs:
    """Asks for space used and free.  A wrong fsid or a missing pool gets no reply at all.

    Wire: paxos, uuid fsid, (v2) bool has pool, le64 pool.
    """

    TYPE: ClassVar = MsgType.STATFS
    VERSION: ClassVar = 2
    COMPAT: ClassVar = 1

    fsid: bytes
    pool: int | None = None

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.raw(_PAXOS + self.fsid + (b"\0" if self.pool is None else b"\1"))
        if self.pool is not None:
            enc.s64(self.pool)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MStatfs:
        """Read the front."""
        decode_paxos(cur)
        fsid = cur.raw(16)
        return cls(fsid, cur.s64() if version >= 2 and cur.boolean() else None)


@dataclass(frozen=True, slots=True)
class MStatfs1:
    """MStatfs before it had a pool.  Wire: paxos, uuid fsid."""

    TYPE: ClassVar = MsgType.STATFS
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    fsid: bytes

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        encode_paxos(enc)
        enc.raw(self.fsid)


@dataclass(frozen=True, slots=True)
class MStatfsReply:
    """Wire: uuid fsid, le64 version, ceph_statfs; exactly 56 bytes."""

    TYPE: ClassVar = MsgType.STATFS_REPLY
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    fsid: bytes
    version: int
    stats: Statfs

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.raw(self.fsid).u64(self.version)
        self.stats.encode(enc)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MStatfsReply:
        """Read the front."""
        fsid, number, *stats = cur.unpack(_STATFS_REPLY)
        cur.finish()
        return cls(fsid, number, Statfs(*stats))


@dataclass(frozen=True, slots=True)
class SubscribeItem:
    """First epoch wanted, and whether once is enough."""

    start: int
    onetime: bool = False


@dataclass(frozen=True, slots=True)
class MMonSubscribe:
    """Adds or replaces subscriptions; an unknown or forbidden name gets no answer.

    Wire: map<str, { le64 start, u8 flags }>, (v3) str hostname.  For version 1 see MMonSubscribe1.
    """

    TYPE: ClassVar = MsgType.MON_SUBSCRIBE
    VERSION: ClassVar = 3
    COMPAT: ClassVar = 1

    what: Mapping[str, SubscribeItem]
    hostname: str = ""

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u32(len(self.what))
        for name, item in self.what.items():
            enc.text(name).u64(item.start).u8(ONETIME if item.onetime else 0)
        enc.text(self.hostname)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonSubscribe:
        """Read the front of any version."""
        if version < 2:
            return cls(cur.mapping(Cursor.text, _old_item, each=4 + 17))
        what = {}
        for _ in range(cur.count(each=13)):
            name = cur.text()
            what[name] = SubscribeItem(cur.u64(), bool(cur.u8() & ONETIME))
        return cls(what, cur.text() if version >= 3 else "")


def _old_item(cur: Cursor) -> SubscribeItem:
    cur.skip(8)
    have = cur.u64()
    return SubscribeItem(have + 1 if have else 0, cur.boolean())


@dataclass(frozen=True, slots=True)
class MMonSubscribe1:
    """MMonSubscribe for a peer without SUBSCRIBE2: what we have instead of what we want first.

    Epoch 1 cannot be requested: it means the newest one.
    Wire: map<str, { le64 unused, le64 have, u8 onetime }>.
    """

    TYPE: ClassVar = MsgType.MON_SUBSCRIBE
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    what: Mapping[str, SubscribeItem]

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u32(len(self.what))
        for name, item in self.what.items():
            enc.text(name).u64(0).u64(max(item.start - 1, 0)).boolean(item.onetime)


@dataclass(frozen=True, slots=True)
class MMonSubscribeAck:
    """Only to peers without MON_STATEFUL_SUB.  Wire: le32 interval in seconds, uuid fsid."""

    TYPE: ClassVar = MsgType.MON_SUBSCRIBE_ACK
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    interval_s: int
    fsid: bytes

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u32(self.interval_s).raw(self.fsid)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonSubscribeAck:
        """Read the front."""
        return cls(cur.u32(), cur.raw(16))


@dataclass(frozen=True, slots=True)
class MMonGetVersion:
    """Asks for the newest epoch of a map.  Wire: le64 handle, str what."""

    TYPE: ClassVar = MsgType.MON_GET_VERSION
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    handle: int
    what: str

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u64(self.handle).text(self.what)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonGetVersion:
        """Read the front."""
        return cls(cur.u64(), cur.text())


@dataclass(frozen=True, slots=True)
class MMonGetVersionReply:
    """Wire: le64 handle, le64 version, le64 oldest_version."""

    TYPE: ClassVar = MsgType.MON_GET_VERSION_REPLY
    VERSION: ClassVar = 2
    COMPAT: ClassVar = 1

    handle: int
    version: int
    oldest: int

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u64(self.handle).u64(self.version).u64(self.oldest)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonGetVersionReply:
        """Read the front; version 1 ends after the version."""
        return cls(cur.u64(), cur.u64(), cur.u64() if version >= 2 else 0)


@dataclass(frozen=True, slots=True)
class MMDSMap:
    """Wire: uuid fsid, le32 epoch, blob MDSMap, (v2) str fs name (empty from Reef on)."""

    TYPE: ClassVar = MsgType.MDS_MAP
    VERSION: ClassVar = 2
    COMPAT: ClassVar = 1

    fsid: bytes
    epoch: int
    mdsmap: bytes
    fs_name: str = ""

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.raw(self.fsid).u32(self.epoch).blob(self.mdsmap).text(self.fs_name)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMDSMap:
        """Read the front."""
        return cls(cur.raw(16), cur.u32(), cur.blob(), cur.text() if version >= 2 else "")


@dataclass(frozen=True, slots=True)
class MOSDMap:
    """Full and incremental OSDMaps by epoch.

    Wire: uuid fsid, map<le32, blob> incrementals, map<le32, blob> full, le32 oldest, le32 newest, more we skip.
    """

    TYPE: ClassVar = MsgType.OSD_MAP
    VERSION: ClassVar = 4
    COMPAT: ClassVar = 3

    fsid: bytes
    incrementals: Mapping[int, bytes]
    full: Mapping[int, bytes]
    oldest: int = 0
    newest: int = 0

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.raw(self.fsid)
        for maps in (self.incrementals, self.full):
            enc.u32(len(maps))
            for epoch, blob in maps.items():
                enc.u32(epoch).blob(blob)
        enc.u32(self.oldest).u32(self.newest).u32(0)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MOSDMap:
        """Read the front."""
        fsid = cur.raw(16)
        incrementals = cur.mapping(Cursor.u32, Cursor.blob, each=8)
        full = cur.mapping(Cursor.u32, Cursor.blob, each=8)
        oldest, newest = (cur.u32(), cur.u32()) if version >= 2 else (0, 0)
        return cls(fsid, incrementals, full, oldest, newest)


@dataclass(frozen=True, slots=True)
class MFSMap:
    """Wire: le32 epoch, FSMap without a length around it."""

    TYPE: ClassVar = MsgType.FS_MAP
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    epoch: int
    fsmap: bytes

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u32(self.epoch).raw(self.fsmap)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MFSMap:
        """Read the front."""
        return cls(cur.u32(), cur.rest())


@dataclass(frozen=True, slots=True)
class MFSMapUser:
    """Wire: le32 epoch, FSMapUser without a length around it."""

    TYPE: ClassVar = MsgType.FS_MAP_USER
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    epoch: int
    fsmap: bytes

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u32(self.epoch).raw(self.fsmap)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MFSMapUser:
        """Read the front."""
        return cls(cur.u32(), cur.rest())


@dataclass(frozen=True, slots=True)
class MMgrMap:
    """Wire: MgrMap and nothing else; its ENCODE_START block begins with le32 epoch."""

    TYPE: ClassVar = MsgType.MGR_MAP
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    epoch: int
    mgrmap: bytes

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.raw(self.mgrmap)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMgrMap:
        """Read the front."""
        blob = cur.rest()
        _, body = Cursor(blob, "MgrMap").struct("MgrMap", v=255)
        return cls(body.u32(), blob)


@dataclass(frozen=True, slots=True)
class MMonCommand:
    """One command.  Wire: paxos, uuid fsid, list<str> with one JSON object; input is the message's data."""

    TYPE: ClassVar = MsgType.MON_COMMAND
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    fsid: bytes
    command: tuple[str, ...]

    @classmethod
    def of(cls, fsid: bytes, command: Mapping[str, object]) -> MMonCommand:
        """Make one from the command's keys, "prefix" first among them."""
        return cls(fsid, (json.dumps(command),))

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        encode_paxos(enc)
        enc.raw(self.fsid).u32(len(self.command))
        for word in self.command:
            enc.text(word)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonCommand:
        """Read the front."""
        decode_paxos(cur)
        fsid = cur.raw(16)
        return cls(fsid, cur.items(Cursor.lines, each=4))


@dataclass(frozen=True, slots=True)
class MMonCommandAck:
    """The answer: output is the message's data.

    Wire: paxos, le32 result (negative errno), str status text, list<str> the command again.
    """

    TYPE: ClassVar = MsgType.MON_COMMAND_ACK
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    result: int
    text: str
    command: tuple[str, ...] = field(default=())

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        encode_paxos(enc)
        enc.s32(self.result).text(self.text).u32(len(self.command))
        for word in self.command:
            enc.text(word)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MMonCommandAck:
        """Read the front."""
        decode_paxos(cur)
        result, text = cur.s32(), cur.lines()
        return cls(result, text, cur.items(Cursor.lines, each=4))


@dataclass(frozen=True, slots=True)
class MConfig:
    """Options that the monitors keep for this entity.  Wire: map<str, str>."""

    TYPE: ClassVar = MsgType.CONFIG
    VERSION: ClassVar = 1
    COMPAT: ClassVar = 1

    options: Mapping[str, str]

    def encode(self, enc: Encoder) -> None:
        """Append the front."""
        enc.u32(len(self.options))
        for name, value in self.options.items():
            enc.text(name).text(value)

    @classmethod
    def decode(cls, cur: Cursor, version: int) -> MConfig:
        """Read the front."""
        return cls(cur.mapping(Cursor.text, Cursor.lines, each=8))
