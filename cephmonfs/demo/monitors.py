"""The embedded monitors: real TCP on loopback, real handshakes, an imagined cluster.

    async with run_monitors(DemoSettings(mons=3, seed=7)) as demo:
        ... demo.addrs, demo.fsid, demo.entity, demo.key ...

Each client has two tasks, one that reads and answers, one that writes; a third of all sends what subscriptions are due.
A client that does not take what it is sent is dropped.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import trio

from cephmonfs.auth.credentials import AuthMethod
from cephmonfs.demo.authserver import NoneAuth, ServerAuth
from cephmonfs.demo.cephx_server import CephxAuth, CephxServer
from cephmonfs.demo.cluster import DemoCluster
from cephmonfs.demo.server_v2 import ClientMessage, ClientReady, ServerConnectionV2
from cephmonfs.demo.service import ClientSession
from cephmonfs.errors import ProtocolError
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from cephmonfs.msgr.events import Mode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    Clock = Callable[[], float]

log = logging.getLogger(__name__)

_HOST: Final = "127.0.0.1"
_ENTITY: Final = EntityName(EntityType.CLIENT, "demo")
_TICK_S: Final = 0.5
_READ_BYTES: Final = 65536
_MAX_PENDING: Final = 32 << 20  # bytes a client may leave unread
_HANDSHAKE_S: Final = 10.0
_IDLE_S: Final = 300.0  # mon_session_timeout


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the embedded cluster is like."""

    mons: int = 3
    seed: int = 0
    key_type: KeyType = KeyType.AES
    entity: EntityName = _ENTITY
    modes: tuple[Mode, ...] = (Mode.SECURE, Mode.CRC)
    revision: int = 1
    auth_none: bool = False
    auth_validity_s: float = 72 * 3600.0
    ports: tuple[int, ...] = ()  # empty: whatever is free


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


class Monitors:
    """All monitors of one cluster: what they share, and how one connection is made."""

    def __init__(self, settings: DemoSettings, cluster: DemoCluster, clock: Clock) -> None:
        self.settings = settings
        self.cluster = cluster
        self.clock = clock
        self._keys: dict[str, CryptoKey] = {}
        self.cephx = CephxServer(self._keys, os.urandom, auth_validity_s=settings.auth_validity_s)
        self.key = self.cephx.new_key(settings.key_type, cluster.created)
        self._keys[str(settings.entity)] = self.key

    def methods(self) -> Mapping[int, Callable[[], ServerAuth]]:
        """The authentication methods that the cluster allows."""
        if self.settings.auth_none:
            return {AuthMethod.NONE: lambda: NoneAuth(self.cephx.new_global_id)}
        return {AuthMethod.CEPHX: lambda: CephxAuth(self.cephx)}

    def connection(self, rank: int, peer: EntityAddr) -> ServerConnectionV2:
        """Make the machine for one new connection to a monitor."""
        own = self.cluster.addrs[rank]
        settings = self.settings
        return ServerConnectionV2(
            own, peer, self.methods(), modes=settings.modes, revision=settings.revision, rank=rank
        )

    def session(self, rank: int, ready: ClientReady, conn: ServerConnectionV2) -> ClientSession:
        """Make the session of one client that came in."""
        kind = self.settings.key_type
        return ClientSession(self.cluster, rank, kind, ready.features, ready.global_id, conn.renew)


