"""Where the microseconds of one statfs go: the same call, cut off at different heights, and what is between them."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import PYTHON, ROOT, Process, compiled, load, say
from bench.peers import CephFuse, Librados, Ours, cluster
from tests.support.cluster import Cluster
from tests.support.helper import is_mounted, run

CALLERS = (1, 8, 64)


@contextmanager
def _serving(argv: list[str], directory: Path) -> Iterator[Process]:
    directory.mkdir(exist_ok=True)
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 10
        while not is_mounted(directory):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"{argv} does not mount")
            time.sleep(0.02)
        try:
            yield Process(process.pid)
        finally:
            run(["umount", directory])
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _layer(what: str, where: str, mode: str, count: int) -> dict[str, float]:
    argv = [PYTHON, "-m", "bench.layers", what, *([mode] if mode else []), str(count)]
    done = subprocess.run(argv, input=where, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{what}: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _where(one: Cluster) -> str:
    first = next(iter(one.mon_addrs().values()))
    return f"{first.v2},df,{one.keys['client.df']}\n"


def measure(*, quick: bool = False) -> dict[str, Any]:
    """All heights, in rounds; microseconds of one call with one caller, and calls a second with more."""
    rounds, seconds, count = (2, 0.5, 1500) if quick else (7, 1.0, 4000)
    out: dict[str, list[float]] = {}

    def add(key: str, value: float) -> None:
        out.setdefault(key, []).append(value)

    scratch = tempfile.TemporaryDirectory(prefix="cmfs-layers-", ignore_cleanup_errors=True)
    base = Path(scratch.name)
    memfs = [str(compiled("memfs")), str(base / "c")]
    memory = [PYTHON, "-m", "bench.layers", "memory", str(base / "memory")]
    fs = [PYTHON, "-m", "bench.layers", "fs", str(base / "fs")]
    with (
        scratch,
        cluster(mgr=True) as one,
        _serving(memfs, base / "c") as p_c,
        _serving(memory, base / "memory") as p_memory,
        _serving(fs, base / "fs") as p_fs,
    ):
        ours, fuse, rados = Ours(one), CephFuse(one), Librados(one)
        crc = Ours(one, "crc", "ms_mode=crc")
        mounts = [
            ("c", base / "c", p_c),
            ("pyfuse3", base / "memory", p_memory),
            ("fs", base / "fs", p_fs),
            ("cephmonfs", ours.path, ours.process),
            ("cephmonfs_crc", crc.path, crc.process),
            ("ceph_fuse", fuse.path, fuse.process),
        ]
        try:
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                for callers in CALLERS:
                    for name, path, process in mounts:
                        cpu = process.cpu_s()
                        result = load("statvfs", path, callers=callers, seconds=seconds)
                        cpu = (process.cpu_s() - cpu) / (result["calls"] + callers)
                        add(f"{name}_{callers}_cpu_us", cpu * 1e6)
                        add(f"{name}_{callers}_us", result["p50_us"])
                        add(f"{name}_{callers}_per_s", result["per_s"])
                    result = rados.load(callers, seconds)
                    add(f"librados_{callers}_us", result["p50_us"])
                    add(f"librados_{callers}_per_s", result["per_s"])
                for what in ("client", "session"):
                    for mode in ("secure", "crc"):
                        for key, value in _layer(what, _where(one), mode, count).items():
                            add(f"{what}_{mode}_{key}", value)
                add("crypto_us", _layer("crypto", "", "", count)["p50_us"])
        finally:
            for mount in (ours, crc, fuse):
                mount.close()
    return {"rounds": rounds, "figures": {key: median(values) for key, values in out.items()}, "all": out}


def steps(f: dict[str, float]) -> list[tuple[str, float, str]]:
    """The parts of one statfs: name, microseconds, how it was found."""
    round_trip = f["session_secure_wait_us"]
    session_cpu = f["session_secure_p50_us"] - f["session_secure_wait_us"] - f["session_secure_send_us"]
    return [
        ("kernel and FUSE", f["c_1_us"], "a mount in C that answers from memory"),
        ("pyfuse3", f["pyfuse3_1_us"] - f["c_1_us"], "a pyfuse3 mount that answers from memory, less that"),
        ("file system: slots, guard", f["fs_1_us"] - f["pyfuse3_1_us"], "ours on an answer in memory, less that"),
        ("session, messages, frames", session_cpu - f["crypto_us"], "MonSession on a blocking socket, less crypto"),
        ("AES-GCM", f["crypto_us"], "as many seals and opens as one statfs has"),
        ("send(2)", f["session_secure_send_us"], "timed"),
        ("monitor, loopback, wake-up", round_trip, "timed: from send to the reply, blocking"),
        (
            "trio around the round trip",
            f["client_secure_p50_us"] - f["session_secure_p50_us"],
            "MonClient less MonSession on a blocking socket",
        ),
        (
            "the two joined",
            f["cephmonfs_1_us"] - f["fs_1_us"] - f["client_secure_p50_us"],
            "the mount less file system and client: caches gone cold, wake-ups",
        ),
        ("one statfs", f["cephmonfs_1_us"], "the mount, secure mode, one caller, p50"),
    ]
