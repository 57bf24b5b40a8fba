"""sd-daemon(3): a line on stderr that begins with <N> has that priority in the journal, any other the unit's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# syslog(3)
CRITICAL: Final = 2
ERROR: Final = 3
WARNING: Final = 4
INFO: Final = 6
DEBUG: Final = 7


def listens(env: Mapping[str, str] | None = None, fd: int = 2) -> bool:
    """Return whether a descriptor leads to the journal: JOURNAL_STREAM is its device and inode."""
    env = os.environ if env is None else env
    wanted = env.get("JOURNAL_STREAM", "")
    try:
        info = os.fstat(fd)
    except OSError:
        return False
    return wanted == f"{info.st_dev}:{info.st_ino}"


def marked(text: str, priority: int) -> str:
    """Put the priority before every line."""
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))
