"""Where log lines go: stderr in the foreground, syslog as a daemon, and always the ring behind the file `log`."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from typing import Final

from cephmonfs.cli.calm import Calm
from cephmonfs.fs.logring import LogRing

SYSLOG: Final = "/dev/log"


def start_logging(level: str, *, foreground: bool, syslog: str = SYSLOG) -> LogRing:
    """Set up the root logger and return the ring."""
    logging.raiseExceptions = False  # a full disk or a closed stderr must not end the daemon
    ring = LogRing()
    handlers: list[logging.Handler] = [ring]
    if foreground:
        stream = logging.StreamHandler(sys.stderr)
        # Under systemd the journal has the time already.
        stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
        stream.setFormatter(logging.Formatter(f"{stamp}%(levelname)s %(name)s: %(message)s"))
        handlers.append(stream)
    elif os.path.exists(syslog):
        daemon = logging.handlers.SysLogHandler.LOG_DAEMON
        try:
            handler = logging.handlers.SysLogHandler(syslog, daemon)
        except OSError:
            pass  # no syslog here; the ring has it all
        else:
            handler.ident = f"cephmonfs[{os.getpid()}]: "
            handler.setFormatter(logging.Formatter("%(message)s"))
            handlers.append(handler)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    calm = Calm()
    for new in handlers:
        new.addFilter(calm)
        root.addHandler(new)
    root.setLevel(level.upper())
    return ring
