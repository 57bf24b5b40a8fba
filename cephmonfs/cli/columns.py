"""Help that fits a terminal of 80 columns."""

from __future__ import annotations

import re
import textwrap
from typing import Final

WIDTH: Final = 80
_HANGING: Final = re.compile(r" *(?:\S+(?: \S+)* {2,})?")  # "  -o OPTIONS   " of a row of two columns


def fitted(text: str, width: int = WIDTH) -> str:
    """Wrap each line that is too long; a row of two columns continues in its second."""
    return "".join(f"{line}\n" for long in text.splitlines() for line in _fitted(long, width))


def _fitted(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    found = _HANGING.match(line)
    at = found.end() if found is not None else 0
    return textwrap.wrap(
        line[at:],
        width,
        initial_indent=line[:at],
        subsequent_indent=" " * at,
        break_on_hyphens=False,
        break_long_words=False,
    )
