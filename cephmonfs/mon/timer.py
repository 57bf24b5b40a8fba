"""Timer: when the session next wants `handle_timeout`, without a look at every deadline after each input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """The next timeout, or an earlier moment; never a later one.

    A new deadline moves it forward.  A deadline that is over is not looked for: it costs one needless call.
    """

    __slots__ = ("_at", "_look", "is_known")

    def __init__(self, look: Callable[[], float]) -> None:
        self._look = look
        self._at = math.inf
        self.is_known = False  # set it to False when anything may have changed

    def sooner(self, when: float) -> None:
        """There is one more deadline."""
        if when < self._at:
            self._at = when

    def at(self) -> float | None:
        """Return the moment (monotonic), None for never."""
        if not self.is_known:
            self._at = self._look()
            self.is_known = True
        return self._at if self._at < math.inf else None
