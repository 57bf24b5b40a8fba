"""Who and where: entity names, addresses and address vectors.

Ceph v20.2.4: src/msg/msg_types.h and .cc, src/common/entity_name.h.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NewType

from cephmonfs.wire import limits

if TYPE_CHECKING:
    from cephmonfs.wire.cursor import Cursor
    from cephmonfs.wire.encoder import Encoder

Epoch = NewType("Epoch", int)
Tid = NewType("Tid", int)
GlobalId = NewType("GlobalId", int)
Rank = NewType("Rank", int)

AF_INET: Final = 2  # Linux's numbers, which are those on the wire
AF_INET6: Final = 10
_SOCKADDR_BYTES: Final = {AF_INET: 16, AF_INET6: 28}
_STORAGE: Final = 128  # sockaddr_storage


class EntityType(IntEnum):
    """CEPH_ENTITY_TYPE_*."""

    MON = 1
    MDS = 2
    OSD = 4
    CLIENT = 8
    MGR = 16
    AUTH = 32


class AddrType(IntEnum):
    """entity_addr_t::type_t: the protocol spoken at an address."""

    NONE = 0
    LEGACY = 1
    MSGR2 = 2
    ANY = 3


_TYPE_NAMES: Final = {0: "none", 1: "v1", 2: "v2", 3: "any"}


def _type_name(kind: int) -> str:
    try:
        return EntityType(kind).name.lower()
    except ValueError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class EntityName:
    """EntityName of the authentication layer, "client.admin".  Wire: le32 type, string id."""

    type: int  # EntityType, or a value newer than we are
    id: str

    @classmethod
    def decode(cls, cur: Cursor) -> EntityName:
        """Read type and id."""
        return cls(cur.u32(), cur.text())

    def encode(self, enc: Encoder) -> None:
        """Append type and id."""
        enc.u32(self.type).text(self.id)

    @classmethod
    def parse(cls, text: str) -> EntityName:
        """Read "client.admin"; a text without a known type in front is the id of a client."""
        prefix, dot, rest = text.partition(".")
        for kind in EntityType:
            if dot and prefix == kind.name.lower():
                return cls(kind, rest)
        return cls(EntityType.CLIENT, text)

    def __str__(self) -> str:
        return f"{_type_name(self.type)}.{self.id}"


@dataclass(frozen=True, slots=True)
class EntityInstName:
    """entity_name_t of the messenger, "client.4152".  Wire: u8 type, les64 num."""

    type: int
    num: int

    @classmethod
    def decode(cls, cur: Cursor) -> EntityInstName:
        """Read type and number."""
        return cls(cur.u8(), cur.s64())

    def encode(self, enc: Encoder) -> None:
        """Append type and number."""
        enc.u8(self.type).s64(self.num)

    def __str__(self) -> str:
        return f"{_type_name(self.type)}.{'?' if self.num < 0 else self.num}"


@dataclass(frozen=True, slots=True)
class EntityAddr:
    """Where an entity listens.

    Wire: u8 marker; 1: ENCODE_START v1 { le32 type, le32 nonce, le32 len, sockaddr };
    0: the 136 bytes from before ADDR2.  Raises DecodeError on any other marker.
    `sockaddr` is kept as in form 1: le16 family, be16 port, then as in C.
    """

    type: int  # AddrType, or a value newer than we are
    nonce: int
    sockaddr: bytes

    @classmethod
    def decode(cls, cur: Cursor) -> EntityAddr:
        """Read either form."""
        match cur.peek_u8():
            case 0:
                return cls._decode_legacy(cur)
            case 1:
                cur.skip(1)
                _, body = cur.struct("entity_addr_t", v=1)
                return cls(body.u32(), body.u32(), body.blob(limits.MAX_SOCKADDR))
            case marker:
                raise cur.error(f"address marker {marker}")

    @classmethod
    def _decode_legacy(cls, cur: Cursor) -> EntityAddr:
        body = cur.sub(8 + _STORAGE, "entity_addr_t (legacy)")
        body.skip(4)
        nonce, family = body.u32(), body.u16_be()
        size = _SOCKADDR_BYTES.get(family)
        if size is None:
            return cls(AddrType.LEGACY if family else AddrType.NONE, nonce, b"")
        return cls(AddrType.LEGACY, nonce, struct.pack("<H", family) + body.raw(size - 2))

    def encode(self, enc: Encoder) -> None:
        """Append form 1."""
        enc.u8(1)
        with enc.struct(1, 1):
            enc.u32(self.type).u32(self.nonce).blob(self.sockaddr)

    def encode_legacy(self, enc: Encoder) -> None:
        """Append the 136 bytes of form 0."""
        enc.u32(0).u32(self.nonce)
        if family := self.family:
            rest = self.sockaddr[2:]  # family has checked the size
            enc.u16_be(AF_INET if family == 4 else AF_INET6).raw(rest).raw(bytes(_STORAGE - 2 - len(rest)))
        else:
            enc.raw(bytes(_STORAGE))

    @classmethod
    def of(cls, host: str, port: int, type: AddrType, nonce: int = 0) -> EntityAddr:
        """Make one from a literal IP address.  Raises ValueError when `host` is none."""
        ip = ipaddress.ip_address(host)
        if ip.version == 4:
            return cls(type, nonce, struct.pack("<H", AF_INET) + struct.pack(">H", port) + ip.packed + bytes(8))
        head = struct.pack("<H", AF_INET6) + struct.pack(">HI", port, 0)
        return cls(type, nonce, head + ip.packed + bytes(4))

    @property
    def family(self) -> int:
        """4, 6, or 0 for a blank address or one we cannot read."""
        if len(self.sockaddr) < 2:
            return 0
        family = int.from_bytes(self.sockaddr[:2], "little")
        if len(self.sockaddr) != _SOCKADDR_BYTES.get(family):
            return 0
        return 4 if family == AF_INET else 6

    @property
    def host(self) -> str:
        """The IP address as text, empty when blank."""
        match self.family:
            case 4:
                return str(ipaddress.IPv4Address(self.sockaddr[4:8]))
            case 6:
                return _ipv6_text(self.sockaddr[8:24])
            case _:
                return ""

    @property
    def port(self) -> int:
        """The port, 0 when blank."""
        return int.from_bytes(self.sockaddr[2:4], "big") if self.family else 0

    @property
    def blank(self) -> bool:
        """True when it is not an address to connect to."""
        return self.type == AddrType.NONE or not self.family

    @property
    def hostport(self) -> str:
        """Address and port as Ceph prints a sockaddr: IPv6 in brackets."""
        match self.family:
            case 4:
                return f"{self.host}:{self.port}"
            case 6:
                return f"[{self.host}]:{self.port}"
            case _:
                family = int.from_bytes(self.sockaddr[:2], "little")
                return f"(unrecognized address family {family})"

    @property
    def legacy_str(self) -> str:
        """The form without a protocol that older fields of Ceph's JSON have: "127.0.0.1:6789/0"."""
        return f"{self.hostport}/{self.nonce}"

    @property
    def type_name(self) -> str:
        """ "v1", "v2", "any", "none", or "???"."""
        return _TYPE_NAMES.get(self.type, "???")

    def __str__(self) -> str:
        if self.type == AddrType.NONE:
            return "-"
        if self.type == AddrType.ANY:
            return self.legacy_str
        return f"{self.type_name}:{self.legacy_str}"


