"""The events that a connection returns to its driver; the same for both messenger protocols."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cephmonfs.messages.message import Message
from cephmonfs.wire.cursor import Utime


class Mode(StrEnum):
    """How a connection's messages are protected."""

    SECURE = "secure"  # encrypted and authenticated
    CRC = "crc"  # checksums against accidents only; the peer was authenticated
    LEGACY = "legacy"  # msgr1: checksums only, nothing signed towards monitors


@dataclass(frozen=True, slots=True)
class AuthNeeded:
    """The peer is a monitor that speaks our protocol: call `start_auth`."""


@dataclass(frozen=True, slots=True)
class AuthMore:
    """The method's next payload: call `auth_more`."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class AuthRefused:
    """AUTH_BAD_METHOD, or an MAuthReply with an error.  `start_auth` may be called once more per method."""

    result: int  # negative errno
    methods: tuple[int, ...]
    modes: tuple[int, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class AuthDone:
    """The monitor accepts us: check `payload`, then call `auth_done`."""

    global_id: int
    mode: Mode
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """Messages may flow.  `features` are those that both sides have."""

    features: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class KeepaliveAcked:
    """The peer is alive; `stamp` is the one that we sent."""

    stamp: Utime


Event = AuthNeeded | AuthMore | AuthRefused | AuthDone | Ready | Message | KeepaliveAcked
