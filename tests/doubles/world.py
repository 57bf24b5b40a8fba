"""A session and three monitors without sockets or clocks: what a test says happens, at the moment that it says.

The monitors are the embedded ones (cephmonfs.demo).  Each is in one of these conditions, changed at any time:

    UP           answers
    DEAD         nobody listens: connects are refused
    FROZEN       TCP works (the kernel does that), the process does nothing; thawed, it does what was held up
    UNREACHABLE  packets are lost: connects do not even fail
    UNREADABLE   out of quorum: opens sessions and answers commands; keeps what only a quorum answers until it is UP
    MUTE         lets everybody in and answers nothing but keepalives
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING
from uuid import UUID

from cephmonfs.demo import maps
from cephmonfs.demo import osdmap as demo_osdmap
from cephmonfs.demo.monitors import DemoSettings, demo_monitors
from cephmonfs.errors import CephMonFSError, ProtocolError
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import to_monitor
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrType, EntityAddr, Epoch
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.decoding import DecodeJob
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import Answered, Changed, Close, Connect, Decode, Failed, MonSession, SessionConfig
from cephmonfs.mon.snapshot import CommandReply, Snapshot, Stamp, State, StatfsRecord
from cephmonfs.mon.statfs import Patience
from cephmonfs.monitor.authserver import EACCES
from cephmonfs.monitor.server_v2 import ClientMessage, ClientReady, ServerConnectionV2
from cephmonfs.monitor.service import ClientSession
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

LATE = 0.3
QUORUM_ONLY = (MsgType.STATFS_REPLY, MsgType.MON_GET_VERSION_REPLY)
WALL = 1_800_000_000.0
_PEER = EntityAddr.of("127.0.0.1", 1, AddrType.MSGR2)


class Is(Enum):
    UP = auto()
    DEAD = auto()
    FROZEN = auto()
    UNREACHABLE = auto()
    UNREADABLE = auto()
    MUTE = auto()


@dataclass
class Conn:
    """The monitor's end of one link."""

    rank: int
    server: ServerConnectionV2
    session: ClientSession | None = None
    held: deque[bytes] = field(default_factory=deque)  # bytes that a frozen monitor has not read
    kept: list[Message] = field(default_factory=list)  # answers that an unreadable one gives later


Reply = Callable[[int, Message], Iterable[Message]]


