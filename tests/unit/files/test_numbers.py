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
