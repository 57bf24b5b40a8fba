from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from cephmonfs.errors import NotPermitted
from cephmonfs.files.answers import HEALTH, QUORUM
from cephmonfs.files.render.status import status
from cephmonfs.files.view import View
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.snapshot import CommandReply, MonView, SessionChange, Stamp, State
from tests.doubles import source as fake
from tests.doubles.source import WALL, snapshot

SCREEN = """\
  cluster   b9a32a5e-4c5f-4b41-8d5c-7a2a9a31f0d2
  health    HEALTH_WARN
            OSDMAP_FLAGS: noout flag(s) set
  capacity  [#############-------------------------------------] 25.0%
            1.25 TiB used, 3.75 TiB available of 5.00 TiB, 123,456 objects
            as of 10 s ago
  monitors  3; quorum a,b,c, leader a
              0 a          v2:10.0.0.1:3300/0                    in     0.3 ms
            * 1 b          v2:10.0.0.1:3301/0                    in     0.6 ms
              2 c          v2:10.0.0.1:3302/0                    in     0.9 ms
  maps      monmap epoch 3, 10 s ago
            osdmap epoch 17, 10 s ago
            mdsmap not covered by the key's caps
  session   client.df, open, mon.b v2:10.0.0.1:3301/0
            secure, open for 10 s, last word 0.5 s ago, 2 sessions, 1 failovers
            2027-01-15 07:59:40Z open mon.a
            2027-01-15 08:00:00Z open mon.b: mon.a closed the connection
"""


def reply(value: object, age_s: float = 1.0) -> CommandReply:
    return CommandReply(0, "", json.dumps(value).encode(), Stamp(1000.0 - age_s, WALL + 10 - age_s))


def test_a_healthy_screen(view_of: Callable[..., View]) -> None:
    view = view_of(answers={HEALTH: reply(fake.HEALTH), QUORUM: reply(fake.QUORUM)}, maps=dict(snapshot().maps))
    assert status(view) == SCREEN


def test_a_stale_screen_says_so(view_of: Callable[..., View]) -> None:
    answers = {HEALTH: reply(fake.HEALTH, 75), QUORUM: reply(fake.QUORUM, 75)}
    text = status(
        view_of(
            answers=answers,
            state=State.HUNTING,
            last_contact=Stamp(925.0, WALL),
            quorum_at=Stamp(925.0, WALL),
            since=None,
            last_error="none of 3 monitors answered " * 9,
        )
    )
    assert "STALE     no monitor heard for 75 s: what follows is the last we know" in text
    assert "health    HEALTH_UNKNOWN (it was HEALTH_WARN, 75 s old)" in text
    assert "quorum unknown; 75 s ago it was a,b,c" in text
    assert "* " not in text
    assert "  error     none of 3" in text


def test_a_screen_of_nothing(view_of: Callable[..., View]) -> None:
    text = status(
        view_of(
            fsid="",
            maps={},
            denied=frozenset(),
            mons=(),
            statfs=None,
            last_contact=None,
            quorum_at=None,
            since=None,
            history=(),
            mon="",
            mode="",
            state=State.CONNECTING,
        )
    )
    for words in ("cluster   unknown", "HEALTH_UNKNOWN", "capacity  unknown", "none known", "maps      none yet"):
        assert words in text


def test_a_cluster_without_a_mgr_is_not_called_empty(view_of: Callable[..., View]) -> None:
    record = snapshot().statfs
    assert record is not None
    text = status(view_of(statfs=replace(record, stats=Statfs(0, 0, 0, 0))))
    assert "capacity  unknown: the monitors say 0 B, as no OSD has reported to a mgr yet" in text
    assert "0.0%" not in text


def test_a_screen_full_of_everything_keeps_its_width_and_height(view_of: Callable[..., View]) -> None:
    checks = {f"CHECK_{i}": {"severity": "HEALTH_ERR", "summary": {"message": "x" * 200}} for i in range(50)}
    mon = snapshot().mons[0]
    mons = tuple(replace(mon, name=f"monitor-with-a-long-name-{i}", rank=i, rtt_s=None) for i in range(99))
    change = SessionChange(Stamp(1.0, WALL), State.HUNTING, "m" * 300, "r" * 300)
    text = status(
        view_of(
            answers={HEALTH: reply({"status": "HEALTH_ERR", "checks": checks}, 20), QUORUM: NotPermitted("x " * 99)},
            mons=mons,
            history=(change,) * 50,
            entity="client." + "e" * 200,
            fs_missing=True,
            denied=frozenset(),
        )
    )
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 60
    assert "and 42 more" in text
    assert "and 83 more" in text
    assert "HEALTH_ERR (20 s old)" in text
    assert "no file system of that name" in text


@pytest.mark.parametrize("report", [{}, {"status": 7, "checks": []}, {"checks": {"A": 3, "B": {"summary": "x"}}}])
def test_odd_health_reports(view_of: Callable[..., View], report: object) -> None:
    assert "HEALTH_UNKNOWN" in status(view_of(answers={HEALTH: reply(report), QUORUM: reply(report)}))


def test_a_muted_check_is_shown_as_ceph_shows_it(view_of: Callable[..., View]) -> None:
    text = status(view_of(answers={HEALTH: reply(fake.MUTED), QUORUM: reply(fake.QUORUM)}))
    assert "  health    HEALTH_OK\n            (muted: OSDMAP_FLAGS(59m))\n  capacity" in text


NAMES = {
    "numbers at the end": ["ceph-mon-01", "ceph-mon-02", "ceph-mon-03"],
    "of hosts": ["mon.rack-17.row-b.dc1.example.com", "mon.rack-18.row-b.dc1.example.com"],
    "longer than a line": ["x" * 60 + "1", "x" * 60 + "2"],
}


@pytest.mark.parametrize("host", ["10.0.0.1", "2001:db8:1234:5678:9abc:def0:1234:5678"])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_monitors_with_long_names_are_told_apart(view_of: Callable[..., View], names: list[str], host: str) -> None:
    addrs = AddrVec((EntityAddr.of(host, 3300, AddrType.MSGR2),))
    mons = tuple(MonView(name, i, addrs, 0.0003, "") for i, name in enumerate(names))
    quorum = {"quorum_names": names, "quorum_leader_name": names[0]}
    text = status(view_of(answers={HEALTH: reply(fake.HEALTH), QUORUM: reply(quorum)}, mons=mons))
    assert max(map(len, text.splitlines())) <= 80
    rows = [line for line in text.splitlines() if line.endswith("in     0.3 ms")]
    shown = [line.split()[1] for line in rows]
    assert len(set(shown)) == len(names)
    if len(names[0]) < 48:
        assert shown == names
    assert text.count(str(addrs.addrs[0])) == len(names)
