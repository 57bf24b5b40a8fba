"""What repeats itself, and all together."""

from __future__ import annotations

from cephmonfs.mon.ratelimit import RateLimit, Repeats


def test_the_same_is_told_once_in_a_minute() -> None:
    limit = RateLimit(same=1, total=10)
    assert [limit.allows("ab"[n % 2], float(n)) for n in range(6)] == [True, True, False, False, False, False]
    assert not limit.allows("a", 59.9)
    assert limit.allows("a", 60.0)
    assert not limit.allows("b", 60.5)
    assert limit.allows("b", 61.0)


def test_what_always_differs_is_told_so_often_and_no_more() -> None:
    limit = RateLimit(same=1, total=10)
    assert sum(limit.allows(str(n), n / 100) for n in range(1000)) == 10
    assert sum(limit.allows(str(n), 60.0 + n / 100) for n in range(1000)) == 10


def test_what_goes_on_is_told_after_a_minute_then_ten_then_every_hour() -> None:
    repeats = Repeats()
    assert [second for second in range(9000) if repeats.allows("a", float(second))] == [0, 60, 660, 4260, 7860]
    assert repeats.allows("a", 20_000.0)  # it was over
    assert not repeats.allows("a", 20_059.0)
    assert repeats.allows("a", 20_060.0)


def test_no_more_is_kept_than_a_bound() -> None:
    repeats = Repeats()
    for n in range(1000):
        repeats.allows(str(n), 0.0)
    assert len(repeats._told) == 200
