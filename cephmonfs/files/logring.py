"""The file `log`: the last lines that the daemon logged, kept in memory."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Final

from cephmonfs.model.usertext import censored
from cephmonfs.wire.text import lines as in_lines
from cephmonfs.wire.text import one_line

LINES: Final = 1000
_LINE_LIMIT: Final = 2000  # characters; a traceback fits, a dumped buffer does not


class PrintableFormatter(logging.Formatter):
    """A record is one line of printable characters: it may quote what a peer sent.  A traceback keeps its lines.

    What could be a key is left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format the record."""
        return censored(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format the line."""
        record.message = one_line(record.message, _LINE_LIMIT)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Format the traceback."""
        return in_lines(super().formatException(ei))


class LogRing(logging.Handler):
    """A handler that keeps formatted lines; `version` grows by one with each record."""

    def __init__(self, level: int = logging.NOTSET, lines: int = LINES) -> None:
        super().__init__(level)
        self._lines: deque[str] = deque(maxlen=lines)
        self.version = 0
        self.last_wall: float | None = None
        self.setFormatter(PrintableFormatter("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", "%FT%T"))

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
