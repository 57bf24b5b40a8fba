"""Where log lines go: stderr in the foreground, syslog as a daemon, and always the ring behind the file `log`."""

from __future__ import annotations

import logging
import os
import sys
from typing import ClassVar, Final

from cephmonfs.daemon.ratelimit import RateLimitFilter
from cephmonfs.files.logring import LogRing, PrintableFormatter
from cephmonfs.host import journal

SYSLOG: Final = "/dev/log"


class _ForJournal(PrintableFormatter):
    """The journal has time and name already; the priority goes before every line, those of a traceback too."""

    _PRIORITIES: ClassVar[dict[int, int]] = {
        logging.CRITICAL: journal.CRITICAL,
        logging.ERROR: journal.ERROR,
        logging.WARNING: journal.WARNING,
        logging.INFO: journal.INFO,
    }

    def format(self, record: logging.LogRecord) -> str:
        return journal.marked(super().format(record), self._PRIORITIES.get(record.levelno, journal.DEBUG))


def start_logging(level: str, *, foreground: bool, syslog: str = SYSLOG) -> LogRing:
    """Set up the root logger and return the ring."""
    logging.raiseExceptions = False  # a full disk or a closed stderr must not end the daemon
    ring = LogRing()
    handlers: list[logging.Handler] = [ring]
    if foreground:
        stream = logging.StreamHandler(sys.stderr)
        if journal.listens():
            stream.setFormatter(_ForJournal("%(message)s"))
        else:
            stream.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(stream)
    elif os.path.exists(syslog):
        from logging.handlers import SysLogHandler  # and with it pickle: nothing for a service or a container

        try:
            handler = SysLogHandler(syslog, SysLogHandler.LOG_DAEMON)
        except OSError:
            pass  # no syslog here; the ring has it all
        else:
            handler.ident = f"cephmonfs[{os.getpid()}]: "
            handler.setFormatter(PrintableFormatter("%(message)s"))
            handlers.append(handler)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    rate_limit = RateLimitFilter()
    for new in handlers:
        new.addFilter(rate_limit)
        root.addHandler(new)
    root.setLevel(level.upper())
    return ring
