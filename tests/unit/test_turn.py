"""Turns of trio's loop: when they begin and end, and what ends a wait in one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
import trio

from cephmonfs import turn as module
from cephmonfs.turn import Turn, turn_of_loop

pytestmark = pytest.mark.trio

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    one, other = socket.socketpair(), socket.socketpair()
    yield one, other
    for sock in (*one, *other):
        sock.close()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_turn_lasts_from_one_round_to_the_next_and_two_milliseconds_at_most() -> None:
    clock = Clock()
    turn = Turn(clock)
    assert not turn.goes_on()
    with turn.kept():
        await trio.lowlevel.checkpoint()
        first = turn.number
        assert turn.goes_on()
        clock.now += 0.0021
        assert not turn.goes_on()
        assert turn.number == first
        await trio.lowlevel.checkpoint()
        assert turn.number > first
        assert turn.goes_on()
        last = turn.number
    await trio.lowlevel.checkpoint()
    assert turn.number == last
    assert not turn.is_kept


async def test_what_ends_a_wait(pairs: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    (ours, theirs), (another, elsewhere) = pairs
    turn = Turn()
    turn.watch(ours.fileno())
    turn.watch(another.fileno())
    assert turn.wait(ours.fileno()) is None
    monkeypatch.setattr(module, "_POLL_MS", 60_000)
    elsewhere.send(b"x")
    assert turn.wait(ours.fileno()) is False
    theirs.send(b"x")
    assert turn.wait(ours.fileno()) is True
    turn.forget(another.fileno())
    ours.recv(1)
    theirs.close()
    assert turn.wait(ours.fileno()) is True  # its end is news, too


class Yields:
    """Takes the place of sched_yield(2): counted, and a tenth of a millisecond long."""

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self.then: Callable[[], object] | None = None
        self._clock = clock

    def __call__(self) -> None:
        self.count += 1
        self._clock.now += 0.000_1
        if self.then is not None:
            self.then()


@pytest.mark.parametrize("processors", [1, 2])
async def test_a_wait_is_spent_awake_if_the_last_one_was_short(
    processors: int, pairs: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    (ours, theirs), (another, elsewhere) = pairs
    clock = Clock()
    yields = Yields(clock)
    monkeypatch.setattr("os.sched_yield", yields)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)))
    turn = Turn(clock)
    turn.watch(ours.fileno())
    turn.watch(another.fileno())
    assert turn.wait(ours.fileno()) is None
    assert yields.count == 0  # nothing is known of it yet
    theirs.send(b"x")
    assert turn.wait(ours.fileno()) is True
    ours.recv(1)
    yields.then = lambda: theirs.send(b"x")
    assert turn.wait(ours.fileno()) is (True if processors > 1 else None)
    assert yields.count == processors - 1
    if processors == 1:
        return
    ours.recv(1)
    yields.then = lambda: elsewhere.send(b"x")
    assert turn.wait(ours.fileno()) is False
    another.recv(1)
    yields.then = None
    assert turn.wait(ours.fileno()) is None
    assert yields.count == 5  # a quarter of a millisecond, then asleep
    theirs.send(b"x")
    assert turn.wait(ours.fileno()) is True
    assert yields.count == 5
    turn.forget(ours.fileno())
    turn.watch(ours.fileno())  # the number may be another socket's now
    ours.recv(1)
    assert turn.wait(ours.fileno()) is None
    assert yields.count == 5


@pytest.mark.parametrize("processors", [1, 2])
async def test_the_loop_waits_awake_if_its_last_wait_was_short(
    processors: int, pairs: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    (ours, theirs), _ = pairs
    clock = Clock()
    yields = Yields(clock)
    monkeypatch.setattr("os.sched_yield", yields)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)))
    turn = Turn(clock)
    turn.watch(ours.fileno())

    def wait(timeout: float, lasts: float) -> int:
        """Return how often the processor was offered to others."""
        before = yields.count
        turn.before_io_wait(timeout)
        clock.now += lasts
        turn.after_io_wait(timeout)
        return yields.count - before

    assert wait(60.0, lasts=30.0) == 0
    assert wait(60.0, lasts=0.000_1) == 0
    assert wait(0.0, lasts=0.0) == 0  # it has something to do
    assert wait(0.000_15, lasts=0.0) == (2 if processors > 1 else 0)  # a timer is not slept over
    yields.then = lambda: theirs.send(b"x")
    assert wait(60.0, lasts=0.0) == (1 if processors > 1 else 0)
    if processors > 1:
        ours.recv(1)
    yields.then = None
    assert wait(60.0, lasts=30.0) == (3 if processors > 1 else 0)
    assert wait(60.0, lasts=30.0) == 0  # asleep again


async def test_each_loop_has_its_own() -> None:
    assert turn_of_loop() is turn_of_loop()

    async def other() -> Turn:
        return turn_of_loop()

    assert await trio.to_thread.run_sync(trio.run, other) is not turn_of_loop()
