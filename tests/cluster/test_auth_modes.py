"""Auth none, key types that come and go, caps that change: what real monitors do, and what we say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import trio

from cephmonfs.errors import AuthError, StaleTicket
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.messages.mon import MMonMap, MMonSubscribe, MOSDMap, MStatfs, MStatfsReply, SubscribeItem
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import EntityType
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.mon.snapshot import Snapshot, State
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import MonClient, open_client
from cephmonfs.wire.cursor import Cursor
from tests.conftest import ClusterFactory
from tests.support.cluster import Cluster
from tests.support.release import RELEASES, new_key
from tests.support.wire import Wire, endpoint, identity

LEGACY = (Mode.LEGACY,)
MODES: Sequence[tuple[Mode, ...]] = [LEGACY, (Mode.CRC,), (Mode.SECURE,)]


@pytest.fixture(scope="module")
def factory(request: pytest.FixtureRequest) -> Iterator[ClusterFactory]:
    made = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    yield made
    made.close()


def where(cluster: Cluster, who: Identity) -> str:
    here = cluster.mon_addrs()["a"]
    found = here.v1 if who.modes == LEGACY else here.v2
    assert found is not None
    return found


def wire(cluster: Cluster, entity: str, key: str | None, *modes: Mode) -> Wire:
    who = identity(entity, key, *modes)
    return Wire(where(cluster, who), who)


def monmap_of(link: Wire) -> MonMap:
    link.send(MMonSubscribe({"monmap": SubscribeItem(0)}))
    return MonMap.decode(Cursor(link.expect(MMonMap).monmap))


def client_of(cluster: Cluster, who: Identity) -> tuple[SessionConfig, Callable[[], object]]:
    hostport = where(cluster, who)

    async def resolve() -> list[Candidate]:
        return [Candidate(hostport, endpoint(hostport, who.addr_type))]

    return SessionConfig(who), resolve


async def until(client: MonClient, condition: Callable[[Snapshot], bool]) -> Snapshot:
    for _ in range(200):
        if condition(view := client.snapshot()):
            return view
        await trio.sleep(0.05)
    raise AssertionError(client.snapshot())


# ---- auth none


@pytest.fixture(scope="module", params=RELEASES)
def unguarded(request: pytest.FixtureRequest, factory: ClusterFactory) -> Cluster:
    return factory(release=request.param, mons=1, auth="none")


@pytest.mark.parametrize(
    ("modes", "got"),
    [
        (LEGACY, Mode.LEGACY),
        ((Mode.CRC,), Mode.CRC),
        ((Mode.SECURE, Mode.CRC), Mode.CRC),
        ((Mode.CRC, Mode.SECURE), Mode.CRC),
    ],
)
def test_none_without_a_key(unguarded: Cluster, modes: tuple[Mode, ...], got: Mode) -> None:
    with wire(unguarded, "client.whoever", None, *modes) as link:
        assert link.link.mode is got
        assert str(monmap_of(link).fsid) == unguarded.fsid
        link.ping()
        assert link.link.result is not None
        old = link.link.result.credentials
        assert not old.tickets
        who = identity("client.whoever", None, *modes)
        with Wire(where(unguarded, who), who, prior=old) as again:
            assert again.link.result is not None
            assert again.link.result.credentials.global_id == old.global_id


def test_none_cannot_be_secure(unguarded: Cluster) -> None:
    with pytest.raises(AuthError, match=r"auth none.*nothing can be encrypted.*ms_mode=prefer-secure or crc"):
        wire(unguarded, "client.whoever", None, Mode.SECURE)


@pytest.mark.parametrize("modes", [LEGACY, (Mode.SECURE, Mode.CRC), (Mode.SECURE,)], ids="-".join)
def test_none_with_a_key(unguarded: Cluster, modes: tuple[Mode, ...]) -> None:
    """Never from cephx to none on a monitor's word: anybody could say that."""
    with pytest.raises(AuthError, match="does not use cephx, and a key was given: mount without a key"):
        wire(unguarded, "client.df", new_key("aes"), *modes)


@pytest.mark.parametrize("modes", MODES, ids="-".join)
def test_no_key_where_one_is_wanted(shared: Cluster, modes: tuple[Mode, ...]) -> None:
    with pytest.raises(AuthError, match=r"wants a key \(cephx\)"):
        wire(shared, "client.df", None, *modes)


async def test_none_client(unguarded: Cluster) -> None:
    config, resolve = client_of(unguarded, identity("client.x", None, Mode.SECURE, Mode.CRC))
    async with open_client(config, resolve) as client:  # type: ignore[arg-type]
        await until(client, lambda view: view.state is State.OPEN)
        with trio.fail_after(5):
            await client.statfs()
        assert client.snapshot().mode == "crc"