def _ipv6_text(raw: bytes) -> str:
    """Return what inet_ntop(3) makes of an IPv6 address: one that holds an IPv4 address shows it as such."""
    ip = ipaddress.IPv6Address(raw)
    if ip.ipv4_mapped is not None:
        return f"::ffff:{ip.ipv4_mapped}"
    if not any(raw[:12]) and any(raw[12:14]):
        return f"::{ipaddress.IPv4Address(raw[12:])}"
    return str(ip)


BLANK_ADDR: Final = EntityAddr(AddrType.NONE, 0, b"")


@dataclass(frozen=True, slots=True)
class AddrVec:
    """entity_addrvec_t: the addresses of one entity.

    Wire: u8 marker 2, list of addresses; or a single address in either of its forms.
    """

    addrs: tuple[EntityAddr, ...]

    @classmethod
    def decode(cls, cur: Cursor) -> AddrVec:
        """Read the vector, or a single address as a vector of one."""
        if cur.peek_u8() != 2:
            return cls((EntityAddr.decode(cur),))
        cur.skip(1)
        return cls(cur.items(EntityAddr.decode, each=7, limit=limits.MAX_ADDRVEC))

    def encode(self, enc: Encoder) -> None:
        """Append the vector form."""
        enc.u8(2).items(self.addrs, lambda e, addr: addr.encode(e))

    def of_type(self, type: AddrType) -> EntityAddr | None:
        """Return the first address of one protocol."""
        for addr in self.addrs:
            if addr.type == type:
                return addr
        return None

    @property
    def legacy(self) -> EntityAddr:
        """The v1 address, or a blank one: what a peer without MSG_ADDR2 is shown."""
        return self.of_type(AddrType.LEGACY) or BLANK_ADDR

    @property
    def legacy_or_front(self) -> EntityAddr:
        """The v1 address, the first one where there is none, or a blank one."""
        return self.of_type(AddrType.LEGACY) or (self.addrs[0] if self.addrs else BLANK_ADDR)

    def __str__(self) -> str:
        if len(self.addrs) == 1:
            return str(self.addrs[0])
        return f"[{','.join(map(str, self.addrs))}]" if self.addrs else ""
