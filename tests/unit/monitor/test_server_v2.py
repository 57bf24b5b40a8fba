"""The embedded monitor's end against the client's machine, without a socket: neither shares logic with the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.auth.credentials import Credentials
from cephmonfs.auth.envelope import Usage, seal, unseal
from cephmonfs.demo.cluster import DATA_POOL
from cephmonfs.demo.monitors import DemoSettings, demo_monitors
from cephmonfs.errors import IntegrityError, MissingFeatures, ProtocolError, UnexpectedMessage
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from cephmonfs.model.monmap import MonMap
from cephmonfs.monitor.server_v2 import ClientMessage, ClientReady, ServerConnectionV2
from cephmonfs.monitor.service import ClientSession
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.doubles.client import Driver
from tests.doubles.monitor import random_bytes

START = 1_800_000_000.0
PEER = EntityAddr.of("127.0.0.1", 40000, AddrType.MSGR2)
ADDRS = tuple(EntityAddr.of("127.0.0.1", 3300 + rank, AddrType.MSGR2) for rank in range(3))
KEY_TYPES = [KeyType.AES, KeyType.AES256K]


class World:
    """Monitors and a clock that a test turns."""

    def __init__(self, **settings: object) -> None:
        self.now = START
        self.settings = replace(DemoSettings(), **settings)  # type: ignore[arg-type]
        self.cluster, self.monitors = demo_monitors(self.settings, ADDRS, lambda: self.now)

    def driver(self, rank: int = 0, prior: Credentials | None = None, **options: object) -> Driver:
        key = None if self.settings.auth_none else self.monitors.key
        return Driver(ADDRS[rank], self.settings.entity, key, prior=prior, **options)  # type: ignore[arg-type]

    def server(self, rank: int = 0) -> Server:
        return Server(self, rank)


class Server:
    """A monitor's end with its session, driven by hand."""

    def __init__(self, world: World, rank: int) -> None:
        self.world = world
        self.rank = rank
        self.conn: ServerConnectionV2 = world.monitors.connection(rank, PEER)
        self.ready: ClientReady | None = None
        self.session: ClientSession | None = None
        self.received: list[Message] = []

    def feed(self, data: bytes) -> bytes:
        self.conn.receive_data(data, self.world.now)
        while (event := self.conn.next_event()) is not None:
            match event:
                case ClientReady():
                    self.ready = event
                    self.session = self.world.monitors.session(event, self.conn)
                case ClientMessage(message):
                    self.received.append(message)
                    assert self.session is not None
                    for reply in self.session.handle(message, self.world.now):
                        self.conn.send_message(reply)
        return self.conn.data_to_send()

    def tick(self) -> bytes:
        assert self.session is not None
        for reply in self.session.tick(self.world.now):
            self.conn.send_message(reply)
        return self.conn.data_to_send()


def connect(world: World, driver: Driver, server: Server, step: int = 1 << 20) -> None:
    """Carry bytes both ways until nobody has any, `step` at a time."""
    to_client, to_server = server.conn.data_to_send(), driver.feed(b"")
    while to_client or to_server:
        head, to_client = to_client[:step], to_client[step:]
        to_server += driver.feed(head) if head else b""
        head, to_server = to_server[:step], to_server[step:]
        to_client += server.feed(head) if head else b""


def opened(world: World, rank: int = 0, **options: object) -> tuple[Driver, Server]:
    driver, server = world.driver(rank, **options), world.server(rank)  # type: ignore[arg-type]
    connect(world, driver, server)
    return driver, server


def ask(driver: Driver, server: Server, payload: object, tid: int = 7) -> list[object]:
    before = len(driver.messages)
    driver.feed(server.feed(driver.say(payload, tid)))  # type: ignore[arg-type]
    return list(driver.messages[before:])


