"""What the mount options decide about the file system."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cephmonfs.config.options import DEFAULTS


@dataclass(frozen=True, slots=True)
class FsSettings:
    """Effective values; each is named as the mount option it comes from."""

    statfs_timeout: float = DEFAULTS["statfs_timeout"]  # longest wait of a statfs
    stale_after: float = DEFAULTS["stale_after"]  # how long the last answer may stand in; 0 never, math.inf always
    cmd_timeout: float = DEFAULTS["cmd_timeout"]  # longest wait of an open or read
    refresh: float = DEFAULTS["refresh"]  # age from which a command's answer is asked for again
    uid: int = DEFAULTS["uid"]
    gid: int = DEFAULTS["gid"]
    mode: int = DEFAULTS["mode"]  # of files; directories get the matching search bits
    config_lines: tuple[str, ...] = ()  # of the file `config`: "option value origin", no secrets
    client_options: str = ""  # of debug/client_options: the kernel's comma list, no secrets

    def stands_in(self, age_s: float) -> bool:
        """Tell whether an answer of this age may stand in for a fresh one."""
        return self.stale_after > 0 and (math.isinf(self.stale_after) or age_s < self.stale_after)
