"""The newest statfs answer, also when monitors do not agree about the newest."""

from __future__ import annotations

import pytest

from cephmonfs.messages.mon import MStatfsReply
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.report import Report
from cephmonfs.mon.statfs import HeldStatfs
from cephmonfs.mon.versions import BELIEVED_AFTER_S, Versions
from tests.doubles.connection import at


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def held(report: Report) -> HeldStatfs:
    return HeldStatfs(report, Versions())


def reply(version: int, used: int = 1, *, kb: int = 10, avail: int = 9) -> MStatfsReply:
    return MStatfsReply(bytes(16), version, Statfs(kb, used, avail, 1))


def test_an_answer_is_about_its_pool(held: HeldStatfs) -> None:
    assert held.record_of(None) is None
    record = held.take(reply(5), 3, at(1), at(2))
    assert (record.asked, record.at, record.pool) == (at(1), at(2), 3)
    assert held.record_of(3) is record
    assert held.record_of(None) is None


def test_a_monitor_that_lags_behind_does_not_turn_back_the_numbers(held: HeldStatfs, report: Report) -> None:
    newest = held.take(reply(9, 4), None, at(1), at(1))
    assert held.take(reply(8, 3), None, at(2), at(2)) is newest
    assert report.counters["statfs_lagging"] == 1
    late = at(2 + BELIEVED_AFTER_S)
    assert held.take(reply(8, 3), None, late, late).stats.kb_used == 3  # it was no lag: nobody has anything newer


def test_another_pool_has_versions_of_its_own(held: HeldStatfs) -> None:
    held.take(reply(9, 4), None, at(1), at(1))
    assert held.take(reply(2, 3), 7, at(2), at(2)).stats.kb_used == 3


@pytest.mark.parametrize(("used", "avail"), [(11, 0), (0, 11)])
def test_numbers_that_cannot_be_are_counted_and_shown(held: HeldStatfs, report: Report, used: int, avail: int) -> None:
    assert held.take(reply(1, used, avail=avail), None, at(1), at(1)).stats.kb_used == used
    assert report.counters["statfs_implausible"] == 1
