"""Rate limits of messages: how often the same one is repeated, and how many there may be in all."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

_PERIOD_S: Final = 60.0
_PAUSES_S: Final = (60.0, 600.0, 3600.0)
_MAX_KEPT: Final = 200


class RateLimit:
    """In a minute the same at most `same` times, and no more than `total` things."""

    def __init__(self, same: int, total: int) -> None:
        self._same = same
        self._total = total
        self._told: deque[tuple[float, str]] = deque()

    def allows(self, what: str, now: float) -> bool:
        """Whether this may be told now; if so, it counts as told."""
        while self._told and self._told[0][0] <= now - _PERIOD_S:
            self._told.popleft()
        if len(self._told) >= self._total or sum(told == what for _, told in self._told) >= self._same:
            return False
        self._told.append((now, what))
        return True


class Repeats:
    """The same again is told after a minute, then after ten, then every hour, for as long as it goes on."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, tuple[float, float, int]] = OrderedDict()  # when told, when seen, pauses so far

    def allows(self, what: str, now: float) -> bool:
        """Whether this may be told now; if so, it counts as told."""
        told, seen, pauses = self._told.pop(what, (-_PAUSES_S[-1], -_PAUSES_S[-1], 0))
        if now - seen >= _PAUSES_S[-1]:
            pauses = 0  # it was over
        elif now - told < _PAUSES_S[pauses]:
            self._told[what] = (told, now, pauses)
            return False
        else:
            pauses = min(pauses + 1, len(_PAUSES_S) - 1)
        self._told[what] = (now, now, pauses)
        if len(self._told) > _MAX_KEPT:
            self._told.popitem(last=False)
        return True

    def forget(self, what: str) -> None:
        """It was over: the next time is news."""
        self._told.pop(what, None)
