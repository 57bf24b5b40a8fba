"""What a check found: steps, printed for people or as JSON."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from cephmonfs.model.usertext import censored
from cephmonfs.wire.text import lines

WIDTH: Final = 80
_TEXT_AT: Final = 20


class Status(StrEnum):
    """How a step went."""

    OK = "ok"
    NOTE = "note"  # worth knowing, nothing wrong
    WARN = "warn"  # works, and not as well as it could
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the report.  `times` are milliseconds by phase."""

    name: str
    status: Status
    text: str
    remedy: str = ""
    times: dict[str, float] = field(default_factory=dict)


class Report:
    """The steps in their order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.facts: dict[str, Any] = {}  # for --json

    def add(
        self, name: str, status: Status, text: str, remedy: str = "", times: dict[str, float] | None = None
    ) -> None:
        """Add a step."""
        self.steps.append(Step(name, status, censored(text), censored(remedy), times or {}))

    @property
    def faults(self) -> list[Step]:
        """What is wrong."""
        return [step for step in self.steps if step.status is Status.FAULT]

    @property
    def verdict(self) -> str:
        """The last line."""
        faults = self.faults
        if faults:
            count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
            return f"{count}: {', '.join(dict.fromkeys(step.name for step in faults))}"
        warnings = sum(step.status is Status.WARN for step in self.steps)
        if warnings:
            return f"it works; {warnings} {'thing' if warnings == 1 else 'things'} could be better"
        return "all is well"

    def text(self) -> str:
        """Return the report as people read it, in 80 columns."""
        written = [line for step in self.steps for line in _lines(step)]
        written += ["", *textwrap.wrap(f"verdict: {self.verdict}", WIDTH, subsequent_indent="  "), ""]
        return lines("\n".join(written))

    def json(self) -> str:
        """Return the report as programs read it."""
        steps = [{**asdict(step), "status": str(step.status).lower()} for step in self.steps]
        value = {
            "ok": not self.faults,
            "verdict": self.verdict,
            "faults": len(self.faults),
            "steps": steps,
            **self.facts,
        }
        return json.dumps(value, indent=1) + "\n"


def _lines(step: Step) -> list[str]:
    text = step.text
    if step.times:
        text += "; ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in step.times.items())
    head = f"{step.status:<6}{step.name:<{_TEXT_AT - 7}} "
    if len(head) > _TEXT_AT:
        lines = [head.rstrip(), *_wrapped(" " * _TEXT_AT, text)]
    else:
        lines = _wrapped(head, text)
    if step.remedy:
        lines += _wrapped(" " * _TEXT_AT + "do: ", step.remedy)
    return lines


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * _TEXT_AT,
        break_on_hyphens=False,
        break_long_words=False,
    ) or [head.rstrip()]
