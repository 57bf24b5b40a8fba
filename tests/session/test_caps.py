"""What a session makes of a key whose caps do not cover everything."""

from __future__ import annotations

import json
from collections.abc import Iterable

from cephmonfs.demo.authserver import EACCES
from cephmonfs.errors import NotPermitted
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from tests.session.world import Is, World, caps


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
