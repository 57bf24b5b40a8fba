"""What passes for an answer of the cluster while some or all monitors have no quorum."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.mon.snapshot import CommandReply
from cephmonfs.monitor.authserver import EACCES
from tests.doubles.world import Is, World, caps

COMMANDS = ("health", "status", "df", "fsid", "quorum_status")
HOUR = 3600.0


def reply_to(world: World, waiter: int) -> CommandReply:
    reply = world.answers[waiter]
    assert isinstance(reply, CommandReply), reply
    return reply


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_answered_by_a_quorum_asked_no_earlier(command: str) -> None:
    world = World().opened("a")
    world.run(5)
    reply = reply_to(world, world.command(command))
    assert reply.asked == world.stamp
    assert world.snap.quorum_at is not None
    assert world.snap.quorum_at.mono >= reply.asked.mono


@pytest.mark.parametrize("command", COMMANDS)
def test_without_quorum_no_command_is_answered_and_after_it_all_are(command: str) -> None:
    world = World().opened("a")
    world.command("fsid")
    before = world.snap.quorum_at
    world.run(5)
    world.set(Is.UNREADABLE, "a", "b", "c")
    waiter = world.command(command)
    world.run(60)
    assert waiter not in world.answers
    assert world.snap.quorum_at == before
    assert world.is_hunting
    world.set(Is.UP, "a", "b", "c")
    back = world.now
    world.run(1, until=lambda: waiter in world.answers)
    asked = reply_to(world, waiter).asked
    assert asked.mono >= back
    assert world.snap.quorum_at is not None
    assert world.snap.quorum_at.mono >= back
    assert world.is_open


def test_a_monitor_out_of_quorum_is_left_for_one_in_it() -> None:
    world = World().opened("a")
    world.set(Is.UNREADABLE, "a")
    waiter = world.command("health")
    assert waiter not in world.answers  # the old state of a
    world.run(2, until=lambda: waiter in world.answers)
    assert isinstance(reply_to(world, waiter), CommandReply)
    assert world.snap.mon != "a"
    assert world.is_open
    assert world.snap.counters["replies_without_quorum"] == 1


def test_a_late_answer_of_a_monitor_that_was_not_believed_counts_for_nothing() -> None:
    world = World(mons=1).opened("a")
    world.set(Is.UNREADABLE, "a")
    world.reply = lambda _, message: (message, message) if message.type == MsgType.MON_COMMAND_ACK else (message,)
    waiter = world.command("health")
    assert waiter not in world.answers
    assert world.snap.counters["replies_unasked"] == 1


def test_commands_share_a_proof_and_what_is_asked_meanwhile_leaves_with_the_next() -> None:
    world = World().opened("a")
    waiters = [world.session.request_command({"prefix": prefix}, world.stamp) for prefix in COMMANDS]
    world.settle()
    assert world.asked(mon.MMonGetVersion) == 2  # the first command left at once, the others with one more
    assert all(isinstance(world.answers[waiter], CommandReply) for waiter in waiters)


def test_commands_before_the_first_session_share_one_proof() -> None:
    world = World()
    waiters = [world.session.request_command({"prefix": prefix}, world.stamp) for prefix in COMMANDS]
    world.start("a")
    assert world.asked(mon.MMonGetVersion) == 1
    assert all(isinstance(world.answers[waiter], CommandReply) for waiter in waiters)


def test_a_statfs_is_a_proof() -> None:
    world = World().opened("a")
    assert world.snap.quorum_at is None
    world.run(3)
    world.statfs()
    assert world.snap.quorum_at == world.stamp


def test_an_idle_session_asks_for_no_proof() -> None:
    world = World().opened("a")
    world.run(HOUR)
    assert world.asked(mon.MMonGetVersion) == 0


def test_a_command_that_was_given_up_leaves_no_proof_behind() -> None:
    world = World().opened("a")
    world.set(Is.FROZEN, "a", "b", "c")
    waiters = [world.command(prefix) for prefix in COMMANDS]
    world.run(3)
    assert world.is_hunting
    for waiter in waiters:
        world.session.give_up(waiter)
    assert not world.snap.requests
    asked = world.asked(mon.MMonGetVersion)
    world.run(HOUR)
    assert world.asked(mon.MMonGetVersion) == asked


NO_QUORUM = (
    "monitor a at v2:127.0.0.1:3300/0: open: has no quorum: it answers commands, and nothing that needs a quorum"
)


@pytest.mark.parametrize("others", [Is.UNREADABLE, Is.DEAD, Is.FROZEN])
@pytest.mark.parametrize("ask", ["df", "health"])
def test_that_there_is_no_quorum_is_told_once_and_stands_while_it_lasts(ask: str, others: Is) -> None:
    world = World().opened("a")
    world.statfs()
    world.set(Is.UNREADABLE, "a")
    world.set(others, "b", "c")
    waiter = world.statfs() if ask == "df" else world.command(ask)
    world.run(1.5)
    for _ in range(15):
        assert world.snap.last_error == NO_QUORUM
        assert world.is_hunting
        world.run(1)
    world.session.give_up(waiter)  # it is noticed when the quorum is back, whoever still waits
    world.run(60)
    assert sum(told.sentence == NO_QUORUM for told in world.snap.told) <= 1
    assert world.is_hunting
    world.set(Is.UP, "a", "b", "c")
    assert world.run(6, until=lambda: world.is_open) < 6


def test_errors_that_alternate_are_told_once_a_minute() -> None:
    world = World().opened("a")
    world.set(Is.DEAD, "a", "b", "c")
    seen: dict[int, str] = {}
    for _ in range(100):
        world.statfs()
        world.run(0.6)
        seen |= {told.number: told.sentence for told in world.snap.told}
    assert len(seen) == len(set(seen.values())) <= 8
    assert world.snap.counters["errors_repeated"] > 20


def test_a_slow_command_is_not_doubted_for_the_proof_of_a_later_one() -> None:
    world = World().opened("a")
    held: list[Message] = []

    def slow(_: int, message: Message) -> Iterable[Message]:
        if message.type == MsgType.MON_COMMAND_ACK and not held:
            held.append(message)
            return ()
        return (message,)

    world.reply = slow
    waiter = world.command("health")
    world.run(0.1)
    world.set(Is.UNREADABLE, "a")
    world.command("df")
    (conn,) = world._sessions("a")
    conn.server.send_message(held[0])
    world.settle()
    assert isinstance(reply_to(world, waiter), CommandReply)


def test_a_key_whose_caps_cover_no_proof_is_answered_all_the_same() -> None:
    """mon 'allow service osd r': `fsid` is refused, MMonGetVersion and statfs are not answered, `osd` commands are."""
    world = World()
    rule = caps(statfs=False, maps_too=True, version=False)

    def reply(rank: int, message: Message) -> Iterable[Message]:
        if message.type == MsgType.MON_COMMAND_ACK and len(world.answers) == 0 and world.asked(mon.MMonCommand) > 1:
            return (to_message(mon.MMonCommandAck(0, "osd", ()), message.tid),)
        return rule(world, rank, message)  # type: ignore[operator, no-any-return]

    world.reply = reply
    world.start("a")
    world.run(5)
    assert reply_to(world, world.command("osd dump")).text == "osd"
    assert world.asked(mon.MMonGetVersion) == 0
    assert world.snap.quorum_at is None
    assert world.is_open


def test_a_command_that_is_asked_before_the_caps_are_known() -> None:
    world = World()
    rule = caps(statfs=True, maps_too=False, version=False)
    world.reply = lambda rank, message: rule(world, rank, message)  # type: ignore[operator]
    waiter = world.session.request_command({"prefix": "health"}, world.stamp)
    world.start("a")
    assert reply_to(world, waiter).result == EACCES
    assert not world.snap.requests
    world.run(10)
    assert world.is_open
    assert len(world.connects) == 1
