"""Which monitor commands become files under `ceph/`: chosen from the monitors' own description of them.

The rule: no argument is needed, the permission is `r` at most, and no flag says that the mgr answers it, that it is
obsolete (EOPNOTSUPP), or that it is for `ceph tell mon.X` (EINVAL for all others, except `version`).  Commands whose
module or first word is auth, config or config-key are left out though some would answer: passwords are found in there.
What the monitors refuse nevertheless is not listed: each command runs once before it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.errors import NoData
from cephmonfs.fs.commands import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Flags of MonCommand, Ceph v20.2.4: src/mon/MonCommand.h.
_NOFORWARD: Final = 1 << 0
_OBSOLETE: Final = 1 << 1
_MGR: Final = 1 << 3
_HIDDEN: Final = 1 << 5
_TELL: Final = _NOFORWARD | _HIDDEN  # for `ceph tell mon.X`; as a plain command they are "unrecognized"
_TELL_ANSWERED: Final = frozenset({"version"})

_SECRETIVE: Final = frozenset({"auth", "config", "config-key"})
_BINARY: Final = frozenset({"getmap", "getcrushmap"})  # last words whose answer is an encoded map
_MAX: Final = 5000  # commands; Tentacle describes 700


def described(descriptions: Mapping[str, object]) -> list[Command]:
    """Return the commands that read only, need no argument, and are the monitor's own, in both formats."""
    found: dict[Command, None] = {}
    for entry in list(descriptions.values())[:_MAX]:
        if not isinstance(entry, dict):
            continue
        words = _words(entry)
        if words is None or not _reads_only(entry, words):
            continue
        found.update(dict.fromkeys(forms(words)))
    if not found:
        raise NoData("the monitors describe no command that we could show")
    return list(found)


def forms(words: str) -> tuple[Command, ...]:
    """Return the formats in which a command is shown."""
    plain = Command(words)
    return (plain,) if is_binary(words) else (plain, Command(words, json=True))


def is_binary(words: str) -> bool:
    """Tell whether the answer is an encoded map."""
    return words.split()[-1] in _BINARY


def _words(entry: Mapping[str, object]) -> str | None:
    """Return the words of a command that needs no argument, None for another."""
    signature = entry.get("sig")
    if not isinstance(signature, list):
        return None
    words = list(_literals(signature))
    optional = all(isinstance(part, str) or _is_optional(part) for part in signature)
    return " ".join(words) if words and optional else None


def _literals(signature: list[object]) -> Iterator[str]:
    for part in signature:
        if not isinstance(part, str):
            return
        yield from part.split()


def _is_optional(part: object) -> bool:
    return isinstance(part, dict) and str(part.get("req", True)).lower() == "false"


def _reads_only(entry: Mapping[str, object], words: str) -> bool:
    flags = entry.get("flags", 0)
    if not isinstance(flags, int) or flags & (_MGR | _OBSOLETE):
        return False
    if flags & _TELL == _TELL and words not in _TELL_ANSWERED:
        return False
    if entry.get("module") in _SECRETIVE or words.split()[0] in _SECRETIVE:
        return False
    return entry.get("perm") in ("r", "")