class World:
    """See the module.  Times are seconds since the world began, of both clocks unless one is moved alone."""

    def __init__(
        self,
        *,
        mons: int = 3,
        fs: str | None = None,
        pool: str | None = None,
        fsid: UUID | None = None,
        settings: DemoSettings | None = None,
        identity: Identity | None = None,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.wall_shift = 0.0
        self.settings = replace(settings or DemoSettings(seed=3), mons=mons)
        addrs = tuple(EntityAddr.of("127.0.0.1", 3300 + rank, AddrType.MSGR2) for rank in range(mons))
        self.cluster, self.monitors = demo_monitors(self.settings, addrs, lambda: self.wall)
        self.condition = dict.fromkeys(range(mons), Is.UP)
        self.reply: Reply = lambda _, message: (message,)
        self.received: list[tuple[int, Payload]] = []  # what monitors got, by rank
        self.conns: dict[int, Conn] = {}
        self.connects: list[tuple[float, str]] = []  # when which monitor was connected to
        self.answers: dict[int, StatfsRecord | CommandReply | CephMonFSError] = {}
        self.changed: set[str] = set()
        self.decoding: DecodeJob | None = None
        self.decodes = True  # at once
        self.moves: list[str] = []  # "connect a", "close a", as the session wished them
        self._names: dict[int, str] = {}
        key: CryptoKey | None = None if self.settings.auth_none else self.monitors.key
        who = identity or Identity(self.settings.entity, key, (Mode.SECURE, Mode.CRC))
        rng = random.Random(seed)
        config = SessionConfig(who, fsid=fsid, fs=fs, pool=pool, hostname="here")
        self.session = MonSession(config, rng.randbytes, self.stamp)
        self.addrs = dict(zip(self.cluster.names, addrs, strict=True))

    @property
    def wall(self) -> float:
        return WALL + self.now + self.wall_shift

    @property
    def stamp(self) -> Stamp:
        return Stamp(self.now, self.wall)

    @property
    def snap(self) -> Snapshot:
        return self.session.snapshot(self.stamp)

    # ---- what tests do

    def start(self, *names: str) -> None:
        """Tell the session about these monitors (all) and let things happen."""
        wanted = [Candidate(name, self.addrs[name]) for name in names or self.cluster.names]
        self.session.set_candidates(wanted, self.stamp)
        self.settle()

    def opened(self, on: str = "") -> World:
        """Start, and have a session; with this monitor, when named."""
        self.start(*([on] if on else []))
        assert self.is_open
        return self

    def statfs(self, patience: Patience | None = None, *, may_wait: bool = True) -> int:
        waiter = self.session.request_statfs(self.stamp, patience, may_wait=may_wait)
        self.settle()
        return waiter

    def command(self, prefix: str) -> int:
        waiter = self.session.request_command({"prefix": prefix}, self.stamp)
        self.settle()
        return waiter

    # each a name of its own, so that mypy does not think that one excludes the others for good

    @property
    def is_connecting(self) -> bool:
        return self.snap.state is State.CONNECTING

    @property
    def is_open(self) -> bool:
        return self.snap.state is State.OPEN

    @property
    def is_hunting(self) -> bool:
        return self.snap.state is State.HUNTING

    @property
    def is_refused(self) -> bool:
        return self.snap.state is State.REFUSED

    def answered(self, waiter: int) -> bool:
        """Whether a statfs was answered with numbers."""
        return isinstance(self.answers.get(waiter), StatfsRecord)

    def answer(self, waiter: int) -> StatfsRecord:
        got = self.answers[waiter]
        assert isinstance(got, StatfsRecord), got
        return got

    def set(self, condition: Is, *names: str) -> None:
        """Change the condition of monitors."""
        ranks = [self.cluster.names.index(name) for name in names]
        self.condition.update(dict.fromkeys(ranks, condition))
        for rank, name in zip(ranks, names, strict=True):
            if condition is Is.DEAD:
                self.reset(name)
            elif condition is Is.UP:
                for link, conn in tuple(self.conns.items()):
                    if conn.rank == rank:
                        self._thaw(link, conn)
        self.settle()

    def reset(self, name: str) -> None:
        """Every connection with this monitor breaks."""
        rank = self.cluster.names.index(name)
        for link in [link for link, conn in self.conns.items() if conn.rank == rank]:
            del self.conns[link]
            self.session.closed(link, "connection reset by peer", self.stamp)
        self.settle()

    def run(self, seconds: float, *, until: Callable[[], bool] | None = None) -> float:
        """Let time pass, doing all that is due; returns how much of it did, less than all if `until` came true."""
        begin, end = self.now, self.now + seconds
        for _ in range(100_000):
            if until is not None and until():
                return self.now - begin
            due = self.session.next_timeout()
            if due is None or due > end:
                self.now = end
                return seconds
            self.now = max(self.now, due)
            self.session.handle_timeout(self.stamp)
            self.settle()
        raise AssertionError("the session keeps itself busy")

    def push(self, name: str, payload: Payload) -> None:
        """A monitor sends something unasked."""
        for conn in self._sessions(name):
            conn.server.send_message(to_message(payload))
        self.settle()

    def tick(self) -> None:
        """Monitors send what subscriptions are due."""
        for conn in tuple(self.conns.values()):
            if conn.session is not None and self.condition[conn.rank] is Is.UP:
                for message in conn.session.tick(self.wall):
                    self._send(conn, message)
        self.settle()

    def asked(self, kind: type[Payload], rank: int | None = None) -> int:
        """How many messages of a kind monitors got."""
        return sum(isinstance(payload, kind) and rank in (None, r) for r, payload in self.received)

    def decode(self) -> None:
        """The map that waits has been decoded."""
        job, self.decoding = self.decoding, None
        assert job is not None
        job.run()
        self.session.decoded(self.stamp)
        self.settle()

    # ---- the pump

    def _sessions(self, name: str) -> list[Conn]:
        rank = self.cluster.names.index(name)
        return [conn for conn in self.conns.values() if conn.rank == rank and conn.session is not None]

    def settle(self) -> None:
        """Carry everything both ways until nothing moves."""
        moved = True
        while moved:
            moved = False
            while (event := self.session.next_event()) is not None:
                moved = True
                match event:
                    case Connect(link, addr):
                        self._connect(link, addr)
                    case Close(link):
                        self.moves.append(f"close {self._names.get(link, '?')}")
                        self.conns.pop(link, None)
                    case Answered(waiters, result):
                        self.answers.update(dict.fromkeys(waiters, result))
                    case Failed(waiters, error):
                        self.answers.update(dict.fromkeys(waiters, error))
                    case Changed(what):
                        self.changed |= what
                    case Decode(job):
                        self.decoding = job
                        if self.decodes:
                            self.decode()
            for link, data in self.session.data_to_send():
                moved = True
                self._to_monitor(link, data)
            for link, conn in tuple(self.conns.items()):
                if data := conn.server.data_to_send():
                    moved = True
                    self.session.receive_data(link, data, self.stamp)
        self._is_settled()

    def _is_settled(self) -> None:
        """After each input everything is consistent: settling once more changes nothing."""
        before = (self.session.next_timeout(), self.snap.state, tuple(self.conns))
        self.session._settle()
        assert (self.session.next_timeout(), self.snap.state, tuple(self.conns)) == before
        assert self.session.next_event() is None

    def _connect(self, link: int, addr: EntityAddr) -> None:
        rank = next((r for r, own in enumerate(self.cluster.addrs) if own == addr), None)
        name = self.cluster.names[rank] if rank is not None else str(addr)
        self._names[link] = name
        self.moves.append(f"connect {name}")
        self.connects.append((self.now, name))
        condition = Is.DEAD if rank is None else self.condition[rank]
        if condition is Is.DEAD or rank is None:
            self.session.connect_failed(link, "connection refused", self.stamp)
        elif condition is not Is.UNREACHABLE:
            self.conns[link] = Conn(rank, self.monitors.connection(rank, _PEER))
            self.session.connected(link, self.stamp)

    def _to_monitor(self, link: int, data: bytes) -> None:
        conn = self.conns.get(link)
        if conn is None:
            return
        if self.condition[conn.rank] in (Is.FROZEN, Is.UNREACHABLE):
            conn.held.append(data)
        else:
            self._read(link, conn, data)

    def _thaw(self, link: int, conn: Conn) -> None:
        for message in conn.kept:
            conn.server.send_message(message)
        conn.kept.clear()
        while conn.held:
            self._read(link, conn, conn.held.popleft())

    def _read(self, link: int, conn: Conn, data: bytes) -> None:
        try:
            conn.server.receive_data(data, self.wall)
            while (event := conn.server.next_event()) is not None:
                match event:
                    case ClientReady():
                        conn.session = self.monitors.session(event, conn.server)
                    case ClientMessage(message):
                        self._handle(conn, message)
        except ProtocolError:
            self.conns.pop(link, None)
            self.session.closed(link, "connection reset by peer", self.stamp)

    def _handle(self, conn: Conn, message: Message) -> None:
        assert conn.session is not None
        if self.condition[conn.rank] is Is.MUTE:
            return
        payload = to_monitor(message)
        assert payload is not None
        self.received.append((conn.rank, payload))
        for answer in conn.session.handle(message, self.wall):
            if self.condition[conn.rank] is Is.UNREADABLE and answer.type in QUORUM_ONLY:
                conn.kept.append(answer)
            else:
                self._send(conn, answer)

    def _send(self, conn: Conn, message: Message) -> None:
        for changed in self.reply(conn.rank, message):
            conn.server.send_message(changed)

    # ---- maps for tests to send

    def monmap(self, epoch: int, names: str = "abc", fsid: UUID | None = None) -> mon.MMonMap:
        """A monmap with these of the monitors."""
        base = maps.monmap(self.cluster, self.settings.key_type)
        mons = tuple(info for info in base.mons if info.name in names)
        return encoded_monmap(replace(base, epoch=Epoch(epoch), mons=mons, fsid=fsid or base.fsid))

    def fsmap(self, epoch: int, *names: tuple[int, str]) -> mon.MFSMap:
        """A fsmap with file systems of these ids and names."""
        base = maps.fsmap(self.cluster, self.cluster.at(self.wall))
        one = base.filesystems[0]
        filesystems = tuple(
            replace(one, fscid=fscid, mdsmap=replace(one.mdsmap, fs_name=name)) for fscid, name in names
        )
        first = names[0][0] if names else -1
        fsmap = replace(base, epoch=Epoch(epoch), filesystems=filesystems, legacy_client_fscid=first)
        return mon.MFSMap(epoch, maps.encoded(fsmap))

    def mdsmap(self, epoch: int, *data_pools: int) -> mon.MMDSMap:
        """An mdsmap with these data pools."""
        base = maps.mdsmap(self.cluster, self.cluster.at(self.wall))
        blob = maps.encoded(replace(base, epoch=Epoch(epoch), data_pools=data_pools))
        return mon.MMDSMap(self.cluster.fsid.bytes, epoch, blob, "cephfs")


def encoded_monmap(monmap: MonMap) -> mon.MMonMap:
    enc = Encoder()
    monmap.encode(enc, (1 << 64) - 1)
    return mon.MMonMap(bytes(enc))


def osdmap(world: World, epoch: int, pools: dict[int, str]) -> mon.MOSDMap:
    """A full osdmap of this epoch with these pools."""
    state = world.cluster.at(world.wall)
    base = OSDMap.decode(Cursor(demo_osdmap.encode_osdmap(world.cluster, state), "osdmap"))
    enc = Encoder()
    replace(base, epoch=Epoch(epoch), pool_names=pools).encode(enc)
    return mon.MOSDMap(world.cluster.fsid.bytes, {}, {epoch: bytes(enc)}, epoch, epoch)


def statfs_reply(world: World, message: Message, *, version: int, kb_used: int = 0) -> Message:
    """The same answer with another version and another content."""
    stats = Statfs(1000, kb_used, max(0, 1000 - kb_used), 1)
    return to_message(mon.MStatfsReply(world.cluster.fsid.bytes, version, stats), message.tid)


def caps(*, statfs: bool, maps_too: bool, version: bool = True) -> object:
    """A key whose caps do not cover the maps, or nothing at all: silence, and commands are refused."""

    def reply(world: World, rank: int, message: Message) -> Iterable[Message]:
        if message.type == MsgType.STATFS_REPLY and not statfs:
            return ()
        if message.type in (MsgType.OSD_MAP, MsgType.MDS_MAP, MsgType.FS_MAP, MsgType.MGR_MAP) and not maps_too:
            return ()
        if message.type == MsgType.MON_GET_VERSION_REPLY and not version:
            return ()
        if message.type == MsgType.MON_COMMAND_ACK:
            return (to_message(mon.MMonCommandAck(EACCES, "access denied", ()), message.tid),)
        return (message,)

    return reply
