"""Figures, goals and tables; no clock, no process, so that a test can hold it to its word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Literal

Of = Literal["ratio", "value"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be.  `of`: our value alone, or the ratio of its median to the peer's."""

    of: Of
    op: Literal["<=", ">="]
    bound: float

    def met(self, figure: float) -> bool:
        return figure <= self.bound if self.op == "<=" else figure >= self.bound

    def __str__(self) -> str:
        return f"{'x ' if self.of == 'ratio' else ''}{self.op} {number(self.bound)}"


@dataclass(slots=True)
class Row:
    """One figure over all rounds: ours, and the peer's where there is one.  Equal indices are of one round."""

    key: str
    title: str
    unit: str
    peer_name: str = ""
    goal: Goal | None = None
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)

    def add(self, ours: float, peer: float | None = None) -> None:
        self.ours.append(ours)
        if peer is not None:
            self.peer.append(peer)

    @property
    def ratio(self) -> float | None:
        """Ours to the peer's, of the medians; None without a peer."""
        if not self.ours or not self.peer or not median(self.peer):
            return None
        return median(self.ours) / median(self.peer)

    @property
    def pairwise(self) -> list[float]:
        """The ratio of each round."""
        return [a / b for a, b in zip(self.ours, self.peer, strict=False) if b]

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none, or nothing was measured."""
        if self.goal is None or not self.ours:
            return None
        if self.goal.of == "value":
            return self.goal.met(median(self.ours))
        return None if self.ratio is None else self.goal.met(self.ratio)


def number(value: float) -> str:
    """Three digits that matter, no exponents."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    for bound, digits in ((10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= bound:
            return f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return f"{value:.4f}".rstrip("0").rstrip(".") or "0"


def spread(values: Sequence[float]) -> str:
    """min/median/max, or the one value."""
    if not values:
        return ""
    if len(values) == 1:
        return number(values[0])
    return "/".join(number(value) for value in (min(values), median(values), max(values)))


HEADER: Final = ("figure", "unit", "cephmonfs", "peer", "", "ratio", "by round", "goal", "met")


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    pairs = row.pairwise
    return (
        row.title,
        row.unit,
        spread(row.ours),
        row.peer_name if row.peer else "",
        spread(row.peer),
        "" if row.ratio is None else number(row.ratio),
        f"{number(min(pairs))}..{number(max(pairs))}" if len(pairs) > 1 else "",
        "" if row.goal is None else str(row.goal),
        {True: "yes", False: "NO", None: ""}[row.met],
    )


def text_table(lines: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    """Align for a terminal."""
    everything = [tuple(header), *(tuple(line) for line in lines)]
    widths = [max(len(line[i]) for line in everything) for i in range(len(header))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in everything]
    rows.insert(1, "  ".join("-" * width for width in widths))
    return "".join(f"{row.rstrip()}\n" for row in rows)


def markdown_table(lines: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    """The same for docs."""

    def row(words: Sequence[str]) -> str:
        joined = " | ".join(words)
        return f"| {joined} |\n"

    return row(header) + row(["---"] * len(header)) + "".join(row(line) for line in lines)


def heading(facts: Mapping[str, str]) -> str:
    """Machine and versions, a line each."""
    width = max((len(name) for name in facts), default=0)
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in facts.items())


def verdict(rows: Iterable[Row]) -> str:
    """One sentence on the goals."""
    rows = list(rows)
    judged = [row for row in rows if row.met is not None]
    missed = [row.title for row in judged if not row.met]
    text = f"{len(judged) - len(missed)} of {len(judged)} goals met"
    return text + (f"; not yet: {', '.join(missed)}" if missed else "")


def to_json(row: Row) -> dict[str, Any]:
    goal = row.goal
    return {
        "key": row.key,
        "title": row.title,
        "unit": row.unit,
        "ours": row.ours,
        "peer_name": row.peer_name,
        "peer": row.peer,
        "goal": None if goal is None else {"of": goal.of, "op": goal.op, "bound": goal.bound},
        "ratio": row.ratio,
        "met": row.met,
    }


def from_json(data: Mapping[str, Any]) -> Row:
    goal = data["goal"]
    return Row(
        data["key"],
        data["title"],
        data["unit"],
        data["peer_name"],
        None if goal is None else Goal(goal["of"], goal["op"], goal["bound"]),
        list(data["ours"]),
        list(data["peer"]),
    )
