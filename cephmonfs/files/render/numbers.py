"""How numbers look: exact in value files, short on the screen for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cephmonfs.model.health import Health
    from cephmonfs.mon.snapshot import Stamp

_DAY_S: Final = 86400
_YEAR_S: Final = 360 * _DAY_S  # of twelve months of 30 days
_SPANS: Final = (
    (120, 1, "s"), (7200, 60, "m"), (2 * _DAY_S, 3600, "h"), (14 * _DAY_S, _DAY_S, "d"), (84 * _DAY_S, 7 * _DAY_S, "w"),
    (2 * _YEAR_S, 30 * _DAY_S, "M"),
)  # fmt: skip
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def seconds(stamp: Stamp | None) -> str:
    """Seconds since 1970 with milliseconds; empty where there is no such moment."""
    return "" if stamp is None else f"{stamp.wall:.3f}"


def size(n: int) -> str:
    """ "1.17 TiB": three digits and a unit."""
    value = float(n)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{n} B"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def age(age_s: float) -> str:
    """ "0.3 s", "12 s", "5 min", "3 h", "2 d"."""
    if age_s < 9.95:
        return f"{age_s:.1f} s"
    for limit, per, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if age_s < limit:
            return f"{age_s / per:.0f} {unit}"
    return f"{age_s / 86400:.0f} d"


def span(left_s: float) -> str:
    """What is left of a time, as Ceph writes it: "59m", "2d"; whole units, the largest of which there are two.

    Ceph v16.2.15: src/common/ceph_time.cc, timespan_str.
    """
    left = max(0, int(left_s))
    for limit, per, unit in _SPANS:
        if left < limit:
            return f"{left // per}{unit}"
    return f"{left // _YEAR_S}y"


def mutes(health: Health, wall: float) -> str:
    """ "(muted: OSDMAP_FLAGS(59m) POOL_NO_REDUNDANCY)", as `ceph -s` has it; empty without a mute."""
    shown = [mute.code + (f"({span(mute.ends - wall)})" if mute.ends is not None else "") for mute in health.mutes]
    return f"(muted: {' '.join(shown)})" if shown else ""


def clock(wall: float) -> str:
    """ "2026-11-23 03:49:38Z"."""
    return datetime.fromtimestamp(wall, UTC).strftime("%F %TZ")
