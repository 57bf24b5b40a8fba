"""Large maps are decoded outside of the session's turn, and what is too large for us is left out."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace

import pytest

from cephmonfs.demo.osdmap import encode_osdmap
from cephmonfs.errors import NoData
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.entity import Epoch
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.mon import decoding
from cephmonfs.wire import limits
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.doubles.world import World

pytestmark = pytest.mark.usefixtures("everything_is_large")


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_AT_ONCE", 0)


def osdmap(world: World, epoch: int, pools: int = 1) -> mon.MOSDMap:
    full = OSDMap.decode(Cursor(encode_osdmap(world.cluster, world.cluster.at(world.wall))))
    pool = next(iter(full.pools.values()))
    numbers = range(1, pools + 1)
    enc = Encoder()
    pools_of = {"pools": dict.fromkeys(numbers, pool), "pool_names": {i: f"pool{i}" for i in numbers}}
    replace(full, epoch=Epoch(epoch), **pools_of).encode(enc)  # type: ignore[arg-type]
    return mon.MOSDMap(world.cluster.fsid.bytes, {}, {epoch: bytes(enc)}, epoch, epoch)


def test_a_map_is_taken_when_it_is_decoded_and_what_came_after_it_too() -> None:
    world = World().opened()
    world.decodes = False
    world.push("a", osdmap(world, 5000))
    world.push("a", osdmap(world, 5001, pools=3))
    assert world.decoding is not None
    assert world.snap.maps["osdmap"].epoch < 5000
    waiter = world.statfs()
    assert world.answered(waiter)  # nobody waits for it
    world.decode()
    assert world.snap.maps["osdmap"].epoch == 5000
    world.decode()
    record = world.snap.maps["osdmap"]
    assert record.epoch == 5001
    assert isinstance(record.value, OSDMap)
    assert len(record.value.pools) == 3
    assert world.decoding is None


def test_the_first_maps_of_a_session_are_not_denied_while_they_are_decoded() -> None:
    world = World()
    world.decodes = False
    world.opened()
    world.run(30)
    assert world.snap.denied == frozenset()
    while world.decoding is not None:
        world.decode()
    assert {"osdmap", "fsmap", "mdsmap"} <= world.snap.maps.keys()


def test_a_map_of_a_session_that_ended_meanwhile_is_not_taken() -> None:
    world = World().opened(on="a")
    world.decodes = False
    world.push("a", osdmap(world, 5000))
    world.reset("a")
    world.run(5)
    assert world.is_open
    while world.decoding is not None:
        world.decode()
    assert world.snap.maps["osdmap"].epoch < 5000


def test_a_damaged_map_costs_the_monitor_its_session_when_it_is_decoded() -> None:
    world = World().opened(on="a")
    payload = osdmap(world, 5000)
    damaged = bytearray(payload.full[5000])
    damaged[60] ^= 0xFF
    world.push("a", replace(payload, full={5000: bytes(damaged)}))
    assert "OSDMap" in world.snap.last_error or "osdmap" in world.snap.last_error


def test_maps_without_end_end_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().opened(on="a")
    world.decodes = False
    payload = osdmap(world, 5000)
    monkeypatch.setattr(decoding, "_MAX_WAITING", 3 * len(payload.full[5000]))
    for _ in range(5):
        world.push("a", payload)
    assert "faster than they can be read" in world.snap.last_error


@pytest.mark.parametrize("kind", ["osdmap", "mgrmap", "empty"])
def test_messages_without_end_behind_a_large_map_end_the_session(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    world = World().opened(on="a")
    world.decodes = False
    payload = osdmap(world, 5000)
    monkeypatch.setattr(decoding, "_MAX_WAITING", 100_000)
    world.push("a", payload)
    behind: dict[str, mon.MOSDMap | mon.MMgrMap] = {
        "osdmap": payload,
        "mgrmap": mon.MMgrMap(9, struct.pack("<BBII", 1, 1, 2000, 9) + bytes(1996)),
        "empty": mon.MOSDMap(payload.fsid, {}, {}, 0, 0),
    }
    for _ in range(101):
        world.push("a", behind[kind])
    assert "faster than they can be read" in world.snap.last_error


def test_what_one_monitor_sent_without_end_is_not_held_against_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().opened(on="a")
    world.decodes = False
    monkeypatch.setattr(decoding, "_MAX_WAITING", 30_000)
    for _ in range(20):
        world.push("a", osdmap(world, 5000, pools=20))
    assert "faster than they can be read" in world.snap.last_error
    world.run(5)
    assert world.is_open
    errors = world.snap.last_error
    jobs = 0
    while world.decoding is not None:
        world.decode()
        jobs += 1
    assert jobs < 10
    assert world.is_open
    assert world.snap.last_error == errors
    assert {"osdmap", "fsmap", "mdsmap"} <= world.snap.maps.keys()


def test_a_map_that_takes_the_decoder_down_costs_the_monitor_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().opened(on="a")
    world.decodes = False
    world.push("a", osdmap(world, 5000))
    job, world.decoding = world.decoding, None
    assert job is not None
    job.failed()
    world.session.decoded(world.stamp)
    world.settle()
    assert "osdmap" in world.snap.last_error
    assert world.snap.maps["osdmap"].epoch < 5000
    world.run(5)
    assert world.is_open


def test_more_pools_than_we_keep_cost_the_osdmap_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_POOLS", 100)
    world = World().opened(on="a")
    before = world.snap.maps["osdmap"].epoch
    world.push("a", osdmap(world, 5000, pools=101))
    assert world.is_open
    assert world.snap.maps["osdmap"].epoch == before
    assert "limit 100" in world.snap.last_error
    assert world.answered(world.statfs())


def test_an_osdmap_that_cannot_be_read_is_no_reason_to_show_the_cluster_for_a_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_POOLS", 100)
    world = World(pool="pool7")

    def reply(_: int, message: Message) -> Iterable[Message]:
        if isinstance(from_monitor(message), mon.MOSDMap):
            return (to_message(osdmap(world, 5000, pools=101)),)
        return (message,)

    world.reply = reply
    world.opened()
    waiter = world.statfs()
    world.run(5)
    assert isinstance(world.answers[waiter], NoData)
