"""How long the loop is deaf while large maps arrive: the real client, session and file system, and a mount's trio loop.

    python -m bench.stall --mons 31 --osds 10000 --seconds 5

Trio tells when it comes back from waiting and when it waits again; what is between the two is one pass, in which
nothing else is served.  The longest pass around the arrival of each map is its stall.  In secure mode, with the
file system's own tasks running, without the kernel.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from statistics import median

import trio

from bench.embedded import Where, embedded
from cephmonfs.config.filesettings import default_settings
from cephmonfs.fuse.handlers import make_operations
from cephmonfs.runtime.client import MonClient, open_client

_AROUND_S = 0.06


class Passes(trio.abc.Instrument):
    """The last passes: when each ended, its length by the clock and in CPU time."""

    def __init__(self) -> None:
        self.last: deque[tuple[float, float, float]] = deque(maxlen=20000)
        self._begin = self._cpu = 0.0

    def after_io_wait(self, timeout: float) -> None:
        self._begin, self._cpu = time.perf_counter(), time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        if self._begin:
            end = time.perf_counter()
            self.last.append((end, end - self._begin, time.thread_time() - self._cpu))

    def longest(self, since: float, until: float) -> tuple[float, float]:
        """Milliseconds of the longest pass in between: by the clock, in CPU time."""
        inside = [(took, cpu) for end, took, cpu in self.last if since <= end and end - took <= until]
        return max(t for t, _ in inside) * 1e3, max(c for _, c in inside) * 1e3


async def _watch(client: MonClient, passes: Passes, found: dict[str, list[tuple[float, float]]]) -> None:
    async def look(name: str, at: float) -> None:
        await trio.sleep(_AROUND_S)
        found[name].append(passes.longest(at - _AROUND_S, at + _AROUND_S))

    def epochs() -> dict[str, int]:
        return {name: record.epoch for name, record in client.snapshot().maps.items()}

    await client.wait_open()
    await trio.sleep(0.5)  # the first maps have come
    seen, before = await client.wait_change(-1), epochs()
    async with trio.open_nursery() as nursery:
        while True:
            seen = await client.wait_change(seen)
            now = epochs()
            for name in found:
                if now.get(name) != before.get(name):
                    nursery.start_soon(look, name, time.perf_counter())
            before = now


async def _measure(where: Where, seconds: float) -> dict[str, list[tuple[float, float]]]:
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    found: dict[str, list[tuple[float, float]]] = {"monmap": [], "osdmap": []}
    async with open_client(where.config(), where.resolve) as client:
        operations = make_operations(client, default_settings())
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                await nursery.start(operations.run)
                await _watch(client, passes, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stall")
    parser.add_argument("--mons", type=int, default=31)
    parser.add_argument("--osds", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    with embedded(mons=options.mons, osds=options.osds, every_s=0.3) as where:
        found = trio.run(_measure, where, options.seconds)
    out: dict[str, float] = {"osdmap_bytes": where.osdmap_bytes}
    for name, pairs in found.items():
        out[f"{name}_ms"] = median(wall for wall, _ in pairs)
        out[f"{name}_max_ms"] = max(wall for wall, _ in pairs)
        out[f"{name}_cpu_ms"] = median(cpu for _, cpu in pairs)
        out[f"{name}_arrived"] = len(pairs)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
