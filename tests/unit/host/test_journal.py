"""Priorities on stderr, where it goes to the journal."""

from __future__ import annotations

import os
from pathlib import Path

from cephmonfs.host import journal


def test_it_listens_when_the_descriptor_is_the_stream(tmp_path: Path) -> None:
    with open(tmp_path / "stream", "w") as file:
        info = os.fstat(file.fileno())
        stream = f"{info.st_dev}:{info.st_ino}"
        assert journal.listens({"JOURNAL_STREAM": stream}, file.fileno())
        assert not journal.listens({"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino + 1}"}, file.fileno())
        assert not journal.listens({}, file.fileno())
        closed = file.fileno()
    assert not journal.listens({"JOURNAL_STREAM": stream}, closed)


def test_every_line_has_the_priority() -> None:
    assert journal.marked("one\ntwo", journal.ERROR) == "<3>one\n<3>two"
