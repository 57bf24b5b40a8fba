"""A short run of what `make test-truth` does for minutes: whatever a mount shows is what the real programs say."""

from __future__ import annotations

import pytest

from tests.conftest import unavailable
from tests.support.release import ClusterUnavailable
from tests.truth.acts import lose_a_monitor, make_a_pool, mute, turn_a_flag
from tests.truth.run import report, run

pytestmark = pytest.mark.fuse

SEED = 2  # mon.b is killed


def test_everything_shown_is_so() -> None:
    try:
        facts = run("pacific", 0, SEED, (turn_a_flag, lose_a_monitor, make_a_pool, mute))
    except ClusterUnavailable as exc:
        unavailable(str(exc))
        raise
    assert not facts.problems, report(facts)
    assert facts.counts["comparisons"] > 80
    assert facts.counts["readings"] > 200
