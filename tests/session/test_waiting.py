"""How long callers of statfs wait: the session itself keeps their time."""

from __future__ import annotations

import pytest

from cephmonfs.errors import RequestTimeout
from cephmonfs.messages.mon import MStatfs
from cephmonfs.mon.statfs import Patience
from tests.doubles.world import Is, World


def test_a_caller_is_told_when_its_time_has_come_and_the_late_answer_still_counts() -> None:
    world = World(mons=1).opened()
    world.set(Is.FROZEN, "a")
    waiter = world.statfs(Patience(0.2, 0.0))
    world.run(0.19)
    assert waiter not in world.answers
    world.run(0.02)
    assert isinstance(world.answers[waiter], RequestTimeout)
    before = world.snap.statfs
    world.set(Is.UP, "a")
    assert world.snap.statfs is not before


def test_callers_of_one_question_leave_each_at_its_own_time() -> None:
    world = World(mons=1).opened()
    world.set(Is.FROZEN, "a")
    first = world.statfs(Patience(0.5, 0.0))
    second = world.statfs(Patience(0.1, 0.0))
    world.run(0.2)
    assert second in world.answers
    assert first not in world.answers
    world.set(Is.UP, "a")
    assert world.answered(first)


def test_who_waits_for_the_next_question_leaves_it_too() -> None:
    """Nobody is left to ask it, and so it is not asked."""
    world = World(mons=1).opened()
    world.set(Is.FROZEN, "a")
    asked = world.asked(MStatfs)
    world.statfs()
    world.statfs(Patience(0.1, 0.0))
    world.run(0.2)
    world.set(Is.UP, "a")
    assert world.asked(MStatfs) == asked + 1


def test_without_a_session_too() -> None:
    world = World()
    for name in "abc":
        world.condition["abc".index(name)] = Is.UNREACHABLE
    world.start()
    waiter = world.statfs(Patience(0.4, 0.0))
    world.run(0.5)
    assert isinstance(world.answers[waiter], RequestTimeout)


def test_the_next_timeout_is_the_first_thing_that_is_due() -> None:
    world = World(mons=1).opened()
    world.run(25.0)  # a keepalive later nothing is weighed any more
    world.now += 0.1
    world.set(Is.FROZEN, "a")
    waiter = world.statfs(Patience(0.2, 0.0))
    assert world.session.next_timeout() == world.now + 0.2
    world.statfs(Patience(0.1, 0.0))
    assert world.session.next_timeout() == pytest.approx(world.now + 0.1, abs=0.001)
    world.set(Is.UP, "a")
    assert world.answered(waiter)
    world.run(0.01)  # nobody asks the next statfs
    after = world.session.next_timeout()
    assert after is not None
    assert after > 24.0 + 20.0  # nothing before the next keepalive