@pytest.mark.parametrize("kind", KEY_TYPES, ids=lambda k: k.name)
@pytest.mark.parametrize("mode", list(Mode)[:2])
@pytest.mark.parametrize("revision", [(0, 1), (1, 0), (1, 1)], ids=str)
@pytest.mark.parametrize("step", [1, 1 << 20], ids=["byte at a time", "all at once"])
def test_every_mode(kind: KeyType, mode: Mode, revision: tuple[int, int], step: int) -> None:
    world = World(key_type=kind, revision=revision[0])
    driver, server = world.driver(modes=(mode,), revision=revision[1]), world.server()
    connect(world, driver, server, step)
    assert driver.ready is not None
    assert driver.ready.mode is mode
    assert server.ready is not None
    assert server.ready.entity == world.settings.entity
    assert driver.credentials is not None
    assert driver.credentials.global_id == server.ready.global_id
    assert set(driver.credentials.tickets) == {EntityType.AUTH, EntityType.MON, EntityType.MGR}
    (reply,) = ask(driver, server, mon.MStatfs(world.cluster.fsid.bytes))
    assert isinstance(reply, mon.MStatfsReply)
    assert driver.raw[-1].tid == 7
    driver.conn.send_keepalive(Utime(5, 6))
    driver.feed(server.feed(driver.conn.data_to_send()))
    assert driver.acked == 1


def test_auth_none() -> None:
    world = World(auth_none=True)
    driver, server = opened(world, modes=(Mode.CRC,))
    assert driver.ready is not None
    driver, _ = opened(world)
    assert driver.ready is not None
    assert driver.ready.mode is Mode.CRC
    driver, _ = opened(world, modes=(Mode.SECURE,))
    assert driver.refused is not None
    assert driver.refused.result == -95
    assert server.conn.renew(b"", START) == (0, b"")


def test_wrong_key_unknown_entity_and_wrong_method_are_refused() -> None:
    world = World()
    other = World().monitors.key
    for driver, result in (
        (Driver(ADDRS[0], world.settings.entity, other), -13),
        (Driver(ADDRS[0], EntityName(EntityType.CLIENT, "nobody"), world.monitors.key), -13),
        (Driver(ADDRS[0], world.settings.entity, None, modes=(Mode.CRC,)), -95),
    ):
        connect(world, driver, world.server())
        assert driver.ready is None
        assert driver.refused is not None
        assert driver.refused.result == result
        assert driver.refused.methods == (2,)
        assert driver.refused.modes == (2, 1)


@pytest.mark.parametrize("kind", KEY_TYPES, ids=lambda k: k.name)
def test_global_id_is_reclaimed_with_the_ticket_at_any_monitor(kind: KeyType) -> None:
    world = World(key_type=kind)
    first, _ = opened(world, rank=0)
    assert first.credentials is not None
    again, _ = opened(world, rank=1, prior=first.credentials)
    assert again.ready is not None
    assert again.credentials is not None
    assert again.credentials.global_id == first.credentials.global_id
    third, _ = opened(world, rank=2, prior=again.credentials)
    assert third.credentials is not None
    assert third.credentials.global_id == first.credentials.global_id


def test_a_global_id_without_its_ticket_is_refused() -> None:
    world = World()
    one, _ = opened(world)
    two, _ = opened(world)
    assert one.credentials is not None
    assert two.credentials is not None
    ticket = one.credentials.tickets[EntityType.AUTH]
    for prior, result in (
        (Credentials(one.credentials.global_id, {}), -13),
        (Credentials(two.credentials.global_id, one.credentials.tickets), -13),
        (Credentials(one.credentials.global_id, {EntityType.AUTH: replace(ticket, secret_id=1)}), -13),
        (Credentials(0, one.credentials.tickets), -22),
    ):
        driver, _ = opened(world, prior=prior)
        assert driver.refused is not None, prior.global_id
        assert driver.refused.result == result


def test_a_ticket_is_good_for_two_to_three_validities() -> None:
    world = World(auth_validity_s=10.0)
    first, _ = opened(world)
    world.now += 20
    again, _ = opened(world, prior=first.credentials)
    assert again.ready is not None
    world.now += 31
    late, _ = opened(world, prior=again.credentials)
    assert late.refused is not None
    assert late.refused.result == -13


@pytest.mark.parametrize("kind", KEY_TYPES, ids=lambda k: k.name)
def test_tickets_are_renewed_inside_the_session(kind: KeyType) -> None:
    world = World(key_type=kind)
    driver, server = opened(world)
    assert isinstance(driver.auth, CephxHandshake)
    assert driver.credentials is not None
    (reply,) = ask(driver, server, auth.MAuth(2, driver.auth.renew(driver.credentials)))
    assert isinstance(reply, auth.MAuthReply)
    assert reply.result == 0
    renewed = driver.auth.done(reply.payload, reply.global_id).credentials
    assert renewed.global_id == driver.credentials.global_id
    old, new = (c.tickets[EntityType.AUTH] for c in (driver.credentials, renewed))
    assert new.session_key != old.session_key
    again, _ = opened(world, prior=renewed)
    assert again.ready is not None


