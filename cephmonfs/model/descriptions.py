"""`get_command_descriptions -f json`: what a monitor knows of its commands."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import islice
from typing import Final

from cephmonfs.model.answer import Fields, parse_object
from cephmonfs.wire import limits

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")  # of all releases; a file name and a word of a terminal
_MAX_WORDS: Final = 16  # the longest prefix has 6


@dataclass(frozen=True, slots=True)
class CommandArgument:
    """One argument.  Ceph v16.2.15: src/pybind/ceph_argparse.py, argdesc."""

    name: str
    type: str  # CephInt, CephString, ...
    optional: bool
    many: bool
    choices: tuple[str, ...]
    range: tuple[float, ...] = ()  # least, or least and most
    goodchars: str = ""  # a regular expression for one character
    positional: bool = True


@dataclass(frozen=True, slots=True)
class CommandDescription:
    """One command."""

    prefix: tuple[str, ...]  # the words it begins with
    arguments: tuple[CommandArgument, ...]
    permission: str  # "r", "rw", ..., "" for none; "?" where the description has none
    module: str
    flags: int  # MonCommand::FLAG_*; all ones where it is not a number


def parse_descriptions(data: bytes) -> tuple[CommandDescription, ...]:
    """Read the answer; entries of another shape are left out.  Raises NoData."""
    entries = islice(parse_object(data, "get_command_descriptions").items(), limits.MAX_COMMANDS_TOLD)
    return tuple(found for _, entry in entries if (found := _description(entry)) is not None)


def _description(entry: Fields) -> CommandDescription | None:
    prefix: list[str] = []
    arguments: list[CommandArgument] = []
    for part in entry.parts("sig") or ():
        if isinstance(part, Fields):
            arguments.append(_argument(part))
        elif arguments:
            return None
        else:
            prefix += part.split()
    if not 0 < len(prefix) <= _MAX_WORDS or not all(map(_WORD.fullmatch, prefix)):
        return None
    flags = entry.integer("flags") if entry.has("flags") else 0
    return CommandDescription(
        tuple(prefix),
        tuple(arguments),
        entry.name("perm") if entry.is_text("perm") else "?",
        entry.name("module"),
        -1 if flags is None else flags,
    )


def _argument(fields: Fields) -> CommandArgument:
    return CommandArgument(
        name=fields.name("name"),
        type=fields.name("type"),
        optional=not _holds(fields, "req"),
        many=fields.name("n") == "N",
        choices=tuple(fields.name("strings").split("|")) if fields.name("strings") else (),
        range=_range(fields.name("range")),
        goodchars=fields.name("goodchars"),
        positional=_holds(fields, "positional"),
    )


def _holds(fields: Fields, key: str) -> bool:
    """Read a boolean, or the word for it: true where it is missing, false for any other word (Nautilus has one)."""
    value = fields.boolean(key)
    if value is None:
        return not fields.has(key) or fields.name(key) in ("true", "True")
    return value


def _range(text: str) -> tuple[float, ...]:
    """Read "0|100"; what is no range is none, and the monitor judges."""
    try:
        bounds = tuple(map(float, text.split("|"))) if text else ()
    except ValueError:
        return ()
    return bounds if len(bounds) <= 2 and all(map(math.isfinite, bounds)) else ()
