"""`ceph health -f json`, with or without `detail`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cephmonfs.model.answer import Fields, parse_object
from cephmonfs.wire import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

UNKNOWN: Final = "HEALTH_UNKNOWN"
WORDS: Final = ("HEALTH_OK", "HEALTH_WARN", "HEALTH_ERR")

_SLOW_OPS: Final = re.compile(r"[0-9]{1,15}(?= slow ops)")


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check.  Ceph v16.2.15: src/mon/health_check.h."""

    code: str  # unique within a report
    severity: str  # HEALTH_WARN or HEALTH_ERR; of a hostile monitor any name
    summary: str
    detail: tuple[str, ...]  # empty unless the detail was requested
    count: int | None
    muted: bool


@dataclass(frozen=True, slots=True)
class HealthMute:
    """One `ceph health mute`; its check may have gone, when it is sticky or the monitors have not looked yet."""

    code: str
    sticky: bool
    summary: str  # of the check as it was muted
    count: int | None
    ends: float | None  # seconds since 1970; None for never


@dataclass(frozen=True, slots=True)
class Health:
    """A health report.  `status` is one of WORDS or UNKNOWN, and counts without the muted checks."""

    status: str
    checks: tuple[HealthCheck, ...]  # as the monitors order them: worst first
    mutes: tuple[HealthMute, ...]  # none before Octopus

    @classmethod
    def parse(cls, data: bytes) -> Health:
        """Read the answer.  Raises NoData."""
        report = parse_object(data, "health")
        status = report.name("status")
        return cls(
            status if status in WORDS else UNKNOWN,
            _checks(report.fields("checks").items()),
            tuple(
                HealthMute(
                    code,
                    mute.boolean("sticky") or False,
                    mute.sentence("summary"),
                    mute.integer("count"),
                    _seconds(mute.name("ttl")),
                )
                for mute in report.rows("mutes")[: limits.MAX_HEALTH_CHECKS]
                if (code := mute.name("code"))
            ),
        )

    @property
    def active(self) -> tuple[HealthCheck, ...]:
        """The checks that are not muted: those that `status` is made from."""
        return tuple(check for check in self.checks if not check.muted)

    @property
    def muted(self) -> tuple[HealthCheck, ...]:
        """The checks that are muted."""
        return tuple(check for check in self.checks if check.muted)

    @property
    def slow_ops(self) -> int:
        """The number in "42 slow ops, oldest one blocked for 31 sec, ...", 0 without such a check."""
        for check in self.checks:
            if check.code == "SLOW_OPS" and (found := _SLOW_OPS.match(check.summary)):
                return int(found[0])
        return 0


def _seconds(ttl: str) -> float | None:
    """Read the end of a mute, "2026-11-30T13:08:11.576432+0000"; None if it is missing or not a time."""
    try:
        return datetime.fromisoformat(ttl).timestamp()
    except (ValueError, OverflowError):
        return None


def _checks(entries: Iterable[tuple[str, Fields]]) -> tuple[HealthCheck, ...]:
    found: dict[str, HealthCheck] = {}
    for name, fields in entries:
        if len(found) == limits.MAX_HEALTH_CHECKS:
            break
        code = name if name not in found else f"{name}~{len(found)}"  # they differed in what is not printable
        summary = fields.fields("summary")
        found[code] = HealthCheck(
            code,
            fields.name("severity"),
            summary.sentence("message"),
            tuple(line.sentence("message") for line in fields.rows("detail")[: limits.MAX_HEALTH_DETAIL]),
            summary.integer("count"),
            fields.boolean("muted") or False,
        )
    return tuple(found.values())
