"""Due: when a session next wants to be called, without looking at all its timers after each input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Due:
    """The next timeout, or a moment before it; never one after it.

    What something new makes due makes it earlier.  What is no longer due costs one call for nothing, not a look.
    """

    __slots__ = ("_at", "_look", "is_known")

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._at = math.inf
        self.is_known = False  # set it to False when anything may have changed

    def sooner(self, when: float) -> None:
        """Something may be due then, too."""
        if when < self._at:
            self._at = when

    def at(self) -> float | None:
        """Return the moment (monotonic), None for never."""
        if not self.is_known:
            self._at = self._look()
            self.is_known = True
        return self._at if self._at < math.inf else None
