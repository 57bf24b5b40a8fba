"""A lone caller of statfs has its answer without a round of the loop; everybody else as ever.

The monitors are embedded ones in a process of their own: who waits in a turn holds up all that is in this loop.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from bench.embedded import Where, embedded
from cephmonfs import turn as turn_module
from cephmonfs.errors import RequestTimeout
from cephmonfs.runtime.client import MonClient, open_client
from cephmonfs.turn import Turn, turn_of_loop

pytestmark = pytest.mark.trio
_LONG_MS = 20_000  # a turn's wait, so that a slow machine changes nothing


@pytest.fixture
def where() -> Iterator[Where]:
    with embedded(mons=1) as found:
        yield found


@asynccontextmanager
async def opened(where: Where) -> AsyncIterator[tuple[MonClient, Turn]]:
    """A session that has nothing more to receive, and turns."""
    async with open_client(where.config(), where.resolve) as client:
        with trio.fail_after(10):
            await client.wait_open()
            await client.statfs()
            await trio.sleep(0.3)
            turn = turn_of_loop()
            with turn.kept():
                await trio.lowlevel.checkpoint()
                yield client, turn


async def test_a_lone_caller_is_answered_in_its_turn(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(where) as (client, turn):
        monkeypatch.setattr(turn_module, "_POLL_MS", _LONG_MS)
        for _ in range(20):
            before, old = turn.number, client.snapshot().statfs
            assert await client.statfs() is not old
            assert turn.number == before


async def test_others_who_come_end_the_waiting_and_share_as_ever(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(where) as (client, turn):
        monkeypatch.setattr(turn_module, "_POLL_MS", _LONG_MS)
        before = client.snapshot().counters["statfs"]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            turn.watch(ours.fileno())
            theirs.send(b"x")  # there are more requests
            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    for _ in range(50):
                        nursery.start_soon(client.statfs)
            turn.forget(ours.fileno())
        assert client.snapshot().counters["statfs"] - before <= 3


async def test_a_monitor_that_is_slower_than_a_turn_is_seldom_waited_for(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(where) as (client, turn):
        waits = 0

        def in_vain(fd: int) -> None:
            nonlocal waits
            waits += 1

        monkeypatch.setattr(turn, "wait", in_vain)
        for _ in range(100):
            await client.statfs()
        assert 8 <= waits < 20  # and one more each second


async def test_an_answer_that_comes_with_the_end_of_the_connection_counts(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(where) as (client, _):
        monkeypatch.setattr(turn_module, "_POLL_MS", _LONG_MS)
        receive = client._receive

        def and_reset(link: int, wire: Any) -> bool:
            receive(link, wire)
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

        old = client.snapshot().statfs
        monkeypatch.setattr(client, "_receive", and_reset)
        with trio.fail_after(5):
            assert await client.statfs() is not old


async def test_the_end_of_the_connection_is_seen_in_a_turn(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported as ever, and the caller waits for another session, no longer than it wants to."""
    async with opened(where) as (client, _):
        monkeypatch.setattr(turn_module, "_POLL_MS", _LONG_MS)
        os.kill(where.pid, signal.SIGKILL)
        with pytest.raises(RequestTimeout):
            await client.statfs(trio.current_time() + 0.5)
        assert re.search("closed the connection|reset|refused", client.snapshot().last_error)
