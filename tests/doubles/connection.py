"""A connection that is open without a handshake, and keeps what it is given to send."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType, Epoch
from cephmonfs.model.monmap import MonInfo, MonMap
from cephmonfs.mon.connection import Identity, MonConnection, Phase
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.snapshot import Stamp
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.cursor import Utime

if TYPE_CHECKING:
    from cephmonfs.auth.credentials import Credentials
    from cephmonfs.messages.message import Payload

WHO = EntityName(EntityType.CLIENT, "df")


def at(now: float) -> Stamp:
    return Stamp(now, 1_800_000_000 + now)


def candidate(number: int) -> Candidate:
    return Candidate("abc"[number - 1], EntityAddr.of(f"10.0.0.{number}", 3300, AddrType.MSGR2))


def monmap(*infos: MonInfo) -> MonMap:
    return MonMap(10, UUID(int=7), Epoch(1), Utime(1, 0), Utime(1, 0), infos)


class OpenConnection(MonConnection):
    """`number` is the connection's and the monitor's, who are a, b and c."""

    def __init__(
        self, number: int, now: float = 0.0, *, is_open: bool = True, prior: Credentials | None = None
    ) -> None:
        super().__init__(number, candidate(number), Identity(WHO, None, (Mode.CRC,)), prior, bytes, now)
        self.sent: list[tuple[Payload, int]] = []
        if is_open:
            self.phase, self.mode = Phase.OPEN, Mode.CRC
            self.connected_at, self.ready_at = now, now

    @property
    def ready(self) -> bool:
        return self.ready_at is not None

    def send(self, payload: Payload, tid: int = 0) -> None:
        self.sent.append((payload, tid))

    def send_keepalive(self, now: float, stamp: Utime) -> None:
        self.keepalive_sent = now
