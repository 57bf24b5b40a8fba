"""FakeMonitor: a monitor that does one thing wrong, exactly where a test says.

It is the embedded monitor's server machine with hands on its output.  A fault names the piece of output that it
happens at (`Piece`: the banner, or a frame by its tag) and what happens:

    Silent(at)              from this piece on nothing more is sent, the connection stays
    Reset(at)               the connection is closed in place of this piece
    Cut(at, keep)           the first `keep` bytes of it, then the end
    Flip(at, offset, mask)  one byte of its wire bytes damaged
    Replay(at)              its wire bytes twice
    Wire(at, how)           its wire bytes through a function
    Segments(at, how)       its segments through a function before they are framed: all checksums and tags are right
    Trickle(at, ...)        from this piece on a few bytes at a time
    Reply(how)              every answer of the session through a function: drop, double, change messages
    Impostor()              the monitor does not know the client's key and lets everybody in

`fake_cluster` runs several on loopback TCP.  `FakeMonitor.serve` takes any trio stream, a memory stream too.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from cephmonfs.demo.cluster import DemoCluster
from cephmonfs.demo.monitors import DemoSettings, demo_monitors
from cephmonfs.errors import ProtocolError
from cephmonfs.messages.message import Message, MsgType
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName
from cephmonfs.monitor.authserver import Answer, ServerAuth
from cephmonfs.monitor.cephx_server import CephxAuth, CephxServer
from cephmonfs.monitor.listener import peer_addr
from cephmonfs.monitor.monitors import Monitors, MonitorSettings
from cephmonfs.monitor.server_v2 import ClientMessage, ClientReady, Piece, ServerConnectionV2
from cephmonfs.monitor.service import ClientSession
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import pack_preamble


@dataclass(frozen=True, slots=True)
class Silent:
    at: Piece


@dataclass(frozen=True, slots=True)
class Reset:
    at: Piece


@dataclass(frozen=True, slots=True)
class Cut:
    at: Piece
    keep: int


@dataclass(frozen=True, slots=True)
class Flip:
    at: Piece
    offset: int = -1
    mask: int = 1


@dataclass(frozen=True, slots=True)
class Replay:
    at: Piece


@dataclass(frozen=True, slots=True)
class Wire:
    at: Piece
    how: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Segments:
    at: Piece
    how: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Trickle:
    at: Piece
    chunk: int = 1
    delay_s: float = 0.01


@dataclass(frozen=True, slots=True)
class Reply:
    how: Callable[[Message], list[Message]]


@dataclass(frozen=True, slots=True)
class Impostor:
    pass


Fault = Silent | Reset | Cut | Flip | Replay | Wire | Segments | Trickle | Reply | Impostor


# ready-made faults


def wrong_mode(number: int) -> Segments:
    """AUTH_DONE with a connection mode that was perhaps not offered."""
    return Segments(Piece.AUTH_DONE, lambda s: (s[0][:8] + struct.pack("<I", number) + s[0][12:], *s[1:]))


def bad_signature() -> Segments:
    """AUTH_SIGNATURE that signs something else."""
    return Segments(Piece.AUTH_SIGNATURE, lambda s: (bytes([s[0][0] ^ 1]) + s[0][1:],))


def huge_length(at: Piece, length: int = 0xFFFFFFF0) -> Wire:
    """A frame that announces an absurd length, its preamble's crc being right.  Not for secure frames."""

    def how(data: bytes) -> bytes:
        class _Long(bytes):
            def __len__(self) -> int:
                return length

        return pack_preamble(data[0], (_Long(),)) + data[32:]

    return Wire(at, how)


def wrong_fsid() -> Reply:
    """Answers to STATFS that belong to another cluster."""

    def how(message: Message) -> list[Message]:
        if message.type == MsgType.STATFS_REPLY:
            message = replace(message, front=bytes(b ^ 0xFF for b in message.front[:16]) + message.front[16:])
        return [message]

    return Reply(how)


def foreign_monmap() -> Reply:
    """A MonMap of another cluster: le32 length, ENCODE_START, then the fsid."""

    def how(message: Message) -> list[Message]:
        if message.type == MsgType.MON_MAP:
            front = message.front
            message = replace(message, front=front[:10] + bytes(b ^ 0xFF for b in front[10:26]) + front[26:])
        return [message]

    return Reply(how)


def wrong_tid(by: int = 1) -> Reply:
    """Answers under another transaction's number."""
    return Reply(lambda m: [replace(m, tid=m.tid + by) if m.tid else m])


