"""Where log lines go."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cephmonfs.cli import mount
from cephmonfs.cli import program as asking
from cephmonfs.daemon.logs import start_logging
from cephmonfs.host import journal


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, loud = list(root.handlers), root.level, logging.raiseExceptions
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = loud


def test_foreground(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")  # somebody else's
    ring = start_logging("info", foreground=True)
    logging.getLogger("cephmonfs.x").info("hello")
    logging.getLogger("cephmonfs.x").debug("not this")
    assert re.fullmatch(r"\d+-\d+-\d+ [\d:,]+ INFO cephmonfs\.x: hello\n", capfd.readouterr().err)
    assert ring.text().endswith("INFO cephmonfs.x: hello\n")


def test_the_journal_is_told_priorities(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    info = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{info.st_dev}:{info.st_ino}")
    start_logging("debug", foreground=True)
    log = logging.getLogger("cephmonfs.x")
    log.debug("d")
    log.info("i")
    log.warning("w")
    try:
        raise RuntimeError("why")
    except RuntimeError:
        log.critical("c", exc_info=True)
    lines = capfd.readouterr().err.splitlines()
    assert lines[:4] == ["<7>d", "<6>i", "<4>w", "<2>c"]
    assert lines[-1] == "<2>RuntimeError: why"
    assert all(line.startswith("<2>") for line in lines[3:])
    mount.say("e")
    asking.say("check", "w", journal.WARNING)
    assert capfd.readouterr().err == "<3>mount.cephmon: e\n<4>cephmonfs check: w\n"
    assert not journal.listens(fd=-1)


def test_syslog(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        ring = start_logging("warning", foreground=False, syslog=str(tmp_path / "log"))
        logging.getLogger("cephmonfs").warning("hello")
        line = sock.recv(4096)
    assert line.startswith(b"<28>cephmonfs[")  # facility daemon, severity warning
    assert line.rstrip(b"\0").endswith(b"]: hello")
    assert "WARNING cephmonfs: hello" in ring.text()


@pytest.mark.parametrize("there", [False, True])
def test_no_syslog_is_no_error(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "log"
    if there:
        path.write_text("not a socket")
    ring = start_logging("debug", foreground=False, syslog=str(path))
    logging.getLogger("cephmonfs").debug("kept")
    assert "kept" in ring.text()
