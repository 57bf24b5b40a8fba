"""A day in a minute: does memory grow?

    python -m bench.day --hours 24

The real client, session and file system beside the embedded monitors, all in one process, over TCP on loopback and on
trio's mock clock, which jumps whenever everybody waits.  Every ten seconds somebody asks `df`, every minute all the
files that monitoring reads are read, maps change all day long, tickets are renewed.  Prints the resident memory at
each hour: what counts is that the line is level, for the monitors' memory is in it too.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import time
import tracemalloc
from typing import Any, cast

import pyfuse3
import trio
from trio.testing import MockClock

from bench.machine import Process
from cephmonfs.config.filesettings import default_settings
from cephmonfs.demo.monitors import DemoSettings, run_monitors
from cephmonfs.fuse.handlers import CephMonOperations, make_operations
from cephmonfs.model.entity import AddrType, EntityAddr
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import MonClient

_BEGAN = 1_800_000_000.0
_FILES = ("status", "metrics", "health", "session.json", "osdmap", "monmap.json", "mdsmap", "events", "epoch/osdmap")


async def _read(operations: CephMonOperations, path: str) -> int:
    """What the kernel does for `cat`."""
    ctx = cast(Any, None)
    inode = pyfuse3.ROOT_INODE
    for name in path.split("/"):
        inode = (await operations.lookup(inode, cast(Any, name.encode()), ctx)).st_ino
    opened = await operations.open(inode, cast(Any, os.O_RDONLY), ctx)
    data = await operations.read(opened.fh, 0, 1 << 20)
    await operations.release(opened.fh)
    await operations.forget([(inode, 1)])
    return len(data)


async def _monitoring(operations: CephMonOperations) -> None:
    minute = 0
    while True:
        for _ in range(6):
            await operations.statfs(cast(Any, None))
            await trio.sleep(10)
        for path in _FILES:
            try:
                await _read(operations, path)
            except pyfuse3.FUSEError:
                pass
        minute += 1


async def _day(hours: int, trace: bool) -> dict[str, Any]:
    def wall() -> float:
        return _BEGAN + trio.current_time()

    out: list[float] = []
    traced: list[float] = []
    async with run_monitors(DemoSettings(modes=(Mode.SECURE,), auth_validity_s=3600.0), wall) as demo:
        places = tuple(Candidate(n, EntityAddr.of(h, p, AddrType.MSGR2)) for n, h, p in demo.addrs)

        async def resolve() -> tuple[Candidate, ...]:
            return places

        config = SessionConfig(Identity(demo.entity, demo.key, (Mode.SECURE,)), hostname="bench")
        async with MonClient(config, resolve, wall=wall).running() as client:
            await client.wait_open()
            operations = make_operations(client, default_settings())
            async with trio.open_nursery() as nursery:
                await nursery.start(operations.run)
                async with trio.open_nursery() as readers:  # they end before what they read does
                    readers.start_soon(_monitoring, operations)
                    for _ in range(hours):
                        await trio.sleep(3600)
                        gc.collect()
                        out.append(round(Process(os.getpid()).rss_mib(), 2))
                        if trace:
                            traced.append(tracemalloc.get_traced_memory()[0] / 2**20)
                    counters = dict(client.snapshot().counters)
                    readers.cancel_scope.cancel()
                nursery.cancel_scope.cancel()
    return {"rss_mib": out, "traced_mib": traced, "counters": counters}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.day")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--trace", action="store_true", help="count Python's own objects, too (slow)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.trace:
        tracemalloc.start()
    began = time.monotonic()
    result = trio.run(_day, options.hours, options.trace, clock=MockClock(autojump_threshold=0))
    result["took_s"] = round(time.monotonic() - began, 1)
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
