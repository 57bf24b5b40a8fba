"""Tickets: the credentials that a session has, when they want renewing, and when they are not believed any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.auth.credentials import AuthMethod, Credentials
from cephmonfs.errors import CephMonFSError, StaleTicket, UnexpectedMessage
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.model.entity import EntityType
from cephmonfs.mon.link import Phase
from cephmonfs.mon.snapshot import Stamp, TicketView

if TYPE_CHECKING:
    from cephmonfs.mon.journal import Journal
    from cephmonfs.mon.link import Link
    from cephmonfs.mon.requests import LinkId

_RENEW_AT: Final = 0.75  # of a ticket's life
_RENEW_AGAIN_S: Final = 30.0  # after a failed renewal
_DOUBTS: Final = 2  # handshakes that broke off after our ticket, in a row: try without it


class Tickets:
    """One identity at a time."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.credentials: Credentials | None = None
        self.renew_after: float | None = None  # monotonic
        self._got: Stamp | None = None
        self._doubts = 0
        self._renewing: LinkId | None = None

    def take(self, credentials: Credentials, now: Stamp) -> None:
        """A monitor believed us, or renewed what we had."""
        self.credentials = credentials
        self._got = now
        validity = credentials.shortest_validity_s()
        self.renew_after = None if validity is None else now.mono + validity * _RENEW_AT
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

    def link_failed(self, link: Link, reason: CephMonFSError) -> None:
        """Whatever this link had under way for us ends with it; a ticket that it showed may be why."""
        if self._renewing == link.id:
            self._renewing = None
        if (
            link.prior is not None
            and link.phase is Phase.AUTH
            and not link.is_proven
            and self.doubt(link.prior, reason)
        ):
            self._journal.counters["tickets_stale"] += 1

    def renewal(self, link: Link, epoch: int, now: float) -> MAuth | None:
        """Return what asks for fresh tickets if they are due; after that they are due again only in a while."""
        if self.renew_after is None or now < self.renew_after:
            return None
        self.renew_after = now + _RENEW_AGAIN_S
        payload = link.renewal(self.credentials) if self.credentials is not None else None
        if payload is None:
            return None
        self._renewing = link.id
        self._journal.counters["renewals"] += 1
        return MAuth(AuthMethod.CEPHX, payload, epoch)

    def on_reply(self, link: Link, reply: MAuthReply, now: Stamp) -> None:
        """Take the fresh tickets.  A monitor that does not renew them says why, and the old ones stay."""
        if link.id != self._renewing:
            self._journal.counters["replies_unasked"] += 1
            return
        self._renewing = None
        if reply.protocol != AuthMethod.CEPHX:
            raise UnexpectedMessage(f"auth reply for method {reply.protocol} to a renewal of cephx tickets")
        if reply.result > 0:
            raise UnexpectedMessage(f"auth reply with result {reply.result}")
        if reply.result < 0:
            self._journal.error(link.describe(f"tickets were not renewed: error {reply.result} {reply.text}"))
            return
        self.take(link.renewed(reply.payload, reply.global_id), now)

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
