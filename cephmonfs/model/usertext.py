"""Text of a user in messages: shown as it is, unless it could be a key.

People paste keys into the wrong place: as a file name, a user, a section of a keyring, an option.  Text that a user
typed or wrote into a file passes `shown` before it becomes part of a message; a whole line passes `censored` before it
leaves the program, for what came from elsewhere (an exception of Python's, an answer that repeats the question).

What could be a key:

- a word that begins as Ceph's keys do in base64: "AQ" (aes) or "Ag" (aes256k), then A to D;
- a run of base64 in which upper case, lower case and digits change as often as in random text, so that a key
  that was cut at both ends is recognised; "/" is in the alphabet, and paths have long runs, so these must be longer;
- hex digits, 32 or more without a dash, as an fsid has them (`shown` only: hashes are no secret in a line of the log).

Quotes, blanks and URL encoding around or inside it make no difference.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

HIDDEN: Final = "<hidden>"

_BEGINS: Final = re.compile(r"(?<![A-Za-z0-9])A[Qg][A-D][A-Za-z0-9+/]{2,}|(?<![A-Za-z0-9])A[Qg][.…]*=")
_WHOLE: Final = re.compile(r"(?<![A-Za-z0-9])A[Qg][A-D][A-Za-z0-9+/]{17,}")
_RUN: Final = re.compile(r"[A-Za-z0-9+/]+")
_PADDED: Final = re.compile(
    r"(?<![A-Za-z0-9+/])(?=[A-Za-z0-9+/]*[a-z])(?=[A-Za-z0-9+/]*[A-Z])[A-Za-z0-9+/]{10,}=+(?![A-Za-z0-9])"
)
_HEX: Final = re.compile(r"[0-9A-Fa-f]{32,}")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
# What an editor, a shell or a mail puts between the parts of a key: blanks, quotes, what is no ASCII.
_BETWEEN: Final = re.compile(r"""[^\x21-\x7e]+|["'`\\]+""")
_WORD: Final = re.compile(r"""[^\s"'`<>()\[\]{},;]+""")
_ENCODED_AT_MOST: Final = 3  # times

_PLAIN_RUN: Final = 12  # characters of base64 without "/" by which random text is recognised
_RUN_WITH_SLASHES: Final = 20
_CHANGES: Final = 0.4  # random base64 changes between upper case, lower case and digits at 0.62 of its places


def shown(text: str) -> str:
    """Return a user's text for a message, HIDDEN in its place if it could be a key."""
    return HIDDEN if could_be_key(text) else text


def censored(line: str) -> str:
    """Return a line without the words in it that could be keys."""
    return _WORD.sub(lambda match: HIDDEN if _is_suspicious(_decoded(match[0])) else match[0], line)


def could_be_key(text: str) -> bool:
    """Tell whether a text could be a key, whole or cut, or hold one."""
    plain = _decoded(text)
    joined = _BETWEEN.sub("", plain)
    return any(_is_suspicious(form) or _HEX.search(form) is not None for form in (plain, joined))


def is_key(text: str) -> bool:
    """Tell whether a text begins as a key does and is as long: nothing else is called so."""
    return _WHOLE.search(_BETWEEN.sub("", _decoded(text))) is not None


def _is_suspicious(text: str) -> bool:
    if _BEGINS.search(text) is not None or _PADDED.search(text) is not None:
        return True
    return any(_is_random(run) for run in _RUN.findall(text))


def _is_random(run: str) -> bool:
    if len(run) >= _RUN_WITH_SLASHES and _changes_often(run):
        return True
    return any(len(part) >= _PLAIN_RUN and _changes_often(part) for part in run.split("/"))


def _changes_often(run: str) -> bool:
    kinds = [char.isdecimal() * 2 + char.isupper() for char in run if char not in "+/"]
    changes = sum(kind != before for before, kind in pairwise(kinds))
    return {0, 1} <= set(kinds) and changes >= _CHANGES * len(kinds)


def _decoded(text: str) -> str:
    """Undo URL encoding; of what is not ASCII nothing can be a key."""
    for _ in range(_ENCODED_AT_MOST):
        decoded = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
        if decoded == text:
            break
        text = decoded
    return text


def other_format(text: str) -> str | None:
    """Name the format of a text that is neither a key, a keyring nor a ceph.conf; None when it could be one of them."""
    start = text.lstrip()
    if start.startswith("{\\rtf"):
        return "RTF"
    if start.startswith("{") or re.match(r'\[\s*([{"\[\]]|-?\d|true|false|null)', start):
        return "JSON"
    if start.startswith("<"):
        return "XML"
    if start.startswith("-----BEGIN "):
        return "PEM"
    return None
