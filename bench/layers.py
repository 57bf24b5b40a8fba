"""The path of one statfs, cut off at different heights; each is run in a process of its own.

    python -m bench.layers memory DIR              pyfuse3 alone: a mount that answers from memory
    python -m bench.layers fs DIR                  our file system on a session that answers from memory
    python -m bench.layers client WHERE MODE N     MonClient in trio, no mount: N statfs one after the other
    python -m bench.layers joined WHERE MODE N M   file system on MonClient, no mount: N statfs by M callers at a time
    python -m bench.layers session WHERE MODE N    MonSession on a blocking socket: no trio either
    python -m bench.layers crypto N                what AES-GCM costs for the frames of one statfs

The mounts serve until they are unmounted.  WHERE is `HOST:PORT,ENTITY,KEY`, read from standard input.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pyfuse3
import trio

from bench.embedded import Where
from cephmonfs.config.filesettings import default_settings
from cephmonfs.fuse import workers
from cephmonfs.fuse.handlers import make_operations, run_mounted
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.session import Answered, Connect, MonSession, SessionConfig
from cephmonfs.mon.snapshot import CommandReply, Snapshot, Stamp, StatfsRecord
from cephmonfs.mon.statfs import Patience
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import open_client
from cephmonfs.wire.crypto import Gcm

_STATS = Statfs(kb=5 << 30, kb_used=1 << 30, kb_avail=4 << 30, num_objects=1)


class _Memory(pyfuse3.Operations):
    """The least that pyfuse3 can do."""

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4 << 20
        data.f_blocks, data.f_bfree, data.f_bavail = 1 << 20, 1 << 19, 1 << 19
        data.f_namemax = 255
        return data

    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino, entry.st_mode, entry.st_nlink = inode, 0o040555, 2
        return entry


class _Source:
    """A session that knows the answer."""

    def __init__(self, config: SessionConfig) -> None:
        self._session = MonSession(config, os.urandom, self._now())

    @staticmethod
    def _now() -> Stamp:
        return Stamp(trio.current_time(), time.time())

    def snapshot(self) -> Snapshot:
        return self._session.snapshot(self._now())

    async def statfs(self, patience: Patience | None = None, *, may_wait: bool = True) -> StatfsRecord:
        now = self._now()
        await trio.lowlevel.checkpoint()
        return StatfsRecord(_STATS, None, now, now)

    async def command(self, command: Mapping[str, object]) -> CommandReply:
        await trio.sleep_forever()
        raise AssertionError

    async def wait_change(self, seen: int) -> int:
        await trio.sleep_forever()
        raise AssertionError


async def _mount(directory: str, operations: pyfuse3.Operations, run: Callable[[], Awaitable[None]]) -> None:
    pyfuse3.init(operations, directory, {"fsname=layers", "ro", "default_permissions", "allow_other"})
    try:
        await run()
    finally:
        pyfuse3.close(unmount=True)


async def memory(directory: str) -> None:
    async def run() -> None:
        await pyfuse3.main()

    await _mount(directory, _Memory(), run)


async def fs(directory: str) -> None:
    where = Where(("127.0.0.1:1",), "x", "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==")
    operations = make_operations(_Source(where.config()), default_settings())
    with workers.enabled():
        await _mount(directory, operations, lambda: run_mounted(operations))


def _result(took: list[float], cpu_s: float, **more: float) -> dict[str, float]:
    took.sort()
    count = len(took)
    return {"p50_us": took[count // 2] * 1e6, "min_us": took[0] * 1e6, "cpu_us": cpu_s / count * 1e6, **more}


async def client(where: Where, mode: Mode, count: int) -> dict[str, float]:
    async with open_client(where.config(mode), where.resolve) as running:
        await running.wait_open()
        await trio.sleep(0.3)
        took = []
        cpu = time.thread_time()
        for _ in range(count):
            began = time.perf_counter()
            await running.statfs()
            took.append(time.perf_counter() - began)
        return _result(took, time.thread_time() - cpu)


async def joined(where: Where, mode: Mode, count: int, callers: int) -> dict[str, float]:
    """All that is ours: by CPU time, for wall time is the monitor's and other programs' as well."""
    async with open_client(where.config(mode), where.resolve) as running:
        await running.wait_open()
        await trio.sleep(0.3)
        operations = make_operations(running, default_settings())
        context = pyfuse3.RequestContext()

        async def caller() -> None:
            for _ in range(count // callers):
                await operations.statfs(context)

        async with trio.open_nursery() as background:
            await background.start(operations.run)
            await operations.statfs(context)  # the counter begins with the first
            asked = running.snapshot().counters["statfs"]
            cpu = time.process_time()
            async with trio.open_nursery() as nursery:
                for _ in range(callers):
                    nursery.start_soon(caller)
            calls = count // callers * callers
            cpu = time.process_time() - cpu
            asked = running.snapshot().counters["statfs"] - asked
            background.cancel_scope.cancel()
        return {"cpu_us": cpu / calls * 1e6, "requests": asked / calls}


def session(where: Where, mode: Mode, count: int) -> dict[str, float]:
    """Without trio; the time between `send` and the reply is the monitor's, the network's and the scheduler's."""

    def now() -> Stamp:
        return Stamp(time.monotonic(), time.time())

    made = MonSession(where.config(mode), os.urandom, now())
    made.set_candidates(where.candidates()[:1], now())
    sock: socket.socket | None = None
    link = 0
    buf = bytearray(256 << 10)
    view = memoryview(buf)

    def pump() -> bool:
        nonlocal sock, link
        answered = False
        while (event := made.next_event()) is not None:
            if isinstance(event, Connect) and sock is None:
                sock = socket.create_connection((event.addr.host, event.addr.port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = event.conn_id
                made.connected(link, now())
            answered = answered or isinstance(event, Answered)
        for which, data in made.data_to_send():
            if sock is not None and which == link:
                sock.sendall(data)
        return answered

    def receive() -> None:
        assert sock is not None
        made.receive_data(link, view[: sock.recv_into(buf)], now())

    pump()
    assert sock is not None
    sock.settimeout(0.5)
    with suppress(TimeoutError):
        while True:  # the handshake and the first maps, until nothing more comes
            receive()
            pump()
    sock.settimeout(5)
    took, waits, sends = [], [], []
    cpu = time.thread_time()
    for _ in range(count):
        began = time.perf_counter()
        made.request_statfs(now())
        while made.next_event() is not None:
            pass
        ((_, data),) = made.data_to_send()
        made.next_timeout()
        a = time.perf_counter()
        sock.sendall(data)
        b = time.perf_counter()
        waited = 0.0
        while True:
            c = time.perf_counter()
            n = sock.recv_into(buf)
            waited += time.perf_counter() - c
            made.receive_data(link, view[:n], now())
            if pump():
                break
        made.next_timeout()
        took.append(time.perf_counter() - began)
        waits.append(waited)
        sends.append(b - a)
    spent = time.thread_time() - cpu
    waits.sort()
    sends.sort()
    return _result(took, spent, wait_us=waits[count // 2] * 1e6, send_us=sends[count // 2] * 1e6)


def crypto(count: int) -> dict[str, float]:
    """Two frames out of two sections each (preamble with inline data, rest with tag), and the same in."""
    gcm = Gcm(bytes(16))
    nonce, small, rest = bytes(12), bytes(80), bytes(112)
    sealed, sealed_rest = gcm.seal(nonce, small), gcm.seal(nonce, rest)
    began = time.thread_time()
    for _ in range(count):
        gcm.seal(nonce, small)
        gcm.seal(nonce, rest)
        gcm.open(nonce, sealed)
        gcm.open(nonce, sealed_rest)
    return {"p50_us": (time.thread_time() - began) / count * 1e6}


def _where() -> Where:
    hostport, entity, key = sys.stdin.readline().strip().split(",")
    return Where((hostport,), entity, key)


def main() -> None:
    what, *rest = sys.argv[1:]
    result: Any = None
    match what:
        case "memory":
            trio.run(memory, rest[0])
        case "fs":
            trio.run(fs, rest[0])
        case "client":
            result = trio.run(client, _where(), Mode(rest[0]), int(rest[1]))
        case "joined":
            result = trio.run(joined, _where(), Mode(rest[0]), int(rest[1]), int(rest[2]))
        case "session":
            result = session(_where(), Mode(rest[0]), int(rest[1]))
        case "crypto":
            result = crypto(int(rest[0]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
