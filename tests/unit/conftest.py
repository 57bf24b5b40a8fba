"""Hand-made moments to render from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from cephmonfs.config.filesettings import default_settings
from cephmonfs.errors import CephMonFSError
from cephmonfs.files.answers import Answer, Command, Failure
from cephmonfs.files.logring import LogRing
from cephmonfs.files.settings import FsSettings
from cephmonfs.files.view import Memo, Records, View
from cephmonfs.mon.snapshot import CommandReply, Snapshot, Stamp
from cephmonfs.mon.tally import StatfsTally
from tests.doubles.source import snapshot

NOW = 1000.0


def answer(known: CommandReply | CephMonFSError) -> Answer:
    """What is known of a command after this outcome; the question left when the answer came."""
    if isinstance(known, CommandReply):
        return Answer(known, known.at, len(known.data), None, 1)
    return Answer(failure=Failure.of(known, "ceph"), version=1)


@pytest.fixture
def view_of() -> Callable[..., View]:
    """`view_of(answers={...}, settings=..., state=...)`: the healthy snapshot with some fields changed."""

    def make(
        answers: Mapping[Command, CommandReply | CephMonFSError] | None = None,
        settings: FsSettings | None = None,
        snap: Snapshot | None = None,
        **changes: object,
    ) -> View:
        shown = replace(snap or snapshot(), **changes)  # type: ignore[arg-type]
        known = {command: answer(outcome) for command, outcome in (answers or {}).items()}
        tally = StatfsTally(results={"fresh": 0, "held": 0, "error": 0})
        counts = {"answered": 0, "refused": 0, "timeout": 0}
        records = Records(log=LogRing())
        return View(shown, settings or default_settings(), known, records, Memo(), Stamp(0.0, 1.0), tally, counts)

    return make


@pytest.fixture
def view(view_of: Callable[..., View]) -> View:
    return view_of()