class _Client:
    """One connection: the machine, the stream, and who waits for whom."""

    def __init__(self, stream: trio.abc.Stream, monitors: Monitors, rank: int, conn: ServerConnectionV2) -> None:
        self._stream = stream
        self._monitors = monitors
        self._rank = rank
        self._conn = conn
        self._session: ClientSession | None = None
        self._wake = trio.Event()

    async def run(self) -> None:
        """Serve until the client goes, breaks a rule, or falls silent."""
        async with self._stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._push)
            try:
                await self._read()
            except ProtocolError as exc:
                log.debug("mon.%d drops a client: %s", self._rank, exc)
            except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
                pass
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            with trio.move_on_after(_IDLE_S if self._session else _HANDSHAKE_S) as scope:
                data = await self._stream.receive_some(_READ_BYTES)
            if scope.cancelled_caught or not data:
                return
            now = self._monitors.clock()
            try:
                self._conn.receive_data(data, now)
                self._answer(now)
            finally:
                self._wake.set()
            if self._conn.pending > _MAX_PENDING:
                return

    def _answer(self, now: float) -> None:
        while (event := self._conn.next_event()) is not None:
            match event:
                case ClientReady():
                    self._session = self._monitors.session(self._rank, event, self._conn)
                case ClientMessage(message):
                    if self._session is not None:
                        for reply in self._session.handle(message, now):
                            self._conn.send_message(reply)

    async def _write(self) -> None:
        try:
            while True:
                if data := self._conn.data_to_send():
                    await self._stream.send_all(data)
                else:
                    self._wake = trio.Event()
                    await self._wake.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass  # the reader sees the end, too

    async def _push(self) -> None:
        while True:
            await trio.sleep(_TICK_S)
            if self._session is not None:
                for message in self._session.tick(self._monitors.clock()):
                    self._conn.send_message(message)
                self._wake.set()


async def serve_client(stream: trio.abc.Stream, monitors: Monitors, rank: int, peer: EntityAddr) -> None:
    """Serve one connection to the monitor of a rank, over any stream."""
    await _Client(stream, monitors, rank, monitors.connection(rank, peer)).run()


async def _listen(settings: DemoSettings) -> list[trio.SocketListener]:
    listeners: list[trio.SocketListener] = []
    try:
        for rank in range(settings.mons):
            port = settings.ports[rank] if rank < len(settings.ports) else 0
            listeners += await trio.open_tcp_listeners(port, host=_HOST)
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def peer_addr(stream: trio.abc.Stream) -> EntityAddr:
    """Return the client's address as its socket tells it."""
    if isinstance(stream, trio.SocketStream):
        host, port = stream.socket.getpeername()[:2]
        return EntityAddr.of(host, port, AddrType.MSGR2)
    return EntityAddr.of(_HOST, 0, AddrType.MSGR2)


async def serve(
    settings: DemoSettings,
    clock: Clock = time.time,
    *,
    task_status: trio.TaskStatus[Demo] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the monitors until cancelled; for `nursery.start`, which returns the Demo once they listen."""
    if not 1 <= settings.mons <= 31:
        raise RuntimeError(f"{settings.mons} monitors, wanted 1 to 31")
    listeners = await _listen(settings)
    ports = [listener.socket.getsockname()[1] for listener in listeners]
    addrs = tuple(EntityAddr.of(_HOST, port, AddrType.MSGR2) for port in ports)
    cluster = DemoCluster(settings.seed, addrs, clock())
    monitors = Monitors(settings, cluster, clock)

    async def serve_mon(rank: int) -> None:
        async def handler(stream: trio.SocketStream) -> None:
            try:
                peer = peer_addr(stream)
            except OSError:
                await trio.aclose_forcefully(stream)
                return
            await serve_client(stream, monitors, rank, peer)

        await trio.serve_listeners(handler, [listeners[rank]])

    async with trio.open_nursery() as nursery:
        for rank in range(settings.mons):
            nursery.start_soon(serve_mon, rank)
        names = zip(cluster.names, ports, strict=True)
        where = tuple((name, _HOST, port) for name, port in names)
        task_status.started(Demo(where, cluster.fsid, settings.entity, monitors.key, cluster))


@asynccontextmanager
async def run_monitors(settings: DemoSettings | None = None, clock: Clock = time.time) -> AsyncIterator[Demo]:
    """Run the monitors while the body runs.  As from any nursery, the body's errors come out in a group."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve, settings or DemoSettings(), clock)
        nursery.cancel_scope.cancel()
