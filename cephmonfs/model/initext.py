"""The text format that ceph.conf and keyrings share.

`[section]` lines, `key = value` lines, comments from `#` or `;` to the end of the line, quotes around a
value, a backslash that joins two lines.  Indentation means nothing, which is where configparser goes wrong:
it takes the indented caps below a key at column 0 for a part of the key.

Spaces, dashes and underscores are the same in the name of an option.  No error repeats any of the text,
which may hold a key.

Ceph v20.2.4: src/common/ConfUtils.cc, IniGrammer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cephmonfs.errors import ConfigError

_QUOTES: Final = "\"'"
_COMMENTS: Final = "#;"


@dataclass(frozen=True, slots=True)
class Setting:
    """One `key = value`.  `line` counts from 1; `section` is "global" for lines before the first section."""

    section: str
    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class IniText:
    """A parsed text: its section headers as (name, line) and its settings, both in file order."""

    headers: tuple[tuple[str, int], ...]
    settings: tuple[Setting, ...]


def normal_key(key: str) -> str:
    """Return the one spelling of an option's name: `mon host`, `mon-host` and `mon_host` are one."""
    return re.sub(r"[\s_-]+", "_", key.strip())


def parse_ini(text: str, origin: str) -> IniText:
    """Parse a text; `origin` is its file name for messages.  Raises ConfigError with the line's number."""
    headers: list[tuple[str, int]] = []
    settings: list[Setting] = []
    section = "global"
    for number, line in _logical_lines(text):

        def bad(reason: str, number: int = number) -> ConfigError:
            return ConfigError(f"{origin} line {number}: {reason}")

        stripped = line.strip()
        if not stripped or stripped[0] in _COMMENTS:
            continue
        if stripped[0] == "[":
            section = _header(stripped)
            if not section:
                raise bad('wanted "[section]"')
            headers.append((section, number))
            continue
        key, equals, rest = stripped.partition("=")
        key = normal_key(key)
        if not equals or not key or any(mark in key for mark in _COMMENTS):
            raise bad('wanted "key = value"')
        value = _value(rest.strip())
        if value is None:
            raise bad("the value has a quote that is not closed, or text after it")
        settings.append(Setting(section, key, value, number))
    return IniText(tuple(headers), tuple(settings))


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Join lines that end in a backslash, comments aside; each gets the number of its first line."""
    out: list[tuple[int, str]] = []
    held, start = "", 0
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")), 1):
        start = start or number
        if line.endswith("\\") and (held or line.lstrip()[:1] not in _COMMENTS):
            held += line[:-1]
            continue
        out.append((start, held + line))
        held, start = "", 0
    if held:
        out.append((start, held))
    return out


def _header(line: str) -> str:
    """Return the name in a section line, empty when it is none."""
    name, closed, rest = line[1:].partition("]")
    rest = rest.strip()
    if not closed or (rest and rest[0] not in _COMMENTS):
        return ""
    return name.strip()


def _value(text: str) -> str | None:
    """Strip quotes or a comment; None when a quote is damaged."""
    if text[:1] and text[0] in _QUOTES:
        quote, out = text[0], ""
        chars = iter(range(1, len(text)))
        for at in chars:
            if text[at] == quote:
                rest = text[at + 1 :].strip()
                return out if not rest or rest[0] in _COMMENTS else None
            if text[at] == "\\" and at + 1 < len(text):
                at = next(chars)
            out += text[at]
        return None
    out, escaped = "", False
    for char in text:
        if escaped:
            out += char if char in _COMMENTS + _QUOTES + "\\" else "\\" + char
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in _COMMENTS:
            break
        else:
            out += char
    return out.rstrip()
