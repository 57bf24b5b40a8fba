"""Turns of trio's loop: when they begin and end, and what ends a wait in one."""

from __future__ import annotations

import socket
from collections.abc import Iterator

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


async def test_each_loop_has_its_own() -> None:
    assert turn_of_loop() is turn_of_loop()

    async def other() -> Turn:
        return turn_of_loop()

    assert await trio.to_thread.run_sync(trio.run, other) is not turn_of_loop()
