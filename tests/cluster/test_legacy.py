"""Real monitors of four releases over msgr1 and over both revisions of msgr2, also as seen by a client of 2010."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import trio

from cephmonfs.auth.credentials import Credentials
from cephmonfs.errors import AuthError, MissingFeatures, StaleTicket, WrongProtocol
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.messages.message import to_message
from cephmonfs.messages.mon import (
    MFSMap,
    MMgrMap,
    MMonGetMap,
    MMonMap,
    MMonSubscribe,
    MMonSubscribeAck,
    MOSDMap,
    MStatfs,
    MStatfsReply,
    SubscribeItem,
)
from cephmonfs.model.entity import AddrType, EntityType
from cephmonfs.model.features import DEFAULT_FEATURES, Feature
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.connection import EVERYTHING, Offer
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.mon.snapshot import Snapshot
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v1 import encode_message
from cephmonfs.msgr.v1 import ConnectionV1
from cephmonfs.runtime.client import MonClient, open_client
from cephmonfs.wire.cursor import Cursor
from tests.conftest import ClusterFactory
from tests.support.cluster import Cluster, MonAddrs
from tests.support.record_msgr1 import FORMS
from tests.support.release import RELEASES
from tests.support.wire import Wire, endpoint, identity

ENTITY = "client.df"
ALL = {name: SubscribeItem(0) for name in ("monmap", "osdmap", "mgrmap", "fsmap")}
LEGACY = (Mode.LEGACY,)


@pytest.fixture(scope="module")
def small(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Cluster]]:
    """One monitor of a release, shared by this file."""
    factory = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    made: dict[str, Cluster] = {}

    def get(release: str) -> Cluster:
        if release not in made:
            made[release] = factory(release=release, mons=1, conf={"mon": {"mon_subscribe_interval": "2"}})
        return made[release]

    yield get
    factory.close()


@pytest.fixture(params=RELEASES)
def cluster(request: pytest.FixtureRequest, small: Callable[[str], Cluster]) -> Cluster:
    return small(request.param)


def addrs(cluster: Cluster) -> MonAddrs:
    return cluster.mon_addrs()["a"]


def wire(cluster: Cluster, *modes: Mode, offer: Offer = EVERYTHING, prior: Credentials | None = None) -> Wire:
    where = addrs(cluster).v1 if modes == LEGACY else addrs(cluster).v2
    assert where is not None
    return Wire(where, identity(ENTITY, cluster.keys[ENTITY], *modes), offer=offer, prior=prior)


def monmap_of(link: Wire) -> MonMap:
    link.send(MMonSubscribe({"monmap": SubscribeItem(0)}))
    return MonMap.decode(Cursor(link.expect(MMonMap).monmap))


def use(cluster: Cluster, link: Wire) -> None:
    """What a session does."""
    monmap = monmap_of(link)
    assert str(monmap.fsid) == cluster.fsid
    link.send(MStatfs(monmap.fsid.bytes), 7)
    assert link.expect(MStatfsReply).fsid == monmap.fsid.bytes
    link.ping()


@pytest.mark.parametrize("modes", [LEGACY, (Mode.CRC,), (Mode.SECURE,)], ids="-".join)
def test_session_renewal_and_reclaim(cluster: Cluster, modes: tuple[Mode, ...]) -> None:
    with wire(cluster, *modes) as link:
        assert link.link.mode is modes[0]
        use(cluster, link)
        assert link.link.result is not None
        payload = link.link.renewal(link.link.result.credentials)
        assert payload is not None
        link.send(MAuth(2, payload))
        reply = link.expect(MAuthReply)
        credentials = link.link.renewed(reply.payload, reply.global_id)
        with wire(cluster, *modes, prior=credentials) as again:
            assert again.link.result is not None
            assert again.link.result.credentials.global_id == credentials.global_id
            use(cluster, again)


@pytest.mark.parametrize("modes", [LEGACY, (Mode.SECURE,)], ids="-".join)
def test_stale_ticket(cluster: Cluster, modes: tuple[Mode, ...]) -> None:
    with wire(cluster, *modes) as link:
        assert link.link.result is not None
        good = link.link.result.credentials
    ticket = replace(good.tickets[EntityType.AUTH], secret_id=9999)
    with pytest.raises(StaleTicket):
        wire(cluster, *modes, prior=Credentials(good.global_id, {EntityType.AUTH: ticket}))


@pytest.mark.parametrize("mode", [Mode.CRC, Mode.SECURE])
def test_msgr2_revision_0(cluster: Cluster, mode: Mode) -> None:
    with wire(cluster, mode, offer=Offer(revision=0)) as link:
        use(cluster, link)


def test_each_protocol_recognises_the_other(cluster: Cluster) -> None:
    here = addrs(cluster)
    assert here.v1 is not None
    assert here.v2 is not None
    with pytest.raises(WrongProtocol, match="v2"):
        Wire(here.v2, identity(ENTITY, cluster.keys[ENTITY], Mode.LEGACY))
    with pytest.raises(WrongProtocol, match="v1"):
        Wire(here.v1, identity(ENTITY, cluster.keys[ENTITY], Mode.SECURE, Mode.CRC))


@pytest.mark.parametrize("entity", [ENTITY, "client.nobody"])
def test_wrong_key_over_msgr1(cluster: Cluster, entity: str) -> None:
    here = addrs(cluster).v1
    assert here is not None
    with pytest.raises(AuthError, match="unknown user, wrong key") as caught:
        Wire(here, identity(entity, cluster.keys["client.admin"], Mode.LEGACY))
    assert caught.value.result == (-1 if cluster.release == "nautilus" else -13)


def test_missing_features(cluster: Cluster) -> None:
    for modes in (LEGACY, (Mode.CRC,)):
        with pytest.raises(MissingFeatures) as caught:
            wire(cluster, *modes, offer=Offer(DEFAULT_FEATURES & ~Feature.CRUSH_TUNABLES5))
        assert caught.value.missing == Feature.CRUSH_TUNABLES5


FEATURES_WITHOUT = {
    "SUBSCRIBE2": Feature.SUBSCRIBE2,
    "RECONNECT_SEQ": Feature.RECONNECT_SEQ,
    "MSG_AUTH": Feature.MSG_AUTH | Feature.CEPHX_V2,
    "KEEPALIVE2": Feature.MSGR_KEEPALIVE2,
    "LUMINOUS": 1 << 21,
    "OSDMAP": Feature.PGID64 | Feature.PGPOOL3 | Feature.OSDENC | Feature.OSDMAP_ENC,
}


@pytest.mark.parametrize("without", FEATURES_WITHOUT)
def test_fewer_features(cluster: Cluster, without: str) -> None:
    """Old subscribe, READY for SEQ, the short footer, the monmap as a sign of life, the old statfs."""
    with wire(cluster, Mode.LEGACY, offer=Offer(DEFAULT_FEATURES & ~FEATURES_WITHOUT[without])) as link:
        use(cluster, link)
        link.send(MMonSubscribe(ALL))
        link.expect(MOSDMap)


@pytest.mark.parametrize(
    ("without", "version"),
    [
        (Feature.MONNAMES | Feature.MSG_ADDR2, 1),
        (Feature.MONENC | Feature.MSG_ADDR2, 2),
        (1 << 2 | Feature.MSG_ADDR2, 5),
        (1 << 57, 5),
    ],
)
def test_older_monmaps(cluster: Cluster, without: int, version: int) -> None:
    with wire(cluster, Mode.LEGACY, offer=Offer(DEFAULT_FEATURES & ~without)) as link:
        monmap = monmap_of(link)
    assert monmap.version == version
    assert str(monmap.fsid) == cluster.fsid
    assert [str(mon.addrs) for mon in monmap.mons] == [f"v1:{addrs(cluster).v1}/0"]
    assert [mon.name for mon in monmap.mons] == (["0"] if version == 1 else ["a"])


def test_a_client_of_2010(cluster: Cluster) -> None:
    """All at once: fixed monmap, have/onetime, subscription acks, statfs v1, no keepalive2, short footers."""
    with wire(cluster, Mode.LEGACY, offer=Offer(FORMS["2010"])) as link:
        use(cluster, link)
        link.send(MMonSubscribe(ALL))
        kinds = {type(payload) for payload in link.silent(1)}
        assert {MMonMap, MOSDMap, MFSMap, MMgrMap} <= kinds
        link.send(MMonSubscribe(ALL))
        assert link.expect(MMonSubscribeAck).interval_s == 2


def test_silence_before_authentication(cluster: Cluster) -> None:
    """Nothing is told to a stranger on msgr1, so its monmap cannot lead anyone to v2 before cephx is done."""
    here = addrs(cluster).v1
    assert here is not None
    addr = endpoint(here, AddrType.LEGACY)
    conn = ConnectionV1(addr, 1)
    with socket.create_connection((addr.host, addr.port), 1) as sock:
        sock.sendall(conn.data_to_send())
        while conn.next_event() is None:
            conn.receive_data(sock.recv(65536), 0.0)
            sock.sendall(conn.data_to_send())
        asked = encode_message(to_message(MMonGetMap()), 1, (EntityType.CLIENT, 0), msg_auth=True)
        sock.sendall(asked)
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(1)


# ---- the whole client


async def opened(client: MonClient) -> None:
    with trio.fail_after(10):
        await client.wait_open()


async def until(client: MonClient, condition: Callable[[Snapshot], bool]) -> None:
    for _ in range(200):
        if condition(client.snapshot()):
            return
        await trio.sleep(0.05)
    raise AssertionError(client.snapshot())


@pytest.mark.parametrize("form", FORMS)
async def test_client(cluster: Cluster, form: str) -> None:
    here = addrs(cluster).v1
    assert here is not None
    candidate = Candidate(here, endpoint(here, AddrType.LEGACY))

    async def resolve() -> list[Candidate]:
        return [candidate]

    who = identity(ENTITY, cluster.keys[ENTITY], Mode.LEGACY)
    async with open_client(SessionConfig(who, offer=Offer(FORMS[form])), resolve) as client:
        await opened(client)
        with trio.fail_after(5):
            await client.statfs()
        view = client.snapshot()
        assert (view.fsid, view.mode, view.addr) == (cluster.fsid, "legacy", f"v1:{here}/0")
        assert view.mon == ("a" if form == "all" else "0")
        # an osdmap of before 2013 stays unread, and so does the fsmap that Nautilus has for such a client
        wanted = {"monmap", "mgrmap"} | ({"fsmap", "osdmap"} if form == "all" else set())
        await until(client, lambda view: wanted <= set(view.maps))
        if form == "2010":
            await until(client, lambda view: view.counters.get("subs_renewed", 0) > 1)
        assert client.snapshot().sessions == 1
        assert not client.snapshot().counters.get("decode_errors")
