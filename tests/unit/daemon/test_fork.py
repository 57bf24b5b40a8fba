"""Parent and child.  Each case forks in a process of its own: pytest's has threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cephmonfs.daemon.fork import Reporter, start_daemon

_PROGRAM = """
import os, signal, sys, time
from cephmonfs.daemon.fork import detach, start_daemon

def mounted(report):
    report(0, "")
    report(32, "comes too late")
    detach()
    assert os.getsid(0) == os.getpid()
    assert os.readlink("/proc/self/fd/2") == "/dev/null"
    return 0

def refused(report):
    report(32, "monitor a refused\\nclient.df")
    return 32

def refused_and_stuck(report):
    report(2, "stuck")
    time.sleep(60)

def silent(report):
    return 7

def killed(report):
    os.kill(os.getpid(), signal.SIGKILL)

def endless(report):
    print("started", flush=True)
    time.sleep(60)

def crash(report):
    raise ValueError

verdict = start_daemon(globals()[sys.argv[1]])
print(verdict.status, verdict.message)
try:
    os.waitpid(-1, 0 if sys.argv[1] == "mounted" else os.WNOHANG)
except ChildProcessError:
    print("no child left")
"""


def _run(case: str) -> list[str]:
    argv = [sys.executable, "-c", _PROGRAM, case]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=30, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("mounted", ["0 "]),
        ("refused", ["32 monitor a refused client.df", "no child left"]),
        ("refused_and_stuck", ["2 stuck", "no child left"]),
        ("silent", ["32 the daemon ended at start-up without a word (status 7)", "no child left"]),
        ("killed", ["32 the daemon ended at start-up without a word (signal 9)", "no child left"]),
        ("crash", ["32 the daemon ended at start-up without a word (status 32)", "no child left"]),
    ],
)
def test_verdicts(case: str, said: list[str]) -> None:
    assert _run(case) == said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(number: signal.Signals) -> None:
    argv = [sys.executable, "-c", _PROGRAM, "endless"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        os.kill(process.pid, number)
        assert process.stdout.read().splitlines() == ["8 interrupted", "no child left"]
    assert process.returncode == 0


def test_inherited_descriptors_are_let_go() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)

    def child(report: Reporter) -> int:
        try:
            os.fstat(writing)
        except OSError:
            report(0, "closed")
        report(32, "still open")
        return 0

    try:
        assert start_daemon(child).message == "closed"
    finally:
        os.close(reading)
        os.close(writing)
