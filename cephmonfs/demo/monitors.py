"""The embedded monitors: real TCP on loopback, real handshakes, a pretended cluster.

async with run_monitors(DemoSettings(mons=3, seed=7)) as demo:
    ... demo.addrs, demo.fsid, demo.entity, demo.key ...
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.demo.cluster import DemoCluster
from cephmonfs.demo.content import DemoContent
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.monitor.listener import serve
from cephmonfs.monitor.monitors import Monitors, MonitorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from cephmonfs.model.cryptokey import CryptoKey
    from cephmonfs.model.entity import EntityAddr
    from cephmonfs.monitor.monitors import Clock

_ENTITY: Final = EntityName(EntityType.CLIENT, "demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings(MonitorSettings):
    """What the embedded cluster is like.  `seed` decides its numbers."""

    entity: EntityName = _ENTITY
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Demo:
    """What a client needs to find and enter the cluster."""

    addrs: tuple[tuple[str, str, int], ...]  # name, host, port
    fsid: UUID
    entity: EntityName
    key: CryptoKey
    cluster: DemoCluster

    @property
    def mon_host(self) -> str:
        """The addresses as ceph.conf has them."""
        return ",".join(f"[v2:{host}:{port}]" for _, host, port in self.addrs)

    def conf(self, keyring: str) -> str:
        """A ceph.conf."""
        return f"[global]\n\tfsid = {self.fsid}\n\tmon_host = {self.mon_host}\n\tkeyring = {keyring}\n"

    def keyring(self) -> str:
        """A keyring; the key opens nothing but this."""
        return f'[{self.entity}]\n\tkey = {self.key.to_base64()}\n\tcaps mon = "allow r"\n'


def demo_monitors(settings: DemoSettings, addrs: tuple[EntityAddr, ...], clock: Clock) -> tuple[DemoCluster, Monitors]:
    """Make the cluster, whose story begins now, and its monitors."""
    cluster = DemoCluster(settings.seed, addrs, clock())
    return cluster, Monitors(settings, DemoContent(cluster, settings.key_type), clock, cluster.created)


@asynccontextmanager
async def run_monitors(settings: DemoSettings | None = None, clock: Clock = time.time) -> AsyncIterator[Demo]:
    """Run the monitors while the body runs.  As from any nursery, the body's errors come out in a group."""
    chosen = settings or DemoSettings()
    made: list[DemoCluster] = []

    def make(addrs: tuple[EntityAddr, ...]) -> Monitors:
        cluster, monitors = demo_monitors(chosen, addrs, clock)
        made.append(cluster)
        return monitors

    async with trio.open_nursery() as nursery:
        monitors = await nursery.start(serve, chosen, make)
        (cluster,) = made
        where = tuple((n, a.host, a.port) for n, a in zip(cluster.names, cluster.addrs, strict=True))
        yield Demo(where, cluster.fsid, chosen.entity, monitors.key, cluster)
        nursery.cancel_scope.cancel()
