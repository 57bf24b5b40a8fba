"""sd_notify."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cephmonfs.daemon.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_a_datagram_to_systemd(tmp_path: Path, abstract: bool) -> None:
    name = f"@cephmonfs-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if abstract else name)
        assert Notifier({"NOTIFY_SOCKET": name}).send("READY=1", "STATUS=two\nlines")
        assert sock.recv(4096) == b"READY=1\nSTATUS=two lines"


@pytest.mark.parametrize(
    "env", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/missing"}, {"NOTIFY_SOCKET": "vsock:1:2"}]
)
def test_nobody_listens(env: dict[str, str]) -> None:
    assert not Notifier(env).send("READY=1")


@pytest.mark.parametrize(
    ("env", "interval"),
    [
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, 15.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "x"}, None),
        ({"NOTIFY_SOCKET": "/x"}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),
    ],
)
def test_watchdog(env: dict[str, str], interval: float | None) -> None:
    assert Notifier(env).watchdog_interval_s == interval
