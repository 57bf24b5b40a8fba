"""How cost grows: 1 to 31 monitors, 1 to 10,000 OSDs, 1 to 1000 callers, 1 to 200 mounts of one cluster.

Monitors, callers and mounts are measured on real clusters.  The OSDs are the embedded monitors', in a process of their
own, for 10,000 real ones do not fit: their map has all that a map of that many has, and is as large.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

from bench.embedded import embedded
from bench.machine import Process, load, module, say
from bench.peers import CephFuse, Librados, Ours, cluster, mons_received
from tests.support.helper import Mounted, forget, is_mounted, wait_gone
from tests.support.release import ClusterError

MONS: Final = (1, 3, 5, 7, 11, 15, 21, 31)
OSDS: Final = (1, 10, 100, 300, 1000, 3000, 10000)
CALLERS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 1000)
MOUNTS: Final = (1, 2, 5, 10, 20, 50, 100, 200)
_SPARE_MIB: Final = 3072  # memory that stays free, whatever was asked for

Point = dict[str, float]


PARTS: Final = ("mons", "osds", "callers", "mounts")


def measure(part: str, *, quick: bool, mounts: int) -> list[Point]:
    """One of the four."""
    rounds = 1 if quick else 3
    match part:
        case "mons":
            return by_mons((1, 3, 7) if quick else MONS, rounds)
        case "osds":
            return by_osds((1, 1000, 10000) if quick else OSDS, rounds)
        case "callers":
            return by_callers((1, 64, 1000) if quick else CALLERS, rounds)
        case _:
            return by_mounts([n for n in MOUNTS if n <= (10 if quick else mounts)])


def _middle(rounds: list[Point]) -> Point:
    return {key: median(point[key] for point in rounds) for key in rounds[0]}


def by_mons(counts: tuple[int, ...], rounds: int) -> list[Point]:
    """A real quorum of each size, without OSDs."""
    points = []
    for count in counts:
        if _available_mib() < _SPARE_MIB + 100 * count:
            say(f"no memory for {count} monitors")
            break
        say(f"{count} monitors")
        try:
            # the first elections of many monitors on few cores need longer than the tests' 0.3 s
            with cluster(mons=[f"m{n:02}" for n in range(count)], mgr=False, osds=0, mds=0) as one:
                found = []
                for number in range(rounds):
                    mount = Ours(one, f"ours{number}")
                    result = mount.load(1, 1.0)
                    rss = mount.process.rss_mib()
                    mount.close()
                    found.append({"first_df_s": mount.first_df_s, "p50_us": result["p50_us"], "rss_mib": rss})
        except ClusterError as exc:
            say(f"{count} monitors: {exc}")
            continue
        points.append({"x": count, **_middle(found)})
    return points


def by_osds(counts: tuple[int, ...], rounds: int) -> list[Point]:
    points = []
    for count in counts:
        say(f"{count} OSDs")
        found = []
        for _ in range(rounds):
            stall = module("stall", "--mons", "3", "--osds", str(count), "--seconds", "2.5")
            point = {"stall_ms": stall["osdmap_ms"], "osdmap_mib": stall["osdmap_bytes"] / 2**20}
            with embedded(osds=count) as where, tempfile.TemporaryDirectory(prefix="cmfs-bench-") as scratch:
                base = Path(scratch)
                base.chmod(0o755)
                secret = where.secretfile(base)
                began = time.perf_counter()
                words = (f"name={where.entity}", f"secretfile={secret}", "ms_mode=secure")
                with Mounted(where.source, base / "m", *words) as mount:
                    os.statvfs(mount.path)
                    point["first_df_s"] = time.perf_counter() - began
                    time.sleep(0.5)
                    process = Process(mount.daemon)
                    point["rss_mib"] = process.rss_mib()
                    for name in ("osdmap", "osdmap.json"):
                        began = time.perf_counter()
                        mount.text(name)
                        point[f"{name}_first_ms"] = (time.perf_counter() - began) * 1e3
                    point["epoch_us"] = load("read", mount.path / "epoch" / "osdmap", seconds=0.5)["p50_us"]
                    point["rss_read_mib"] = process.rss_mib()
            found.append(point)
        points.append({"x": count, **_middle(found)})
    return points


def by_callers(counts: tuple[int, ...], rounds: int) -> list[Point]:
    with cluster() as one:
        ours, fuse, rados = Ours(one), CephFuse(one), Librados(one)
        found: dict[int, list[Point]] = {count: [] for count in counts}
        try:
            for number in range(rounds):
                say(f"callers, round {number + 1} of {rounds}")
                for count in counts:
                    point: Point = {}
                    for who in (ours, fuse, rados):
                        asked = ours.stats()["statfs"]
                        result = who.load(count, 1.0)
                        for key in ("per_s", "p50_us", "p99_us"):
                            point[f"{who.name}_{key}"] = result[key]
                        if who is ours:
                            point["requests_per_statfs"] = (ours.stats()["statfs"] - asked) / result["calls"]
                    found[count].append(point)
        finally:
            ours.close()
            fuse.close()
    return [{"x": count, **_middle(points)} for count, points in found.items()]


def by_mounts(counts: list[int]) -> list[Point]:
    """More and more mounts beside each other; each stays until the end."""
    points: list[Point] = []
    mounts: list[Ours] = []
    with cluster() as one:
        try:
            for count in counts:
                say(f"{count} mounts")
                each = median(mount.process.pss_mib() for mount in mounts) if mounts else 40
                if _available_mib() < _SPARE_MIB + each * (count - len(mounts)):
                    say(f"no memory for {count} mounts")
                    break
                began = time.perf_counter()
                new = range(len(mounts), count)  # the first is alone: it writes the secret
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(lambda number: mounts.append(Ours(one, f"m{number}")), new))
                took = time.perf_counter() - began
                time.sleep(2)
                before, cpu, clock = mons_received(one), _cpu(mounts), time.monotonic()
                time.sleep(10)
                seconds = time.monotonic() - clock
                received, cpu = mons_received(one) - before, _cpu(mounts) - cpu
                paths = [mount.path for mount in mounts]
                loaded = load("statvfs", *paths, callers=len(paths), seconds=2)
                points.append(
                    {
                        "x": count,
                        "mount_s": took / len(new),
                        "pss_mib": sum(mount.process.pss_mib() for mount in mounts),
                        "idle_cpu_percent": cpu / seconds * 100,
                        "mons_received_per_s": received / seconds,
                        "one_p50_us": mounts[0].load(1, 1.0)["p50_us"],
                        "all_per_s": loaded["per_s"],
                        "all_p99_us": loaded["p99_us"],
                    }
                )
        finally:
            _unmount(mounts, one.fsid)
    return points


def _unmount(mounts: list[Ours], fsid: str) -> None:
    for mount in mounts:
        subprocess.run(["umount", str(mount.path)], check=False)
    forget(fsid)
    for mount in mounts:
        if is_mounted(mount.path):
            subprocess.run(["umount", "-l", str(mount.path)], check=False)
    for mount in mounts[:1]:
        wait_gone(mount.path)


def _cpu(mounts: list[Ours]) -> float:
    return sum(mount.process.cpu_s() for mount in mounts)


def _available_mib() -> float:
    match = re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())
    return int(match[1]) / 1024 if match else 0.0
