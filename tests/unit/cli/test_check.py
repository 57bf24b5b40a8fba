"""What `check` says of the cluster's health."""

from __future__ import annotations

import json
import time

from cephmonfs.cli.check import _cluster_health
from cephmonfs.cli.report import Report, Status
from tests.doubles import source as fake
from tests.support.hostile import ANSWERS, CONTROL, encoded


def report_of(answer: bytes) -> Report:
    report = Report()
    _cluster_health(report, answer)
    return report


def test_a_muted_check_is_no_fault() -> None:
    muted = json.loads(json.dumps(fake.MUTED).replace("OSDMAP_FLAGS", "MON_CLOCK_SKEW"))
    muted["mutes"][0]["ttl"] = f"{time.strftime('%FT%T', time.gmtime(time.time() + 3601))}.000000+0000"
    report = report_of(json.dumps(muted).encode())
    (step,) = report.steps
    assert (step.status, step.text) == (Status.OK, "HEALTH_OK (muted: MON_CLOCK_SKEW(60m))")
    assert report.facts == {"health": "HEALTH_OK", "muted": ["MON_CLOCK_SKEW"]}
    active = json.dumps(fake.HEALTH).replace("OSDMAP_FLAGS", "MON_CLOCK_SKEW").encode()
    assert [step.status for step in report_of(active).steps] == [Status.NOTE, Status.FAULT]


def test_hostile_health() -> None:
    for answers in ANSWERS.values():
        answer = answers.get("health", -1)
        if not isinstance(answer, int):
            report = report_of(encoded(answer))
            assert not CONTROL.search(report.text())
            assert json.loads(report.json())["steps"]
