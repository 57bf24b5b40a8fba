"""How long a call of statfs waits, and what it gets then: fresh if possible, in bounded time always."""

from __future__ import annotations

import math

import pytest

from cephmonfs.config.filesettings import default_settings
from cephmonfs.errors import NoData, RequestTimeout
from cephmonfs.messages.mon import MStatfs
from cephmonfs.mon.statfs import Patience
from tests.doubles.world import Is, World

USUAL = default_settings().patience


def wait(world: World, waiter: int) -> float:
    """Return how long this call still waits for its answer."""
    return world.run(10.0, until=lambda: waiter in world.answers)


def silent(patience: Patience = USUAL) -> tuple[World, int]:
    """A cluster that has answered one statfs, and hangs now."""
    world = World().opened()
    first = world.statfs(patience)
    assert world.answered(first)
    world.set(Is.FROZEN, *"abc")
    return world, first


def results(world: World) -> dict[str, int]:
    return dict(world.snap.statfs_tally.results)


def test_an_answer_is_never_older_than_its_question() -> None:
    world, _ = silent()
    asked = world.asked(MStatfs)
    one = world.statfs(USUAL)
    world.run(0.1)
    many = [world.statfs(USUAL) for _ in range(100)]
    began = world.now
    world.set(Is.UP, *"abc")
    world.run(0.1)
    assert world.answered(one)
    assert all(world.answer(waiter).asked.mono >= began for waiter in many)
    assert world.asked(MStatfs) == asked + 2
    assert results(world) == {"fresh": 102, "held": 0, "error": 0}


def test_only_the_first_calls_of_a_fault_wait_long() -> None:
    world, first = silent()
    held = world.answer(first)
    for long in (1.0, 0.04):
        waiter = world.statfs(USUAL)
        assert wait(world, waiter) == pytest.approx(long, abs=0.001)
        assert world.answer(waiter) is held
    world.run(58.0)  # 59 s old by now
    waiter = world.statfs(USUAL)
    assert wait(world, waiter) == pytest.approx(0.04)
    assert world.answer(waiter) is held
    world.run(2.0)
    waiter = world.statfs(USUAL)
    assert wait(world, waiter) == pytest.approx(0.04)
    assert isinstance(world.answers[waiter], RequestTimeout)
    assert "old" in str(world.answers[waiter])
    assert results(world) == {"fresh": 1, "held": 3, "error": 1}


def test_after_a_wait_in_vain_a_new_question_gets_little_time_for_a_while() -> None:
    world, _ = silent()
    assert wait(world, world.statfs(USUAL)) == pytest.approx(1.0)
    for pause, long in ((0.0, 0.04), (11.0, 1.0)):  # the same fault, most likely; another one
        world.set(Is.UP, *"abc")
        world.run(0.5)
        assert world.answered(world.statfs(USUAL))
        world.run(pause)
        world.set(Is.FROZEN, *"abc")
        assert wait(world, world.statfs(USUAL)) == pytest.approx(long, abs=0.001)


def test_in_doubt_it_waits_long_where_no_answer_may_stand_in() -> None:
    never = Patience(1.0, 0.0)
    world, _ = silent(never)
    assert wait(world, world.statfs(never)) == pytest.approx(1.0)
    world.set(Is.UP, *"abc")
    world.run(0.5)
    world.set(Is.FROZEN, *"abc")
    waiter = world.statfs(never)
    assert wait(world, waiter) == pytest.approx(1.0)
    assert isinstance(world.answers[waiter], RequestTimeout)


def test_a_call_that_comes_late_in_the_wait_does_not_wait_a_whole_second() -> None:
    world, _ = silent()
    world.statfs(USUAL)
    world.run(0.7)
    assert wait(world, world.statfs(USUAL)) == pytest.approx(0.3, abs=0.001)


def test_many_callers_wait_longer_each_and_not_all_end_at_once() -> None:
    world, _ = silent()
    wait(world, world.statfs(USUAL))
    began = world.now
    waiters = [world.session.request_statfs(world.stamp, USUAL) for _ in range(1000)]
    ends = []
    for waiter in waiters:
        wait(world, waiter)
        ends.append(world.now - began)
    assert ends[0] == pytest.approx(0.04)
    assert ends[-1] == pytest.approx(0.5)
    assert len(set(ends)) > 900


def test_who_may_not_wait_gets_the_last_answer_and_nothing_is_asked() -> None:
    world, first = silent()
    asked = world.asked(MStatfs)
    waiter = world.statfs(USUAL, may_wait=False)
    assert world.answers[waiter] is world.answers[first]
    assert isinstance(world.answers[world.statfs(Patience(1.0, 0.0), may_wait=False)], RequestTimeout)
    assert world.asked(MStatfs) == asked
    assert world.session.statfs_gathering == 0


def test_an_error_of_the_answer_goes_to_the_callers_and_is_counted() -> None:
    world = World(pool="nowhere").opened()
    assert isinstance(world.answers[world.statfs(USUAL)], NoData)
    assert results(world)["error"] == 1
    world = World(pool="nowhere")
    waiting = world.statfs(USUAL)  # before the osdmap, which tells
    world.start()
    assert isinstance(world.answers[waiting], NoData)
    assert results(world)["error"] == 1


def test_no_answer_yet_and_any_age_will_do() -> None:
    any_age = Patience(1.0, math.inf)
    world = World()
    waiter = world.statfs(any_age)
    assert wait(world, waiter) == pytest.approx(1.0)
    assert "no monitor has answered" in str(world.answers[waiter])
    world, first = silent(any_age)
    world.run(10_000.0)
    waiter = world.statfs(any_age)
    wait(world, waiter)
    assert world.answers[waiter] is world.answers[first]


def test_durations_are_counted_and_who_leaves_is_not() -> None:
    patience = Patience(5.0, 60.0)
    world, _ = silent(patience)
    world.session.give_up(world.statfs(patience))
    waiter = world.statfs(patience)
    wait(world, waiter)
    tally = world.snap.statfs_tally
    assert (tally.durations[0], tally.durations[-1]) == (1, 1)
    assert tally.duration_sum_s == pytest.approx(5.0, abs=0.001)
    assert sum(tally.durations) == 2


def test_who_waits_without_end_is_not_counted() -> None:
    world, _ = silent()
    waiter = world.statfs()
    world.run(5.0)
    assert waiter not in world.answers
    world.set(Is.UP, *"abc")
    world.run(1.0)
    assert world.answered(waiter)
    assert results(world) == {"fresh": 1, "held": 0, "error": 0}
