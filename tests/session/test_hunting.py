"""Which monitor is the session, and when another one becomes it."""

from __future__ import annotations

import pytest

from cephmonfs.messages import mon
from cephmonfs.model.entity import AddrType, EntityAddr
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.snapshot import State
from tests.doubles.world import LATE, Is, World


def test_the_first_session() -> None:
    world = World()
    assert world.is_connecting
    assert world.session.next_timeout() is None
    world.start()
    snap = world.snap
    assert snap.state is State.OPEN
    assert (snap.sessions, snap.failovers) == (1, 0)
    assert snap.mode == "secure"
    assert snap.global_id > 4100
    assert len(world.conns) == 1
    assert sorted(snap.maps) == ["fsmap", "mdsmap", "mgrmap", "monmap", "osdmap"]
    assert snap.fsid == str(world.cluster.fsid)
    assert world.changed >= {"session", "monmap", "osdmap", "mgrmap", "fsmap", "mdsmap"}
    record = world.answer(world.statfs())
    assert record.stats == world.cluster.at(world.wall).statfs(None)
    assert record.asked.mono == world.now


def test_an_idle_session_asks_for_a_sign_of_life_and_nothing_else() -> None:
    world = World().opened()
    sent = world.snap.counters["messages_out"]
    keepalives = world.snap.counters.get("keepalives", 0)
    world.run(600)
    snap = world.snap
    assert snap.state is State.OPEN
    assert snap.counters["messages_out"] == sent
    assert 15 <= snap.counters["keepalives"] - keepalives <= 45
    assert len(world.connects) == 1
    assert snap.mons[world.cluster.names.index(snap.mon)].rtt_s is not None


def test_after_a_reset_the_next_monitor_at_once_and_not_the_one_that_failed() -> None:
    for name in "abc":
        world = World().opened(name)
        world.reset(name)
        assert world.is_open
        assert world.snap.mon != name
        assert world.now == 0.0
        assert (world.snap.sessions, world.snap.failovers) == (2, 1)
        assert "connection reset by peer" in world.snap.errors[name]


def test_a_request_under_way_goes_out_again_with_the_same_tid() -> None:
    world = World().opened("a")
    world.set(Is.FROZEN, "a")
    waiter = world.statfs()
    assert waiter not in world.answers
    (view,) = world.snap.requests
    world.set(Is.DEAD, "a")
    assert world.answered(waiter)
    assert world.snap.counters["resends"] == 1
    assert not world.snap.requests
    assert view.sends == 1
    assert world.asked(mon.MStatfs) == 1  # the frozen one never read its copy


@pytest.mark.parametrize("condition", [Is.FROZEN, Is.UNREACHABLE, Is.UNREADABLE, Is.MUTE])
def test_silence_opens_others_beside_and_who_answers_first_is_the_session(condition: Is) -> None:
    world = World().opened("a")
    world.statfs()
    world.set(condition, "a")
    waiter = world.statfs()
    took = world.run(5, until=lambda: waiter in world.answers)
    assert abs(took - LATE) < 0.01
    snap = world.snap
    assert snap.state is State.OPEN
    assert snap.mon != "a"
    assert snap.failovers == 1
    assert "did not answer" in snap.errors["a"]
    assert len(world.conns) == 1  # the silent one was left


def test_until_somebody_answers_the_silent_one_stays_open() -> None:
    world = World().opened("a")
    world.set(Is.FROZEN, "a", "b", "c")
    waiter = world.statfs()
    world.run(2.0)
    assert world.is_hunting
    assert len(world.conns) == 3
    assert "close a" not in world.moves
    world.set(Is.UP, "a")  # it was only slow
    assert world.answered(waiter)
    assert world.snap.mon == "a"
    assert world.snap.failovers == 0
    assert len(world.conns) == 1
    assert world.is_open


def test_who_lets_us_in_and_keeps_quiet_is_not_the_session() -> None:
    """A monitor out of quorum opens sessions and answers commands."""
    world = World().opened("a")
    world.set(Is.FROZEN, "a")
    world.set(Is.UNREADABLE, "b", "c")
    waiter = world.statfs()
    world.run(5)
    assert waiter not in world.answers
    assert world.is_hunting
    world.set(Is.UP, "c")
    assert world.answered(waiter)
    assert world.snap.mon == "c"


def test_a_link_beside_that_answers_nothing_makes_room() -> None:
    world = World(mons=5).opened("a")
    world.set(Is.FROZEN, "a", "b", "c", "d", "e")
    waiter = world.statfs()
    world.run(60)
    assert {name for _, name in world.connects} == set("abcde")  # each was tried
    world.set(Is.UP, "e")
    world.run(25, until=lambda: waiter in world.answers)
    assert world.answered(waiter)
    assert world.snap.mon == "e"


