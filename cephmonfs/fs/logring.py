"""The file `log`: the last lines that the daemon logged, kept in memory."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

LINES: Final = 1000
_LINE_LIMIT: Final = 2000  # characters; a traceback fits, a dumped buffer does not


class LogRing(logging.Handler):
    """A handler that keeps formatted lines; `version` grows by one with each record."""

    def __init__(self, level: int = logging.NOTSET, lines: int = LINES) -> None:
        super().__init__(level)
        self._lines: deque[str] = deque(maxlen=lines)
        self.version = 0
        self.last_wall: float | None = None
        self.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", "%FT%T"))

    def emit(self, record: logging.LogRecord) -> None:
        """Format and keep one record; one with a traceback takes several lines of the ring."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        for line in text.splitlines():
            self._lines.append(line[:_LINE_LIMIT])
        self.version += 1
        self.last_wall = record.created

    def text(self) -> str:
        """Return all lines kept, oldest first."""
        return "".join(f"{line}\n" for line in list(self._lines))
