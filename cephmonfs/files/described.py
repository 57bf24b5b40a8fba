"""Which monitor commands become files under `ceph/`: chosen from the monitors' own description of them.

The rule: no argument is needed, the permission is `r` at most, and no flag says that the mgr answers it, that it is
obsolete (EOPNOTSUPP), or that it is for `ceph tell mon.X` (EINVAL for all others, except `version`).  Commands whose
module or first word is auth, config or config-key are left out though some would answer: passwords are found in there.
What the monitors refuse nevertheless is not listed: each command runs once before it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.errors import NoData
from cephmonfs.files.answers import Command
from cephmonfs.model.descriptions import parse_descriptions

if TYPE_CHECKING:
    from cephmonfs.model.descriptions import CommandDescription

# Flags of MonCommand, Ceph v20.2.4: src/mon/MonCommand.h.
_NOFORWARD: Final = 1 << 0
_OBSOLETE: Final = 1 << 1
_MGR: Final = 1 << 3
_HIDDEN: Final = 1 << 5
_TELL: Final = _NOFORWARD | _HIDDEN  # for `ceph tell mon.X`; as a plain command they are "unrecognized"
_TELL_ANSWERED: Final = frozenset({"version"})

_SECRETIVE: Final = frozenset({"auth", "config", "config-key"})
_BINARY: Final = frozenset({"getmap", "getcrushmap"})  # last words whose answer is an encoded map


def described(answer: bytes) -> list[Command]:
    """Return the commands that read only, need no argument, and are the monitor's own, in both formats."""
    found: dict[Command, None] = {}
    for description in parse_descriptions(answer):
        if not _reads_only(description) or not all(argument.optional for argument in description.arguments):
            continue
        found.update(dict.fromkeys(forms(" ".join(description.prefix))))
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


def _reads_only(description: CommandDescription) -> bool:
    flags, first = description.flags, description.prefix[0]
    if flags < 0 or flags & (_MGR | _OBSOLETE):
        return False
    if flags & _TELL == _TELL and " ".join(description.prefix) not in _TELL_ANSWERED:
        return False
    if description.module in _SECRETIVE or first in _SECRETIVE:
        return False
    return description.permission in ("r", "")
