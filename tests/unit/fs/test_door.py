"""The door, with workers that do what those of pyfuse3 do, at a socket whose every byte is a request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pyfuse3
import pytest
import trio
import trio.testing

from cephmonfs import turn as turn_module
from cephmonfs.fs.door import Door, one_door
from cephmonfs.turn import Turn

pytestmark = pytest.mark.trio


class Office:
    """Workers, and what they have done."""

    def __init__(self, door: Door, sock: socket.socket) -> None:
        self.door = door
        self.sock = sock
        self.exited = False
        self.taken: list[bytes] = []
        self.answer = trio.Event()
        self.ended = 0

    async def work(self) -> None:
        while not self.is_over():
            try:
                async with self.door:
                    if self.is_over():
                        break
                    await self.door.wait_readable(self.sock.fileno())
            except trio.ClosedResourceError:
                break
            self.taken.append(self.sock.recv(1))  # BlockingIOError would fail the test
            await self.answer.wait()
        self.ended += 1

    def is_over(self) -> bool:
        return self.exited

    def exit(self) -> None:
        """As pyfuse3.terminate does it."""
        self.exited = True
        self.door.notify_closing(self.sock.fileno())


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    kernel, ours = socket.socketpair()
    ours.setblocking(False)
    with kernel, ours:
        yield kernel, ours


async def test_every_request_is_taken_and_the_workers_end(sockets: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = sockets
    office = Office(Door(Turn()), ours)
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(office.work)
        await trio.testing.wait_all_tasks_blocked()
        kernel.send(b"a")
        await trio.testing.wait_all_tasks_blocked()
        assert office.taken == [b"a"]
        kernel.send(b"b" * 40)
        await trio.testing.wait_all_tasks_blocked()
        assert len(office.taken) == 30  # all workers are busy
        office.answer.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(office.taken) == 41
        kernel.send(b"c")
        await trio.testing.wait_all_tasks_blocked()
        assert len(office.taken) == 42
        office.exit()
        await trio.testing.wait_all_tasks_blocked()
        assert office.ended == 30


async def test_many_requests_take_few_passes_and_let_the_rest_run(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    kernel, ours = sockets
    office = Office(Door(Turn()), ours)
    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(office.work)
        await trio.testing.wait_all_tasks_blocked()
        kernel.send(b"x" * 64)
        most, passes, seen = 0, 0, 0
        while seen < 64:
            await trio.lowlevel.checkpoint()
            passes += 1
            most, seen = max(most, len(office.taken) - seen), len(office.taken)
        assert most <= 16  # eight in each pass; where in a pass we look is random
        assert passes < 20
        nursery.cancel_scope.cancel()


async def test_a_lone_worker_lets_the_rest_run(sockets: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = sockets
    office = Office(Door(Turn()), ours)
    office.answer.set()
    kernel.send(b"x" * 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.work)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert len(office.taken) < 5
        await trio.testing.wait_all_tasks_blocked()
        assert len(office.taken) == 100
        nursery.cancel_scope.cancel()


class Clock:
    """Goes on by this much whenever it is looked at."""

    def __init__(self, step: float) -> None:
        self.now, self._step = 0.0, step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


class AtOnce(Office):
    """A caller that asks again as soon as it is answered, and is answered at once."""

    def __init__(self, door: Door, sock: socket.socket, kernel: socket.socket, turn: Turn) -> None:
        super().__init__(door, sock)
        self._kernel = kernel
        self._turn = turn
        self.turns: list[int] = []

    async def work(self) -> None:
        while len(self.taken) < 100:
            async with self.door:
                await self.door.wait_readable(self.sock.fileno())
            self.taken.append(self.sock.recv(1))
            self.turns.append(self._turn.number)
            self._kernel.send(b"x")


@pytest.mark.parametrize(("step_s", "in_one"), [(0.0, range(90, 101)), (0.0001, range(4, 9)), (0.003, range(1, 2))])
async def test_who_is_answered_at_once_is_taken_in_the_same_turn_while_it_lasts(
    sockets: tuple[socket.socket, socket.socket], step_s: float, in_one: range
) -> None:
    kernel, ours = sockets
    turn = Turn(Clock(step_s))
    office = AtOnce(Door(turn), ours, kernel, turn)
    with turn.kept():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office.work)
            await trio.testing.wait_all_tasks_blocked()
            kernel.send(b"x")
    counts = [office.turns.count(number) for number in set(office.turns)]
    assert max(counts) in in_one


class Together(Office):
    """Callers who are all answered at the same moment; notes in which turn their next requests were taken."""

    def __init__(self, door: Door, sock: socket.socket, turn: Turn) -> None:
        super().__init__(door, sock)
        self._turn = turn
        self.turns: list[int] = []

    async def work(self) -> None:
        while True:
            async with self.door:
                await self.door.wait_readable(self.sock.fileno())
            self.taken.append(self.sock.recv(1))  # BlockingIOError would fail the test
            self.turns.append(self._turn.number)
            await self.answer.wait()


@pytest.mark.parametrize("callers", [2, 8, 32, 100])
async def test_callers_answered_together_are_taken_together_when_they_ask_again(
    sockets: tuple[socket.socket, socket.socket], callers: int
) -> None:
    kernel, ours = sockets
    turn = Turn(Clock(0.0))
    office = Together(Door(turn), ours, turn)
    with turn.kept():
        async with trio.open_nursery() as nursery:
            for _ in range(callers + 1):
                nursery.start_soon(office.work)
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked()
                kernel.send(b"x" * callers)
                office.answer.set()
                office.answer = trio.Event()
                await trio.testing.wait_all_tasks_blocked()
            counts = [office.turns.count(number) for number in set(office.turns[callers:])]
            nursery.cancel_scope.cancel()
    assert len(office.taken) == 3 * callers
    assert max(counts) >= min(callers, 32)
    assert max(counts) <= 48  # those who came back, and a few who were called


class Noted(Turn):
    """Notes who waits."""

    def __init__(self) -> None:
        super().__init__(Clock(0.000_001))
        self.waited: list[trio.lowlevel.Task] = []

    def wait(self, fd: int) -> bool | None:
        self.waited.append(trio.lowlevel.current_task())
        return super().wait(fd)


async def test_what_one_worker_knows_is_not_believed_by_another(sockets: tuple[socket.socket, socket.socket]) -> None:
    """Who found itself alone and then waited in vain leaves nothing behind for those who were in the queue."""
    kernel, ours = sockets
    turn = Noted()
    door = Door(turn)
    took: list[trio.lowlevel.Task] = []
    answer = trio.Event()

    async def work() -> None:
        while True:
            async with door:
                await door.wait_readable(ours.fileno())
            ours.recv(1)
            took.append(trio.lowlevel.current_task())
            if not answer.is_set():
                await answer.wait()

    with turn.kept():
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(work)
            await trio.testing.wait_all_tasks_blocked()
            kernel.send(b"x" * 5)
            await trio.testing.wait_all_tasks_blocked()
            answer.set()  # five queue up behind the sixth
            await trio.testing.wait_all_tasks_blocked()
            kernel.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            assert len(set(took)) == 6
            assert turn.waited == took[5:]
            nursery.cancel_scope.cancel()


async def test_the_next_request_is_awaited_in_the_same_turn(sockets: tuple[socket.socket, socket.socket]) -> None:
    """The caller is a thread, as with real ones: its next request takes it a moment."""
    kernel, ours = sockets
    turn = Turn(Clock(0.0))
    office = AtOnce(Door(turn), ours, kernel, turn)
    waits = 0

    class Watched(Door):
        async def wait_readable(self, fd: int) -> None:
            nonlocal waits
            ours.recv(1) if office.taken else None  # what it was sent at once does not count
            threading.Timer(0.0002, kernel.send, (b"y",)).start()
            waits += 1
            await super().wait_readable(fd)

    office.door = Watched(turn)
    with turn.kept(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(turn_module, "_POLL_MS", 10_000)
        await office.work()
    assert waits == 100
    assert len(set(office.turns)) <= 3


async def test_pyfuse3_has_its_own_loop_back_afterwards() -> None:
    before = vars(pyfuse3)["trio"]
    with one_door():
        loop = vars(pyfuse3)["trio"]
        assert loop is not before
        assert loop.Lock() is loop.lowlevel
        assert loop.open_nursery is trio.open_nursery
        assert loop.lowlevel.current_task is trio.lowlevel.current_task
    assert vars(pyfuse3)["trio"] is before
