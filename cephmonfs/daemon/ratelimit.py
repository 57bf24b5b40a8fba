"""Rate-limits repeated log messages.

The same text is logged again after a minute and, while it goes on, after ten minutes and every hour, with the number of
repetitions in between.  Lines of one format string with different texts (sessions that open and close) are logged up to
_BURST at once and _PER_S on average.
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
    """One text: when it was last logged, which pause applies, how often it was suppressed since."""

    __slots__ = ("count", "logged", "pauses", "seen")

    def __init__(self, now: float) -> None:
        self.logged = self.seen = now
        self.pauses = 0
        self.count = 0


class _Kind:
    """Lines of one format string."""

    __slots__ = ("at", "count", "tokens")

    def __init__(self, now: float) -> None:
        self.at = now
        self.tokens = float(_BURST)
        self.count = 0


class RateLimitFilter(logging.Filter):
    """One filter for all handlers: each record is judged once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._texts: OrderedDict[tuple[int, str], _Text] = OrderedDict()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record; adds the number of suppressed ones to its text."""
        judged: bool | None = getattr(record, "is_allowed", None)
        if judged is None:
            judged = record.levelno <= logging.DEBUG or self._judge(record)
            record.is_allowed = judged
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
            record.args = None  # without them logging does not format % in the text
            note = f"{again} more times since it was last logged" if again else f"{more} similar lines suppressed"
            record.msg = f"{text} ({note})"
        return True

    def _again(self, level: int, text: str, now: float) -> int | None:
        """Return how often this text was suppressed; None to suppress it now."""
        known = self._texts.get((level, text))
        if known is None or now - known.seen > _FORGOTTEN_AFTER_S:
            self._texts[level, text] = _Text(now)
            self._texts.move_to_end((level, text))
            if len(self._texts) > _MAX_TEXTS:
                self._texts.popitem(last=False)
            return 0
        known.seen = now
        self._texts.move_to_end((level, text))
        if now - known.logged < _PAUSES_S[min(known.pauses, len(_PAUSES_S) - 1)]:
            known.count += 1
            return None
        count, known.count = known.count, 0
        known.logged = now
        known.pauses = known.pauses + 1 if count else 0  # a text that comes now and then is logged each time
        return count

    def _flood(self, record: logging.LogRecord, now: float) -> int | None:
        """Return how many of this kind were suppressed; None to suppress it now."""
        kind = self._kinds.setdefault((record.name, record.levelno, str(record.msg)), _Kind(now))
        kind.tokens = min(float(_BURST), kind.tokens + (now - kind.at) * _PER_S)
        kind.at = now
        if kind.tokens < 1:
            kind.count += 1
            return None
        kind.tokens -= 1
        count, kind.count = kind.count, 0
        return count
