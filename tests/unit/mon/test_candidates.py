"""Candidates: the list that the hunt gets, and the report of a configured list that is out of date."""

from __future__ import annotations

from dataclasses import replace

from cephmonfs.model.entity import AddrType, AddrVec
from cephmonfs.model.monmap import MonInfo
from cephmonfs.mon.candidates import Candidates
from cephmonfs.mon.hunt import Hunt
from cephmonfs.mon.report import Report
from tests.doubles.connection import candidate, monmap

A, B, C = (candidate(n) for n in (1, 2, 3))
MAP = monmap(MonInfo("a", AddrVec((A.addr,))), MonInfo("b", AddrVec((B.addr,))))


def test_the_hunt_gets_the_monmap_first_and_the_rest_last() -> None:
    hunt, report = Hunt(lambda: 0.0), Report()
    candidates = Candidates(hunt, AddrType.MSGR2, report)
    candidates.configured = (C, A)
    candidates.refresh(None)
    assert list(hunt.candidates) == [C, A]
    candidates.warn(None)
    assert not report.last_error
    candidates.refresh(MAP)
    assert list(hunt.candidates) == [A, B, replace(C, priority=1)]


def test_a_list_that_is_out_of_date_is_told_when_it_shows_and_with_each_session() -> None:
    report = Report()
    candidates = Candidates(Hunt(lambda: 0.0), AddrType.MSGR2, report)
    candidates.configured = (A, C)
    candidates.refresh(MAP)
    assert report.last_error.startswith("the list of monitors is out of date: c is no monitor of this cluster")
    assert report.take_changes() == {"session"}
    candidates.refresh(MAP)
    assert not report.take_changes()
    candidates.warn(MAP)
    assert report.take_changes() == {"session"}
    candidates.configured = (A,)
    candidates.refresh(MAP)
    candidates.warn(MAP)
    assert not report.take_changes()
