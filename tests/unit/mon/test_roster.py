"""Roster: the hunt's list, and the word about a given one that is out of date."""

from __future__ import annotations

from dataclasses import replace

from cephmonfs.model.entity import AddrType, AddrVec
from cephmonfs.model.monmap import MonInfo
from cephmonfs.mon.hunt import Hunt
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.roster import Roster
from tests.unit.mon.fakes import candidate, monmap

A, B, C = (candidate(n) for n in (1, 2, 3))
MAP = monmap(MonInfo("a", AddrVec((A.addr,))), MonInfo("b", AddrVec((B.addr,))))


def test_the_hunt_gets_the_monmap_first_and_the_rest_last() -> None:
    hunt, journal = Hunt(lambda: 0.0), Journal()
    roster = Roster(hunt, AddrType.MSGR2, journal)
    roster.configured = (C, A)
    roster.refresh(None)
    assert list(hunt.candidates) == [C, A]
    roster.warn(None)
    assert not journal.last_error
    roster.refresh(MAP)
    assert list(hunt.candidates) == [A, B, replace(C, priority=1)]


def test_a_list_that_is_out_of_date_is_told_when_it_shows_and_with_each_session() -> None:
    journal = Journal()
    roster = Roster(Hunt(lambda: 0.0), AddrType.MSGR2, journal)
    roster.configured = (A, C)
    roster.refresh(MAP)
    assert journal.last_error.startswith("the list of monitors is out of date: c is no monitor of this cluster")
    assert journal.take_changes() == {"session"}
    roster.refresh(MAP)
    assert not journal.take_changes()
    roster.warn(MAP)
    assert journal.take_changes() == {"session"}
    roster.configured = (A,)
    roster.refresh(MAP)
    roster.warn(MAP)
    assert not journal.take_changes()