@pytest.mark.parametrize("kind", KEY_TYPES, ids=lambda k: k.name)
def test_service_tickets_are_given_for_an_authorizer(kind: KeyType) -> None:
    world = World(key_type=kind)
    driver, server = opened(world)
    assert driver.credentials is not None
    ticket = driver.credentials.tickets[EntityType.AUTH]

    def request(global_id: int, secret_id: int, key: CryptoKey) -> bytes:
        inner = bytes(Encoder().u8(2).u64(99).boolean(False).u64(0))
        enc = Encoder().u16(0x0200).u8(1).u64(global_id).u32(EntityType.AUTH)
        enc.u8(1).u64(secret_id).blob(ticket.blob.reveal())
        enc.blob(seal(key, Usage.AUTHORIZER, inner, random_bytes)).u8(1)
        return bytes(enc.u32(EntityType.OSD | EntityType.MDS))

    good = (driver.credentials.global_id, ticket.secret_id, ticket.session_key)
    result, payload = server.conn.renew(request(*good), world.now)
    assert result == 0
    cur = Cursor(payload)
    assert (cur.u16(), cur.s32(), cur.u8(), cur.u32(), cur.u32()) == (0x0200, 0, 1, 2, EntityType.MDS)
    cur.u8()
    inner = unseal(ticket.session_key, Usage.TICKET_SESSION_KEY, cur.blob(), "ticket")
    assert inner.u8() == 1
    assert CryptoKey.decode(inner).type is kind
    assert inner.utime() == Utime(3600, 0)
    for bad in ((1, *good[1:]), (good[0], 1, good[2]), (*good[:2], world.monitors.key)):
        assert server.conn.renew(request(*bad), world.now) == (-13, b"")


def test_renewal_with_a_ticket_that_is_not_ours_is_refused() -> None:
    world = World()
    driver, server = opened(world)
    stranger, _ = opened(world)
    assert isinstance(driver.auth, CephxHandshake)
    assert stranger.credentials is not None
    (reply,) = ask(driver, server, auth.MAuth(2, driver.auth.renew(stranger.credentials)))
    assert isinstance(reply, auth.MAuthReply)
    assert (reply.result, reply.payload) == (-13, b"")
    with pytest.raises(ProtocolError):
        server.feed(driver.say(auth.MAuth(2, b"\x00\x09")))


def test_the_wrong_target_is_hung_up_on() -> None:
    world = World()
    driver = world.driver(rank=1)
    with pytest.raises(ProtocolError, match="wants"):
        connect(world, driver, world.server(rank=0))


def test_missing_features_are_told() -> None:
    world = World()
    driver, server = world.driver(), world.server()
    driver.conn._supported = 1 << 59
    with pytest.raises(MissingFeatures):
        connect(world, driver, server)


def test_a_damaged_signature_of_the_client_is_noticed() -> None:
    world = World()
    driver, server = world.driver(modes=(Mode.CRC,)), world.server()
    answer = driver.feed(server.conn.data_to_send())
    answer = driver.feed(server.feed(answer))
    answer = driver.feed(server.feed(answer))
    assert server.conn.state.name == "AUTH_MORE"
    signed = driver.feed(server.feed(answer))
    server.conn._client_signature = bytes(32)
    with pytest.raises(IntegrityError):
        server.feed(signed)
    with pytest.raises(RuntimeError):
        server.feed(b"x")


@pytest.mark.parametrize("at", range(0, 200, 3))
def test_flipped_bytes_end_in_a_typed_error_or_wait(at: int) -> None:
    world = World()
    driver, server = world.driver(), world.server()
    sent, position = driver.feed(b""), 0
    to_client = server.conn.data_to_send()
    while True:
        damaged = bytearray(sent)
        if position <= at < position + len(sent):
            damaged[at - position] ^= 0x10
        position += len(sent)
        try:
            to_client += server.feed(bytes(damaged))
            sent = driver.feed(to_client)  # of some bits of the banner only the signature tells
        except ProtocolError:
            return
        to_client = b""
        if not sent:
            break
    assert server.session is None or position <= at


