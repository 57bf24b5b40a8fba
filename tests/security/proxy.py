"""A TCP proxy that damages what goes through it: flips, cuts, insertions, stalls, drops, trickles.

Where on a connection it happens, in which direction and how is drawn from a seed: somewhere in the handshake, or
somewhat later, so that a client that does the right thing gets through.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

KINDS: Final = ("flip", "cut", "insert", "stall", "trickle", "swallow", "repeat")


@dataclass
class Proxy:
    """One listener in front of one monitor.  `kinds` may be changed while it runs; empty: nothing is damaged."""

    host: str
    port: int
    rng: random.Random
    kinds: tuple[str, ...] = KINDS
    listens: int = 0
    connections: int = 0
    damage: Counter[str] = field(default_factory=Counter)
    _live: set[trio.CancelScope] = field(default_factory=set)

    def drop(self) -> None:
        """Close every connection."""
        for scope in self._live:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        try:
            server = await trio.open_tcp_stream(self.host, self.port)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        bad = bool(self.kinds)
        # somewhere in the handshake or, as often, later
        first = self.rng.choice((self.rng.randrange(1, 2500), self.rng.randrange(2500, 40000)))
        way = self.rng.random() < 0.8
        async with client, server:
            async with trio.open_nursery() as nursery:
                self._live.add(nursery.cancel_scope)
                nursery.start_soon(self._pump, server, client, first if bad and way else None, nursery)
                nursery.start_soon(self._pump, client, server, first // 3 if bad and not way else None, nursery)
            self._live.discard(nursery.cancel_scope)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, at: int | None, nursery: trio.Nursery
    ) -> None:
        seen = 0
        try:
            while data := await source.receive_some(65536):
                if at is not None and seen + len(data) > at:
                    kind = self.rng.choice(self.kinds or ("flip",))
                    self.damage[kind] += 1
                    await self._damaged(kind, bytes(data), at - seen, sink)
                    at = seen + len(data) + self.rng.randrange(1, 5000)
                else:
                    await sink.send_all(data)
                seen += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass
        nursery.cancel_scope.cancel()

    async def _damaged(self, kind: str, data: bytes, at: int, sink: trio.SocketStream) -> None:
        head, tail = data[:at], data[at:]
        match kind:
            case "flip":
                await sink.send_all(head + bytes((tail[0] ^ 1 << self.rng.randrange(8),)) + tail[1:])
            case "cut":
                await sink.send_all(head)
                raise trio.BrokenResourceError
            case "insert":
                await sink.send_all(head + self.rng.randbytes(self.rng.randrange(1, 40)) + tail)
            case "stall":
                await sink.send_all(head)
                await trio.sleep_forever()
            case "trickle":
                await sink.send_all(head)
                for byte in tail[:200]:
                    await sink.send_all(bytes((byte,)))
                    await trio.sleep(0.003)
                await sink.send_all(tail[200:])
            case "swallow":
                await sink.send_all(head + tail[self.rng.randrange(1, 30) :])
            case _:
                await sink.send_all(data + data)


@asynccontextmanager
async def proxies(targets: list[tuple[str, int]], seed: int, **options: object) -> AsyncIterator[list[Proxy]]:
    """One in front of each target."""
    rng = random.Random(seed)
    made = []
    async with trio.open_nursery() as nursery:
        for host, port in targets:
            listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
            proxy = Proxy(host, port, rng, **options)  # type: ignore[arg-type]
            proxy.listens = listener.socket.getsockname()[1]
            made.append(proxy)
            nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield made
        nursery.cancel_scope.cancel()
