"""No number that one monitor said outlives its session by more than ten seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cephmonfs.demo import maps
from cephmonfs.demo import osdmap as demo_osdmap
from cephmonfs.messages import mon
from cephmonfs.messages.message import MsgType
from cephmonfs.model.entity import Epoch
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.wire.cursor import Cursor
from tests.doubles.world import World, osdmap, statfs_reply

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

MAPS = ("monmap", "mdsmap", "fsmap", "osdmap", "mgrmap")
TOP = 2**32 - 1


def lie(world: World, name: str, epoch: int) -> Payload:
    """A map of this epoch with something in it that is not so."""
    match name:
        case "monmap":
            return world.monmap(epoch, "ab")
        case "mdsmap":
            return world.mdsmap(epoch, 66)
        case "fsmap":
            return world.fsmap(epoch, (66, "evil"))
        case "osdmap":
            return osdmap(world, epoch, {66: "evil"})
    mgrmap = replace(maps.mgrmap(world.cluster, world.cluster.at(world.wall)), epoch=Epoch(epoch), active_name="evil")
    return mon.MMgrMap(epoch, maps.encoded(mgrmap))


def epochs(world: World) -> dict[str, int]:
    return {name: record.epoch for name, record in world.snap.maps.items()}


def blobs(world: World) -> dict[str, bytes]:
    return {name: record.blob for name, record in world.snap.maps.items()}


@pytest.mark.parametrize("ahead", [1, 1000, TOP])
@pytest.mark.parametrize("name", MAPS)
def test_an_epoch_that_one_monitor_made_up_ends_with_its_session(name: str, ahead: int) -> None:
    world = World().opened("a")
    honest = epochs(world), blobs(world)
    made_up = min(honest[0][name] + ahead, TOP)
    world.push("a", lie(world, name, made_up))
    assert world.snap.maps[name].epoch == made_up
    world.reset("a")
    assert world.is_open
    assert world.snap.mon != "a"
    world.run(9.5)
    assert world.snap.maps[name].epoch == made_up  # as yet the others may only lag
    world.run(1)
    assert (epochs(world), blobs(world)) == honest
    assert len(world.snap.mons) == 3
    assert world.snap.fscid == 1


@pytest.mark.parametrize("name", MAPS)
def test_a_content_that_one_monitor_made_up_ends_with_its_session(name: str) -> None:
    world = World().opened("a")
    honest = epochs(world), blobs(world)
    world.push("a", lie(world, name, honest[0][name] - 1))  # no news yet
    assert (epochs(world), blobs(world)) == honest
    world.push("a", lie(world, name, honest[0][name]))
    assert blobs(world) != honest[1]
    world.reset("a")
    assert (epochs(world), blobs(world)) == honest


def test_an_incremental_that_one_monitor_made_up_ends_with_its_session() -> None:
    world = World().opened("a")
    world.run(100)
    state = world.cluster.at(world.wall)
    incremental = demo_osdmap.encode_incremental(world.cluster, state)
    have = world.snap.maps["osdmap"].epoch
    assert state.osdmap.epoch > have
    world.push("a", osdmap(world, state.osdmap.epoch - 1, {66: "evil"}))
    world.push("a", mon.MOSDMap(world.cluster.fsid.bytes, {state.osdmap.epoch: incremental}, {}))
    assert world.snap.maps["osdmap"].incrementals
    world.reset("a")
    record = world.snap.maps["osdmap"]
    assert record.epoch == state.osdmap.epoch
    assert 66 not in OSDMap.decode(Cursor(record.blob, "osdmap")).pool_names


@pytest.mark.parametrize("name", MAPS)
def test_a_monitor_that_takes_its_word_back_is_believed_after_ten_seconds(name: str) -> None:
    """So is a cluster that was rolled back after a disaster, which a session may outlive."""
    world = World(mons=1).opened("a")
    honest = epochs(world)
    world.push("a", lie(world, name, TOP))
    world.push("a", lie(world, name, honest[name] + 1))
    world.run(9.5)
    assert world.snap.maps[name].epoch == TOP
    world.run(1)
    assert epochs(world) == honest


def test_what_follows_a_rollback_is_followed() -> None:
    world = World().opened("a")
    world.push("a", lie(world, "osdmap", TOP))
    world.reset("a")
    world.run(10.5)
    before = world.snap.maps["osdmap"].epoch
    for _ in range(200):
        world.run(1)
        world.tick()
    assert before < world.snap.maps["osdmap"].epoch == world.cluster.at(world.wall).osdmap.epoch
    assert len(world.connects) == 2


@pytest.mark.parametrize("name", MAPS)
def test_a_monitor_that_lags_for_a_moment_takes_nothing_back(name: str) -> None:
    world = World().opened("a")
    newest = epochs(world)[name] + 2
    world.push("a", lie(world, name, newest))
    for _ in range(10):
        world.push("a", lie(world, name, newest - 1))
        world.run(3)
        world.push("a", lie(world, name, newest))
        world.run(1)
    assert world.snap.maps[name].epoch == newest
    assert world.snap.counters["maps_lagging"] == 10


@pytest.mark.parametrize("where", [{"pool": "rbd"}, {"fs": "cephfs"}])
@pytest.mark.parametrize("name", ["osdmap", "fsmap", "mdsmap"])
def test_df_is_about_the_right_thing_again(where: dict[str, str], name: str) -> None:
    world = World(**where).opened("a")  # type: ignore[arg-type]
    pool = world.answer(world.statfs()).pool
    world.push("a", lie(world, name, TOP))
    world.reset("a")
    world.run(10.5)
    assert world.answer(world.statfs()).pool == pool
    assert not world.snap.problem


def test_a_version_of_statfs_ends_like_an_epoch() -> None:
    world = World().opened("a")
    world.reply = lambda rank, message: (
        (statfs_reply(world, message, version=2**64 - 1),)
        if rank == 0 and message.type == MsgType.STATFS_REPLY
        else (message,)
    )
    made_up = world.answer(world.statfs())
    world.reset("a")
    assert world.answer(world.statfs()) is made_up
    world.run(10)
    assert world.answer(world.statfs()).stats == world.cluster.at(world.wall).statfs(None)


def test_maps_of_a_monitor_that_is_not_the_sessions_are_not_taken() -> None:
    world = World().opened("a")
    honest = epochs(world)
    world.condition[0] = world.condition[0].FROZEN
    world.statfs()
    world.reply = lambda _, message: () if message.type == MsgType.STATFS_REPLY else (message,)
    world.run(0.5)
    (beside,) = {world.cluster.names[conn.rank] for conn in world.conns.values()} - {"a"}
    for name in MAPS[1:]:
        world.push(beside, lie(world, name, TOP))
    assert world.snap.mon == "a"
    assert epochs(world) == honest


@pytest.mark.parametrize("wall", [-1e9, 2.0**32, 4.3e9, 9e9, 2.0**40])
def test_a_sign_of_life_is_asked_for_at_any_date(wall: float) -> None:
    world = World(mons=1).opened("a")
    world.wall_shift = wall - world.wall
    world.run(120)
    assert world.snap.counters["keepalives"] >= 4
    assert world.is_open
    assert len(world.connects) == 1
    assert world.answered(world.statfs())
