"""The seam to pyfuse3, with workers that do what those of pyfuse3 do, at a socket whose every byte is a request."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

import pyfuse3
import pytest
import trio
import trio.testing

from cephmonfs.fuse import workers
from cephmonfs.fuse.workers import Loop, LowLevel, ReadTimer

pytestmark = pytest.mark.trio


class Clock:
    """Goes on by this much whenever it is looked at."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self._step = 1.0, step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


class Timer(ReadTimer):
    """Runs no real timer: this process has another use for SIGALRM."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = False
        self.starts = 0

    def start(self, now: float) -> None:
        self.runs = True
        self.starts += 1

    def stop(self) -> None:
        self.runs = False


class Workers:
    """What pyfuse3 does with its loop.  Each request is answered when `answer` is set."""

    def __init__(self, sock: socket.socket, lowlevel: LowLevel) -> None:
        self.loop = Loop(lowlevel)
        self.lock = self.loop.Lock()
        self.sock = sock
        self.exited = False
        self.taken: list[trio.lowlevel.Task] = []
        self.in_vain = 0
        self.answer = trio.Event()
        self.ended = 0

    async def work(self) -> None:
        while not self.is_over():
            try:
                async with self.lock:
                    if self.is_over():
                        break
                    await self.loop.lowlevel.wait_readable(self.sock.fileno())
            except self.loop.ClosedResourceError:
                break
            try:
                self.sock.recv(1)
            except BlockingIOError:  # pyfuse3's read would have slept
                self.in_vain += 1
                continue
            self.taken.append(self.loop.lowlevel.current_task())
            await self.answer.wait()
        self.ended += 1

    def is_over(self) -> bool:
        return self.exited

    def terminate(self) -> None:
        """As pyfuse3.terminate does it."""
        self.exited = True
        self.loop.lowlevel.notify_closing(self.sock.fileno())


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    kernel, ours = socket.socketpair()
    ours.setblocking(False)
    with kernel, ours:
        yield kernel, ours


async def test_every_request_is_taken_and_the_workers_end(sockets: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = sockets
    them = Workers(ours, LowLevel())
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(them.work)
        await trio.testing.wait_all_tasks_blocked()
        kernel.send(b"a")
        await trio.testing.wait_all_tasks_blocked()
        assert len(them.taken) == 1
        kernel.send(b"b" * 40)
        await trio.testing.wait_all_tasks_blocked()
        assert len(them.taken) == 30  # all workers are busy
        them.answer.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(them.taken) == 41
        kernel.send(b"c")
        await trio.testing.wait_all_tasks_blocked()
        assert len(them.taken) == 42
        them.terminate()
        await trio.testing.wait_all_tasks_blocked()
        assert them.ended == 30
        assert them.in_vain == 0


async def test_workers_that_are_busy_at_the_end_end_when_they_come_back(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    kernel, ours = sockets
    them = Workers(ours, LowLevel())
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(them.work)
        kernel.send(b"x" * 5)
        await trio.testing.wait_all_tasks_blocked()
        them.terminate()
        await trio.testing.wait_all_tasks_blocked()
        assert them.ended == 5
        them.answer.set()
        await trio.testing.wait_all_tasks_blocked()
        assert them.ended == 10


async def test_the_end_of_the_connection_ends_every_worker(sockets: tuple[socket.socket, socket.socket]) -> None:
    """As umount does: /dev/fuse stays readable, each read says that it is over, and nobody calls notify_closing."""
    kernel, ours = sockets
    lowlevel = LowLevel()
    ended = 0

    async def work() -> None:
        nonlocal ended
        await lowlevel.wait_readable(ours.fileno())
        assert ours.recv(1) == b""
        ended += 1

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        kernel.close()
    assert ended == 30


async def test_many_requests_take_few_passes_and_let_the_rest_run(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    kernel, ours = sockets
    them = Workers(ours, LowLevel())
    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(them.work)
        await trio.testing.wait_all_tasks_blocked()
        kernel.send(b"x" * 64)
        most, passes, seen = 0, 0, 0
        while seen < 64:
            await trio.lowlevel.checkpoint()
            passes += 1
            most, seen = max(most, len(them.taken) - seen), len(them.taken)
        assert most <= 16  # eight in each pass; where in a pass we look is random
        assert passes < 20
        nursery.cancel_scope.cancel()


async def test_a_lone_request_wakes_one_other_worker(sockets: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = sockets
    looks = 0

    class Counted(LowLevel):
        async def _watch(self, fd: int) -> int:
            nonlocal looks
            looks += 1
            return await super()._watch(fd)

    them = Workers(ours, Counted())
    async with trio.open_nursery() as nursery:
        for _ in range(64):
            nursery.start_soon(them.work)
        await trio.testing.wait_all_tasks_blocked()
        before = looks
        kernel.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert looks == before + 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("callers", [2, 8, 32, 100])
async def test_callers_answered_together_are_taken_together_when_they_ask_again(
    sockets: tuple[socket.socket, socket.socket], callers: int
) -> None:
    """No worker waits for a turn as long as there are requests and the pass is not too long."""
    kernel, ours = sockets
    them = Workers(ours, LowLevel(clock=Clock()))
    async with trio.open_nursery() as nursery:
        for _ in range(callers + 1):
            nursery.start_soon(them.work)
        await trio.testing.wait_all_tasks_blocked()
        kernel.send(b"x" * callers)
        await trio.testing.wait_all_tasks_blocked()
        kernel.send(b"x" * callers)
        passes, before, answer = 0, len(them.taken), them.answer
        them.answer = trio.Event()
        answer.set()
        while len(them.taken) < before + callers:
            await trio.lowlevel.checkpoint()
            passes += 1
        assert passes <= 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("step_s", "at_most"), [(0.0001, 45), (0.003, 2)])
async def test_a_worker_that_never_waits_lets_the_rest_run(
    sockets: tuple[socket.socket, socket.socket], step_s: float, at_most: int
) -> None:
    """After two milliseconds of requests that are there and answered at once, the others have their turn.

    That is after 20 here; which of two tasks trio runs first is random, so we may see two turns as one.
    """
    kernel, ours = sockets
    them = Workers(ours, LowLevel(clock=Clock(step_s)))
    them.answer.set()
    kernel.send(b"x" * 1000)
    most = seen = 0

    async def work() -> None:
        while len(them.taken) < 1000:
            await them.loop.lowlevel.wait_readable(ours.fileno())
            ours.recv(1)
            them.taken.append(them.loop.lowlevel.current_task())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        while len(them.taken) < 1000:
            await trio.lowlevel.checkpoint()
            most, seen = max(most, len(them.taken) - seen), len(them.taken)
    assert most <= at_most


async def test_a_request_that_is_withdrawn_is_no_request(sockets: tuple[socket.socket, socket.socket]) -> None:
    """The descriptor was ready, and when the worker runs there is nothing: nobody is told to read."""
    kernel, ours = sockets
    them = Workers(ours, LowLevel(Timer()))

    async def withdraw() -> None:
        await trio.lowlevel.wait_readable(another)
        with suppress(BlockingIOError):  # taken already
            ours.recv(1)

    another = os.dup(ours.fileno())
    them.answer.set()
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(them.work)
        for _ in range(30):  # in about half of these rounds it is gone before a worker looks
            nursery.start_soon(withdraw)
            await trio.testing.wait_all_tasks_blocked()
            kernel.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    os.close(another)
    assert them.in_vain == 0
    assert len(them.taken) < 30


# ---- the timer


async def test_the_timer_runs_only_from_a_read_to_the_next_wait(sockets: tuple[socket.socket, socket.socket]) -> None:
    kernel, ours = sockets
    timer = Timer()
    them = Workers(ours, LowLevel(timer))
    them.answer.set()
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(them.work)
        await trio.testing.wait_all_tasks_blocked()
        assert not timer.starts
        for callers in (1, 3, 1, 40, 2):
            before = timer.starts
            kernel.send(b"x" * callers)
            await trio.testing.wait_all_tasks_blocked()
            assert timer.starts == before + callers  # before each read
            assert not timer.runs
        nursery.cancel_scope.cancel()


async def test_the_real_timer_interrupts_again_and_again_until_the_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first signal may come before the read: so one is not enough.  Once the loop runs there is none."""
    timer = ReadTimer()
    calls: list[tuple[float, float]] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, after, every=0.0: calls.append((after, every)))
    timer.start(100.0)
    timer.start(100.001)
    assert len(calls) == 1  # at no cost
    (after, every) = calls[0]
    assert after == every
    assert 2 * every < 0.05
    timer.start(100.0 + every)
    assert calls == [(every, every)] * 2
    timer._went_off(signal.SIGALRM, None)
    assert len(calls) == 2  # a read may follow
    await trio.testing.wait_all_tasks_blocked()
    assert calls[2:] == [(0.0, 0.0)]
    timer.stop()
    assert len(calls) == 3
    timer.start(200.0)
    assert len(calls) == 4


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
async def test_sigalrm_is_ours_inside_and_the_parents_outside(before: signal.Handlers, blocked: bool) -> None:
    """A parent may leave it ignored or blocked; then it would not interrupt."""
    found = signal.signal(signal.SIGALRM, before)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK if blocked else signal.SIG_UNBLOCK, {signal.SIGALRM})
    try:
        with ReadTimer().handled():
            assert callable(signal.getsignal(signal.SIGALRM))
            assert signal.SIGALRM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
            signal.raise_signal(signal.SIGALRM)
        assert signal.getsignal(signal.SIGALRM) is before
        assert (signal.SIGALRM in signal.pthread_sigmask(signal.SIG_BLOCK, ())) is blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGALRM, found)


# ---- pyfuse3


async def test_pyfuse3_has_trio_back_afterwards() -> None:
    assert vars(pyfuse3)["trio"] is trio
    with workers.enabled(guarded=False):
        assert isinstance(vars(pyfuse3)["trio"], Loop)
    with pytest.raises(RuntimeError, match="not so"), workers.enabled(guarded=False):
        raise RuntimeError("not so")
    assert vars(pyfuse3)["trio"] is trio


async def test_each_mount_has_a_loop_of_its_own() -> None:
    with workers.enabled(guarded=False):
        first = vars(pyfuse3)["trio"]
    with workers.enabled(guarded=False):
        assert vars(pyfuse3)["trio"].lowlevel is not first.lowlevel


async def test_outside_the_main_thread_a_guard_is_refused() -> None:
    """Silently unguarded would be worse: the handler cannot be set there."""
    failures: list[BaseException] = []

    async def main() -> None:
        with workers.enabled():
            pass

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as exc:
            failures.append(exc)

    await trio.to_thread.run_sync(run)
    assert [type(exc) for exc in failures] == [ValueError]
