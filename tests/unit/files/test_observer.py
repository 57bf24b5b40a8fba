"""What is told of two moments: the events."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from cephmonfs.errors import NoData
from cephmonfs.files.answers import HEALTH, QUORUM
from cephmonfs.files.observer import Event, Observer
from cephmonfs.files.view import View
from cephmonfs.mon.snapshot import CommandReply, SessionChange, Stamp, State, StatfsRecord, Told
from tests.doubles import source as fake
from tests.doubles.source import KB, WALL, map_record, snapshot


def reply(value: object) -> CommandReply:
    return CommandReply(0, "", json.dumps(value).encode(), Stamp(999.0, WALL + 9))


def told(observer: Observer, view: View) -> list[Event]:
    return [event for event, _ in observer.observe(view)]


@pytest.fixture
def observer(view: View) -> Observer:
    """One that has seen the healthy moment."""
    observer = Observer()
    observer.observe(view)
    return observer


def test_the_first_moment(view: View) -> None:
    found = Observer().observe(view)
    assert [event["event"] for event, _ in found] == ["session", "session", "monmap", "osdmap", "capacity"]
    assert found[2] == ({"event": "monmap", "epoch": 3}, WALL)


def test_nothing_new_is_no_event(observer: Observer, view_of: Callable[..., View]) -> None:
    assert told(observer, view_of()) == []


def test_session_changes_and_errors(observer: Observer, view_of: Callable[..., View]) -> None:
    change = SessionChange(Stamp(999.0, WALL + 9), State.HUNTING, "b", "mon.b fell silent")
    error = Told(1, Stamp(999.0, WALL + 9), "mon.b fell silent")
    view = view_of(history=(*snapshot().history, change), state=State.HUNTING, told=(error,))
    assert told(observer, view) == [
        {"event": "session", "state": "hunting", "mon": "b", "detail": "mon.b fell silent"},
        {"event": "error", "mon": "b", "detail": "mon.b fell silent"},
    ]
    assert told(observer, view) == []


def test_a_session_that_goes_on_and_off_is_told_three_times_a_minute(
    observer: Observer, view_of: Callable[..., View]
) -> None:
    lines = []
    for n in range(200):
        state = (State.OPEN, State.HUNTING)[n % 2]
        change = SessionChange(Stamp(2000.0 + n / 10, WALL), state, "b", "reset")
        lines += told(observer, view_of(history=(change,), state=state))
    assert [line["state"] for line in lines] == ["open", "hunting"] * 3
    later = SessionChange(Stamp(2090.0, WALL), State.OPEN, "b", "")
    assert len(told(observer, view_of(history=(later,)))) == 1


def test_a_df_that_answers_again(observer: Observer, view_of: Callable[..., View]) -> None:
    assert told(observer, view_of(problem="the cluster has no pool rbd")) == []  # an error, told as such
    assert told(observer, view_of()) == [{"event": "df", "detail": "answers again, after: the cluster has no pool rbd"}]


@pytest.mark.parametrize("state", [state for state in State if state is not State.OPEN])
def test_a_state_without_a_line_of_its_own_in_the_history_is_told(
    observer: Observer, view_of: Callable[..., View], state: State
) -> None:
    assert told(observer, view_of(state=state)) == [{"event": "session", "state": str(state), "mon": "b", "detail": ""}]
    assert told(observer, view_of(state=state)) == []
    assert told(observer, view_of()) == [{"event": "session", "state": "open", "mon": "b", "detail": ""}]


def test_who_left_the_monmap_and_who_joined(observer: Observer, view_of: Callable[..., View]) -> None:
    mons = snapshot().mons
    changed = (mons[0], replace(mons[1], addrs=fake.address(9999)), replace(mons[2], name="d"))
    maps = {"monmap": map_record("monmap", 4, b"", Stamp(999.0, WALL + 9))}
    (event,) = told(observer, view_of(mons=changed, maps=maps))
    assert event["epoch"] == 4
    assert event["detail"] == (
        "mon c left, mon d joined ([v2:10.0.0.1:3302/0,v1:10.0.0.1:6791/0]), "
        "mon b: [v2:10.0.0.1:3301/0,v1:10.0.0.1:6790/0] -> [v2:10.0.0.1:9999/0,v1:10.0.0.1:13488/0]"
    )


def test_a_map_that_cannot_be_decoded_is_still_an_epoch(observer: Observer, view_of: Callable[..., View]) -> None:
    maps = {"mdsmap": map_record("mdsmap", 9, b"\x01", Stamp(999.0, WALL + 9))}
    view = view_of(maps=maps, denied=frozenset())
    assert told(observer, view) == [{"event": "mdsmap", "epoch": 9}]


def test_health_and_quorum(observer: Observer, view_of: Callable[..., View]) -> None:
    view = view_of(answers={HEALTH: reply(fake.HEALTH), QUORUM: reply(fake.QUORUM)})
    assert told(observer, view) == [
        {"event": "health", "old": None, "new": "HEALTH_WARN", "checks": ["OSDMAP_FLAGS"]},
        {"event": "quorum", "quorum": ["a", "b", "c"], "leader": "a", "left": [], "joined": ["a", "b", "c"]},
    ]
    fewer = {"quorum_names": ["b", "c"], "quorum_leader_name": "b"}
    well = {"status": "HEALTH_OK", "checks": {}}
    assert told(observer, view_of(answers={HEALTH: reply(well), QUORUM: reply(fewer)})) == [
        {"event": "health", "old": "HEALTH_WARN", "new": "HEALTH_OK", "checks": []},
        {"event": "quorum", "quorum": ["b", "c"], "leader": "b", "left": ["a"], "joined": []},
    ]
    assert told(observer, view_of(answers={HEALTH: NoData("x"), QUORUM: NoData("x")})) == []


def test_a_mute_is_an_event(observer: Observer, view_of: Callable[..., View]) -> None:
    def look(report: object) -> list[Event]:
        events = told(observer, view_of(answers={HEALTH: reply(report), QUORUM: reply(fake.QUORUM)}))
        return [event for event in events if event["event"] == "health"]

    look(fake.HEALTH)
    assert look(fake.MUTED) == [
        {"event": "health", "old": "HEALTH_WARN", "new": "HEALTH_OK", "checks": [], "muted": ["OSDMAP_FLAGS"]}
    ]
    assert look(fake.MUTED) == []
    assert look(fake.HEALTH) == [
        {"event": "health", "old": "HEALTH_OK", "new": "HEALTH_WARN", "checks": ["OSDMAP_FLAGS"], "muted": []}
    ]


def test_capacity_in_steps_of_a_percent(observer: Observer, view_of: Callable[..., View]) -> None:
    at = Stamp(999.0, WALL + 9)

    def moved(part: float) -> list[Event]:
        stats = replace(KB, kb_used=int(KB.kb * part))
        return told(observer, view_of(statfs=StatfsRecord(stats, None, at, at)))

    assert moved(0.259) == moved(0.241) == []
    (event,) = moved(0.27)
    assert event["used_ratio"] == 0.27
    assert moved(0.265) == moved(0.279) == []
    assert len(moved(0.25)) == 1
    assert told(observer, view_of(statfs=StatfsRecord(replace(KB, kb=0), None, at, at))) == []
