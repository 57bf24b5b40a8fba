"""The mark of a test for a published hole, and the table of docs/security.md that is made from the marks.

python -m tests.security.published [--check]
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

MODULES: Final = (
    "tests.security.test_published_cephx",
    "tests.security.test_published_frames",
    "tests.security.test_published_requests",
    "tests.security.test_published_maps",
    "tests.security.test_published_life",
)
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN: Final = "<!-- made by `make security-table` from tests/security; do not edit -->"
END: Final = "<!-- end -->"


@dataclass(frozen=True)
class Hole:
    """One published hole."""

    number: int
    name: str  # CVE, or where it was told
    trigger: str


def published(number: int, name: str, trigger: str) -> Callable[[F], F]:
    """Mark a test.  The first line of its docstring is what this program does."""

    def mark(function: F) -> F:
        function.__dict__["hole"] = Hole(number, name, trigger)
        return function

    return mark


def holes() -> list[tuple[Hole, str, str, str]]:
    """(hole, our answer, module, test) of every marked test."""
    found = []
    for module in MODULES:
        for name, function in vars(importlib.import_module(module)).items():
            hole = getattr(function, "__dict__", {}).get("hole")
            if hole is not None:
                doc = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
                found.append((hole, doc, module.rpartition(".")[2], name))
    return sorted(found, key=lambda row: (row[0].number, row[3]))


def table() -> str:
    """The table, in Markdown."""
    lines = ["| | published | what happens | here | test |", "| --- | --- | --- | --- | --- |"]
    for hole, answer, module, name in holes():
        lines.append(f"| T{hole.number:02} | {hole.name} | {hole.trigger} | {answer} | `{module}.{name}` |")
    return "\n".join(lines)


def updated(text: str) -> str:
    """The document with the present table."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


def main() -> int:
    text = DOCUMENT.read_text()
    new = updated(text)
    if "--check" in sys.argv:
        return int(new != text)
    DOCUMENT.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
