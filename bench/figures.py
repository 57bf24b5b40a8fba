"""The figures of the table, measured in rounds: each round asks everybody everything once, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.machine import Idle, load, module, say
from bench.peers import CephFuse, Librados, Ours, cluster, mon_ports, mons_received
from bench.table import Goal, Row
from tests.support.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Options:
    """How long everything takes."""

    release: str = "pacific"
    rounds: int = 7
    seconds: float = 2.0  # of one load
    idle_s: float = 60.0
    idle_rounds: int = 3
    stall_s: float = 4.0
    stall_rounds: int = 5
    hours: int = 24  # of the simulated day

    @classmethod
    def quick(cls, release: str) -> Options:
        return cls(release, 3, 0.5, 10.0, 1, 2.5, 1, 4)


def _at_most(bound: float) -> Goal:
    return Goal("value", "<=", bound)


ROWS: Final = (
    Row("p50", "statfs, 1 caller, p50", "us", "ceph-fuse", Goal("ratio", "<=", 1.0)),
    Row("p99", "statfs, 1 caller, p99", "us", "ceph-fuse", Goal("ratio", "<=", 1.0)),
    Row("rate8", "statfs, 8 callers", "1/s", "ceph-fuse", Goal("ratio", ">=", 1.2)),
    Row("rate64", "statfs, 64 callers", "1/s", "ceph-fuse", Goal("ratio", ">=", 2.0)),
    Row("p99_64", "statfs, 64 callers, p99", "us", "ceph-fuse"),
    Row("p50_rados", "statfs, 1 caller, p50", "us", "librados"),
    Row("rate64_rados", "statfs, 64 callers", "1/s", "librados"),
    Row("cpu1", "client's CPU per statfs, 1 caller", "us", "ceph-fuse"),
    Row("cpu64", "client's CPU per statfs, 64 callers", "us", "ceph-fuse"),
    Row("messages_own", "requests per statfs, 64 callers (session/stats)", "", "", _at_most(0.05)),
    Row("messages_mons", "requests per statfs, 64 callers (monitors' count)", "", "ceph-fuse", _at_most(0.05)),
    Row("epoch", "reading epoch/osdmap", "us", "ceph osd stat", Goal("ratio", "<=", 0.01)),
    Row("first_df", "mount to first df", "s", "ceph-fuse", _at_most(0.22)),
    Row("rss_start", "resident memory after the mount", "MiB", "ceph-fuse"),
    Row("rss_load", "resident memory after the load", "MiB", "ceph-fuse", _at_most(42)),
    Row("rss_day", "growth of memory over a simulated day", "MiB", "", _at_most(1.0)),
    Row("idle_cpu", "CPU of an idle mount", "% of a core", "ceph-fuse", _at_most(0.05)),
    Row("idle_wakeups", "wake-ups of an idle mount", "1/min", "ceph-fuse", _at_most(10)),
    Row("idle_messages", "messages of an idle mount, both ways", "1/s", "ceph-fuse", _at_most(0.2)),
    Row("stall_osdmap", "loop stall, osdmap of 10,000 OSDs arrives", "ms", "", _at_most(20)),
    Row("stall_monmap", "loop stall, monmap of 31 monitors arrives", "ms", "", _at_most(2)),
)


class Table:
    """The rows as they fill."""

    def __init__(self) -> None:
        self.rows = {row.key: Row(row.key, row.title, row.unit, row.peer_name, row.goal) for row in ROWS}

    def add(self, key: str, ours: float, peer: float | None = None) -> None:
        self.rows[key].add(ours, peer)


@dataclass(slots=True)
class _Load:
    """What one load came to."""

    result: dict[str, float]
    cpu_us: float
    received: float  # by the monitors, beyond what they tell each other anyway
    own_requests: float


def _loaded(one: Cluster, who: Ours | CephFuse | Librados, callers: int, options: Options, noise: float) -> _Load:
    process = None if isinstance(who, Librados) else who.process
    count = callers == 64 and process is not None
    before = mons_received(one) if count else 0
    asked = who.stats()["statfs"] if isinstance(who, Ours) and count else 0
    cpu = process.cpu_s() if process else 0.0
    began = time.monotonic()
    result = who.load(callers, options.seconds)
    calls = result["calls"] + callers  # and each thread's first one
    cpu = ((process.cpu_s() if process else 0.0) - cpu) * 1e6 / calls
    own = (who.stats()["statfs"] - asked) / calls if isinstance(who, Ours) and count else 0.0
    received = (mons_received(one) - before - noise * (time.monotonic() - began)) / calls if count else 0.0
    return _Load(result, cpu, max(received, 0.0), own)


def _noise(one: Cluster) -> float:
    """Messages a second that the monitors receive anyway."""
    before, began = mons_received(one), time.monotonic()
    time.sleep(1.0)
    return (mons_received(one) - before) / (time.monotonic() - began)


def _round(one: Cluster, number: int, ours: Ours, fuse: CephFuse, rados: Librados, table: Table, o: Options) -> None:
    noise = _noise(one)
    everybody: list[Ours | CephFuse | Librados] = [ours, fuse, rados]
    turn = everybody[number % 3 :] + everybody[: number % 3]
    found = {(who.name, callers): _loaded(one, who, callers, o, noise) for callers in (1, 8, 64) for who in turn}

    def pair(key: str, callers: int, what: Callable[[_Load], float], peer: str = fuse.name) -> None:
        table.add(key, what(found[ours.name, callers]), what(found[peer, callers]))

    pair("p50", 1, lambda load: load.result["p50_us"])
    pair("p99", 1, lambda load: load.result["p99_us"])
    pair("rate8", 8, lambda load: load.result["per_s"])
    pair("rate64", 64, lambda load: load.result["per_s"])
    pair("p99_64", 64, lambda load: load.result["p99_us"])
    pair("p50_rados", 1, lambda load: load.result["p50_us"], rados.name)
    pair("rate64_rados", 64, lambda load: load.result["per_s"], rados.name)
    pair("cpu1", 1, lambda load: load.cpu_us)
    pair("cpu64", 64, lambda load: load.cpu_us)
    pair("messages_mons", 64, lambda load: load.received)
    table.add("messages_own", found[ours.name, 64].own_requests)
    table.add(
        "epoch", load("read", ours.path / "epoch" / "osdmap", seconds=o.seconds / 2)["p50_us"], _ceph_osd_stat(one)
    )
    firsts = []
    for make in (Ours, CephFuse) if number % 2 else (CephFuse, Ours):
        mount = make(one, f"first-{make.name}")
        firsts.append((make.name, mount.first_df_s))
        mount.close()
    table.add("first_df", dict(firsts)[ours.name], dict(firsts)[fuse.name])


def _ceph_osd_stat(one: Cluster) -> float:
    began = time.perf_counter()
    one.ceph("osd", "stat")
    return (time.perf_counter() - began) * 1e6


def measure(options: Options) -> list[Row]:
    """Everything; returns the rows."""
    table = Table()
    say(f"starting a {options.release} cluster")
    with cluster(options.release) as one:
        ours, fuse, rados = Ours(one), CephFuse(one), Librados(one)
        try:
            _rss(table, "rss_start", ours, fuse)
            for number in range(options.rounds):
                say(f"round {number + 1} of {options.rounds}")
                _round(one, number, ours, fuse, rados, table, options)
            _rss(table, "rss_load", ours, fuse)
            for number in range(options.idle_rounds):
                say(f"idle for {options.idle_s:g} s, {number + 1} of {options.idle_rounds}")
                idle = Idle([ours.process, fuse.process], mon_ports(one))
                time.sleep(options.idle_s)
                mine, theirs = idle.done()
                for key, a, b in zip(("idle_cpu", "idle_wakeups", "idle_messages"), mine, theirs, strict=True):
                    table.add(key, a, b)
        finally:
            ours.close()
            fuse.close()
    for number in range(options.stall_rounds):
        say(f"large maps, {number + 1} of {options.stall_rounds}")
        found = module("stall", "--seconds", str(options.stall_s))
        table.add("stall_osdmap", found["osdmap_ms"])
        table.add("stall_monmap", found["monmap_ms"])
    say(f"{options.hours} simulated hours")
    rss = module("day", "--hours", str(options.hours))["rss_mib"]
    table.add("rss_day", rss[-1] - rss[1])
    return list(table.rows.values())


def _rss(table: Table, key: str, ours: Ours, fuse: CephFuse) -> None:
    table.add(key, ours.process.rss_mib(), fuse.process.rss_mib())
