"""Callers that are killed, interrupted or frozen at the wrong moment, and mounts that end at once: the loop goes on.

A real daemon, so the real pyfuse3.main in the main thread, without privileges.  With `make killed` there are many more
callers, and the figures are printed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import killer
from tests.support.helper import PATIENCE_S, Mounted, is_mounted, run, wait_gone

MANY = int(os.environ.get("CEPHMONFS_KILLED", "0"))

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with Mounted("demo:", tmp_path_factory.mktemp("killed") / "m") as mount:
        yield mount


def kill_callers(mount: Mounted, call: str, how: str, callers: int) -> dict[str, float]:
    argv = [sys.executable, "-IS", killer.__file__, mount.path, mount.daemon, call, how, callers, 1]
    # the kernel lets a caller go only when its request is answered; who reads a pipe may have to wait a second for that
    done = run([str(word) for word in argv], timeout_s=60 + callers * (2 if call == "pipe" else 0.05))
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(MANY > 0, reason="make killed kills many more")
@pytest.mark.parametrize(
    ("call", "how", "callers"),
    [
        ("statfs", "kill", 3000),
        ("statfs", "interrupt", 300),
        ("statfs", "freeze", 300),
        *((call, "kill", 50 if call == "pipe" else 200) for call in killer.CALLS if call != "statfs"),
        *((call, "interrupt", 50) for call in killer.CALLS if call != "statfs"),
    ],
)
def test_the_loop_runs_after_each_caller_that_is_killed(demo: Mounted, call: str, how: str, callers: int) -> None:
    """One in a few hundred would leave the daemon asleep in read(2) until somebody's next request."""
    found = kill_callers(demo, call, how, callers)
    assert found["killed"] >= callers
    assert not found["for_ever"], found
    assert demo.value("session/state") == "open"


@pytest.mark.soak
@pytest.mark.skipif(not MANY, reason="only by make killed")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("call", ["statfs", *(call for call in killer.CALLS if call != "statfs")])
@pytest.mark.parametrize("how", ["kill", "interrupt", "freeze"])
def test_the_loop_runs_after_each_of_very_many_callers(demo: Mounted, call: str, how: str) -> None:
    """The figures are for people; a busy machine adds to them.  What half of them are is ours."""
    callers = MANY if (call, how) == ("statfs", "kill") else MANY // (1000 if call == "pipe" else 20)
    found = kill_callers(demo, call, how, callers)
    print(f"\n{call}, {how}: {found}")
    assert not found["for_ever"], found
    assert found["median_ms"] < 50, found


def test_an_alarm_from_somebody_else_does_nothing(demo: Mounted) -> None:
    """SIGALRM ends a process that has not said what to do with it."""
    for _ in range(20):
        os.kill(demo.daemon, signal.SIGALRM)
        os.statvfs(demo.path)
    assert demo.value("session/state") == "open"


def test_no_timer_runs_while_nobody_asks(demo: Mounted) -> None:
    """An idle mount is not woken: neither after a df, nor after many, nor after one that was killed."""

    def is_woken() -> bool:
        """No file of /proc shows an ITIMER_REAL, but its signals do: each wakes the process."""
        before = switches(demo.daemon)
        time.sleep(0.3)
        return switches(demo.daemon) - before > 10

    for ask in (
        lambda: os.statvfs(demo.path),
        lambda: [os.statvfs(demo.path) for _ in range(100)],
        lambda: demo.text("ceph/health"),
        lambda: kill_callers(demo, "statfs", "kill", 20),
    ):
        ask()
        deadline = time.monotonic() + PATIENCE_S
        while is_woken():
            assert time.monotonic() < deadline, "the timer goes on"


def switches(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise AssertionError("no such line")


def abort(mount: Mounted, control: Path) -> None:
    """What an administrator does to a FUSE mount that hangs, by way of /sys/fs/fuse/connections."""
    minor = os.minor(mount.path.stat().st_dev)
    control.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", control], check=True)
    try:
        (control / str(minor) / "abort").write_text("1")
    finally:
        subprocess.run(["umount", control], check=True)


@pytest.mark.parametrize("how", ["umount", "umount -f", "umount -l", "abort", "SIGTERM"])
@pytest.mark.parametrize("asked", ["nothing", "much"])
def test_every_end_ends_the_daemon(tmp_path: Path, how: str, asked: str) -> None:
    """Workers that wait, are called, or serve a request find that it is over."""
    with Mounted("demo:", tmp_path / "m") as mount:
        callers = [
            subprocess.Popen(
                [sys.executable, "-IS", "-c", f"import os\nwhile True: os.statvfs({str(mount.path)!r})"],
                stderr=subprocess.DEVNULL,
            )
            for _ in range(4 if asked == "much" else 0)
        ]
        try:
            pid = mount.daemon
            if how == "abort":
                abort(mount, tmp_path / "control")
            elif how == "SIGTERM":
                os.kill(pid, signal.SIGTERM)
            else:
                done = run([*how.split(), mount.path])
                assert done.returncode == 0 or asked == "much", done.stderr
            if how == "umount" and is_mounted(mount.path):  # busy
                os.kill(pid, signal.SIGTERM)
        finally:
            for caller in callers:
                caller.kill()
                caller.wait()
        if how == "abort":
            deadline = time.monotonic() + PATIENCE_S
            while Path(f"/proc/{pid}").exists():
                assert time.monotonic() < deadline, "the daemon did not end"
                time.sleep(0.01)
            run(["umount", "-l", mount.path])
        wait_gone(mount.path)
