"""Hand-made moments to render from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cephmonfs.fs.commands import Command, CommandCache
from cephmonfs.fs.events import EventRing
from cephmonfs.fs.logring import LogRing
from cephmonfs.fs.settings import FsSettings
from cephmonfs.fs.slots import WaitSlots
from cephmonfs.fs.statfsgate import StatfsGate
from cephmonfs.fs.view import Memo, View
from cephmonfs.mon.snapshot import CommandReply, Snapshot, Stamp
from tests.fuse.fake import FakeSource, snapshot

NOW = 1000.0


class KnownAnswers(CommandCache):
    """Answers that are there already."""

    def __init__(self, settings: FsSettings, answers: dict[Command, CommandReply | Exception]) -> None:
        super().__init__(FakeSource(lambda: NOW), settings, WaitSlots())
        self.answers = answers

    def reply(self, command: Command) -> CommandReply:
        answer = self.answers.get(command)
        if isinstance(answer, Exception):
            raise answer
        return answer if answer is not None else super().reply(command)

    def at(self, command: Command) -> Stamp | None:
        answer = self.answers.get(command)
        return answer.at if isinstance(answer, CommandReply) else None

    def version(self, command: Command) -> int:
        return 1 if command in self.answers else 0


@pytest.fixture
def view_of() -> Callable[..., View]:
    """`view_of(answers={...}, settings=..., state=...)`: the healthy snapshot with some fields changed."""

    def make(
        answers: dict[Command, CommandReply | Exception] | None = None,
        settings: FsSettings | None = None,
        snap: Snapshot | None = None,
        **changes: object,
    ) -> View:
        settings = settings or FsSettings()
        source = FakeSource(lambda: NOW)
        shown = replace(snap or snapshot(), **changes)  # type: ignore[arg-type]
        gate = StatfsGate(source, settings, WaitSlots())
        cache = KnownAnswers(settings, answers or {})
        return View(shown, settings, cache, gate, EventRing(), LogRing(), Memo(), Stamp(0.0, 1.0))

    return make


@pytest.fixture
def view(view_of: Callable[..., View]) -> View:
    return view_of()
