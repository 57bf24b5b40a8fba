"""Tickets of real monitors have the exact form that is demanded: at first, renewed, and for a claimed global_id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import open_client
from tests.conftest import ClusterFactory
from tests.support.cluster import Cluster
from tests.support.release import RELEASES
from tests.support.wire import Wire, endpoint, identity

MODES = ((Mode.LEGACY,), (Mode.CRC,), (Mode.SECURE,))
TTL_S = 8


@pytest.fixture(scope="module", params=RELEASES)
def hasty(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Tickets live for some seconds only."""
    factory = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    ttl = {"auth_mon_ticket_ttl": str(TTL_S), "auth_service_ticket_ttl": str(TTL_S)}
    cluster = factory(release=request.param, mons=1, conf={"mon": ttl})
    if request.param == "tentacle":
        cluster.allow_ciphers("aes", "aes256k")
        cluster.make_key("client.aes256k", key_type="aes256k", mon="allow r")
        cluster.make_key("client.aes", key_type="aes", mon="allow r")
    else:
        cluster.make_key("client.aes", mon="allow r")
    yield cluster
    factory.close()


def users(cluster: Cluster) -> list[str]:
    return [name for name in ("client.aes", "client.aes256k") if name in cluster.keys]


async def test_renewals_of_short_tickets(hasty: Cluster) -> None:
    """In every mode and with every type of key: two renewals, one session, nothing to complain of."""
    addrs = hasty.mon_addrs()["a"]

    async def stay(entity: str, modes: tuple[Mode, ...]) -> None:
        who = identity(entity, hasty.keys[entity], *modes)
        hostport = addrs.v1 if modes == (Mode.LEGACY,) else addrs.v2
        assert hostport is not None
        candidate = Candidate(hostport, endpoint(hostport, who.addr_type))

        async def resolve() -> list[Candidate]:
            return [candidate]

        async with open_client(SessionConfig(who), resolve) as client:
            with trio.fail_after(20):
                await client.wait_open()
            first = {ticket.service: ticket.secret_id for ticket in client.snapshot().tickets}
            with trio.fail_after(4 * TTL_S):
                while client.snapshot().counters.get("renewals", 0) < 3:  # noqa: ASYNC110
                    await trio.sleep(0.2)
            view = client.snapshot()
            assert (view.sessions, view.last_error) == (1, ""), (entity, modes)
            assert set(first) == {"auth", "mon"} == {ticket.service for ticket in view.tickets}
            assert {ticket.key_type for ticket in view.tickets} == {entity.removeprefix("client.")}
            assert {ticket.secret_id for ticket in view.tickets} != set(first.values())

    async with trio.open_nursery() as nursery:
        for entity in users(hasty):
            for modes in MODES:
                nursery.start_soon(stay, entity, modes)


def test_a_claimed_global_id(hasty: Cluster) -> None:
    """There the ticket comes sealed with the session key of the one before."""
    addrs = hasty.mon_addrs()["a"]
    for entity in users(hasty):
        for modes in MODES:
            who = identity(entity, hasty.keys[entity], *modes)
            hostport = addrs.v1 if modes == (Mode.LEGACY,) else addrs.v2
            assert hostport is not None
            with Wire(hostport, who) as link:
                assert link.link.result is not None
                first = link.link.result.credentials
            for _ in range(3):
                with Wire(hostport, who, prior=first) as link:
                    assert link.link.result is not None
                    assert link.link.result.credentials.global_id == first.global_id
                    first = link.link.result.credentials
