"""Where log lines go."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cephmonfs.cli.logs import start_logging


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
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    ring = start_logging("info", foreground=True)
    logging.getLogger("cephmonfs.x").info("hello")
    logging.getLogger("cephmonfs.x").debug("not this")
    assert capfd.readouterr().err == "INFO cephmonfs.x: hello\n"
    assert ring.text().endswith("INFO cephmonfs.x: hello\n")


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