def test_where_every_connection_went_mute_new_ones_are_made_soon() -> None:
    """A firewall that forgot its flows: nothing comes on any connection, and a new one would be answered at once."""
    world = World().opened("a")
    world.set(Is.UNREADABLE, "a", "b", "c")
    waiter = world.statfs()
    world.run(1.0)
    assert len(world.conns) == 3
    for conn in world.conns.values():
        conn.kept.clear()
    world.set(Is.UP, "a", "b", "c")
    assert world.run(10, until=lambda: waiter in world.answers) < 2.0
    assert world.answered(waiter)


def test_links_that_answer_nothing_are_made_again_ever_more_rarely() -> None:
    world = World().opened("a")
    world.set(Is.UNREADABLE, "a", "b", "c")
    world.statfs()
    world.run(60)
    before = len(world.connects)
    world.run(120)
    assert len(world.connects) - before <= 2 * 120 / 10


def test_nobody_listens_rounds_with_growing_pauses() -> None:
    world = World().opened("a")
    world.set(Is.DEAD, "a", "b", "c")
    assert world.is_hunting
    before = len(world.connects)
    waiter = world.statfs()
    world.run(10)
    asked = len(world.connects) - before
    assert 3 * 10 <= asked <= 3 * 25  # a round of three in 0.4 to 0.8 s, quicker ones at the start
    world.session.give_up(waiter)
    world.run(30)
    before = len(world.connects)
    world.statfs()  # answered by nobody, and nobody gives up: the statfs stays out
    world.run(60)
    assert len(world.connects) - before <= 3 * 160
    world.set(Is.UP, "b")
    took = world.run(2, until=lambda: world.is_open)
    assert took <= 0.81


def test_with_nobody_asking_the_hunt_is_slow_until_somebody_does() -> None:
    world = World().opened("a")
    world.set(Is.DEAD, "a", "b", "c")
    world.run(60)
    before = len(world.connects)
    world.run(60)
    assert len(world.connects) - before <= 3 * 25  # 2.5 to 5 s between rounds
    world.set(Is.UP, "c")
    waiter = world.session.request_statfs(world.stamp)
    took = world.run(2, until=lambda: waiter in world.answers)
    assert took <= 0.81


def test_connects_that_hang_do_not_hold_up_the_others() -> None:
    world = World()
    world.set(Is.UNREACHABLE, "a", "b")
    world.start()
    took = world.run(5, until=lambda: world.is_open)
    assert took <= 2 * LATE + 0.01
    assert world.snap.mon == "c"
    assert len(world.conns) == 1


def test_a_handshake_that_hangs_ends() -> None:
    world = World(mons=1)
    world.set(Is.FROZEN, "a")
    world.start()
    world.run(9.9)
    assert world.is_connecting
    world.run(0.2)
    assert "no session within 10 s" in world.snap.errors["a"]
    world.set(Is.UP, "a")
    world.run(1, until=lambda: world.is_open)
    assert world.is_open


def test_silence_for_30_s_ends_a_lone_link() -> None:
    world = World(mons=1).opened()
    world.set(Is.FROZEN, "a")
    world.run(120, until=lambda: not world.is_open and not world.conns)
    assert "silent for 30 s" in world.snap.errors["a"]
    assert world.is_hunting
    world.set(Is.UP, "a")
    world.run(12, until=lambda: world.is_open)
    assert world.is_open


def test_an_unanswered_sign_of_life_opens_others_too() -> None:
    world = World().opened("a")
    world.set(Is.FROZEN, "a")
    took = world.run(120, until=lambda: world.snap.mon != "a")
    assert took <= 62  # nobody asked anything: no hurry
    assert world.is_open


def test_a_link_that_is_ready_takes_over_when_the_session_breaks() -> None:
    world = World().opened("a")
    world.set(Is.FROZEN, "a")
    world.set(Is.UNREADABLE, "b", "c")
    waiter = world.statfs()
    world.run(1.0)
    assert len(world.conns) == 3
    connects = len(world.connects)
    world.reset("a")
    assert world.snap.mon in "bc"
    assert world.is_hunting  # it owes an answer as well
    world.set(Is.UP, "b", "c")
    assert world.answered(waiter)
    assert len(world.connects) <= connects + 1


