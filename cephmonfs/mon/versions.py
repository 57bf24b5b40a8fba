"""Versions: which version is used when monitors do not agree.

A newer version is used at once.  An older one is refused for 10 s, because a monitor may lag behind.  If only older
ones come for 10 s, the newer one was a lie or the cluster was rolled back, and the older one is used.

    monitor a, at 0 s:   epoch 4294967295   used
    monitor b, at 60 s:  epoch 812          refused
    monitor b, at 70 s:  epoch 812          used
"""

from __future__ import annotations

import math
from typing import Final

BELIEVED_AFTER_S: Final = 10.0


class Versions:
    """Things go by name: those of the maps, and "statfs"."""

    def __init__(self) -> None:
        self._behind: dict[str, float] = {}  # since when nothing but older versions have come
        self._asked: set[str] = set()  # of these, those that were asked for again

    def counts(self, name: str, version: int, known: int, now: float) -> bool:
        """Whether this version may take the place of the known one."""
        if version >= known:
            self.forget(name)
            return True
        return now >= self._behind.setdefault(name, now) + BELIEVED_AFTER_S

    def forget(self, name: str) -> None:
        """What is known of this is right, or there is nothing to compare with any more."""
        self._behind.pop(name, None)
        self._asked.discard(name)

    def next_timeout(self) -> float:
        """Return when something is to be asked for again; inf for never."""
        if not self._behind:
            return math.inf
        due = (since for name, since in self._behind.items() if name not in self._asked)
        return min(due, default=math.inf) + BELIEVED_AFTER_S

    def take_due(self, now: float) -> tuple[str, ...]:
        """Return what is to be asked for again because its older version counts by now; each once."""
        due = [
            name for name, since in self._behind.items() if name not in self._asked and now >= since + BELIEVED_AFTER_S
        ]
        self._asked.update(due)
        return tuple(due)
