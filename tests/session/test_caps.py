"""What a session makes of a key whose caps do not cover everything."""

from __future__ import annotations

import json
from collections.abc import Iterable

from cephmonfs.errors import NotPermitted
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.monitor.authserver import EACCES
from tests.doubles.world import Is, World, caps


def limited(*, statfs: bool, maps_too: bool) -> World:
    world = World()
    rule = caps(statfs=statfs, maps_too=maps_too)
    world.reply = lambda rank, message: rule(world, rank, message)  # type: ignore[operator]
    world.start("a")
    return world


def test_maps_that_the_caps_do_not_cover_are_told() -> None:
    world = limited(statfs=True, maps_too=False)
    world.run(5)
    assert world.snap.denied == {"osdmap", "mdsmap", "fsmap", "mgrmap"}
    assert world.answered(world.statfs())
    assert world.is_open
    assert len(world.connects) == 1


def test_a_statfs_that_the_caps_do_not_cover_fails_soon_and_says_why() -> None:
    world = limited(statfs=False, maps_too=False)
    waiter = world.statfs()
    world.run(4, until=lambda: waiter in world.answers)
    assert isinstance(world.answers[waiter], NotPermitted)
    assert "statfs" in world.snap.denied
    again = world.statfs()
    assert isinstance(world.answers[again], NotPermitted)  # at once: nobody is left waiting for what is known
    connects = len(world.connects)
    for _ in range(100):
        assert isinstance(world.answers[world.statfs()], NotPermitted)
        world.run(0.1)
    assert len(world.connects) <= connects + 1
    assert len(world.conns) == 1


def test_caps_for_small_commands_and_not_for_the_space_are_told_too() -> None:
    """mon 'allow service mon r': the first probe is answered well, the second wants what a statfs wants."""
    world = World()
    asked: list[str] = []

    def reply(rank: int, message: Message) -> Iterable[Message]:
        if message.type == MsgType.STATFS_REPLY:
            return ()
        if message.type == MsgType.MON_COMMAND_ACK:
            command = [payload for _, payload in world.received if isinstance(payload, mon.MMonCommand)][-1]
            asked.append(json.loads(command.command[0])["prefix"])
            result = EACCES if asked[-1] == "pg stat" else 0
            return (to_message(mon.MMonCommandAck(result, "", ()), message.tid),)
        return (message,)

    world.reply = reply
    world.start("a")
    waiter = world.statfs()
    world.run(6, until=lambda: waiter in world.answers)
    assert set(asked) == {"fsid", "pg stat"}
    assert isinstance(world.answers[waiter], NotPermitted)
    assert "it needs mon 'allow r'" in world.snap.last_error
    assert isinstance(world.answers[world.statfs()], NotPermitted)
    assert world.is_open
    assert "statfs" in world.snap.denied


def test_an_answered_probe_of_a_session_that_is_gone_keeps_nobody_busy() -> None:
    world = limited(statfs=True, maps_too=False)
    world.set(Is.DEAD, "a", "b", "c")
    world.run(10)
    assert world.is_hunting
    assert world.snap.denied == set()


def test_caps_that_were_given_later_are_noticed() -> None:
    world = limited(statfs=False, maps_too=False)
    waiter = world.statfs()
    world.run(4, until=lambda: waiter in world.answers)
    world.reply = lambda _, message: (message,)
    world.run(60)
    assert isinstance(world.answers[world.statfs()], NotPermitted)  # and it makes us look again
    assert world.answered(world.statfs())
    assert world.snap.sessions == 2
    assert "statfs" not in world.snap.denied


def test_no_quorum_is_not_mistaken_for_missing_caps() -> None:
    world = World()
    world.set(Is.UNREADABLE, "a", "b", "c")
    world.start("a")
    waiter = world.statfs()
    world.run(30)
    assert waiter not in world.answers
    world.set(Is.UP, "a", "b", "c")
    world.run(1, until=lambda: waiter in world.answers)
    assert world.answered(waiter)


ALL_BUT_MONMAP = {"osdmap", "mdsmap", "fsmap", "mgrmap"}


def test_caps_narrowed_while_mounted_are_told_once_and_nothing_old_is_shown() -> None:
    world = World().opened("a")
    assert world.answered(world.statfs())
    rule = caps(statfs=False, maps_too=False, version=False)
    world.reply = lambda rank, message: rule(world, rank, message)  # type: ignore[operator]
    world.run(60)
    assert world.snap.denied == set()  # a session keeps the caps that it began with
    world.reset("a")
    world.run(5)
    assert world.snap.denied == ALL_BUT_MONMAP
    assert set(world.snap.maps) == {"monmap"}
    sentence = world.snap.last_error
    assert sentence == (
        "the caps of client.demo do not cover any more: osdmap, mdsmap, fsmap, mgrmap. "
        "On the cluster: ceph auth get client.demo"
    )
    waiter = world.statfs()
    world.run(4, until=lambda: waiter in world.answers)
    assert isinstance(world.answers[waiter], NotPermitted)
    assert world.snap.denied == {*ALL_BUT_MONMAP, "statfs"}
    told = world.snap.last_error
    for name in "abcabc":
        world.reset(name)
        world.run(5)
    assert world.snap.last_error == told or "closed" in world.snap.last_error or "reset" in world.snap.last_error
    assert world.snap.denied == {*ALL_BUT_MONMAP, "statfs"}


def test_caps_widened_again_show_everything_with_the_next_session() -> None:
    world = limited(statfs=False, maps_too=False)
    waiter = world.statfs()
    world.run(4, until=lambda: waiter in world.answers)
    world.reply = lambda _, message: (message,)
    world.reset("a")
    world.run(1)
    assert world.snap.denied == set()
    assert set(world.snap.maps) > ALL_BUT_MONMAP
    assert world.answered(world.statfs())


def test_no_quorum_is_not_mistaken_for_caps_that_were_narrowed() -> None:
    """mon 'allow service pg r': the probe is refused, a statfs is answered, and later it is not."""
    world = limited(statfs=True, maps_too=False)
    assert world.answered(world.statfs())
    rule = caps(statfs=False, maps_too=False)

    def reply(rank: int, message: Message) -> Iterable[Message]:
        if message.type == MsgType.MON_COMMAND_ACK and b"pg stat" in message.front:
            return ()  # the mgr does not answer either
        return rule(world, rank, message)  # type: ignore[operator, no-any-return]

    world.reply = reply
    world.reset("a")
    waiter = world.statfs()
    world.run(30)
    assert waiter not in world.answers
    assert "statfs" not in world.snap.denied
