"""Nothing repeated in a storm: a line that was logged a moment ago is counted instead, and so is a flood of its kind.

The same text again is told after a minute and, while it goes on, after ten and every hour, with how often it came in
between.  Lines of one kind with different texts (sessions that come and go, say) are told as long as they are no more
than some a minute.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_PAUSES_S: Final = (60.0, 600.0, 3600.0)
_BURST: Final = 12  # lines of one kind at once
_PER_S: Final = 4 / 60
_FORGOTTEN_AFTER_S: Final = 7200.0  # without a repetition
_MAX_TEXTS: Final = 500


class _Text:
    """One text: when it was last told, how long it rests, how often it came meanwhile."""

    __slots__ = ("count", "pauses", "seen", "told")

    def __init__(self, now: float) -> None:
        self.told = self.seen = now
        self.pauses = 0
        self.count = 0


class _Kind:
    """Lines that differ only in what they tell of."""

    __slots__ = ("at", "count", "tokens")

    def __init__(self, now: float) -> None:
        self.at = now
        self.tokens = float(_BURST)
        self.count = 0


class Calm(logging.Filter):
    """One for all handlers: a record is judged once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._texts: OrderedDict[tuple[int, str], _Text] = OrderedDict()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line is to be told; one that stands for others says so."""
        judged: bool | None = getattr(record, "calm", None)
        if judged is None:
            judged = record.levelno <= logging.DEBUG or self._judge(record)
            record.calm = judged
        return judged

    def _judge(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        text = record.getMessage()
        again = self._again(record.levelno, text, now)
        if again is None:
            return False
        more = self._flood(record, now)
        if more is None:
            return False
        if again or more:
            record.args = None  # and with them logging leaves % alone
            untold = f"{again} times more since it was last told" if again else f"{more} like it untold"
            record.msg = f"{text} ({untold})"
        return True

    def _again(self, level: int, text: str, now: float) -> int | None:
        """Return how often this text went untold; None when it has to wait."""
        known = self._texts.get((level, text))
        if known is None or now - known.seen > _FORGOTTEN_AFTER_S:
            self._texts[level, text] = _Text(now)
            self._texts.move_to_end((level, text))
            if len(self._texts) > _MAX_TEXTS:
                self._texts.popitem(last=False)
            return 0
        known.seen = now
        self._texts.move_to_end((level, text))
        if now - known.told < _PAUSES_S[min(known.pauses, len(_PAUSES_S) - 1)]:
            known.count += 1
            return None
        count, known.count = known.count, 0
        known.told = now
        known.pauses = known.pauses + 1 if count else 0  # what comes now and then is news each time
        return count

    def _flood(self, record: logging.LogRecord, now: float) -> int | None:
        """Return how many of this kind went untold; None when there are too many of them."""
        kind = self._kinds.setdefault((record.name, record.levelno, str(record.msg)), _Kind(now))
        kind.tokens = min(float(_BURST), kind.tokens + (now - kind.at) * _PER_S)
        kind.at = now
        if kind.tokens < 1:
            kind.count += 1
            return None
        kind.tokens -= 1
        count, kind.count = kind.count, 0
        return count
