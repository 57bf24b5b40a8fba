"""Sanitises text of the cluster: the result holds no command for a terminal, a browser or a parser.

Every string of an encoding passes here in `Cursor.text`, every string of a JSON answer in `model/answer.py`, and every
sentence that quotes a peer in `one_line`.  What a character is comes from Unicode: control characters (C0, DEL, C1),
format characters (bidi marks and isolates, zero width), line and paragraph separators, surrogates, private and
unassigned code points are not printable, and neither is any space but U+0020.
"""

from __future__ import annotations

from typing import Final

from cephmonfs.wire import limits

SUBSTITUTE: Final = "?"
_CUT: Final = "..."


def printable(text: str, limit: int = limits.MAX_NAME) -> str:
    """Return a name: each character that is not printable becomes `?`; the rest is cut off."""
    if len(text) > limit:
        text = text[: limit - len(_CUT)] + _CUT
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else SUBSTITUTE for char in text])


def one_line(text: str, limit: int = limits.MAX_SENTENCE) -> str:
    """Return a sentence: white space of any kind becomes one space; otherwise as `printable`."""
    if len(text) <= limit and text.isprintable():
        return text
    cut = text[: limit + 1]  # a peer's text may have a MiB; bound the work, too
    return printable(" ".join(cut.split()) + (_CUT if len(text) > len(cut) else ""), limit)


def lines(text: str, limit: int = limits.MAX_STRING) -> str:
    """Return a text of several lines: newlines and tabs stay, otherwise as `printable`."""
    if len(text) > limit:
        text = text[: limit - len(_CUT)] + _CUT
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join([char if char.isprintable() or char in "\n\t" else SUBSTITUTE for char in text])