def no_answer(*types: int) -> Reply:
    """A session that works, and never answers with these types."""
    return Reply(lambda m: [] if m.type in types else [m])


def twice(*types: int) -> Reply:
    """Each answer of these types two times."""
    return Reply(lambda m: [m, m] if m.type in types else [m])


@dataclass(frozen=True, slots=True)
class _Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class _End:
    pass


_Action = _Send | _Pause | _End


class FaultyConnection(ServerConnectionV2):
    """The server machine with faults; what is to be done with the stream stands in `actions`."""

    def __init__(
        self,
        own: EntityAddr,
        peer: EntityAddr,
        methods: dict[int, Callable[[], ServerAuth]],
        faults: Sequence[Fault],
        settings: MonitorSettings,
        rank: int,
    ) -> None:
        self._faults = faults
        self._muted = False
        self._slow: Trickle | None = None
        self.actions: deque[_Action] = deque()
        super().__init__(own, peer, methods, modes=settings.modes, revision=settings.revision, rank=rank)

    def _frame(self, piece: Piece, *segments: bytes) -> None:
        for fault in self._faults:
            if isinstance(fault, Segments) and fault.at == piece:
                segments = fault.how(segments)
        super()._frame(piece, *segments)

    def _put(self, piece: Piece, data: bytes) -> None:
        super()._put(piece, data)
        self._out.clear()  # it goes to `actions` instead; the transcript has it as it should have been
        if self._muted:
            return
        for fault in self._faults:
            match fault:
                case Silent(at) if at == piece:
                    self._muted = True
                    return
                case Reset(at) if at == piece:
                    self._end(b"")
                    return
                case Cut(at, keep) if at == piece:
                    self._end(data[:keep])
                    return
                case Flip(at, offset, mask) if at == piece:
                    where = offset % len(data)
                    data = data[:where] + bytes([data[where] ^ mask]) + data[where + 1 :]
                case Replay(at) if at == piece:
                    data += data
                case Wire(at, how) if at == piece:
                    data = how(data)
                case Trickle(at) if at == piece:
                    self._slow = fault
                case _:
                    pass
        self._do(data)

    def _end(self, data: bytes) -> None:
        self._muted = True
        self._do(data)
        self.actions.append(_End())

    def _do(self, data: bytes) -> None:
        if self._slow is None:
            self.actions.append(_Send(data))
            return
        for start in range(0, len(data), self._slow.chunk):
            self.actions.append(_Send(data[start : start + self._slow.chunk]))
            self.actions.append(_Pause(self._slow.delay_s))


class _ImpostorAuth(CephxAuth):
    """Lets everybody in, with tickets sealed by a key of its own."""

    def __init__(self, server: CephxServer, key: CryptoKey) -> None:
        super().__init__(server)
        self._key = key

    def more(self, payload: bytes, now: float) -> Answer:
        size = 64 if self._mode is Mode.SECURE else 0
        return self._grant(self._key, self._claimed or self._server.new_global_id(), None, 1, size, now)


