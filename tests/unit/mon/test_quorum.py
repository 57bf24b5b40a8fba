"""Quorum: which commands may leave, behind which proof."""

from __future__ import annotations

from cephmonfs.messages.mon import MMonGetVersion, MStatfs
from cephmonfs.mon.quorum import Quorum
from cephmonfs.mon.requests import Kind, Request, Requests
from tests.doubles.connection import at


class Scene:
    def __init__(self) -> None:
        self.requests = Requests()
        self.quorum = Quorum(self.requests)

    def command(self) -> Request:
        return self.requests.add(Kind.COMMAND, MStatfs, 0.0)


def test_nothing_to_prove() -> None:
    scene = Scene()
    scene.requests.add(Kind.COMMAND, MStatfs, 0.0, optional=True)  # the caps' own probe
    assert scene.quorum.ask([1], 0.0) is None
    assert scene.quorum.proof is None


def test_one_proof_for_all_that_wait_and_who_comes_later_waits_for_the_next() -> None:
    scene = Scene()
    one, two = scene.command(), scene.command()
    proof = scene.quorum.ask([1], 0.0)
    assert proof is not None
    assert proof.make(bytes(16)) == MMonGetVersion(proof.tid, "monmap")
    later = scene.command()
    assert scene.quorum.ask([1], 1.0) is proof
    assert scene.quorum.commands() == (one, two)
    one.sent[1] = two.sent[1] = 0.0
    scene.requests.forget(proof)
    assert scene.quorum.commands() == (one, two, later)
    assert scene.quorum.ask([1], 2.0) is not None


def test_a_command_that_left_for_every_monitor_wants_no_more() -> None:
    scene = Scene()
    command = scene.command()
    command.sent[1] = 0.0
    assert scene.quorum.ask([1], 0.0) is None
    assert scene.quorum.ask([1, 2], 0.0) is not None


def test_the_newest_answer_counts() -> None:
    quorum = Scene().quorum
    quorum.answered(at(5.0))
    quorum.answered(at(4.0))
    assert quorum.proven == at(5.0)


def test_a_proof_that_the_caps_do_not_cover_is_not_waited_for() -> None:
    scene = Scene()
    command = scene.command()
    scene.quorum.ask([1], 0.0)
    scene.quorum.probed(denied=True)
    assert scene.quorum.proof is None
    assert scene.quorum.ask([1], 0.0) is None
    assert scene.quorum.commands() == (command,)
    assert not scene.quorum.doubts(1, command)
    scene.quorum.probed(denied=False)
    assert scene.quorum.ask([1], 0.0) is not None
