"""Journal: what the parts of a session have to tell the world; one for all of them."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cephmonfs.mon.snapshot import SessionChange

_HISTORY: Final = 32


class Journal:
    """Counters, the last error, the session's history, and what has changed since the driver last asked."""

    __slots__ = ("_changed", "counters", "errors", "history", "last_error", "problem")

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.errors: dict[str, str] = {}  # by monitor: how the last attempt with it failed
        self.history: deque[SessionChange] = deque(maxlen=_HISTORY)
        self.last_error = ""
        self.problem = ""  # why nothing can be said of what `df` is about
        self._changed: set[str] = set()

    def changed(self, what: str) -> None:
        """Something that files show is different now: the name of a map, "session" or "statfs"."""
        self._changed.add(what)

    def error(self, sentence: str) -> None:
        """Tell it in `session/last_error`."""
        self.last_error = sentence
        self._changed.add("session")

    def tell_problem(self, sentence: str) -> None:
        """Tell it once, and that it is over."""
        if sentence == self.problem:
            return
        self.problem = sentence
        self._changed |= {"session", "statfs"}
        if sentence:
            self.last_error = sentence

    def take_changes(self) -> frozenset[str]:
        """Return what changed, and forget it."""
        if not self._changed:
            return frozenset()
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed
