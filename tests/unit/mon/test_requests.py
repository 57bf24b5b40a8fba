"""Pending requests and the sharing of statfs."""

from __future__ import annotations

import math

from cephmonfs.messages.mon import MStatfs
from cephmonfs.mon.requests import Kind, Request, Requests


def make(fsid: bytes) -> MStatfs:
    return MStatfs(fsid)


def sent(request: Request, conn: int = 1, when: float = 0.0) -> None:
    request.sent[conn] = when
    request.sends += 1


def test_callers_join_only_a_request_that_has_not_left() -> None:
    requests = Requests()
    first, request = requests.join_statfs(make, 0.0)
    assert request is not None
    second, none = requests.join_statfs(make, 0.0)
    assert none is None
    sent(request)
    late, none = requests.join_statfs(make, 0.1)
    assert none is None
    later, _ = requests.join_statfs(make, 0.2)
    assert len(requests.pending()) == 1  # one on the wire
    answered = requests.answered(request.tid, Kind.STATFS, 1)
    assert answered is request
    assert list(request.waiters) == [first, second]
    maps = requests.next_statfs(make, 0.3)
    assert maps is not None
    assert list(maps.waiters) == [late, later]
    assert requests.next_statfs(make, 0.3) is None
    assert requests.pending()


def test_nobody_waiting_means_no_next_request() -> None:
    requests = Requests()
    assert requests.next_statfs(make, 0.0) is None
    assert not requests.pending()


def test_a_reply_of_another_kind_or_tid_or_monitor_is_not_ours() -> None:
    requests = Requests()
    request = requests.add(Kind.COMMAND, make, 0.0)
    assert requests.answered(request.tid, Kind.COMMAND, 1) is None  # it has not left
    sent(request)
    assert requests.answered(request.tid, Kind.STATFS, 1) is None
    assert requests.answered(request.tid + 1, Kind.COMMAND, 1) is None
    assert requests.answered(request.tid, Kind.COMMAND, 2) is None
    assert requests.get(request.tid, Kind.COMMAND, 1) is request
    assert requests.answered(request.tid, Kind.COMMAND, 1) is request
    assert requests.answered(request.tid, Kind.COMMAND, 1) is None


def test_giving_up_forgets_a_command_but_not_a_statfs() -> None:
    requests = Requests()
    waiter, request = requests.join_statfs(make, 0.0)
    assert request is not None
    sent(request)
    late, _ = requests.join_statfs(make, 0.0)
    requests.give_up(late)
    requests.give_up(waiter)
    assert requests.pending() == (request,)
    assert requests.next_statfs(make, 0.0) is None
    command = requests.add(Kind.COMMAND, make, 0.0)
    one, two = requests.waiter(), requests.waiter()
    command.waiters |= dict.fromkeys((one, two), math.inf)
    requests.give_up(one)
    assert command in requests.pending()
    requests.give_up(two)
    assert command not in requests.pending()
    requests.give_up(12345)


def test_one_that_is_asked_on_nobodys_behalf_is_no_reason_to_leave() -> None:
    requests = Requests()
    request = requests.ask_statfs(make, 0.0)
    assert request.optional
    assert requests.ask_statfs(make, 1.0) is request
    assert not request.waiters


def test_failing_statfs_takes_everybody_out() -> None:
    requests = Requests()
    assert requests.fail_statfs() == ()
    first, request = requests.join_statfs(make, 0.0)
    assert request is not None
    assert not requests.statfs_sent_before(1.0)
    sent(request, when=0.5)
    second, _ = requests.join_statfs(make, 0.0)
    assert requests.statfs_sent_before(1.0)
    assert not requests.statfs_sent_before(0.5)
    assert requests.fail_statfs() == (first, second)
    assert not requests.pending()


def test_a_closed_link_has_nothing_out() -> None:
    requests = Requests()
    request = requests.add(Kind.COMMAND, make, 0.0)
    sent(request, conn=1)
    sent(request, conn=2)
    requests.connection_closed(1)
    requests.connection_closed(7)
    assert request.sent == {2: 0.0}


def test_whose_time_has_come_waits_no_longer_and_the_question_stays_out() -> None:
    requests = Requests()
    assert requests.first_until == math.inf
    first, request = requests.join_statfs(make, 0.0, 1.0)
    assert request is not None
    sent(request)
    second, _ = requests.join_statfs(make, 0.1, 0.6)
    patient, _ = requests.join_statfs(make, 0.2)
    assert requests.first_until == 0.6
    assert requests.take_expired(0.5) == ()
    assert requests.take_expired(0.6) == (second,)
    assert requests.first_until == 1.0
    assert requests.take_expired(2.0) == (first,)
    assert requests.pending() == (request,)
    assert requests.fail_statfs() == (patient,)
