"""Caps: what an answered probe says about what is still unanswered."""

from __future__ import annotations

import math

import pytest

from cephmonfs.messages.mon import MStatfs
from cephmonfs.mon.caps import FIRST_PROBE, SECOND_PROBE, Caps, Probe
from cephmonfs.mon.connection import EACCES
from cephmonfs.mon.maps import Maps
from cephmonfs.mon.report import Report
from cephmonfs.mon.requests import Request, Requests
from cephmonfs.mon.target import Target
from cephmonfs.mon.versions import Versions
from tests.doubles.connection import WHO


class Scene:
    def __init__(self) -> None:
        report = Report()
        self.maps = Maps(None, Target(None, None), report, Versions())
        self.requests = Requests()
        self.caps = Caps(WHO, self.maps, self.requests)

    def statfs(self, when: float) -> Request:
        request = self.requests.ask_statfs(MStatfs, when)
        request.sent[1] = when
        return request


def test_one_probe_at_a_time() -> None:
    caps, requests = (scene := Scene()).caps, scene.requests
    scene.statfs(0.0)  # on nobody's behalf, but no probe
    probe = caps.ask(FIRST_PROBE, 0.0)
    assert probe is not None
    assert probe.optional
    assert caps.ask(SECOND_PROBE, 0.0) is None
    assert caps.probed == FIRST_PROBE
    requests.forget(probe)
    assert caps.ask(SECOND_PROBE, 0.0) is not None


def test_a_probe_is_weighed_once_after_a_moment() -> None:
    caps, maps = (scene := Scene()).caps, scene.maps
    assert caps.next_timeout() == math.inf
    assert caps.take_probe(99.0) is None
    probe = Probe(1, 10.0, 0)
    caps.probe_answered(probe, 1)
    assert caps.next_timeout() == 11.5  # the maps have not come
    maps.deny_awaited(WHO)
    assert caps.next_timeout() == math.inf
    scene.statfs(9.0)
    assert caps.next_timeout() == 11.5
    assert caps.take_probe(11.4) is None
    assert caps.take_probe(11.5) is probe
    assert caps.take_probe(11.5) is None


def test_the_sessions_own_probe_counts() -> None:
    caps = Scene().caps
    other, own, again = Probe(2, 1.0, 0), Probe(1, 2.0, 0), Probe(1, 3.0, 0)
    caps.probe_answered(other, None)
    caps.probe_answered(own, 1)
    caps.probe_answered(again, 1)
    assert caps.probe is own


def test_a_refused_probe_and_a_silent_statfs_mean_caps() -> None:
    caps = (scene := Scene()).caps
    probe = Probe(1, 10.0, EACCES)
    assert not caps.deny_statfs(probe, 12.0)  # none was asked
    assert not caps.in_doubt(12.0)
    scene.statfs(9.0)
    assert caps.in_doubt(12.0)
    assert not caps.deny_statfs(Probe(1, 10.0, 0), 12.0)
    assert not caps.deny_statfs(Probe(1, 9.0, EACCES), 12.0)  # asked before it
    assert caps.denied() == frozenset()
    assert caps.deny_statfs(probe, 12.0)
    assert caps.statfs_denied
    assert caps.denied() == {"statfs"}
    assert "client.df may connect but not ask for the space" in str(caps.denial())


def test_what_was_answered_in_this_session_is_no_matter_of_caps() -> None:
    caps = (scene := Scene()).caps
    scene.statfs(9.0)
    caps.statfs_answered()
    assert not caps.deny_statfs(Probe(1, 10.0, EACCES), 12.0)
    assert not caps.in_doubt(12.0)
    assert caps.denied() == frozenset()


@pytest.mark.parametrize("statfs_first", [True, False])
def test_a_refused_probe_says_nothing_where_a_statfs_was_answered_beside_it(statfs_first: bool) -> None:
    """mon 'allow service pg r': only the second probe tells what a later session's silence means."""
    caps = (scene := Scene()).caps
    if statfs_first:
        caps.statfs_answered()
        caps.first_probe_answered(EACCES)
    else:
        caps.first_probe_answered(EACCES)
        caps.statfs_answered()
    caps.session_began()
    scene.statfs(9.0)
    assert caps.ask(FIRST_PROBE, 9.0) is not None
    assert not caps.deny_statfs(Probe(1, 10.0, EACCES), 12.0)
    assert caps.in_doubt(12.0)
    caps.session_began()
    assert caps.ask(SECOND_PROBE, 9.0) is not None
    assert caps.deny_statfs(Probe(1, 10.0, EACCES), 12.0)


def test_caps_that_were_narrowed() -> None:
    caps = (scene := Scene()).caps
    caps.first_probe_answered(0)
    caps.statfs_answered()
    caps.session_began()
    scene.statfs(9.0)
    assert caps.deny_statfs(Probe(1, 10.0, EACCES), 12.0)
    caps.statfs_answered()
    assert not caps.statfs_denied


def test_an_old_refusal_is_tried_again_once_a_minute() -> None:
    caps = (scene := Scene()).caps
    scene.statfs(9.0)
    caps.deny_statfs(Probe(1, 10.0, EACCES), 12.0)
    assert not caps.try_again(71.9)
    assert caps.try_again(72.0)
    assert not caps.try_again(73.0)
