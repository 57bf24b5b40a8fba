"""What the monitor's half of an authentication method returns to the messenger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cephmonfs.auth.credentials import AuthMethod
from cephmonfs.msgr.events import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from cephmonfs.model.entity import EntityName
    from cephmonfs.wire.crypto import Secret

EPERM = -1
EACCES = -13
EINVAL = -22
EOPNOTSUPP = -95


@dataclass(frozen=True, slots=True)
class Challenge:
    """Ask the client for more: AUTH_REPLY_MORE."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Granted:
    """The client is authenticated: AUTH_DONE."""

    global_id: int
    payload: bytes
    session_key: Secret | None = None
    connection_secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """AUTH_BAD_METHOD with a negative errno."""

    result: int


Answer = Challenge | Granted | Refused


class ServerAuth(Protocol):
    """One authentication on one connection.  Payloads that do not parse raise ProtocolError."""

    method: AuthMethod
    modes: tuple[Mode, ...]  # that the method can have

    def start(self, entity: EntityName, global_id: int, mode: Mode, now: float) -> Answer:
        """Take what AUTH_REQUEST holds."""

    def more(self, payload: bytes, now: float) -> Answer:
        """Take the payload of AUTH_REQUEST_MORE."""

    def renew(self, payload: bytes, now: float) -> tuple[int, bytes]:
        """Answer an MAuth inside the session: (result, payload)."""


class NoneAuth:
    """auth none: every client is accepted and gets the global_id that it claims."""

    method: AuthMethod = AuthMethod.NONE
    modes: tuple[Mode, ...] = (Mode.CRC,)

    def __init__(self, new_global_id: Callable[[], int]) -> None:
        self._new_global_id = new_global_id

    def start(self, entity: EntityName, global_id: int, mode: Mode, now: float) -> Answer:
        """Grant at once."""
        return Granted(global_id or self._new_global_id(), b"")

    def more(self, payload: bytes, now: float) -> Answer:
        """There was no question."""
        return Refused(EINVAL)

    def renew(self, payload: bytes, now: float) -> tuple[int, bytes]:
        """There is nothing to renew."""
        return 0, b""