def test_out_of_turn() -> None:
    world = World()
    driver, server = opened(world)
    with pytest.raises(UnexpectedMessage):
        server.feed(driver.conn._tx.encode(1, (b"\x08",)))
    with pytest.raises(RuntimeError):
        server.conn.send_message(Message(4, b""))
    for head in (b"GET / HTTP/1.0\r\n", b"ceph v027", b"ceph v2\n\xff\xff" + bytes(300)):
        with pytest.raises(ProtocolError):
            world.server().feed(head)


# what the session answers


def test_statfs() -> None:
    world = World()
    driver, server = opened(world)
    fsid = world.cluster.fsid.bytes
    (whole,) = ask(driver, server, mon.MStatfs(fsid))
    (pool,) = ask(driver, server, mon.MStatfs(fsid, DATA_POOL))
    assert isinstance(whole, mon.MStatfsReply)
    assert isinstance(pool, mon.MStatfsReply)
    assert whole.stats.kb == whole.stats.kb_used + whole.stats.kb_avail
    assert pool.stats.kb < whole.stats.kb
    assert ask(driver, server, mon.MStatfs(bytes(16))) == []
    assert ask(driver, server, mon.MStatfs(fsid, 99)) == []


def test_versions_and_monmap() -> None:
    world = World()
    driver, server = opened(world)
    for what in ("monmap", "osdmap", "mdsmap", "fsmap"):
        (reply,) = ask(driver, server, mon.MMonGetVersion(11, what))
        assert isinstance(reply, mon.MMonGetVersionReply)
        assert reply.handle == 11
        assert reply.version >= 1
    assert ask(driver, server, mon.MMonGetVersion(12, "mgrmap")) == []
    (reply,) = ask(driver, server, mon.MMonGetMap())
    assert isinstance(reply, mon.MMonMap)
    monmap = MonMap.decode(Cursor(reply.monmap))
    assert [info.name for info in monmap.mons] == ["a", "b", "c"]
    assert monmap.fsid == world.cluster.fsid


def test_subscriptions_start_and_once() -> None:
    world = World()
    driver, server = opened(world)
    item = mon.SubscribeItem
    names = ("monmap", "mdsmap", "mdsmap.1", "fsmap", "fsmap.user", "osdmap", "mgrmap", "config")
    replies = ask(driver, server, mon.MMonSubscribe({name: item(0) for name in (*names, "mdsmap.9", "nonsense")}))
    assert len(replies) == len(names)
    (osdmap,) = (r for r in replies if isinstance(r, mon.MOSDMap))
    epoch = osdmap.newest
    assert list(osdmap.full) == [epoch]
    assert driver.feed(server.tick()) == b""
    assert len(driver.messages) == len(names)
    while world.cluster.at(world.now).osdmap.epoch == epoch:
        world.now += 1
    before = len(driver.messages)
    driver.feed(server.tick())
    (update,) = driver.messages[before:]
    assert isinstance(update, mon.MOSDMap)
    assert list(update.incrementals) == [epoch + 1]
    # "once" is once, and a start in the future waits
    replies = ask(driver, server, mon.MMonSubscribe({"osdmap": item(0, True), "mgrmap": item(10**6)}))
    assert [type(r) for r in replies] == [mon.MOSDMap]
    world.now += 400
    driver.feed(server.tick())
    assert not any(isinstance(m, mon.MOSDMap) for m in driver.messages[before + 2 :])


def test_mds_failover_is_pushed() -> None:
    world = World()
    driver, server = opened(world)
    ask(driver, server, mon.MMonSubscribe({"mdsmap": mon.SubscribeItem(0)}))
    epochs = []
    for _ in range(300):
        world.now += 1
        before = len(driver.messages)
        driver.feed(server.tick())
        epochs += [m.epoch for m in driver.messages[before:] if isinstance(m, mon.MMDSMap)]
    assert len(epochs) >= 4
    assert epochs == sorted(set(epochs))


def test_unknown_messages_end_the_connection() -> None:
    world = World()
    driver, server = opened(world)
    driver.conn.send_message(Message(9999, b""))
    with pytest.raises(UnexpectedMessage):
        server.feed(driver.conn.data_to_send())
