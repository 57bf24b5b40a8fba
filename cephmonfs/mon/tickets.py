"""Tickets: the session's credentials: when they are renewed, and when they are given up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cephmonfs.auth.credentials import AuthMethod, Credentials
from cephmonfs.errors import CephMonFSError, StaleTicket, UnexpectedMessage
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.model.entity import EntityType
from cephmonfs.mon.connection import Phase
from cephmonfs.mon.snapshot import Stamp, TicketView

if TYPE_CHECKING:
    from cephmonfs.mon.connection import MonConnection
    from cephmonfs.mon.report import Report
    from cephmonfs.mon.requests import ConnectionId

_RENEW_AT: Final = 0.75  # of a ticket's life
_RENEW_AGAIN_S: Final = 30.0  # after a failed renewal
_DOUBTS: Final = 2  # handshakes that broke off after our ticket, in a row: try without it


class Tickets:
    """One identity at a time."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.credentials: Credentials | None = None
        self.renew_after = math.inf  # monotonic
        self._got: Stamp | None = None
        self._doubts = 0
        self._renewing: ConnectionId | None = None

    def take(self, credentials: Credentials, now: Stamp) -> None:
        """A monitor believed us, or renewed what we had."""
        self.credentials = credentials
        self._got = now
        validity = credentials.shortest_validity_s()
        self.renew_after = math.inf if validity is None else now.mono + validity * _RENEW_AT
        self._doubts = 0

    def doubt(self, shown: Credentials, reason: CephMonFSError) -> bool:
        """A handshake failed after this ticket was shown; returns whether it is forgotten.

        A monitor out of quorum closes there, but so do those up to Reef on a ticket that their keys do not decrypt.
        """
        self._doubts += 1
        if not isinstance(reason, StaleTicket) and self._doubts < _DOUBTS:
            return False
        self._doubts = 0
        if self.credentials is not shown:
            return False
        self.credentials = None
        return True

    def connection_failed(self, conn: MonConnection, reason: CephMonFSError) -> None:
        """Whatever this connection had under way for us ends with it; a ticket that it showed may be why."""
        if self._renewing == conn.id:
            self._renewing = None
        if (
            conn.prior is not None
            and conn.phase is Phase.AUTH
            and not conn.is_proven
            and self.doubt(conn.prior, reason)
        ):
            self._report.counters["tickets_stale"] += 1

    def renewal(self, conn: MonConnection, epoch: int, now: float) -> MAuth | None:
        """Return what asks for fresh tickets if they are due; after that they are due again only in a while."""
        if now < self.renew_after:
            return None
        self.renew_after = now + _RENEW_AGAIN_S
        payload = conn.renewal(self.credentials) if self.credentials is not None else None
        if payload is None:
            return None
        self._renewing = conn.id
        self._report.counters["renewals"] += 1
        return MAuth(AuthMethod.CEPHX, payload, epoch)

    def on_reply(self, conn: MonConnection, reply: MAuthReply, now: Stamp) -> None:
        """Take the fresh tickets.  A monitor that does not renew them says why, and the old ones stay."""
        if conn.id != self._renewing:
            self._report.counters["replies_unasked"] += 1
            return
        self._renewing = None
        if reply.protocol != AuthMethod.CEPHX:
            raise UnexpectedMessage(f"auth reply for method {reply.protocol} to a renewal of cephx tickets")
        if reply.result > 0:
            raise UnexpectedMessage(f"auth reply with result {reply.result}")
        if reply.result < 0:
            self._report.error(conn.describe(f"tickets were not renewed: error {reply.result} {reply.text}"))
            return
        self.take(conn.renewed(reply.payload, reply.global_id), now)

    @property
    def global_id(self) -> int:
        """The one the monitors gave us, 0 before that."""
        return self.credentials.global_id if self.credentials else 0

    def views(self) -> tuple[TicketView, ...]:
        """Return the tickets without their keys."""
        if self.credentials is None or self._got is None:
            return ()
        wall = self._got.wall
        return tuple(
            TicketView(
                service=_service_name(ticket.service),
                key_type=ticket.session_key.type.name.lower(),
                secret_id=ticket.secret_id,
                got=wall,
                renew_after=wall + ticket.validity_s * _RENEW_AT,
                expires=wall + ticket.validity_s,
            )
            for ticket in self.credentials.tickets.values()
        )


def _service_name(service: int) -> str:
    try:
        return EntityType(service).name.lower()
    except ValueError:
        return str(service)
