"""Tally: how the calls of statfs ended, for `metrics` and `session/stats`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class StatfsTally:
    """Calls of statfs so far: by duration (the last bucket is "longer"), their total time, and what came out."""

    durations: tuple[int, ...] = (0,) * (len(BUCKETS_S) + 1)
    duration_sum_s: float = 0.0
    results: Mapping[str, int] = field(default_factory=dict)
