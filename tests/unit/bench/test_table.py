"""The tables of the benchmarks; their figures are no test's business."""

from __future__ import annotations

import pytest

from bench.table import Goal, Row, cells, from_json, markdown_table, number, spread, text_table, to_json, verdict


def row() -> Row:
    made = Row("p50", "statfs, p50", "us", "ceph-fuse", Goal("ratio", "<=", 0.8))
    for ours, peer in ((150.0, 300.0), (100.0, 200.0), (90.0, 100.0)):
        made.add(ours, peer)
    return made


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345.6, "12346"), (99.96, "100"), (12.0, "12"), (1.234, "1.23"), (0.5, "0.5"), (0.00123, "0.0012")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_spread_is_min_median_max() -> None:
    assert spread([3.0, 1.0, 2.0]) == "1/2/3"
    assert spread([7.0]) == "7"
    assert spread([]) == ""


def test_ratio_is_of_the_medians_and_of_each_round() -> None:
    made = row()
    assert made.ratio == 0.5
    assert made.pairwise == [0.5, 0.5, 0.9]
    assert made.met is True
    assert cells(made) == (
        "statfs, p50",
        "us",
        "90/100/150",
        "ceph-fuse",
        "100/200/300",
        "0.5",
        "0.5..0.9",
        "x <= 0.8",
        "yes",
    )


def test_goal_of_a_value_needs_no_peer() -> None:
    empty = Row("rss", "memory", "MiB", "", Goal("value", "<=", 45.0))
    assert empty.met is None
    made = Row("rss", "memory", "MiB", "", Goal("value", "<=", 45.0), [46.0])
    assert made.met is False
    assert cells(made)[2:] == ("46", "", "", "", "", "<= 45", "NO")


def test_goal_of_a_ratio_without_a_peer_is_open() -> None:
    goal = Goal("ratio", ">=", 2.0)
    assert Row("rate", "calls", "1/s", "ceph-fuse", goal, [100.0]).met is None
    assert Row("rate", "calls", "1/s", "ceph-fuse", goal, [100.0], [40.0]).met is True


def test_tables_and_verdict() -> None:
    missed = Row("rss", "memory", "MiB", "", Goal("value", "<=", 45.0), [46.0])
    text = text_table([cells(row()), cells(missed)])
    assert len({len(line) for line in text.splitlines()[1:2]}) == 1
    assert text.splitlines()[0].split()[:3] == ["figure", "unit", "cephmonfs"]
    assert markdown_table([cells(missed)]).splitlines()[2].startswith("| memory | MiB | 46 |")
    assert verdict([row(), missed]) == "1 of 2 goals met; not yet: memory"


def test_json_and_back() -> None:
    assert from_json(to_json(row())) == row()
    plain = Row("x", "y", "z", ours=[1.0])
    assert from_json(to_json(plain)) == plain
