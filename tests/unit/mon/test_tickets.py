"""Tickets: when they are renewed, by whom, and when they are doubted."""

from __future__ import annotations

import pytest

from cephmonfs.auth.credentials import AuthMethod, Credentials
from cephmonfs.errors import ProtocolError, StaleTicket, UnexpectedMessage
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.mon.connection import Phase
from cephmonfs.mon.report import Report
from cephmonfs.mon.tickets import Tickets
from tests.doubles.connection import OpenConnection, at

OLD = Credentials(7, {})
NEW = Credentials(8, {})


class Renewing(OpenConnection):
    def renewal(self, current: Credentials) -> bytes | None:
        return b"fresh ones, please"

    def renewed(self, payload: bytes, global_id: int) -> Credentials:
        return NEW


def due() -> tuple[Tickets, Report]:
    """Tickets whose time has come."""
    report = Report()
    tickets = Tickets(report)
    tickets.take(OLD, at(0.0))
    tickets.renew_after = 10.0
    return tickets, report


def reply(protocol: int = AuthMethod.CEPHX, result: int = 0, text: str = "") -> MAuthReply:
    return MAuthReply(protocol, result, 8, b"", text)


def test_a_renewal_is_asked_for_and_again_after_a_while() -> None:
    tickets, report = due()
    conn = Renewing(1)
    assert tickets.renewal(conn, 3, 9.9) is None
    assert tickets.renewal(conn, 3, 10.0) == MAuth(AuthMethod.CEPHX, b"fresh ones, please", 3)
    assert tickets.renewal(conn, 3, 39.9) is None
    assert tickets.renewal(conn, 3, 40.0) is not None
    tickets.on_reply(conn, reply(), at(41.0))
    assert tickets.global_id == 8
    assert report.counters["renewals"] == 2


def test_without_cephx_or_tickets_there_is_nothing_to_renew() -> None:
    tickets, _ = due()
    assert tickets.renewal(OpenConnection(1), 3, 10.0) is None
    tickets.credentials = None
    assert tickets.renewal(Renewing(1), 3, 40.0) is None


def test_a_reply_is_only_taken_from_whom_it_was_asked() -> None:
    tickets, report = due()
    one, other = Renewing(1), Renewing(2)
    tickets.renewal(one, 3, 10.0)
    tickets.on_reply(other, reply(), at(11.0))
    tickets.connection_failed(other, ProtocolError("reset"))
    tickets.connection_failed(one, ProtocolError("reset"))
    tickets.on_reply(one, reply(), at(12.0))
    assert tickets.global_id == 7
    assert report.counters["replies_unasked"] == 2


@pytest.mark.parametrize("wrong", [reply(protocol=AuthMethod.NONE), reply(result=1)])
def test_a_reply_that_makes_no_sense_costs_the_link(wrong: MAuthReply) -> None:
    tickets, _ = due()
    conn = Renewing(1)
    tickets.renewal(conn, 3, 10.0)
    with pytest.raises(UnexpectedMessage):
        tickets.on_reply(conn, wrong, at(11.0))


def test_a_refused_renewal_is_told_and_the_old_tickets_stay() -> None:
    tickets, report = due()
    conn = Renewing(1)
    tickets.renewal(conn, 3, 10.0)
    tickets.on_reply(conn, reply(result=-13, text="no"), at(11.0))
    assert tickets.global_id == 7
    assert report.last_error.endswith("tickets were not renewed: error -13 no")


def test_a_ticket_is_doubted_by_those_who_saw_it() -> None:
    tickets, report = due()
    shown = OpenConnection(1, prior=OLD)
    tickets.connection_failed(shown, StaleTicket("old"))  # it was open: that has other reasons
    shown.phase = Phase.AUTH
    tickets.connection_failed(shown, ProtocolError("reset"))
    assert tickets.global_id == 7
    tickets.connection_failed(shown, ProtocolError("reset"))
    assert tickets.global_id == 0
    assert report.counters["tickets_stale"] == 1
    tickets.take(NEW, at(1.0))
    tickets.connection_failed(shown, StaleTicket("old"))  # that one is not in use any more
    assert tickets.global_id == 8
