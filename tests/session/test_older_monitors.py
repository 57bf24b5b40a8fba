"""A session over msgr1 with monitors that know less: old forms, subscriptions to be renewed, stale tickets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from cephmonfs.auth.credentials import Credentials, Ticket
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.mon import MMonGetMap, MMonMap, MMonSubscribe, MMonSubscribeAck
from cephmonfs.messages.registry import ToMonitor, to_monitor
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr, EntityName, EntityType, Epoch
from cephmonfs.model.features import DEFAULT_FEATURES, Feature, has
from cephmonfs.model.monmap import AuthCiphers, MonInfo, MonMap
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import Close, Connect, MonSession, SessionConfig
from cephmonfs.mon.snapshot import Stamp, State
from cephmonfs.msgr import frames_v1
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v1 import Connect as ConnectV1
from cephmonfs.msgr.frames_v1 import ConnectReply, FrameReader, Tag
from cephmonfs.wire.buffer import ReceiveBuffer
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

V1 = EntityAddr.of("10.0.0.1", 6789, AddrType.LEGACY)
V2 = EntityAddr.of("10.0.0.1", 3300, AddrType.MSGR2)
OTHER = EntityAddr.of("10.0.0.7", 6789, AddrType.LEGACY)
FSID = UUID(int=5)
WHO = EntityName(EntityType.CLIENT, "df")
KEY = CryptoKey(KeyType.AES, Utime(0, 0), Secret(bytes(16)))
YEAR_2010 = DEFAULT_FEATURES & ~(1 << 57) & ~Feature.SUBSCRIBE2 & ~Feature.MSG_AUTH & ~Feature.MSGR_KEEPALIVE2


def monmap(epoch: int = 1, allowed: tuple[int, ...] = ()) -> MonMap:
    return MonMap(
        10,
        FSID,
        Epoch(epoch),
        Utime(1, 0),
        Utime(1, 0),
        (MonInfo("a", AddrVec((V2, V1))),),
        auth_ciphers=AuthCiphers(0, 0, allowed, 0),
    )


@dataclass
class Monitor:
    """One connection's other end; auth none, unless `result` refuses."""

    features: int = DEFAULT_FEATURES
    result: int = 0
    ack_s: int | None = None
    map: MonMap = field(default_factory=monmap)
    got: list[ToMonitor | None] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    _stage: int = 0
    _seq: int = 0
    _buf: ReceiveBuffer = field(default_factory=ReceiveBuffer)
    _reader: FrameReader = field(default_factory=FrameReader)
    out: bytearray = field(default_factory=bytearray)

    def greet(self) -> None:
        enc = Encoder().raw(frames_v1.BANNER)
        V1.encode_legacy(enc)
        V1.encode_legacy(enc)
        self.out += bytes(enc)

    def take(self, data: bytes) -> None:
        self._buf.feed(data)
        if self._stage == 0 and (head := self._buf.take(9 + 136 + frames_v1.CONNECT_SIZE)):
            cur = Cursor(head)
            cur.skip(9 + 136)
            assert ConnectV1.decode(cur).host_type == EntityType.CLIENT
            self._stage = 1
            self._reader.msg_auth = has(self.features, Feature.MSG_AUTH)
            self.out += ConnectReply(Tag.READY, self.features).encode()
        while self._stage == 1 and (frame := self._reader.next(self._buf)) is not None:
            if frame.message is not None:
                self.got.append(to_monitor(frame.message))
                self.versions.append(frame.message.version)
                self.answer(self.got[-1])

    def answer(self, message: ToMonitor | None) -> None:
        match message:
            case MAuth():
                self.say(MAuthReply(1, self.result, 0 if self.result else 77, b""))
            case MMonSubscribe(what):
                if "monmap" in what:
                    self.send_map()
                if self.ack_s is not None:
                    self.say(MMonSubscribeAck(self.ack_s, FSID.bytes))
            case MMonGetMap():
                self.send_map()
            case _:
                pass

    def send_map(self) -> None:
        enc = Encoder()
        self.map.encode(enc, self.features)
        self.say(MMonMap(bytes(enc)))

    def say(self, payload: Payload) -> None:
        self._seq += 1
        message: Message = to_message(payload)
        msg_auth = has(self.features, Feature.MSG_AUTH)
        self.out += frames_v1.encode_message(message, self._seq, (EntityType.MON, 0), msg_auth=msg_auth)


