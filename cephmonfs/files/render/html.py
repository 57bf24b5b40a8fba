"""HTML that its content cannot break: text that is not made here is escaped."""

from __future__ import annotations

from html import escape
from typing import Final

_VOID: Final = frozenset({"br", "link", "meta"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def el(name: str, /, *children: str, **attributes: object) -> Html:
    """Make an element.  An attribute's name: `class_` is class, `stroke_width` is stroke-width; None: none."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{pairs}>")
    return Html(f"<{name}{pairs}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Put pieces in a row."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))
