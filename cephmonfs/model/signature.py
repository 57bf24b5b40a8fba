"""From the words of a command line to the command that the monitors take, by the types that they describe.

As `ceph` does it: of all commands, those are tried whose required parts fit the most words, the one with the fewest
required parts first.  An argument stands in its place, or as `--name value` or `--name=value` anywhere; an optional one
that does not take a word leaves it to the next.
Ceph v20.2.4: src/pybind/ceph_argparse.py, validate_command().
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from string import printable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from cephmonfs.model.descriptions import CommandArgument, CommandDescription

Value = str | int | float | bool
Request = dict[str, object]

_OBSOLETE: Final = 1 << 1
_ENTITIES: Final = frozenset({"osd", "mon", "client", "mds", "mgr"})
_KEYWORD: Final = re.compile(r"--([^=]+)(?:=(.+))?", re.DOTALL)
_CLASS: Final = re.compile(r"\[[^\[\]\\]+\]")  # a class of characters, and no other expression of a peer's
# confirmations, which releases before Nautilus describe as strings
_CONFIRMATIONS: Final = frozenset(
    {"--yes-i-really-mean-it", "--yes-i-really-really-mean-it", "--yes-i-really-really-mean-it-not-faking", "--force"}
)


class NoSuchCommandError(Exception):
    """The words are no command that is described."""


class WrongArgumentError(Exception):
    """The words begin a command, and one of them does not fit: the text says which."""


class _OtherCommandError(Exception):
    """The words are another command's, or too few for this one."""


# ---- one value


def _integer(argument: CommandArgument, word: str) -> int:
    try:
        number = int(word, 0)
    except ValueError:
        raise ValueError(f"{shown(word)} is no integer") from None
    _check_range(argument, number)
    return number


