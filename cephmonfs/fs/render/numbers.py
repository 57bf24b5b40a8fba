"""How numbers look: exact in value files, short on the screen for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cephmonfs.mon.snapshot import Stamp

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


def clock(wall: float) -> str:
    """ "2026-11-23 03:49:38Z"."""
    return datetime.fromtimestamp(wall, UTC).strftime("%F %TZ")