class Scene:
    """A session with one monitor after the other."""

    def __init__(self, *monitors: Monitor, identity: Identity | None = None, at: EntityAddr = V1) -> None:
        self.waiting = deque(monitors)
        self.now = 0.0
        self.links: dict[int, Monitor] = {}
        self.connects: list[EntityAddr] = []
        who = identity or Identity(WHO, None, (Mode.LEGACY,))
        self.session = MonSession(SessionConfig(who), lambda n: bytes(range(n)), self.stamp)
        self.session.set_candidates([Candidate("configured", at)], self.stamp)
        self.settle()

    @property
    def stamp(self) -> Stamp:
        return Stamp(self.now, 1e9 + self.now)

    def settle(self) -> None:
        for _ in range(200):
            moved = False
            while (event := self.session.next_event()) is not None:
                moved = True
                if isinstance(event, Connect):
                    self.connects.append(event.addr)
                    if not self.waiting:
                        continue
                    self.links[event.conn_id] = self.waiting.popleft()
                    self.links[event.conn_id].greet()
                    self.session.connected(event.conn_id, self.stamp)
                elif isinstance(event, Close):
                    self.links.pop(event.conn_id, None)
            for link, data in self.session.data_to_send():
                moved = True
                self.links[link].take(data)
            for link, monitor in tuple(self.links.items()):
                if monitor.out:
                    moved = True
                    data, monitor.out = bytes(monitor.out), bytearray()
                    self.session.receive_data(link, data, self.stamp)
            if not moved:
                return

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.session.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.session.handle_timeout(self.stamp)
            self.settle()
        self.now = end

    def drop(self) -> None:
        """The monitor closes its connections."""
        for link in tuple(self.links):
            self.session.closed(link, "closed", self.stamp)
        self.settle()


def subscriptions(monitor: Monitor) -> list[MMonSubscribe]:
    return [m for m in monitor.got if isinstance(m, MMonSubscribe)]


def test_legacy_session() -> None:
    monitor = Monitor()
    scene = Scene(monitor)
    view = scene.session.snapshot(scene.stamp)
    assert (view.state, view.mode, view.mon, view.addr) == (State.OPEN, "legacy", "a", "v1:10.0.0.1:6789/0")
    assert view.global_id == 77


def test_subscriptions_are_renewed_at_half_the_interval() -> None:
    monitor = Monitor(YEAR_2010, ack_s=300)
    scene = Scene(monitor)
    assert len(subscriptions(monitor)) == 2  # the monmap, then the others
    assert monitor.versions[1] == 1
    scene.run(149)
    assert len(subscriptions(monitor)) == 2
    scene.run(2)
    assert len(subscriptions(monitor)) == 3
    again = subscriptions(monitor)[2].what
    assert again["monmap"].start == 2  # from what we have on
    scene.run(600)
    assert len(subscriptions(monitor)) == 7
    assert scene.session.snapshot(scene.stamp).state is State.OPEN
    assert any(isinstance(m, MMonGetMap) for m in monitor.got)  # its signs of life


@pytest.mark.parametrize("ack_s", [0, 1])
def test_absurd_intervals(ack_s: int) -> None:
    monitor = Monitor(YEAR_2010, ack_s=ack_s)
    scene = Scene(monitor)
    scene.run(10)
    assert 10 <= len(subscriptions(monitor)) <= 12


def test_no_renewal_where_nobody_acknowledges() -> None:
    monitor = Monitor()
    Scene(monitor).run(100_000)
    assert len(subscriptions(monitor)) == 2


def test_legacy_stays_legacy_whatever_the_monmap_shows() -> None:
    scene = Scene(Monitor())
    scene.drop()
    scene.run(5)
    assert set(scene.connects) == {V1}


def test_a_monitors_other_address_is_not_tried_on_its_own() -> None:
    """Given without a protocol, a port may be a monitor's v1 one: once the monmap tells, v2 is spoken where v2 is."""
    configured = EntityAddr(AddrType.MSGR2, 0, V1.sockaddr)
    identity = Identity(WHO, None, (Mode.SECURE, Mode.CRC))
    scene = Scene(identity=identity, at=configured)
    session = scene.session
    assert [c.addr for c in session._hunt.candidates] == [configured]
    session._maps.monmap = monmap()
    session._refresh_candidates()
    assert [c.addr for c in session._hunt.candidates] == [V2]


