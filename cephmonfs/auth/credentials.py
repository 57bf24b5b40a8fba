"""What a successful authentication leaves behind, and the interface of every method.

Credentials are immutable: two connections may authenticate at the same time from the same old ones,
and whichever wins puts its new ones in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import EntityName
from cephmonfs.wire import limits
from cephmonfs.wire.crypto import Secret

NO_SECRET: Final = -1
SECRET_SIZES: Final = (NO_SECRET, 0, limits.MAX_SECRET)
"""Of a connection secret: none (msgr1), empty (crc), 64 bytes (secure)."""


class AuthMethod(IntEnum):
    """CEPH_AUTH_*."""

    NONE = 1
    CEPHX = 2


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket for one service.  `blob` is opaque and presented as it is."""

    service: int  # EntityType
    session_key: CryptoKey
    validity_s: float  # from the moment it was issued
    secret_id: int
    blob: Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """An identity that the monitors gave us: a global_id and the tickets that prove it.

    The global_id is only ever kept together with its AUTH ticket; auth none has no tickets.
    """

    global_id: int
    tickets: Mapping[int, Ticket]  # by service

    def shortest_validity_s(self) -> float | None:
        """The validity of the ticket that ends first, None without tickets."""
        return min((t.validity_s for t in self.tickets.values()), default=None)


@dataclass(frozen=True, slots=True)
class AuthResult:
    """What the messenger needs after AUTH_DONE, and the session afterwards."""

    credentials: Credentials
    session_key: Secret | None  # signs the handshake; None with auth none
    connection_secret: Secret | None  # encrypts a secure connection


class AuthHandshake(Protocol):
    """One authentication on one connection: payloads in, payloads out."""

    method: AuthMethod
    entity: EntityName
    global_id: int  # the one we claim, 0 for a new one

    def more(self, payload: bytes) -> bytes:
        """Answer what the monitor asked."""

    def done(self, payload: bytes, global_id: int, secret_sizes: Sequence[int] = SECRET_SIZES) -> AuthResult:
        """Check the monitor's proof and take the tickets.  `secret_sizes`: what the connection secret may have."""