def _float(argument: CommandArgument, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{shown(word)} is no number") from None
    _check_range(argument, number)
    return number


def _check_range(argument: CommandArgument, number: float) -> None:
    bounds = argument.range
    if (bounds and number < bounds[0]) or (len(bounds) > 1 and number > bounds[1]):
        raise ValueError(f"{number} is not within {' to '.join(f'{bound:g}' for bound in bounds)}")


def _bool(_: CommandArgument, word: str) -> bool:
    match word.lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise ValueError(f"{shown(word)}: wanted true or false")


def _choice(argument: CommandArgument, word: str) -> str:
    if word not in argument.choices:
        raise ValueError(f"{shown(word)}: wanted one of {', '.join(argument.choices)}")
    return word


def _string(argument: CommandArgument, word: str) -> str:
    """Printable ASCII, or the characters of a class; an expression of another kind is the monitor's affair."""
    chars = argument.goodchars
    good = re.findall(chars, printable) if _CLASS.fullmatch(chars) else printable
    if bad := "".join(sorted(set(word) - set(good))):
        raise ValueError(f"{shown(word)}: {bad!r} may not be in it")
    return word


def _address(_: CommandArgument, word: str) -> str:
    """An IP address with or without port and nonce."""
    bare = word.partition("/")[0].removeprefix("v1:").removeprefix("v2:").removeprefix("any:")
    host = bare[1:].partition("]")[0] if bare.startswith("[") else bare.partition(":")[0] if "." in bare else bare
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(f"{shown(word)}: wanted an IP address") from None
    return word


def _osd_name(_: CommandArgument, word: str) -> str | int:
    """`osd.3` and `3`, which the monitors want as a number; `*`."""
    if word == "*":
        return word
    kind, dot, number = word.partition(".")
    try:
        osd = int(number if dot else word)
    except ValueError:
        raise ValueError(f"{shown(word)}: wanted osd.N or N") from None
    if osd < 0 or (dot and kind != "osd"):
        raise ValueError(f"{shown(word)}: wanted osd.N or N")
    return osd


def _entity(_: CommandArgument, word: str) -> str:
    kind, dot, id = word.partition(".")
    if word in ("*", "mgr", "mon"):
        return word
    if not dot or kind not in _ENTITIES or (kind == "osd" and id != "*" and not _is_integer(id)):
        raise ValueError(f"{shown(word)}: wanted osd.N, or mon, mgr, mds or client with a name")
    return word


def _pgid(_: CommandArgument, word: str) -> str:
    pool, dot, number = word.partition(".")
    if not dot or not _is_integer(pool) or int(pool) < 0 or not _is_integer(number, 16):
        raise ValueError(f"{shown(word)}: wanted POOL.PG, as in 1.7f")
    return word


def _uuid(_: CommandArgument, word: str) -> str:
    try:
        UUID(word)
    except ValueError:
        raise ValueError(f"{shown(word)} is no UUID") from None
    return word


def _is_integer(word: str, base: int = 10) -> bool:
    try:
        int(word, base)
    except ValueError:
        return False
    return True


def _any(_: CommandArgument, word: str) -> str:
    """CephPoolname, CephObjectname, and types newer than we are: the monitor checks them."""
    return word


_TYPES: Final[Mapping[str, Callable[[CommandArgument, str], Value]]] = {
    "CephInt": _integer,
    "CephFloat": _float,
    "CephBool": _bool,
    "CephChoices": _choice,
    "CephString": _string,
    "CephIPAddr": _address,
    "CephEntityAddr": _address,
    "CephOsdName": _osd_name,
    "CephName": _entity,
    "CephPgid": _pgid,
    "CephUUID": _uuid,
}


def _values(argument: CommandArgument, word: str, *, named: bool) -> list[Value]:
    """Return what a word gives; of an argument with many values, several with commas between.  Raises ValueError."""
    convert = _TYPES.get(argument.type, _any)
    with_commas = argument.many and (named or argument.type != "CephString")
    return [convert(argument, part) for part in (word.split(",") if with_commas else [word])]


# ---- which command


def _matched(description: CommandDescription, words: Sequence[str]) -> int:
    """Count the required parts that the words fit, from the left."""
    prefix = description.prefix
    count = next((at for at, part in enumerate(prefix) if at >= len(words) or words[at] != part), len(prefix))
    if count < len(prefix):
        return count
    left = deque(words[count:])
    for argument in description.arguments:
        while left:
            try:
                _values(argument, left[0], named=False)
            except ValueError:
                if not argument.optional:
                    return count
                break
            left.popleft()
            if not argument.many:
                break
        else:
            return count
        count += not argument.optional
    return count


def _request(description: CommandDescription, words: Sequence[str]) -> Request:
    """Build the command.  Raises _OtherCommandError or WrongArgumentError where the words do not fit."""
    prefix = description.prefix
    if tuple(words[: len(prefix)]) != prefix:
        raise _OtherCommandError
    request: Request = {"prefix": " ".join(prefix)}
    left = deque(words[len(prefix) :])
    found = 0  # as many words as were taken: `ceph` counts them against the required parts
    try:
        for argument in description.arguments:
            found += _take(argument, description, left, request)
    except ValueError as exc:
        raise WrongArgumentError(f"`{request['prefix']}`: {exc}") from None
    if found < sum(not argument.optional for argument in description.arguments):
        raise _OtherCommandError
    if left:
        raise WrongArgumentError(f"`{request['prefix']}`: {shown(left[0])} is one word too many")
    return request


def _take(argument: CommandArgument, description: CommandDescription, left: deque[str], request: Request) -> int:
    """Take the words of one argument, and named ones before it, off the left.  Raises ValueError."""
    taken = seen = 0
    while argument.many or not seen:
        if not left:
            if argument.optional or argument.name in request or seen:
                break
            raise ValueError(f"{argument.name} is missing")
        word = left.popleft()
        if (named := _keyword(word, description.arguments, left)) is not None:
            other, value = named
            _store(other, _values(other, value, named=True), request)
            taken += 1
            seen += other is argument
            continue
        if word.startswith("--") and argument.type != "CephChoices" and word not in _CONFIRMATIONS:
            raise ValueError(f"there is no argument {shown(word)}")
        if not argument.positional:
            raise ValueError(f"{shown(word)} is one word too many")
        try:
            values = _values(argument, word, named=False)
        except ValueError:
            if not argument.optional:
                raise
            left.appendleft(word)
            break
        _store(argument, values, request)
        taken += 1
        seen += 1
    return taken


def _keyword(word: str, arguments: Sequence[CommandArgument], left: deque[str]) -> tuple[CommandArgument, str] | None:
    """Read `--name=value`, `--name value` and the `--name` of a bool."""
    found = _KEYWORD.match(word)
    if found is None:
        return None
    name, value = found[1].replace("-", "_"), found[2]
    argument = next((argument for argument in arguments if argument.name == name), None)
    if argument is None or value is not None:
        return None if argument is None else (argument, value)
    if argument.type == "CephBool":
        return argument, "true"
    return (argument, left.popleft()) if left else None


def _store(argument: CommandArgument, values: list[Value], request: Request) -> None:
    if argument.many:
        before = request.get(argument.name)
        request[argument.name] = [*before, *values] if isinstance(before, list) else values
    else:
        request[argument.name] = values[-1]


def find_command(
    descriptions: Sequence[CommandDescription], words: Sequence[str]
) -> tuple[CommandDescription, Request]:
    """Return the command that the words are, and what to send.  Raises NoSuchCommandError or WrongArgumentError."""
    current = [(_matched(one, words), one) for one in descriptions if not one.flags & _OBSOLETE]
    best = max((count for count, _ in current), default=0)
    candidates = [one for count, one in current if count == best] if best else []
    candidates.sort(key=lambda one: len(one.prefix) + sum(not argument.optional for argument in one.arguments))
    for description in candidates:
        try:
            return description, _request(description, words)
        except _OtherCommandError:
            continue
    raise NoSuchCommandError
