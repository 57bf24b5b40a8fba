"""A whole client between a hostile monitor and an honest one.

    async with attacked(fm.bad_signature()) as attack:
        await attack.survives(r"signature")

The hostile monitor is the one that the client tries first.  `survives` is the verdict on every attack: the client has
a session with the honest monitor and its numbers, says what the hostile one did, has not connected to it over and over,
and has taken neither memory nor time for it.
"""

from __future__ import annotations

import re
import resource
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio

from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.messages.message import Message
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import EntityAddr
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.mon.snapshot import Snapshot, State, StatfsRecord
from cephmonfs.monitor.authserver import ServerAuth
from cephmonfs.monitor.cephx_server import CephxAuth
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import MonClient, open_client
from tests.doubles import monitor as fm

PATIENCE_S: Final = 20.0
MEMORY: Final = 20 << 20  # above normal, for the whole process, the attacker's own part included
CONNECTS_PER_S: Final = 35  # to all monitors, in the long run
CONNECTS_AT_ONCE: Final = 65

SECURE: Final = (Mode.SECURE,)
CRC: Final = (Mode.CRC,)
BOTH_MODES: Final = pytest.mark.parametrize("modes", [SECURE, CRC], ids=["secure", "crc"])
BOTH_KEYS: Final = pytest.mark.parametrize("kind", list(KeyType), ids=lambda kind: kind.name.lower())

Serve = Callable[[trio.abc.Stream], Awaitable[None]]


@dataclass
class Attack:
    """A client under attack."""

    client: MonClient
    cluster: fm.FakeCluster
    began: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)
    memory: int = 0

    @property
    def hostile(self) -> fm.FakeMonitor:
        return self.cluster.mons[0]

    @property
    def honest(self) -> fm.FakeMonitor:
        return self.cluster.mons[-1]

    @property
    def snapshot(self) -> Snapshot:
        return self.client.snapshot()

    @property
    def names(self) -> tuple[str, ...]:
        return self.cluster.cluster.names

    def blame(self) -> str:
        """What the client says of the hostile monitor, by its name or its address."""
        errors = self.snapshot.errors
        return " | ".join(text for name, text in errors.items() if name in (self.names[0], "hostile"))

    async def until(self, true: Callable[[], bool], what: str) -> None:
        with trio.move_on_after(PATIENCE_S) as scope:
            while not true():  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert not scope.cancelled_caught, f"{what}; {self.snapshot.state}, {self.snapshot.errors}"

    async def statfs(self) -> StatfsRecord:
        with trio.fail_after(PATIENCE_S):
            return await self.client.statfs()

    async def opened(self) -> None:
        with trio.fail_after(PATIENCE_S):
            while self.snapshot.state is not State.OPEN:  # noqa: ASYNC110
                await trio.sleep(0.01)

    async def reconnect(self, times: int) -> None:
        """Lose the session this often; each time there is a new one."""
        for _ in range(times):
            before = self.snapshot.sessions
            for fake in self.cluster.mons:
                fake.kill_connections()
            await self.until(lambda before=before: self.snapshot.sessions > before, "no new session")  # type: ignore[misc]
            await self.opened()

    async def survives(self, blame: str | None, *, left: bool = True) -> None:
        """See the module.  `left`: the session is with the honest monitor now."""
        if blame is not None:
            pattern = re.compile(blame, re.IGNORECASE)
            await self.until(lambda: bool(pattern.search(self.blame())), f"nobody says {blame!r}")
        record = await self.statfs()
        now = self.cluster.monitors.clock()
        wanted = self.cluster.cluster.at(now).statfs(None)
        assert wanted is not None
        assert record.stats.kb == wanted.kb
        await self.opened()
        if left:
            assert self.snapshot.mon == self.names[-1]
        self.within_bounds()

    def within_bounds(self) -> None:
        seconds = time.monotonic() - self.began
        connects = self.snapshot.counters.get("connects", 0)
        assert connects <= CONNECTS_AT_ONCE + CONNECTS_PER_S * seconds
        if tracemalloc.is_tracing():
            peak = tracemalloc.get_traced_memory()[1]
            assert peak - self.memory < MEMORY, f"{(peak - self.memory) >> 20} MiB more at the peak"


def identity(cluster: fm.FakeCluster, *modes: Mode, key: CryptoKey | None = None) -> Identity:
    return Identity(cluster.entity, key or cluster.key, modes or (Mode.SECURE, Mode.CRC))


@asynccontextmanager
async def attacked(
    *faults: fm.Fault,
    modes: Sequence[Mode] = (),
    settings: DemoSettings | None = None,
    auth: Callable[[fm.FakeCluster], ServerAuth] | None = None,
    serve: Serve | None = None,
    config: Callable[[SessionConfig], SessionConfig] = lambda config: config,
    measure: bool = True,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Attack]:
    """A client, a hostile monitor with these faults, and an honest one.

    `auth` makes what the hostile one authenticates with; `serve` is all that it does.
    """
    settings = settings or DemoSettings(mons=2)
    async with fm.fake_cluster(settings, clock) as cluster:
        hostile = cluster.mons[0]
        hostile.faults = faults
        if serve is not None:
            _serve_instead(hostile, serve)
        if auth is not None:
            make = auth
            _authenticate_instead(hostile, lambda: make(cluster))
        candidates = _candidates(cluster)

        async def resolve() -> list[Candidate]:
            return candidates

        wanted = config(SessionConfig(identity(cluster, *modes)))
        tracing = measure and not tracemalloc.is_tracing()
        if tracing:
            tracemalloc.start()
        try:
            if tracing:
                tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0] if tracing else 0
            try:
                async with open_client(wanted, resolve) as client:
                    yield Attack(client, cluster, memory=before)
            except BaseExceptionGroup as group:  # a failed assert, out of the client's nursery
                raise innermost(group) from None
        finally:
            if tracing:
                tracemalloc.stop()


def innermost(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc


def _candidates(cluster: fm.FakeCluster) -> list[Candidate]:
    """The hostile one is tried first: that is the worst case."""
    names = ["hostile", *("honest" for _ in cluster.mons[1:])]
    return [Candidate(name, addr, rank) for rank, (name, addr) in enumerate(zip(names, cluster.addrs, strict=True))]


def _serve_instead(monitor: fm.FakeMonitor, serve: Serve) -> None:
    async def counted(stream: trio.abc.Stream) -> None:
        monitor.connections += 1
        try:
            await serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    monitor.serve = counted  # type: ignore[method-assign]


def _authenticate_instead(monitor: fm.FakeMonitor, auth: Callable[[], ServerAuth]) -> None:
    def connection(faults: Sequence[fm.Fault], peer: EntityAddr) -> fm.FaultyConnection:
        own, settings = monitor.monitors.content.addrs[monitor.rank], monitor.monitors.settings
        return fm.FaultyConnection(own, peer, {2: auth}, faults, settings, monitor.rank)

    monitor._connection = connection  # type: ignore[method-assign]


class Lying(CephxAuth):
    """The monitors' own half of cephx, knowing the client's key, for subclasses that spoil one thing."""

    def __init__(self, cluster: fm.FakeCluster) -> None:
        super().__init__(cluster.monitors.cephx)
        self.cluster = cluster


def instead(kind: int, make: Callable[[Message], list[Message]]) -> fm.Reply:
    """Every answer of one type through a function."""
    return fm.Reply(lambda message: make(message) if message.type == kind else [message])


def first_segment(change: Callable[[bytes], bytes]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    """The first segment through a function."""
    return lambda segments: (change(segments[0]), *segments[1:])


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
