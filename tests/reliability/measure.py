"""From calls to figures."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.reliability.clients import Call, Client

_FRESH_S = 0.1  # an age beyond what the call itself took, from which the numbers are held ones
_STALLED_S = 0.3


@dataclass
class Figures:
    """What one client went through in one fault.  Times in seconds."""

    client: str
    calls: int
    slowest: float
    p50: float
    p99: float
    errors: dict[int, int]
    fresh_after: float | None  # from the fault to the first answer after which none was held any more or hung
    hung: bool = False  # its last call had not come back when we stopped looking
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def during(calls: Sequence[Call], begin: float, end: float) -> list[Call]:
    return [call for call in calls if call.end >= begin and call.begin <= end]


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def figures(client: Client, fault: float, end: float) -> Figures:
    """All calls that were under way between the fault and the end."""
    calls = during(client.prober.calls, fault, end)
    last = client.prober.last_answer()
    hung = end - max(last, fault) > 2.0
    took = [call.took for call in calls]
    if hung:
        took.append(end - last)
    result = Figures(
        client=client.name,
        calls=len(calls),
        slowest=max(took, default=0.0),
        p50=statistics.median(took) if took else 0.0,
        p99=quantile(took, 0.99),
        errors=dict(Counter(call.error for call in calls if call.error)),
        fresh_after=None,
        hung=hung,
    )
    if "age" in client.others:
        result.fresh_after = _age_fresh_after(client.others["age"].calls, fault, end)
    elif not hung:
        result.fresh_after = max((c.end - fault for c in calls if c.took > _STALLED_S or c.error), default=0.0)
    if "stat" in client.others:
        stats = [call.took for call in during(client.others["stat"].calls, fault, end)]
        result.more["file_slowest"] = max(stats, default=0.0)
        result.more["file_p99"] = quantile(stats, 0.99)
    return result


def _age_fresh_after(calls: Sequence[Call], fault: float, end: float) -> float | None:
    """When the age that the mount claims went back to nothing for good."""
    answer = 0.0
    for call in during(calls, fault, end):
        fresh = call.error == 0 and float(call.value) <= call.took + _FRESH_S
        if not fresh:
            answer = float("inf")
        elif answer == float("inf"):
            answer = call.end - fault
    return None if answer == float("inf") else answer
