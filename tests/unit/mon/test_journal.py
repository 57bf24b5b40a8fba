"""Journal: which error is shown, and which are told."""

from __future__ import annotations

from cephmonfs.mon.journal import Cause, Journal
from tests.unit.mon.fakes import at


def test_errors_are_shown_at_once_and_told_less_and_less_often() -> None:
    journal = Journal()
    for second in range(1000):
        journal.now = at(float(second))
        journal.error("even" if second % 2 == 0 else "odd")
    assert journal.last_error == "odd"
    assert [(told.number, told.at.mono, told.sentence) for told in journal.told] == [
        (1, 0.0, "even"),
        (2, 1.0, "odd"),
        (3, 60.0, "even"),
        (4, 61.0, "odd"),
        (5, 660.0, "even"),
        (6, 661.0, "odd"),
    ]
    assert journal.counters["errors_repeated"] == 994
    assert journal.take_changes() == {"session"}


def test_a_cause_stands_until_it_is_over() -> None:
    journal = Journal()
    journal.now = at(0.0)
    journal.blame(Cause.REFUSED, "refused")
    journal.error("connection refused")
    assert journal.last_error == "refused"
    journal.take_changes()
    journal.over(Cause.NO_QUORUM)
    assert journal.take_changes() == frozenset()
    journal.over(Cause.REFUSED)
    assert journal.take_changes() == {"session"}
    assert journal.last_error == "connection refused"


def test_a_problem_is_told_when_it_begins() -> None:
    journal = Journal()
    journal.now = at(0.0)
    for _ in range(3):
        journal.tell_problem("no pool x")
    journal.tell_problem("")
    assert [told.sentence for told in journal.told] == ["no pool x"]
    journal.tell_problem("no pool x")  # once more, and soon: it is news
    journal.tell_problem("")
    assert [told.sentence for told in journal.told] == ["no pool x"] * 2
    assert journal.take_changes() == {"session", "statfs"}
    assert (journal.problem, journal.last_error) == ("", "no pool x")
