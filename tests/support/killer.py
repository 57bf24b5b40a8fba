"""Kills callers of a mount at the wrong moment, and looks after each whether the daemon's loop still runs.

    python3 -IS killer.py MNT PID CALL HOW CALLERS SEED

A program of its own, because it forks for each caller, and because the test must not hold a lock that the daemon waits
for.  It looks from outside, by /proc: a thread that sleeps in read(2) of /dev/fuse does not run its loop.  Nobody asks
the mount anything while it looks, for the next request would end that sleep.  Prints JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

_PATIENCE_S = 5.0
_DELAY_S = 0.0006  # about as long as a caller takes from fork to its answer


def _poll(path: str) -> None:
    waiting = select.poll()
    waiting.register(os.open(path, os.O_RDONLY), select.POLLPRI)
    waiting.poll(1000)


def _read(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    while os.read(fd, 4096):
        os.lseek(fd, 0, os.SEEK_SET)  # renders anew


CALLS: Final[dict[str, Callable[[str], object]]] = {
    "statfs": lambda mount: os.statvfs(mount),
    "stat": lambda mount: os.stat(f"{mount}/health"),
    "list": lambda mount: os.listdir(f"{mount}/session"),
    "open": lambda mount: os.open(f"{mount}/monmap.json", os.O_RDONLY),
    "read": lambda mount: _read(f"{mount}/session/state"),
    "poll": lambda mount: _poll(f"{mount}/health"),
    "pipe": lambda mount: _read(f"{mount}/events_pipe"),
}


def _kill(pid: int, how: str) -> None:
    """`how` it comes to its end; what comes before it is what makes the kernel withdraw or interrupt a request."""
    if how == "interrupt":
        for _ in range(3):
            os.kill(pid, signal.SIGUSR1)
    elif how == "freeze":
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)


def _call(mount: str, call: str) -> None:
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        CALLS[call](mount)
    except OSError:
        pass
    os._exit(0)


def _asleep(pid: int) -> bool:
    """Whether it sleeps in the read.  The kernel's name for that, as nobody else waits there."""
    with open(f"/proc/{pid}/wchan") as file:
        return file.read().startswith("fuse_dev_do_read")


def main(mount: str, pid: int, call: str, how: str, callers: int, seed: int) -> dict[str, float]:
    chance = random.Random(seed)
    killed, sleeps = 0, []
    while killed < callers:
        children = []
        for _ in range(chance.choice((1, 1, 1, 4))):
            child = os.fork()
            if not child:
                _call(mount, call)
            children.append(child)
        until = time.perf_counter() + chance.random() * _DELAY_S
        while time.perf_counter() < until:
            pass
        for child in children:
            _kill(child, how)
        for child in children:
            os.waitpid(child, 0)
        killed += len(children)
        time.sleep(0.001)
        began = time.perf_counter()
        slept = 0.0
        while _asleep(pid) and slept < _PATIENCE_S:
            time.sleep(0.0002)
            slept = time.perf_counter() - began
        if slept:
            sleeps.append(slept)
        if slept >= _PATIENCE_S:
            os.stat(mount)  # wakes it
            break
    sleeps.sort()
    return {
        "killed": killed,
        "sleeps": len(sleeps),
        "median_ms": sleeps[len(sleeps) // 2] * 1e3 if sleeps else 0.0,
        "longest_ms": sleeps[-1] * 1e3 if sleeps else 0.0,
        "over_50_ms": sum(slept > 0.05 for slept in sleeps),
        "for_ever": float(bool(sleeps) and sleeps[-1] >= _PATIENCE_S),
    }


if __name__ == "__main__":
    where, daemon, what, manner, count, number = sys.argv[1:]
    print(json.dumps(main(where, int(daemon), what, manner, int(count), int(number))))
