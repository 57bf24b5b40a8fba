"""What df is about: the cluster, the pool of a file system, a named pool."""

from __future__ import annotations

import pytest

from cephmonfs.errors import NoData, NotPermitted
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from tests.session.world import World, caps


def test_df_of_a_file_system_with_one_data_pool_is_of_that_pool() -> None:
    world = World(fs="cephfs").opened("a")
    record = world.answer(world.statfs())
    assert record.pool == 3
    world.push("a", world.mdsmap(100_000, 3, 4))
    assert world.answer(world.statfs()).pool is None


def test_a_file_system_that_is_not_there() -> None:
    world = World(fs="nosuch").opened("a")
    assert isinstance(world.answers[world.statfs()], NoData)
    missing = [world.snap.fs_missing]
    world.push("a", world.fsmap(100_000, (1, "cephfs"), (2, "nosuch")))
    missing.append(world.snap.fs_missing)
    assert world.snap.fscid == 2
    assert world.received[-1][1] == mon.MMonSubscribe({"mdsmap.2": mon.SubscribeItem(0)}, "here")
    world.push("a", world.mdsmap(100_000, 3))
    assert world.answered(world.statfs())
    world.push("a", world.fsmap(100_001, (1, "cephfs")))
    assert isinstance(world.answers[world.statfs()], NoData)
    world.push("a", world.fsmap(99, (2, "nosuch")))
    missing.append(world.snap.fs_missing)
    assert missing == [True, False, True]


def test_without_any_file_system_nothing_is_denied() -> None:
    world = World()
    world.reply = lambda _, message: (
        (to_message(world.fsmap(5)),)
        if message.type == MsgType.FS_MAP
        else (() if message.type == MsgType.MDS_MAP else (message,))
    )
    world.start("a")
    world.run(5)
    assert world.snap.denied == frozenset()
    assert world.snap.fscid is None


@pytest.mark.parametrize(("pool", "number"), [("rbd", 4), ("4", 4), ("cephfs_data", 3)])
def test_df_of_a_pool(pool: str, number: int) -> None:
    world = World(pool=pool).opened("a")
    record = world.answer(world.statfs())
    assert record.pool == number
    assert record.stats == world.cluster.at(world.wall).statfs(number)
    world.run(300)
    world.tick()
    assert world.answer(world.statfs()).pool == number


@pytest.mark.parametrize("pool", ["nosuch", "77"])
def test_df_of_a_pool_that_is_not_there(pool: str) -> None:
    world = World(pool=pool).opened("a")
    error = world.answers[world.statfs()]
    assert isinstance(error, NoData)
    assert pool in str(error)


def test_df_of_a_pool_without_the_osdmap() -> None:
    world = World(pool="rbd")
    waiter = world.session.request_statfs(world.stamp)  # before there is a map: it waits
    rule = caps(statfs=True, maps_too=False)
    world.reply = lambda rank, message: rule(world, rank, message)  # type: ignore[operator]
    world.start("a")
    world.run(5)
    assert waiter in world.answers
    error = world.answers[world.statfs()]
    assert isinstance(error, NotPermitted)
    assert "osdmap" in str(error)


@pytest.mark.parametrize(("where", "number"), [({"pool": "rbd"}, 4), ({"fs": "cephfs"}, 3)])
def test_a_statfs_waits_for_the_maps_that_tell_what_it_is_about(where: dict[str, str], number: int) -> None:
    world = World(**where)  # type: ignore[arg-type]
    waiters = [world.session.request_statfs(world.stamp)]
    held: list[Message] = []
    late = {MsgType.OSD_MAP, MsgType.FS_MAP}

    def reply(_: int, message: Message) -> tuple[Message, ...]:
        if message.type in late:
            held.append(message)
            return ()
        return (message,)

    world.reply = reply
    world.start("a")
    waiters.append(world.session.request_statfs(world.stamp))
    world.run(0.1)
    assert not world.answers
    world.reply = lambda _, message: (message,)
    for message in held:
        for conn in world._sessions("a"):
            conn.server.send_message(message)
        world.settle()
    world.run(0.2)
    assert [world.answer(waiter).pool for waiter in waiters] == [number, number]


def test_df_of_a_file_system_without_the_fsmap() -> None:
    world = World(fs="cephfs")
    rule = caps(statfs=True, maps_too=False)
    world.reply = lambda rank, message: rule(world, rank, message)  # type: ignore[operator]
    world.start("a")
    world.run(5)
    error = world.answers[world.statfs()]
    assert isinstance(error, NotPermitted)
    assert "fsmap" in str(error)