def test_shut_down_closes_everything() -> None:
    world = World().opened("a")
    world.set(Is.FROZEN, "a", "b", "c")
    world.statfs()
    world.run(1)
    assert len(world.conns) == 3
    world.session.shut_down(world.stamp)
    world.settle()
    assert not world.conns
    assert world.session.next_timeout() is None
    assert world.session.data_to_send() == []
    world.start()
    assert not world.conns


def test_what_comes_for_a_link_that_is_gone_is_nothing() -> None:
    world = World().opened()
    before = world.snap
    world.session.connected(99, world.stamp)
    world.session.connect_failed(99, "no", world.stamp)
    world.session.closed(99, "no", world.stamp)
    world.session.receive_data(99, b"junk", world.stamp)
    assert world.session.next_event() is None
    assert world.snap.sessions == before.sessions


def test_junk_costs_one_link() -> None:
    world = World().opened("a")
    (link,) = world.conns
    world.session.receive_data(link, b"\xff" * 200, world.stamp)
    world.settle()
    assert world.is_open
    assert world.snap.mon != "a"


def test_names_that_resolve_later() -> None:
    world = World()
    world.session.request_statfs(world.stamp)
    world.settle()
    assert world.session.next_timeout() is None
    world.start("b")
    assert world.snap.mon == "b"
    assert len(world.answers) == 1


def test_a_list_that_is_out_of_date_is_told_though_nobody_is_at_its_addresses() -> None:
    world = World(mons=1)
    stale = EntityAddr.of("127.0.0.1", 3999, AddrType.MSGR2)
    wanted = [Candidate("a", world.addrs["a"]), Candidate(stale.hostport, stale)]
    world.session.set_candidates(wanted, world.stamp)
    world.settle()
    world.run(2.0, until=lambda: world.is_open)
    world.set(Is.FROZEN, "a")
    world.statfs()
    world.run(1.0)
    assert stale.hostport in world.snap.errors  # it was tried beside the one that is silent
    assert world.snap.last_error.startswith("the list of monitors is out of date: 127.0.0.1:3999 is no monitor")


@pytest.mark.parametrize("condition", [Is.FROZEN, Is.MUTE, Is.UNREACHABLE])
@pytest.mark.parametrize("ask", ["df", "health"])
def test_the_state_is_hunting_as_soon_as_another_is_tried_because_this_one_is_silent(condition: Is, ask: str) -> None:
    world = World().opened("a")
    world.run(3)
    world.set(condition, "a", "b", "c")
    connects = len(world.connects)
    waiter = world.statfs() if ask == "df" else world.command(ask)
    while world.now < 40:
        world.run(0.1)
        assert world.is_hunting == (len(world.connects) > connects), world.now
        assert world.is_hunting or world.now < 3.5
    world.set(Is.UP, "a", "b", "c")
    world.run(25, until=lambda: waiter in world.answers)  # what was lost on the way is asked again when links end
    assert waiter in world.answers
    assert world.is_open


@pytest.mark.parametrize("dead_first", [True, False])
def test_a_refusal_is_what_is_told_not_the_failures_beside_it(dead_first: bool) -> None:
    world = World().opened("a")
    del world.monitors._keys[str(world.settings.entity)]  # ceph auth rm
    names = ("a", "b") if dead_first else ("b", "a")
    for name in names:
        world.set(Is.DEAD, name)
    world.run(1)
    for _ in range(60):
        assert "refused client.demo" in world.snap.last_error
        world.run(1)
    assert world.is_refused


def test_a_refusal_that_is_over_is_told_no_more() -> None:
    world = World().opened("a")
    keys = world.monitors._keys
    key = keys.pop(str(world.settings.entity))
    world.set(Is.DEAD, "a")
    world.run(10)
    keys[str(world.settings.entity)] = key
    world.run(60, until=lambda: world.is_open)
    assert world.is_open
    world.set(Is.DEAD, "b", "c")
    world.run(1)
    assert "connection re" in world.snap.last_error


def test_a_monitor_at_an_address_that_is_not_its_own() -> None:
    """Behind a forwarded port: it lets us in, learns whom we mean, and closes."""
    world = World(mons=1)
    elsewhere = EntityAddr.of("127.0.0.1", 13300, AddrType.MSGR2)
    own = world.cluster.addrs[0]
    connect = world._connect
    world._connect = lambda link, addr: connect(link, own if addr == elsewhere else addr)  # type: ignore[method-assign]
    world.session.set_candidates([Candidate("127.0.0.1:13300", elsewhere)], world.stamp)
    world.settle()
    world.run(2)
    assert not world.is_open
    assert "an address that is not its own (a forwarded port, NAT?)" in world.snap.last_error
