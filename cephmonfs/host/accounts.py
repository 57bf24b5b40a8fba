"""The user of the daemon of a mount by root: the account `cephmonfs`, or a uid that is not in use.

Processes of one user may kill, stop and limit each other.  So `nobody`, which many programs share, is not safe.  The
Debian package and `make install` make the account.  Where neither did (a container, a checkout), the uid is the first
of CANDIDATES that no account, no group, no range of /etc/subuid and no process but our own has.  This rule gives the
same uid to each mount of a machine; nothing is stored.

CANDIDATES is the range between systemd's dynamic users and `nobody` (systemd: docs/UIDS-GIDS.md); Debian reserves it
too.  In a user namespace without them the next free id below is taken; in one with a single id the daemon keeps
that id and drops its capabilities.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from cephmonfs.errors import ConfigError
from cephmonfs.model.usertext import shown

ACCOUNT: Final = "cephmonfs"
CANDIDATES: Final = range(65520, 65534)
_DYNAMIC: Final = range(61184, 65520)  # systemd gives these out and does not look whether a process has one
_NOBODY: Final = 65534  # the overflow id too: what the kernel shows of ids that a namespace does not have
_MOST_NAMED: Final = 64  # ids that are looked up: a directory service may be slow for each
_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class User:
    """Whom the daemon becomes."""

    name: str
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.name} (uid {self.uid})" if self.name else f"uid {self.uid}, which has no account"


def is_known(name: str) -> bool:
    """Tell whether `look_up` would find it."""
    return name == ACCOUNT or _numbers(name) is not None or _entry(name) is not None


def look_up(name: str) -> User:
    """Find a user by name, UID or UID:GID; for `cephmonfs` without an account, our own uid.  Raises ConfigError."""
    if (numbers := _numbers(name)) is not None:
        return numbers
    entry = _entry(name)
    if name == ACCOUNT:
        usable = entry is not None and entry.pw_uid not in (0, _NOBODY) and entry.pw_uid in Ids.read("uid")
        return User(name, entry.pw_uid, entry.pw_gid) if entry is not None and usable else own_uid()
    if entry is None:
        raise ConfigError(f'run_as: this machine has no user "{shown(name)}"')
    return User(name, entry.pw_uid, entry.pw_gid)


def own_uid(root: Path = _ROOT) -> User:
    """Return a uid that is not in use, with the gid of the same number; root's own if there is no other."""
    uids, gids = Ids.read("uid", root), Ids.read("gid", root)
    lent = Ids.lent("uid", root) | Ids.lent("gid", root)
    running = _running(root)
    free = (n for n in _candidates(uids) if n in uids and n in gids and n not in lent and n not in running)
    for number in islice(free, _MOST_NAMED):
        if not _named(number):
            return User("", number, number)
    return User("root without capabilities", 0, 0)


@dataclass(frozen=True, slots=True)
class Ids:
    """Ranges of ids: of a namespace, or those that /etc/subuid lends to users."""

    ranges: tuple[range, ...]

    def __contains__(self, number: int) -> bool:
        return any(number in ids for ids in self.ranges)

    def __or__(self, other: Ids) -> Ids:
        return Ids(self.ranges + other.ranges)

    @property
    def highest(self) -> int:
        """The highest id, -1 if there is none."""
        return max((ids.stop for ids in self.ranges), default=0) - 1

    @classmethod
    def read(cls, kind: str, root: Path = _ROOT) -> Ids:
        """Return the ids that exist in our user namespace; all where the kernel has no such namespaces."""
        try:
            lines = (root / f"proc/self/{kind}_map").read_text().splitlines()
        except OSError:
            return cls((range(1 << 32),))
        return cls(tuple(_range(*line.split()[::2]) for line in lines if len(line.split()) == 3))

    @classmethod
    def lent(cls, kind: str, root: Path = _ROOT) -> Ids:
        """Return the ranges that users may have for namespaces of their own."""
        try:
            lines = (root / f"etc/sub{kind}").read_text(errors="replace").splitlines()
        except OSError:
            return cls(())
        found = (re.fullmatch(r"[^:#]+:(\d+):(\d+)\s*", line) for line in lines)
        return cls(tuple(_range(match[1], match[2]) for match in found if match))


def _range(first: str, count: str) -> range:
    return range(int(first), int(first) + int(count))


def _candidates(uids: Ids) -> Iterator[int]:
    yield from CANDIDATES
    yield from range(min(uids.highest, _DYNAMIC.start - 1), 0, -1)


def _running(root: Path) -> frozenset[int]:
    """Return the ids of all processes but those of our other mounts, and those that end: they have no command line."""
    found: set[int] = set()
    for status in (root / "proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text(errors="replace").splitlines()
            words = status.with_name("cmdline").read_bytes()
            if not words or b"cephmon" in words:
                continue
        except OSError:
            continue  # it has ended
        for line in lines:
            if line.startswith(("Uid:", "Gid:", "Groups:")):
                found.update(map(int, line.split()[1:]))
    return frozenset(found)


def _named(number: int) -> bool:
    """Return whether the id has a name in any NSS service."""
    for find in (pwd.getpwuid, grp.getgrgid):
        try:
            find(number)
        except KeyError:
            continue
        return True
    return False


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _numbers(text: str) -> User | None:
    """Read UID or UID:GID; without a GID it is that of the account, or the same number."""
    match = re.fullmatch(r"(\d{1,10})(?::(\d{1,10}))?", text, re.ASCII)
    if match is None:
        return None
    uid = int(match[1])
    try:
        entry = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return User("", uid, int(match[2] or uid))
    return User(entry.pw_name, uid, int(match[2] or entry.pw_gid))
