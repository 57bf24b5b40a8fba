"""Real monitors of four releases behind a network that damages what it carries.

Never a wrong number, never an error that is not ours, always back to an open session.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
import trio

from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.mon.snapshot import State
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import MonClient, open_client
from tests.doubles.attack import cpu_seconds
from tests.security.proxy import KINDS, Proxy, proxies
from tests.support.cluster import Cluster
from tests.support.release import RELEASES

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SECONDS = 5.0


@pytest.mark.parametrize("mode", [Mode.SECURE, Mode.CRC, Mode.LEGACY], ids=str)
async def test_damaged_network(mode: Mode, clusters: Callable[[str], Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of all four releases side by side."""
    with _detours(monkeypatch) as detours:
        async with trio.open_nursery() as nursery:
            for release in RELEASES:
                nursery.start_soon(_client_behind_damage, clusters(release), mode, detours)


async def _client_behind_damage(cluster: Cluster, mode: Mode, detours: dict[tuple[str, int], Proxy]) -> None:
    kind = AddrType.LEGACY if mode is Mode.LEGACY else AddrType.MSGR2
    endpoints = {}
    for name, mon in cluster.mon_addrs().items():
        text = mon.v1 if mode is Mode.LEGACY else mon.v2
        assert text is not None
        host, _, port = text.rpartition(":")
        endpoints[name] = (host, int(port))
    entity = EntityName.parse("client.df")
    key = CryptoKey.from_base64(cluster.keys["client.df"])
    config = SessionConfig(Identity(entity, key, (mode,)), fsid=UUID(cluster.fsid))
    seed = sum(map(ord, f"{cluster.release}{mode}"))
    async with proxies(list(endpoints.values()), seed, kinds=()) as made:
        detours.update(zip(endpoints.values(), made, strict=True))
        candidates = [Candidate(n, EntityAddr.of(h, p, kind)) for n, (h, p) in endpoints.items()]

        async def resolve() -> list[Candidate]:
            return candidates

        async with open_client(config, resolve) as client:
            await _open_and_right(client, cluster)
            for proxy in made:
                proxy.kinds = KINDS
                proxy.drop()
            await _under_damage(client, made)
            for proxy in made:
                proxy.kinds = ()
            began = time.monotonic()
            await _open_and_right(client, cluster)
            assert time.monotonic() - began < 20.0, cluster.release  # what stalls now has ten seconds left
        assert sum(proxy.damage.total() for proxy in made) >= 5
        assert set().union(*(proxy.damage for proxy in made)) <= set(KINDS)


@contextmanager
def _detours(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[tuple[str, int], Proxy]]:
    """A monitor wants to be called by its own address, so the detour is made where sockets are connected."""
    detours: dict[tuple[str, int], Proxy] = {}
    original = socket.socket.connect_ex

    def connect_ex(self: socket.socket, address: tuple[str, int]) -> int:
        proxy = detours.get((address[0], address[1]))
        return original(self, address if proxy is None else ("127.0.0.1", proxy.listens))

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect_ex", connect_ex)
        yield detours


async def _under_damage(client: MonClient, made: list[Proxy]) -> None:
    """Ask all the time; what is answered is right, and the machine is not kept busy."""
    deadline = trio.current_time() + SECONDS
    cpu = cpu_seconds()
    totals: set[int] = set()
    while trio.current_time() < deadline:
        with trio.move_on_after(1.0):
            record = await client.statfs()
            totals.add(record.stats.kb)
            assert 0 <= record.stats.kb_used <= record.stats.kb
            assert record.stats.kb_avail <= record.stats.kb
        await trio.sleep(0.003)
    assert len(totals) <= 1, totals
    assert cpu_seconds() - cpu < SECONDS  # of all four
    assert sum(proxy.connections for proxy in made) < 65 + 35 * SECONDS
    snapshot = client.snapshot()
    assert snapshot.errors
    for text in snapshot.errors.values():
        assert "internal error" not in text


async def _open_and_right(client: MonClient, cluster: Cluster) -> None:
    with trio.fail_after(20):
        while True:
            record = await client.statfs()
            wanted = await trio.to_thread.run_sync(lambda: cluster.command("df")["stats"])
            again = await client.statfs()
            snapshot = client.snapshot()
            if snapshot.state is State.OPEN and record.stats == again.stats:
                break
            await trio.sleep(0.05)
    assert record.stats.kb << 10 == wanted["total_bytes"]
    assert abs((record.stats.kb_avail << 10) - wanted["total_avail_bytes"]) < 64 << 20
    assert snapshot.fsid == cluster.fsid
