"""What is read of the machine and its processes, and the programs that are compiled for the occasion."""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "build" / "bench"
PYTHON: Final = str(ROOT / ".venv" / "bin" / "python")
_C: Final = Path(__file__).resolve().parent / "c"


def say(text: str) -> None:
    """Progress, for people."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
    except OSError:
        return ""


def facts() -> dict[str, str]:
    """Machine, kernel and versions."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    ceph = re.search(r"version (\S+).* (\w+) \(", _output("ceph", "--version"))
    fuse = _output("ceph-fuse", "--version").split()
    commit = _output("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return {
        "machine": f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), "
        f"{int(memory[1]) / 2**20 if memory else 0:.0f} GiB",
        "kernel": f"Linux {platform.release()}",
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()) + " when it began (1, 5, 15 minutes)",
        "cephmonfs": commit or "unknown",
        "python": f"{_output(PYTHON, '-c', 'import platform; print(platform.python_version())')}, "
        + ", ".join(f"{name} {version(name)}" for name in ("trio", "pyfuse3", "cryptography")),
        "ceph": f"{ceph[1]} {ceph[2]}" if ceph else "unknown",
        "ceph-fuse": fuse[2] if len(fuse) > 2 else "unknown",
        "fuse": _output("pkg-config", "--modversion", "fuse3") or "unknown",
    }


def compiled(name: str) -> Path:
    """Compile bench/c/NAME.c unless that has been done."""
    source, program = _C / f"{name}.c", BUILD / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        argv = ["gcc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", str(program), str(source)]
        if name == "memfs":
            argv += _output("pkg-config", "--cflags", "--libs", "fuse3").split()
        subprocess.run(argv, check=True)
    return program


def load(kind: str, *targets: str | Path, callers: int = 1, seconds: float = 1.0, calls: int = 0) -> dict[str, float]:
    """Run the load generator.  Raises RuntimeError when a call failed: that would not be a benchmark."""
    argv = [str(compiled("load")), kind, str(callers), str(seconds), str(calls), *map(str, targets)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds * 4 + 60, check=False)
    if done.returncode:
        raise RuntimeError(f"load {kind}: {done.stderr.strip()}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if result["errors"] or not result["calls"]:
        raise RuntimeError(f"load {kind} {targets}: {result['errors']} of {result['calls']} calls failed")
    return result


def module(name: str, *arguments: str, timeout_s: float = 900) -> Any:
    """Run one of our modules in a process of its own; it prints JSON last."""
    argv = [PYTHON, "-m", f"bench.{name}", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Process:
    """What the kernel counts for a process, over all its threads."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def _tasks(self, name: str) -> list[str]:
        texts = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                texts.append((task / name).read_text())
            except OSError:
                continue  # a thread that has ended
        return texts

    def cpu_s(self) -> float:
        """CPU time of all threads, those that have ended too: the clock of clock_getcpuclockid(3)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def wakeups(self) -> int:
        """How often a thread went to sleep by itself, and so had to be woken."""
        return sum(int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0]) for text in self._tasks("status"))

    def rss_mib(self) -> float:
        match = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(match[1]) / 1024 if match else 0.0

    def pss_mib(self) -> float:
        match = re.search(r"^Pss:\s*(\d+)", Path(f"/proc/{self.pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(match[1]) / 1024 if match else 0.0

    def segments(self, ports: set[int]) -> int:
        """TCP segments with data, both ways, on connections to these ports: messages, as the kernel sees them."""
        words = _output("ss", "-tinpH", "state", "established").splitlines()
        total = 0
        for line, more in itertools.pairwise(words):
            if f"pid={self.pid}," in line and any(f":{port} " in line for port in ports):
                total += sum(int(n) for n in re.findall(r"data_segs_(?:in|out):(\d+)", more))
        return total


class Idle:
    """CPU, wake-ups and messages of processes that nobody asks anything, over a while."""

    def __init__(self, processes: list[Process], ports: set[int]) -> None:
        self._processes, self._ports = processes, ports
        self._begin = time.monotonic()
        self._before = [self._read(process) for process in processes]

    def _read(self, process: Process) -> tuple[float, int, int]:
        return process.cpu_s(), process.wakeups(), process.segments(self._ports)

    def done(self) -> list[tuple[float, float, float]]:
        """Per process: percent of a core, wake-ups a minute, messages a second."""
        took = time.monotonic() - self._begin
        out = []
        for process, before in zip(self._processes, self._before, strict=True):
            cpu, wakeups, segments = (b - a for a, b in zip(before, self._read(process), strict=True))
            out.append((cpu / took * 100, wakeups / took * 60, segments / took))
        return out
