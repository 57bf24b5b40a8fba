"""Report: counters, errors, history and changes; the parts of a session write them, the snapshot shows them."""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from cephmonfs.mon.ratelimit import RateLimit, Repeats
from cephmonfs.mon.snapshot import NEVER, Told

if TYPE_CHECKING:
    from cephmonfs.mon.snapshot import SessionChange

_HISTORY: Final = 32
_TOTAL: Final = 20  # errors in a minute


class Cause(Enum):
    """A cause of other errors.  While it lasts, it is the error that is shown."""

    REFUSED = auto()  # monitors know us and refuse us
    NO_QUORUM = auto()  # monitors answer, and have no quorum


class Report:
    """Counters, errors, the session's history, and what has changed since the driver last asked."""

    __slots__ = (
        "_causes",
        "_changed",
        "_last_error",
        "_limit",
        "_repeats",
        "counters",
        "errors",
        "history",
        "now",
        "problem",
        "told",
    )

    def __init__(self) -> None:
        self.now = NEVER
        self.counters: Counter[str] = Counter()
        self.errors: dict[str, str] = {}  # by monitor: how the last attempt with it failed
        self.history: deque[SessionChange] = deque(maxlen=_HISTORY)
        self.told: deque[Told] = deque(maxlen=_HISTORY)
        self.problem = ""  # why nothing can be said of what `df` is about
        self._last_error = ""
        self._causes: dict[Cause, str] = {}
        self._repeats = Repeats()
        self._limit = RateLimit(_TOTAL, _TOTAL)
        self._changed: set[str] = set()

    def changed(self, what: str) -> None:
        """Mark a part of the snapshot as changed: the name of a map, "session" or "statfs"."""
        self._changed.add(what)

    @property
    def last_error(self) -> str:
        """The cause of what goes wrong, where it is known, else the last failure."""
        return next(iter(self._causes.values()), self._last_error)

    def error(self, sentence: str) -> None:
        """Report an error; the same one again is rate limited."""
        self._last_error = sentence
        self._changed.add("session")
        if self._repeats.allows(sentence, self.now.mono) and self._limit.allows(sentence, self.now.mono):
            self.counters["errors_told"] += 1
            self.told.append(Told(self.counters["errors_told"], self.now, sentence))
        else:
            self.counters["errors_repeated"] += 1

    def blame(self, cause: Cause, sentence: str) -> None:
        """Report a cause.  Until it is over, `last_error` shows it, not the errors that follow from it."""
        self._causes[cause] = sentence
        self.error(sentence)

    def blames(self, cause: Cause) -> bool:
        """Whether this cause lasts."""
        return bool(self._causes) and cause in self._causes

    def over(self, cause: Cause) -> None:
        """The cause is over."""
        if self._causes and self._causes.pop(cause, ""):
            self._changed.add("session")

    def tell_problem(self, sentence: str) -> None:
        """Set `problem`, and report it when it begins; empty: it is over."""
        if sentence == self.problem:
            return
        self._repeats.forget(self.problem)
        self.problem = sentence
        self._changed |= {"session", "statfs"}
        if sentence:
            self.error(sentence)

    def take_changes(self) -> frozenset[str]:
        """Return what changed, and forget it."""
        if not self._changed:
            return frozenset()
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed
