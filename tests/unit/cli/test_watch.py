"""What `cephmonfs watch` draws, at the widths of real terminals."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from cephmonfs.cli.watch import Look, human, screen
from tests.support.hostile import CONTROL

rich_console = pytest.importorskip("rich.console", reason="watch wants rich")

SEEN = Look(
    "/mnt/ceph",
    fsid="b9a32a5e-4c5f-4b41-8d5c-7a2a9a31f0d2",
    health="HEALTH_WARN",
    numbers={
        "total_bytes": 1023.9 * 2**60,
        "used_bytes": 1000.1 * 2**60,
        "avail_bytes": 1000.2 * 2**60,
        "objects": 12345678901234567890,
        "age_seconds": 123456,
    },
    session={"state": "open", "mon": "ceph-mon-01", "mode": "secure"},
    monitors=[(f"ceph-mon-0{i}", str(i), f"v2:10.0.0.{i}:3300/0", "1", "0.3", "no answer " * 9) for i in (1, 2)],
    epochs={"monmap": "1", "osdmap": "17"},
    events=["12:00:00  health  HEALTH_WARN"],
)


def drawn(seen: Look, width: int) -> str:
    out = io.StringIO()
    rich_console.Console(file=out, width=width, color_system=None).print(screen(seen))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 72, 80, 100, 132, 200])
def test_the_capacity_is_there_at_every_width(width: int) -> None:
    text = drawn(SEEN, width)
    assert max(map(len, text.splitlines())) <= width
    assert "1000.1 EiB used of 1023.9 EiB, 1000.2 EiB available" in text
    assert "12345678901234567168 objects, 123456 s old" in text
    bar = next(line for line in text.splitlines() if "━" in line)
    assert not set(bar) - set("│ ━╸╺"), bar
    assert "HEALTH_WARN" in text
    assert not CONTROL.search(text)


def test_what_is_not_known_is_no_zero() -> None:
    text = drawn(replace(SEEN, numbers={"objects": 5.0}, monitors=[], session={}), 80)
    assert "unknown" in text
    assert "0 B" not in text


def test_bytes() -> None:
    shown = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 40: "5.0 TiB", 1 << 80: "1048576.0 EiB"}
    assert {number: human(number) for number in shown} == shown
