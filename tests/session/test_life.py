"""A session's life apart from hunting: identity, tickets, maps, requests."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from cephmonfs.demo import maps
from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import EntityName, EntityType, Epoch
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.snapshot import CommandReply, Snapshot
from cephmonfs.monitor.authserver import EACCES, Granted, Refused
from cephmonfs.monitor.cephx_server import CephxAuth
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.cursor import Cursor
from tests.doubles.world import Is, World, encoded_monmap, statfs_reply

ELSEWHERE = UUID(int=7)
HOUR = 3600.0


def without(*types: int) -> object:
    return lambda _, message: () if message.type in types else (message,)


# ---- who we are


def stranger(world: World) -> Identity:
    key = world.monitors.cephx.new_key(KeyType.AES, 0.0)
    return Identity(EntityName(EntityType.CLIENT, "nobody"), key, (Mode.SECURE,))


def test_refused_by_all_is_refused_and_tried_again_slowly() -> None:
    world = World(identity=stranger(World()))
    world.start()
    world.run(1)
    assert world.is_refused
    assert "refused client.nobody" in world.snap.last_error
    before = len(world.connects)
    world.statfs()
    world.run(300)
    assert len(world.connects) - before <= 3 * 25


def test_refused_by_one_is_not_final() -> None:
    world = World()

    def refuse_once(self: CephxAuth, payload: bytes, now: float) -> Refused | Granted:
        monkey.undo()
        return Refused(EACCES)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(CephxAuth, "more", refuse_once)
        world.start()
    assert world.is_open
    assert len(world.connects) == 2


def test_a_foreign_cluster_is_refused() -> None:
    world = World(fsid=ELSEWHERE)
    world.start()
    world.run(1)
    assert world.is_refused
    assert "belongs to cluster" in world.snap.last_error
    assert world.snap.monmap is None


def test_a_monitor_that_turns_foreign_is_left() -> None:
    world = World().opened("a")
    world.reply = lambda rank, message: (
        (world_monmap(world, message),) if rank == 0 and message.type == MsgType.MON_MAP else (message,)
    )
    world.push("a", world.monmap(5, fsid=ELSEWHERE))
    assert world.snap.mon != "a"
    assert "belongs to cluster" in world.snap.errors["a"]
    assert world.snap.fsid == str(world.cluster.fsid)


def world_monmap(world: World, message: Message) -> Message:
    return to_message(world.monmap(9, fsid=ELSEWHERE))


def test_auth_none() -> None:
    world = World(settings=DemoSettings(seed=3, auth_none=True)).opened("a")
    assert world.snap.mode == "crc"
    assert world.snap.tickets == ()
    world.run(100 * HOUR)
    assert world.snap.counters.get("renewals", 0) == 0
    before = world.snap.global_id
    world.reset("a")
    assert world.snap.global_id == before


# ---- tickets


def test_the_global_id_outlives_connections() -> None:
    world = World().opened("a")
    first = world.snap.global_id
    for name in "abca":
        world.reset(name)
    assert world.snap.global_id == first
    assert world.snap.sessions >= 3


def test_an_old_ticket_that_nobody_knows_any_more_means_starting_afresh() -> None:
    world = World(settings=DemoSettings(seed=3, auth_validity_s=60.0)).opened("a")
    first = world.snap.global_id
    world.set(Is.DEAD, "a", "b", "c")
    world.run(HOUR)
    world.set(Is.UP, "a", "b", "c")
    world.statfs()
    took = world.run(3, until=lambda: world.is_open)
    assert took < 1.6  # one more round than otherwise
    assert world.snap.global_id != first
    assert world.snap.counters["tickets_stale"] == 1


def test_a_monitor_that_hangs_up_on_our_ticket_twice_is_tried_without() -> None:
    world = World().opened("a")
    first = world.snap.global_id
    original = CephxAuth.more

    def hang_up(self: CephxAuth, payload: bytes, now: float) -> object:
        if self._claimed:
            Cursor(b"", "ticket").u8()
        return original(self, payload, now)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(CephxAuth, "more", hang_up)
        world.reset("a")
        world.run(2, until=lambda: world.is_open)
    assert world.is_open
    assert world.snap.global_id != first


def test_tickets_are_renewed_at_three_quarters() -> None:
    world = World().opened("a")
    (before, *_) = world.snap.tickets
    life = before.expires - before.got
    assert before.renew_after == before.got + 0.75 * life
    world.run(0.75 * life - 1)
    assert world.snap.counters.get("renewals", 0) == 0
    world.run(2)
    assert world.snap.counters["renewals"] == 1
    (after, *_) = world.snap.tickets
    assert after.got > before.got
    assert len(world.connects) == 1
    world.run(10 * life)
    assert world.snap.counters["renewals"] in (13, 14)
    assert len(world.connects) == 1
    assert world.is_open


def test_a_ticket_of_seconds() -> None:
    settings = DemoSettings(seed=3, auth_validity_s=4.0)
    world = World(settings=settings).opened("a")
    for _ in range(60):
        world.run(1)
        assert world.answered(world.statfs())
    assert world.snap.counters["renewals"] >= 19
    assert len(world.connects) == 1


@pytest.mark.parametrize("shift", [HOUR, -HOUR, 80 * HOUR])
def test_the_wall_clock_jumps(shift: float) -> None:
    world = World().opened("a")
    world.run(60)
    world.wall_shift = shift
    assert world.answered(world.statfs())
    record = world.snap.statfs
    assert record is not None
    assert world.snap.now.mono - record.asked.mono == 0
    world.run(600)
    assert len(world.connects) == 1
    assert world.answered(world.statfs())
    world.reset("a")
    world.run(1, until=lambda: world.is_open)
    assert world.is_open


def test_a_renewal_that_is_refused_is_told_and_tried_again() -> None:
    world = World().opened("a")
    (ticket, *_) = world.snap.tickets
    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(CephxAuth, "renew", lambda self, payload, now: (EACCES, b""))
        world.run(0.75 * (ticket.expires - ticket.got) + 1)
        assert "tickets were not renewed: error -13" in world.snap.last_error
    world.run(31)
    assert world.snap.counters["renewals"] == 2
    assert world.snap.tickets[0].got > ticket.got


def test_a_renewal_with_a_positive_result_is_no_answer() -> None:
    world = World().opened("a")
    (ticket, *_) = world.snap.tickets
    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(CephxAuth, "renew", lambda self, payload, now: (5, b"secret"))
        world.run(0.75 * (ticket.expires - ticket.got) + 1)
    assert world.snap.mon != "a"
    assert "auth reply with result 5" in world.snap.errors["a"]


def test_a_reset_during_a_renewal() -> None:
    world = World().opened("a")
    (ticket, *_) = world.snap.tickets
    world.run(0.75 * (ticket.expires - ticket.got) - 1)
    world.set(Is.FROZEN, "a")
    world.run(2)
    world.reset("a")
    assert world.is_open
    assert world.snap.tickets[0].got > ticket.got


def test_an_auth_reply_that_nobody_asked_for() -> None:
    world = World().opened("a")
    world.push("a", auth.MAuthReply(2, 0, 1, b""))
    assert world.snap.counters["replies_unasked"] == 1
    assert world.is_open


# ---- the monmap


def test_a_new_monmap_is_followed() -> None:
    world = World()
    world.start()
    mine = world.snap.mon
    left, gone = sorted(set("abc") - {mine})
    world.push(mine, world.monmap(2, mine + left))
    assert [m.name for m in world.snap.mons] == sorted((mine, left))
    world.connects.clear()
    world.set(Is.DEAD, "a", "b", "c")
    world.run(0.0)
    assert [name for _, name in world.connects] == [left, gone]  # configured, not in the map: it comes last


def test_a_monitor_that_was_removed_is_left() -> None:
    world = World().opened("a")
    world.push("a", world.monmap(2, "bc"))
    assert world.snap.mon in "bc"
    assert world.is_open
    assert "no longer in the monmap" in world.snap.errors["a"]


def test_an_old_monmap_changes_nothing() -> None:
    world = World().opened("a")
    world.push("a", world.monmap(5, "abc"))
    world.push("a", world.monmap(4, "bc"))
    assert world.snap.mon == "a"
    assert world.snap.maps["monmap"].epoch == 5


def test_an_empty_monmap_costs_the_link() -> None:
    world = World().opened("a")
    world.push("a", world.monmap(5, ""))
    assert world.snap.mon != "a"
    assert len(world.snap.mons) == 3


def test_a_cluster_that_stops_taking_our_key_type_says_so() -> None:
    world = World().opened("a")
    base = maps.monmap(world.cluster, KeyType.AES256K)
    world.push("a", encoded_monmap(replace(base, epoch=Epoch(7))))
    assert "auth_allowed_ciphers" in world.snap.last_error
    assert world.is_open


# ---- other maps


def test_a_session_begins_with_whole_maps_and_they_are_no_news() -> None:
    world = World().opened("a")
    before = world.snap.maps
    world.received.clear()
    world.changed.clear()
    world.reset("a")
    asked = [payload.what for _, payload in world.received if isinstance(payload, mon.MMonSubscribe)]
    assert [{name: item.start for name, item in what.items()} for what in asked] == [
        {"monmap": 0},
        {"mdsmap": 0, "fsmap": 0, "osdmap": 0, "mgrmap": 0},
    ]
    assert world.snap.maps == before
    assert world.changed == {"session"}


def test_incremental_osdmaps_are_kept_in_a_row() -> None:
    world = World().opened("a")
    first = world.snap.maps["osdmap"].epoch
    for _ in range(200):
        world.run(1)
        world.tick()
    record = world.snap.maps["osdmap"]
    assert record.epoch >= first + 4
    assert len(record.incrementals) == record.epoch - first
    assert "osdmap_full_asked" not in world.snap.counters


def test_a_gap_between_incrementals_asks_for_a_full_map() -> None:
    world = World().opened("a")
    have = world.snap.maps["osdmap"].epoch
    world.received.clear()
    world.push("a", mon.MOSDMap(world.cluster.fsid.bytes, {have + 5: b"inc"}, {}))
    assert world.snap.counters["osdmap_full_asked"] == 1
    assert world.snap.maps["osdmap"].epoch >= have
    world.push("a", mon.MOSDMap(world.cluster.fsid.bytes, {have - 5: b"old"}, {}))
    assert world.snap.counters["osdmap_full_asked"] == 1


def test_a_chain_that_outgrew_its_map_is_replaced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cephmonfs.mon.mapstore.MapStore.osdmap_is_long", lambda self: True)
    world = World().opened("a")
    asked = world.snap.counters["osdmap_full_asked"]
    for _ in range(3):  # a monitor that lags answers with a map that we have: no reason to ask it again
        world.push("a", mon.MOSDMap(world.cluster.fsid.bytes, {}, {}))
    assert world.snap.counters["osdmap_full_asked"] == asked == 1


def test_messages_that_mean_nothing_to_us_cost_nothing() -> None:
    world = World().opened("a")
    world.push("a", mon.MConfig({}))
    assert world.snap.counters["messages_unasked"] == 1
    world.push("a", mon.MMonGetMap())
    assert world.snap.counters["messages_unknown"] == 1
    assert world.snap.mon == "a"


def test_answers_that_nobody_asked_for_are_counted() -> None:
    world = World().opened("a")
    stats = world.cluster.at(world.wall).statfs(None)
    assert stats is not None
    world.push("a", mon.MStatfsReply(world.cluster.fsid.bytes, 1, stats))
    world.push("a", mon.MMonCommandAck(0, "", ()))
    world.push("a", mon.MMonGetVersionReply(1, 2, 3))
    assert world.snap.counters["replies_unasked"] == 3
    assert world.snap.quorum_at is None


def test_maps_of_another_cluster_cost_the_link() -> None:
    for payload in (mon.MOSDMap(ELSEWHERE.bytes, {}, {}), mon.MMDSMap(ELSEWHERE.bytes, 99, b"")):
        world = World().opened("a")
        world.push("a", payload)
        assert world.snap.mon != "a"


def test_an_old_monitor_forgets_subscriptions_and_gets_them_again() -> None:
    world = World().opened("a")
    world.push("a", mon.MMonSubscribeAck(60, world.cluster.fsid.bytes))
    before = world.asked(mon.MMonSubscribe)
    world.run(29)
    assert world.asked(mon.MMonSubscribe) == before
    world.run(2)
    assert world.asked(mon.MMonSubscribe) == before + 1
    world.run(100)
    assert world.snap.counters["subs_renewed"] == 1


# ---- statfs and commands


def test_callers_share_what_has_not_left() -> None:
    world = World().opened("a")
    one = world.session.request_statfs(world.stamp)
    two = world.session.request_statfs(world.stamp)
    three = world.session.request_statfs(world.stamp)
    world.settle()
    assert world.asked(mon.MStatfs) == 1  # the first left at once, the others wait for the second
    assert world.session.statfs_gathering == 2  # which waits for more until it leaves
    world.session.statfs_gathered(world.stamp)
    assert world.session.statfs_gathering == 0
    world.settle()
    assert world.asked(mon.MStatfs) == 2
    assert world.answer(two) is world.answer(three)
    assert world.answer(one) is not world.answer(two)
    world.session.statfs_gathered(world.stamp)
    world.settle()
    assert world.asked(mon.MStatfs) == 2  # nobody waits, nothing is asked


def test_a_statfs_leaves_once_all_who_got_the_last_answer_are_back() -> None:
    world = World().opened("a")
    callers = [world.session.request_statfs(world.stamp) for _ in range(5)]
    world.settle()
    callers[0] = world.session.request_statfs(world.stamp)
    world.settle()
    assert world.asked(mon.MStatfs) == 2  # four waited, the fifth is back
    assert len({id(world.answer(caller)) for caller in callers}) == 1
    for expected in (2, 2, 2, 2, 3):
        world.session.request_statfs(world.stamp)
        world.settle()
        assert world.asked(mon.MStatfs) == expected  # the first of the five does not leave alone


def test_who_asks_alone_waits_for_none_of_those_before_him() -> None:
    world = World().opened("a")
    for _ in range(3):
        world.session.request_statfs(world.stamp)
    world.settle()
    world.run(1)
    alone = world.session.request_statfs(world.stamp)
    due = world.session.next_timeout()
    assert due is not None
    assert due <= world.stamp.mono
    assert world.run(0.1, until=lambda: alone in world.answers) <= 1e-9


def test_a_shared_statfs_leaves_without_the_drivers_word() -> None:
    world = World().opened("a")
    world.session.request_statfs(world.stamp)
    late = world.session.request_statfs(world.stamp)
    world.settle()
    assert world.run(0.1, until=lambda: late in world.answers) <= 0.005 + 1e-9


def test_a_monitor_that_lags_does_not_take_us_back_unless_it_insists() -> None:
    world = World().opened("a")
    versions = iter([50, 49, 48, 47, 46, 45])
    world.reply = lambda _, message: (
        (statfs_reply(world, message, version=next(versions), kb_used=next(used)),)
        if message.type == MsgType.STATFS_REPLY
        else (message,)
    )
    used = iter([10, 20, 30, 40, 50, 60])
    seen = []
    for _ in range(6):
        seen.append(world.answer(world.statfs()).stats.kb_used)
        world.run(3)
    assert seen == [10, 10, 10, 10, 10, 60]
    assert world.snap.counters["statfs_lagging"] == 4


def test_implausible_numbers_are_counted() -> None:
    world = World().opened("a")
    world.reply = lambda _, message: (
        (statfs_reply(world, message, version=1, kb_used=2000),) if message.type == MsgType.STATFS_REPLY else (message,)
    )
    world.statfs()
    assert world.snap.counters["statfs_implausible"] == 1


def test_a_command() -> None:
    world = World().opened("a")
    reply = world.answers[world.command("fsid")]
    assert isinstance(reply, CommandReply)
    assert reply.result == 0
    assert str(world.cluster.fsid).encode() in reply.data


def test_a_command_may_take_its_time_but_not_for_ever() -> None:
    world = World().opened("a")
    world.reply = lambda rank, message: () if rank == 0 and message.type == MsgType.MON_COMMAND_ACK else (message,)
    waiter = world.command("fsid")
    world.run(1.9)
    assert world.is_open
    assert len(world.conns) == 1
    world.run(1.0)
    assert waiter in world.answers
    assert world.snap.mon != "a"


def test_a_command_that_was_given_up_is_forgotten() -> None:
    world = World().opened("a")
    world.set(Is.FROZEN, "a")
    waiter = world.command("fsid")
    world.session.give_up(waiter)
    assert not [view for view in world.snap.requests if view.kind == "mon_command"]
    world.run(5)
    assert world.snap.mon == "a"
    world.set(Is.UP, "a")
    assert waiter not in world.answers


def test_the_view_of_requests() -> None:
    world = World()
    world.session.request_statfs(world.stamp)
    world.session.request_command({"prefix": "fsid"}, world.stamp)
    world.now = 2.0
    views = world.snap.requests
    assert [(v.kind, v.mon, v.sends, v.age_s) for v in views] == [("statfs", "", 0, 2.0), ("mon_command", "", 0, 2.0)]


def test_an_unknown_service_shows_as_its_number() -> None:
    world = World().opened("a")
    credentials = world.session._tickets.credentials
    assert credentials is not None
    (ticket, *_) = credentials.tickets.values()
    world.session._tickets.credentials = replace(credentials, tickets={999: replace(ticket, service=999)})
    snap: Snapshot = world.snap
    assert snap.tickets[0].service == "999"


def test_no_key_where_one_is_wanted() -> None:
    world = World(identity=Identity(EntityName(EntityType.CLIENT, "x"), None, (Mode.CRC,)))
    world.start()
    world.run(1)
    assert world.is_refused
    assert "wants a key" in world.snap.last_error


def test_the_wrong_protocol_is_no_reason_to_speak_it() -> None:
    world = World(identity=Identity(EntityName(EntityType.CLIENT, "demo"), None, (Mode.LEGACY,)))
    world.start()
    world.run(1)
    assert world.is_refused
    assert "ms_mode asks for another" in world.snap.last_error


# ---- damaged maps, storms, impostors


def test_a_damaged_map_costs_the_link_once_and_is_left_out_when_it_is_the_clusters_own() -> None:
    world = World().opened("a")
    have = world.snap.maps["fsmap"].epoch
    bad = mon.MFSMap(have + 1, world.fsmap(have + 1, (1, "cephfs")).fsmap[:60])
    world.push("a", bad)
    assert world.snap.mon != "a"
    second = world.snap.mon
    world.push(second, bad)
    assert world.snap.mon == second  # two monitors say the same: it is we who cannot read it
    assert world.snap.counters["maps_bad"] == 2
    assert world.snap.maps["fsmap"].epoch == have
    wrong = mon.MMDSMap(world.cluster.fsid.bytes, 1 << 20, world.mdsmap(7, 3).mdsmap, "cephfs")
    world.push(second, wrong)
    assert "was announced" in world.snap.errors[second]


def test_an_old_mdsmap_is_no_news() -> None:
    world = World(fs="cephfs").opened("a")
    world.push("a", world.mdsmap(1, 3, 4))
    assert world.answer(world.statfs()).pool == 3


def test_a_command_waits_for_the_first_session() -> None:
    world = World()
    one = world.session.request_command({"prefix": "fsid"}, world.stamp)
    two = world.session.request_statfs(world.stamp)
    three = world.session.request_statfs(world.stamp)
    world.start()
    assert isinstance(world.answers[one], CommandReply)
    assert world.answer(two) is world.answer(three)  # it had not left yet


def test_monitors_that_hang_up_at_once_are_not_stormed() -> None:
    world = World().opened("a")
    for _ in range(200):
        if world.is_open:
            world.reset(world.snap.mon)
        world.run(0.01)
    assert len(world.connects) < 150
    world.run(5, until=lambda: world.is_open)
    assert world.is_open


def test_a_monitor_that_cannot_prove_itself() -> None:
    world = World(mons=1)
    other = world.monitors.cephx.new_key(KeyType.AES, 0.0)

    def let_in(self: CephxAuth, payload: bytes, now: float) -> Granted:
        return self._grant(other, 4200, None, 1, 64, now)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(CephxAuth, "more", let_in)
        world.start()
        world.run(1)
    assert world.is_refused
    assert "cannot prove" in world.snap.last_error


def test_our_own_address_is_that_which_the_monitor_sees() -> None:
    world = World()
    assert world.snap.my_addr is None
    addr = world.opened("a").snap.my_addr
    assert addr is not None
    assert addr.host
