"""What the mount options decide about the file system."""

from __future__ import annotations

from dataclasses import dataclass

from cephmonfs.mon.statfs import Patience


@dataclass(frozen=True, slots=True)
class FsSettings:
    """Effective values; each is named as the mount option it comes from.  Defaults: config/options.py."""

    statfs_timeout: float  # longest wait of a statfs
    stale_after: float  # how long the last answer may stand in; 0 never, math.inf always
    cmd_timeout: float  # longest wait of an open or read
    refresh: float  # age from which a command's answer is asked for again
    uid: int
    gid: int
    mode: int  # of files; directories get the matching search bits
    show_as_rw: bool  # with write bits, so that the kernel lets a write come to the handler that refuses it with EROFS
    config_lines: tuple[str, ...] = ()  # of the file `config`: "option value origin", no secrets
    client_options: str = ""  # of debug/client_options: the kernel's comma list, no secrets

    def stands_in(self, age_s: float) -> bool:
        """Tell whether an answer of this age may stand in for a fresh one."""
        return self.patience.takes(age_s)

    @property
    def patience(self) -> Patience:
        """What a caller of statfs brings along."""
        return Patience(self.statfs_timeout, self.stale_after)
