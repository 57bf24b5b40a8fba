from __future__ import annotations

import json

from cephmonfs.model.health import UNKNOWN, Health, HealthMute
from cephmonfs.wire import limits


def check(message: str = "x", count: object = 1, **more: object) -> dict[str, object]:
    return {"severity": "HEALTH_WARN", "summary": {"message": message, "count": count}} | more


def health(status: object = "HEALTH_WARN", checks: object = None, **more: object) -> Health:
    return Health.parse(json.dumps({"status": status, "checks": checks or {}} | more).encode())


def test_a_report_with_detail() -> None:
    detail = [{"message": "osd.0 is down"}, {"message": "osd.1\nis down"}, 7]
    found = health("HEALTH_ERR", {"B": check("first", 2, muted=False, detail=detail), "A": check("second")})
    assert found.status == "HEALTH_ERR"
    assert [one.code for one in found.checks] == ["B", "A"]
    assert found.checks[0].count == 2
    assert found.checks[0].detail == ("osd.0 is down", "osd.1 is down")
    assert found.checks[0].severity == "HEALTH_WARN"
    assert found.checks[1].summary == "second"
    assert found.active == found.checks
    assert not found.muted
    assert not found.mutes


def test_mutes() -> None:
    mutes = [
        {"code": "A", "sticky": True, "summary": "x", "count": 3, "ttl": "2026-11-30T13:08:11.500000+0000"},
        {"code": "B", "ttl": "soon"},
        {},
        {"code": 5, "ttl": "2026-11-30T13:08:11.500000+0000"},
        {"code": None},
    ]
    found = health("HEALTH_OK", {"A": check(muted=True), "B": check(muted=False)}, mutes=mutes)
    assert [one.code for one in found.muted] == ["A"]
    assert [one.code for one in found.active] == ["B"]
    assert found.mutes[0] == HealthMute("A", True, "x", 3, 1796044091.5)
    assert [(one.code, one.ends) for one in found.mutes[1:]] == [("B", None)]  # and none without a name


def test_a_status_is_one_of_three_words() -> None:
    for status in ("HEALTH_OK\nHEALTH_ERR", "", None, 7, "HEALTH_FINE", "health_ok", "\ud800"):
        assert health(status).status == UNKNOWN


def test_codes_stay_apart() -> None:
    found = health(checks={"A\x1b": check("one"), "A\x07": check("two"), "A?": check("three")})
    assert len({one.code for one in found.checks}) == 3
    assert [one.summary for one in found.checks] == ["one", "two", "three"]


def test_odd_checks_cost_themselves_alone() -> None:
    found = health(checks={"A": 7, "B": {"summary": []}, "C": check(count="many"), "D": {"severity": 7, "detail": 7}})
    assert [(one.code, one.count) for one in found.checks] == [("B", None), ("C", None), ("D", None)]
    assert health(checks=[1, 2]).checks == ()


def test_too_many() -> None:
    found = health(
        checks={str(i): check(detail=[{"message": "x"}] * (2000 if i == 0 else 0)) for i in range(2000)},
        mutes=[{"code": str(i)} for i in range(2000)],
    )
    assert len(found.checks) == len(found.mutes) == limits.MAX_HEALTH_CHECKS
    assert len(found.checks[0].detail) == limits.MAX_HEALTH_DETAIL


def test_slow_ops() -> None:
    for message, number in (
        ("42 slow ops, oldest one blocked for 31 sec, mon.a has slow ops", 42),
        ("9" * 5000 + " slow ops", 0),
        ("٣ slow ops", 0),
        ("no slow ops", 0),
        ("", 0),
    ):
        assert health(checks={"OTHER": check(), "SLOW_OPS": check(message)}).slow_ops == number
    assert health().slow_ops == 0
