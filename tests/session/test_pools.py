"""What df is about: the cluster, the pool of a file system, a named pool."""

from __future__ import annotations

import pytest

from cephmonfs.errors import NoData, NotPermitted
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from tests.doubles.world import World, caps, osdmap


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


def problem_of(world: World) -> str:
    """What every caller is told is what the view says, and what is told once."""
    error = world.answers[world.statfs()]
    assert isinstance(error, NoData)
    assert world.snap.problem == str(error)
    assert world.snap.statfs is None
    return str(error)


POOLS = {1: ".mgr", 2: "cephfs_metadata", 3: "cephfs_data", 4: "rbd"}


@pytest.mark.parametrize(
    ("where", "pools", "says"),
    [
        ({"pool": "rbd"}, {1: ".mgr"}, "the cluster has no pool rbd any more: it was removed"),
        ({"pool": "rbd"}, {4: "block"}, "the cluster has no pool rbd any more: it is called block now"),
        ({"pool": "4"}, {1: ".mgr"}, "the cluster has no pool 4 any more: it was removed"),
        (
            {"fs": "cephfs"},
            {1: ".mgr"},
            "the cluster has no pool 3, which is the data pool of file system cephfs",
        ),
    ],
)
def test_a_pool_that_goes_and_comes_back(where: dict[str, str], pools: dict[int, str], says: str) -> None:
    world = World(**where).opened("a")  # type: ignore[arg-type]
    before = world.answer(world.statfs()).pool
    epoch = world.snap.maps["osdmap"].epoch
    world.changed.clear()
    world.push("a", osdmap(world, epoch + 1, pools))
    assert world.snap.last_error == says  # without anybody asking
    assert {"session", "statfs"} <= world.changed
    assert problem_of(world) == says
    world.push("a", osdmap(world, epoch + 2, POOLS))
    assert world.snap.problem == ""
    assert world.answer(world.statfs()).pool == before
    assert world.snap.statfs is not None


@pytest.mark.parametrize(
    ("filesystems", "says"),
    [
        ([(2, "other")], "the cluster has no file system cephfs any more: it was removed"),
        ([(1, "renamed")], "the cluster has no file system cephfs any more: it is called renamed now"),
        ([], "the cluster has no file system cephfs any more: it was removed"),
    ],
)
def test_a_file_system_that_goes_and_comes_back(filesystems: list[tuple[int, str]], says: str) -> None:
    world = World(fs="cephfs").opened("a")
    world.push("a", world.fsmap(100_000, *filesystems))
    assert world.snap.last_error == says
    assert problem_of(world) == says
    assert "mdsmap" not in world.snap.maps
    world.push("a", world.fsmap(100_001, (1, "cephfs")))
    assert world.snap.problem == ""
    world.push("a", world.mdsmap(100_001, 3))
    assert world.answer(world.statfs()).pool == 3


def test_a_problem_is_told_once() -> None:
    world = World(pool="nosuch").opened("a")
    told = world.snap.last_error
    assert "no pool nosuch" in told
    world.session._report.error("something else")
    for _ in range(10):
        problem_of(world)
        world.run(10)
        world.tick()
    assert world.snap.last_error == "something else"


def test_the_mdsmap_of_a_default_file_system_that_is_removed_is_gone() -> None:
    world = World().opened("a")
    assert "mdsmap" in world.snap.maps
    world.push("a", world.fsmap(100_000))
    assert world.snap.fscid is None
    assert "mdsmap" not in world.snap.maps
    world.push("a", world.mdsmap(100_000, 3))  # on its way when that happened
    assert "mdsmap" not in world.snap.maps
    world.push("a", world.fsmap(100_001, (1, "cephfs")))
    assert world.received[-1][1] == mon.MMonSubscribe({"mdsmap": mon.SubscribeItem(0)}, "here")
    assert "mdsmap" in world.snap.maps


def test_another_default_file_system_has_another_mdsmap() -> None:
    world = World().opened("a")
    world.push("a", world.mdsmap(100_000, 3))
    world.reply = lambda _, message: () if message.type == MsgType.MDS_MAP else (message,)
    world.push("a", world.fsmap(100_001, (2, "other")))
    assert "mdsmap" not in world.snap.maps  # it is that of the other one
    world.reply = lambda _, message: (message,)
    world.push("a", world.mdsmap(50_000, 4))
    assert world.snap.maps["mdsmap"].epoch == 50_000
