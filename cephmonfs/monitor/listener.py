"""The monitors' end of TCP, on loopback.

Each client has two tasks, one that reads and answers, one that writes; a third of all sends what subscriptions are due.
A client that does not take what it is sent is dropped.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.errors import ProtocolError
from cephmonfs.model.entity import AddrType, EntityAddr
from cephmonfs.monitor.server_v2 import ClientMessage, ClientReady, ServerConnectionV2

if TYPE_CHECKING:
    from collections.abc import Callable

    from cephmonfs.monitor.monitors import Monitors, MonitorSettings
    from cephmonfs.monitor.service import ClientSession

log = logging.getLogger(__name__)

_HOST: Final = "127.0.0.1"
_TICK_S: Final = 0.5
_READ_BYTES: Final = 65536
_MAX_PENDING: Final = 32 << 20  # bytes a client may leave unread
_HANDSHAKE_S: Final = 10.0
_IDLE_S: Final = 300.0  # mon_session_timeout
_MAX_MONS: Final = 31


class _Client:
    """One connection: the protocol machine and its stream."""

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
                    self._session = self._monitors.session(event, self._conn)
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


async def _listen(settings: MonitorSettings) -> list[trio.SocketListener]:
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
    """Return the client's address from its socket."""
    if isinstance(stream, trio.SocketStream):
        host, port = stream.socket.getpeername()[:2]
        return EntityAddr.of(host, port, AddrType.MSGR2)
    return EntityAddr.of(_HOST, 0, AddrType.MSGR2)


async def serve(
    settings: MonitorSettings,
    make: Callable[[tuple[EntityAddr, ...]], Monitors],
    *,
    task_status: trio.TaskStatus[Monitors] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the monitors until cancelled; for `nursery.start`, which returns what `make` made of their addresses."""
    if not 1 <= settings.mons <= _MAX_MONS:
        raise RuntimeError(f"{settings.mons} monitors, wanted 1 to {_MAX_MONS}")
    listeners = await _listen(settings)
    ports = [listener.socket.getsockname()[1] for listener in listeners]
    monitors = make(tuple(EntityAddr.of(_HOST, port, AddrType.MSGR2) for port in ports))

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
        task_status.started(monitors)