# ---- caps


@pytest.fixture(scope="module", params=RELEASES)
def shared(request: pytest.FixtureRequest, factory: ClusterFactory) -> Cluster:
    return factory(release=request.param, mons=1)


def osdmap_comes(link: Wire) -> bool:
    link.send(MMonSubscribe({"osdmap": SubscribeItem(0)}))
    return any(isinstance(payload, MOSDMap) for payload in link.silent(0.4))


def set_caps(cluster: Cluster, entity: str, caps: str) -> None:
    cluster.commands({"prefix": "auth caps", "entity": entity, "caps": ["mon", caps]})


def test_a_session_keeps_the_caps_it_began_with(shared: Cluster) -> None:
    """Raised or lowered, they count from the next session on; fresh tickets inside the session change nothing."""
    low, high = "allow service pg r", "allow r"
    key = shared.make_key("client.caps", mon=low)
    with wire(shared, "client.caps", key, Mode.SECURE) as link:
        assert not osdmap_comes(link)
        set_caps(shared, "client.caps", high)
        assert not osdmap_comes(link)
        assert link.link.result is not None
        payload = link.link.renewal(link.link.result.credentials)
        assert payload is not None
        link.send(MAuth(2, payload))
        assert link.expect(MAuthReply).result == 0
        assert not osdmap_comes(link)
    with wire(shared, "client.caps", key, Mode.SECURE) as link:
        assert osdmap_comes(link)
        set_caps(shared, "client.caps", low)
        assert osdmap_comes(link)
        assert link.link.result is not None
        old = link.link.result.credentials
        shared.commands({"prefix": "auth rm", "entity": "client.caps"})
        assert osdmap_comes(link)  # even now
        who = identity("client.caps", key, Mode.SECURE)
        with pytest.raises(StaleTicket):
            Wire(where(shared, who), who, prior=old)
        with pytest.raises(AuthError, match="unknown user"):
            Wire(where(shared, who), who)


# ---- key types


@pytest.fixture(scope="module")
def tentacle_mon(factory: ClusterFactory) -> Cluster:
    cluster = factory(release="tentacle", mons=1)
    cluster.allow_ciphers("aes", "aes256k")
    cluster.make_key("client.old", key_type="aes", mon="allow r")
    cluster.make_key("client.new", key_type="aes256k", mon="allow r")
    return cluster


@pytest.mark.parametrize("modes", MODES, ids="-".join)
@pytest.mark.parametrize(("entity", "kind"), [("client.old", KeyType.AES), ("client.new", KeyType.AES256K)])
def test_both_key_types(tentacle_mon: Cluster, entity: str, kind: KeyType, modes: tuple[Mode, ...]) -> None:
    with wire(tentacle_mon, entity, tentacle_mon.keys[entity], *modes) as link:
        assert link.link.result is not None
        assert link.link.result.credentials.tickets[EntityType.AUTH].session_key.type is kind
        assert monmap_of(link).auth_ciphers.allowed == (KeyType.AES, KeyType.AES256K)


def test_key_type_that_was_never_allowed(shared: Cluster) -> None:
    """Nothing tells a stranger why: we name what it may be."""
    with pytest.raises(AuthError, match="or a key type that the cluster no longer allows"):
        wire(shared, "client.df", new_key("aes"), Mode.SECURE)


async def test_key_type_refused_while_connected(tentacle_mon: Cluster) -> None:
    """The session goes on; its monmap tells at once that it is the last one, and so does the refusal."""
    cluster = tentacle_mon
    who = identity("client.old", cluster.keys["client.old"], Mode.SECURE)
    config, resolve = client_of(cluster, who)
    said = "its key is of type aes, and the cluster takes only aes256k"
    async with open_client(config, resolve) as client:  # type: ignore[arg-type]
        await until(client, lambda view: view.state is State.OPEN)
        await trio.to_thread.run_sync(lambda: cluster.ceph("mon", "set", "auth_allowed_ciphers", "aes256k"))
        view = await until(client, lambda view: said in view.last_error)
        assert "before it connects again" in view.last_error
        with trio.fail_after(5):
            await client.statfs()
        mon = cluster.mon("a")
        await trio.to_thread.run_sync(mon.kill)
        mon.start()
        view = await until(client, lambda view: view.state is State.REFUSED)
        assert said in view.last_error
        with Wire(where(cluster, who), identity("client.new", cluster.keys["client.new"], Mode.SECURE)) as link:
            monmap = monmap_of(link)
            link.send(MStatfs(monmap.fsid.bytes), 1)
            link.expect(MStatfsReply)
        with pytest.raises(AuthError, match=said):
            Wire(where(cluster, who), who, ciphers=monmap.auth_ciphers.allowed)
