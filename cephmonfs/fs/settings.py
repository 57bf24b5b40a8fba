"""What the mount options decide about the file system."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

DEFAULT_STATFS_TIMEOUT_S: Final = 1.0
DEFAULT_STALE_AFTER_S: Final = 60.0
DEFAULT_CMD_TIMEOUT_S: Final = 2.0
DEFAULT_REFRESH_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class FsSettings:
    """Effective values; each is named as the mount option it comes from."""

    statfs_timeout: float = DEFAULT_STATFS_TIMEOUT_S  # longest wait of a statfs
    stale_after: float = DEFAULT_STALE_AFTER_S  # how long the last answer may stand in; 0 never, math.inf always
    cmd_timeout: float = DEFAULT_CMD_TIMEOUT_S  # longest wait of an open or read
    refresh: float = DEFAULT_REFRESH_S  # age from which a command's answer is asked for again
    uid: int = 0
    gid: int = 0
    mode: int = 0o444  # of files; directories get the matching search bits
    config_lines: tuple[str, ...] = ()  # of the file `config`: "option value origin", no secrets
    client_options: str = ""  # of debug/client_options: the kernel's comma list, no secrets

    def stands_in(self, age_s: float) -> bool:
        """Tell whether an answer of this age may stand in for a fresh one."""
        return self.stale_after > 0 and (math.isinf(self.stale_after) or age_s < self.stale_after)
