"""Report: which error is shown, and which are logged."""

from __future__ import annotations

from cephmonfs.mon.report import Cause, Report
from tests.doubles.connection import at


def test_errors_are_shown_at_once_and_told_less_and_less_often() -> None:
    report = Report()
    for second in range(1000):
        report.now = at(float(second))
        report.error("even" if second % 2 == 0 else "odd")
    assert report.last_error == "odd"
    assert [(told.number, told.at.mono, told.sentence) for told in report.told] == [
        (1, 0.0, "even"),
        (2, 1.0, "odd"),
        (3, 60.0, "even"),
        (4, 61.0, "odd"),
        (5, 660.0, "even"),
        (6, 661.0, "odd"),
    ]
    assert report.counters["errors_repeated"] == 994
    assert report.take_changes() == {"session"}


def test_a_cause_stands_until_it_is_over() -> None:
    report = Report()
    report.now = at(0.0)
    report.blame(Cause.REFUSED, "refused")
    report.error("connection refused")
    assert report.last_error == "refused"
    report.take_changes()
    report.over(Cause.NO_QUORUM)
    assert report.take_changes() == frozenset()
    report.over(Cause.REFUSED)
    assert report.take_changes() == {"session"}
    assert report.last_error == "connection refused"


def test_a_problem_is_told_when_it_begins() -> None:
    report = Report()
    report.now = at(0.0)
    for _ in range(3):
        report.tell_problem("no pool x")
    report.tell_problem("")
    assert [told.sentence for told in report.told] == ["no pool x"]
    report.tell_problem("no pool x")  # once more, and soon: it is news
    report.tell_problem("")
    assert [told.sentence for told in report.told] == ["no pool x"] * 2
    assert report.take_changes() == {"session", "statfs"}
    assert (report.problem, report.last_error) == ("", "no pool x")
