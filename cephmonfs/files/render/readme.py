"""README: what is what, in 40 lines, from the table of files."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cephmonfs.files.tree import Row
    from cephmonfs.files.view import View

LINES: Final = 40
_WIDTH: Final = 100
_LABEL: Final = 26


def readme(_: View, rows: Sequence[Row]) -> str:
    """Return the text; directories and files of the top level, the rest by example."""
    lines = ["This is a Ceph cluster as its monitors see it: df shows its space, these files its state.", ""]
    lines += _entries(rows)
    lines += [
        "",
        "Values are one line: bytes, seconds since 1970, ratios 0..1.  A file is rendered when it is opened; its time",
        "is when its data arrived.  No data yet: ENODATA.  Not covered by the key's caps: EACCES.  Silence: ETIMEDOUT.",
        "poll(2) for POLLPRI tells of a change.  Everything is read-only.  More: man 5 cephmonfs.",
    ]
    return "\n".join(lines) + "\n"


def _entries(rows: Sequence[Row]) -> Iterator[str]:
    top = [row for row in rows if row.path and "/" not in row.path]
    described = {row.path for row in top}
    for row in top:
        base = row.path.removesuffix(".json")
        if base != row.path and base in described:
            continue  # named together with the text
        label = row.path + ("/" if row.mode & 0o111 else "")
        if f"{row.path}.json" in described:
            label += f", {row.path}.json"
        text = textwrap.shorten(row.about, _WIDTH - _LABEL, placeholder=" ...")
        yield f"{label:<{_LABEL - 1}} {text}"