def test_a_monitor_without_our_protocol_is_no_reason_to_forget_the_configured_one() -> None:
    configured = EntityAddr(AddrType.MSGR2, 0, OTHER.sockaddr)
    scene = Scene(identity=Identity(WHO, None, (Mode.CRC,)), at=configured)
    session = scene.session
    session._maps.monmap = MonMap(
        10, FSID, Epoch(1), Utime(1, 0), Utime(1, 0), (MonInfo("a", AddrVec((OTHER,))), MonInfo("b", AddrVec((V2,))))
    )
    session._refresh_candidates()
    assert [c.addr for c in session._hunt.candidates] == [V2, configured]


@pytest.mark.parametrize("mode", [Mode.SECURE, Mode.CRC])
def test_v1_is_never_spoken_unless_asked_for(mode: Mode) -> None:
    scene = Scene(Monitor(), Monitor(), identity=Identity(WHO, None, (mode,)))
    view = scene.session.snapshot(scene.stamp)
    assert view.state is not State.OPEN
    assert "address of the v1 protocol" in view.last_error


# ---- tickets


def old_credentials() -> Credentials:
    return Credentials(99, {EntityType.AUTH: Ticket(EntityType.AUTH, KEY, 3600, 1, Secret(b"blob"))})


def auths(monitor: Monitor) -> int:
    """The global_id that was claimed."""
    (first,) = [m for m in monitor.got if isinstance(m, MAuth)]
    cur = Cursor(first.payload)
    cur.skip(1 + 4 + 4)
    EntityName.decode(cur)
    return cur.u64()


@pytest.mark.parametrize("result", [-1, -13, -22])
def test_a_refused_ticket_is_forgotten_at_once(result: int) -> None:
    first, refusing, fresh = Monitor(), Monitor(result=result), Monitor()
    scene = Scene(first, refusing, fresh)
    scene.session._tickets.credentials = old_credentials()
    scene.drop()
    scene.run(1)
    assert auths(refusing) == 99
    assert auths(fresh) == 0
    view = scene.session.snapshot(scene.stamp)
    assert view.state is State.OPEN
    assert view.counters["tickets_stale"] == 1


def test_a_refusal_without_a_ticket_is_one() -> None:
    scene = Scene(Monitor(result=-13))
    scene.run(1)
    assert scene.session.snapshot(scene.stamp).state is State.REFUSED


class Closing(Monitor):
    """Closes as soon as it sees MAuth."""

    def answer(self, message: ToMonitor | None) -> None:
        self.out += bytes((Tag.CLOSE,))


def test_monitors_that_close_on_a_ticket() -> None:
    """One may be out of quorum; after two we try without."""
    closing = [Closing(), Closing()]
    fresh = Monitor()
    scene = Scene(Monitor(), *closing, fresh)
    scene.session._tickets.credentials = old_credentials()
    scene.drop()
    scene.run(5)
    assert [auths(m) for m in (*closing, fresh)] == [99, 99, 0]


def test_one_monitor_that_closes_costs_no_ticket() -> None:
    closing, next_one = Closing(), Monitor()
    scene = Scene(Monitor(), closing, next_one)
    scene.session._tickets.credentials = old_credentials()
    scene.drop()
    scene.run(5)
    assert auths(next_one) == 99
    assert scene.session._tickets._doubts == 0


# ---- key types


def test_key_type_that_the_cluster_stops_taking() -> None:
    monitor = Monitor()
    scene = Scene(monitor)
    session = scene.session
    session._config = SessionConfig(Identity(WHO, KEY, (Mode.LEGACY,)))
    for epoch, allowed in ((2, (1, 2)), (3, (2, 77))):
        assert "type" not in session.snapshot(scene.stamp).last_error
        monitor.map = monmap(epoch, allowed)
        monitor.send_map()
        scene.settle()
    assert session.snapshot(scene.stamp).last_error == (
        "client.df: its key is of type aes, and the cluster takes only aes256k, cipher 77 (auth_allowed_ciphers): "
        "it needs a new key before it connects again"
    )