@dataclass
class FakeMonitor:
    """One monitor.  `script` has the faults of its first connections one by one, `faults` those of all later ones.

    Both may be changed while it runs: they are read when a connection begins.
    """

    monitors: Monitors
    rank: int = 0
    faults: Sequence[Fault] = ()
    script: list[Sequence[Fault]] = field(default_factory=list)
    connections: int = 0
    received: list[Message] = field(default_factory=list)
    errors: list[ProtocolError] = field(default_factory=list)  # what we held against clients
    refuse: bool = False  # close every new connection at once
    _live: list[_Served] = field(default_factory=list)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end."""
        self.connections += 1
        if self.refuse:
            await trio.aclose_forcefully(stream)
            return
        faults = self.script.pop(0) if self.script else self.faults
        served = _Served(self, stream, self._connection(faults, peer_addr(stream)), faults)
        self._live.append(served)
        try:
            await served.run()
        finally:
            self._live.remove(served)

    def _connection(self, faults: Sequence[Fault], peer: EntityAddr) -> FaultyConnection:
        monitors, settings = self.monitors, self.monitors.settings
        methods = dict(monitors.methods())
        if any(isinstance(fault, Impostor) for fault in faults):
            other = monitors.cephx.new_key(settings.key_type, 0.0)
            methods = {2: lambda: _ImpostorAuth(monitors.cephx, other)}
        return FaultyConnection(monitors.content.addrs[self.rank], peer, methods, faults, settings, self.rank)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._live)

    def kill_connections(self) -> None:
        """Close all connections now, as a monitor that dies does."""
        for served in self._live:
            served.kill()

    def send(self, message: Message) -> None:
        """Send something unasked to every client."""
        for served in self._live:
            served.send(message)


class _Served:
    """One connection of a FakeMonitor."""

    def __init__(
        self, monitor: FakeMonitor, stream: trio.abc.Stream, conn: FaultyConnection, faults: Sequence[Fault]
    ) -> None:
        self._monitor = monitor
        self._stream = stream
        self._conn = conn
        self._replies = [fault for fault in faults if isinstance(fault, Reply)]
        self._session: ClientSession | None = None
        self._wake = trio.Event()
        self._scope = trio.CancelScope()

    def kill(self) -> None:
        self._scope.cancel()

    def send(self, message: Message) -> None:
        if self._session is not None:
            self._conn.send_message(message)
            self._wake.set()

    async def run(self) -> None:
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._push)
                    await self._read()
                    nursery.cancel_scope.cancel()
            finally:
                await trio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        clock = self._monitor.monitors.clock
        while True:
            try:
                data = await self._stream.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
                return
            if not data:
                return
            try:
                self._conn.receive_data(data, clock())
                self._answer(clock())
            except ProtocolError as exc:
                self._monitor.errors.append(exc)
                return
            finally:
                self._wake.set()

    def _answer(self, now: float) -> None:
        while (event := self._conn.next_event()) is not None:
            match event:
                case ClientReady():
                    self._session = self._monitor.monitors.session(event, self._conn)
                case ClientMessage(message):
                    self._monitor.received.append(message)
                    if self._session is not None:
                        self._reply(self._session.handle(message, now))

    def _reply(self, messages: list[Message]) -> None:
        for fault in self._replies:
            messages = [changed for message in messages for changed in fault.how(message)]
        for message in messages:
            self._conn.send_message(message)

    async def _write(self) -> None:
        try:
            while True:
                if not self._conn.actions:
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                match self._conn.actions.popleft():
                    case _Send(data):
                        await self._stream.send_all(data)
                    case _Pause(seconds):
                        await trio.sleep(seconds)
                    case _End():
                        self._scope.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass

    async def _push(self) -> None:
        while True:
            await trio.sleep(0.5)
            if self._session is not None:
                self._reply(self._session.tick(self._monitor.monitors.clock()))
                self._wake.set()


@dataclass
class FakeCluster:
    """Monitors on loopback TCP, and what a client needs to enter."""

    mons: list[FakeMonitor]
    monitors: Monitors
    cluster: DemoCluster

    @property
    def addrs(self) -> tuple[EntityAddr, ...]:
        return self.cluster.addrs

    @property
    def fsid(self) -> bytes:
        return self.cluster.fsid.bytes

    @property
    def entity(self) -> EntityName:
        return self.monitors.settings.entity

    @property
    def key(self) -> CryptoKey:
        return self.monitors.key


def in_memory(settings: DemoSettings | None = None, clock: Callable[[], float] = time.time) -> FakeCluster:
    """Make monitors that listen nowhere: give `serve` a memory stream."""
    settings = settings or DemoSettings(mons=1)
    addrs = tuple(EntityAddr.of("127.0.0.1", 3300 + rank, AddrType.MSGR2) for rank in range(settings.mons))
    cluster, monitors = demo_monitors(settings, addrs, clock)
    return FakeCluster([FakeMonitor(monitors, rank) for rank in range(settings.mons)], monitors, cluster)


@asynccontextmanager
async def fake_cluster(
    settings: DemoSettings | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[FakeCluster]:
    """Run monitors on loopback TCP while the body runs."""
    settings = settings or DemoSettings(mons=1)
    listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(settings.mons)]
    ports = [listener.socket.getsockname()[1] for listener in listeners]
    addrs = tuple(EntityAddr.of("127.0.0.1", port, AddrType.MSGR2) for port in ports)
    cluster, monitors = demo_monitors(settings, addrs, clock)
    fakes = [FakeMonitor(monitors, rank) for rank in range(settings.mons)]
    async with trio.open_nursery() as nursery:
        for fake, listener in zip(fakes, listeners, strict=True):
            nursery.start_soon(trio.serve_listeners, partial(_serve, fake), [listener])
        yield FakeCluster(fakes, monitors, cluster)
        nursery.cancel_scope.cancel()


async def _serve(fake: FakeMonitor, stream: trio.abc.Stream) -> None:
    await fake.serve(stream)  # looked up each time: a test may have put something else there


def random_bytes(n: int) -> bytes:
    """Random bytes for a client."""
    return os.urandom(n)
