from __future__ import annotations

import pytest

from cephmonfs.files.render import numbers
from cephmonfs.model.health import Health, HealthMute

DAY = 86400.0


@pytest.mark.parametrize(
    ("left_s", "shown"),
    [
        (-5, "0s"), (0, "0s"), (1.9, "1s"), (119, "119s"), (120, "2m"), (3599.5, "59m"), (7199, "119m"), (7200, "2h"),
        (2 * DAY - 1, "47h"), (3 * DAY - 1, "2d"), (14 * DAY, "2w"), (84 * DAY, "2M"), (720 * DAY, "2y"),
        (3000 * 360 * DAY, "3000y"),
    ],
)  # fmt: skip
def test_a_span_as_ceph_writes_it(left_s: float, shown: str) -> None:
    assert numbers.span(left_s) == shown


def test_mutes_as_ceph_writes_them() -> None:
    def mutes(*found: HealthMute) -> str:
        return numbers.mutes(Health("HEALTH_OK", (), found), 1000.0)

    assert mutes() == ""
    timed = HealthMute("OSDMAP_FLAGS", False, "noout flag(s) set", 1, 1000 + 3599.5)
    assert mutes(timed, HealthMute("NOSUCH", True, "", 0, None)) == "(muted: OSDMAP_FLAGS(59m) NOSUCH)"


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (10 << 10, "10.0 KiB"),
        (5 << 40, "5.00 TiB"),
        (999 << 50, "999 PiB"),
        (5000 << 60, "5000 EiB"),
    ],
)
def test_sizes_for_people(n: int, text: str) -> None:
    assert numbers.size(n) == text


@pytest.mark.parametrize(
    ("age_s", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200000, "2 d")],
)
def test_ages_for_people(age_s: float, text: str) -> None:
    assert numbers.age(age_s) == text
