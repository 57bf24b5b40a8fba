"""Parent and child: the parent answers mount(8) when the child knows how the mount went.

The child stays in its parent's process group until the mount is made: systemd's automount lets exactly that group
through to the directory that it guards, and a Ctrl-C reaches both.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_VERDICT_LIMIT: Final = 65536
_PATIENCE_S: Final = 5.0  # for an interrupted child to undo what it did


class Exit(IntEnum):
    """mount(8)'s exit status."""

    OK = 0
    USAGE = 1
    SYSTEM = 2
    INTERRUPTED = 8
    FAILED = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the mount went: a status and, unless all is well, one line."""

    status: int
    message: str


_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Reporter:
    """The child's end of the pipe.  The first verdict counts; what comes later is for the log."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.told = False

    def __call__(self, status: int, message: str) -> None:
        """Send the verdict; a parent that is gone is no error."""
        self.told = True
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.write(fd, f"{status} {' '.join(message.splitlines())}".encode("utf-8", "replace")[:_VERDICT_LIMIT])
        except OSError:
            pass
        os.close(fd)


class _Interrupted(Exception):
    """A signal ended the wait."""


def start_daemon(child: Callable[[Reporter], int]) -> Verdict:
    """Fork; run `child` there, and here wait for its verdict.  Must be called before any thread starts."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the parent can end the child on a signal
    pid = os.fork()
    if pid == 0:
        status: int = Exit.FAILED
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(reading)
            _close_inherited(writing)
            status = child(Reporter(writing))
        finally:
            os._exit(status)
    os.close(writing)
    return _wait(pid, reading)


def _close_inherited(ours: int) -> None:
    """Let go of what a shell or a service manager left open: a daemon that keeps a pipe keeps its reader waiting."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != ours:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


def _wait(pid: int, reading: int) -> Verdict:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Interrupted

    previous = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        data = b""
        while chunk := os.read(reading, _VERDICT_LIMIT):
            data += chunk
    except _Interrupted:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)
        _stop(pid)
        return Verdict(Exit.INTERRUPTED, "interrupted")
    finally:
        os.close(reading)
        for number, handler in previous.items():
            signal.signal(number, handler)
    status, blank, message = data.decode("utf-8", "replace").partition(" ")
    if blank and status.isdecimal():
        if int(status) != Exit.OK:
            _stop(pid)
        return Verdict(int(status), message)
    _, code = os.waitpid(pid, 0)
    how = f"signal {os.WTERMSIG(code)}" if os.WIFSIGNALED(code) else f"status {os.waitstatus_to_exitcode(code)}"
    return Verdict(Exit.FAILED, f"the daemon ended at start-up without a word ({how})")


def _stop(pid: int) -> None:
    """End a child that did not mount, and wait for it."""
    fd = os.pidfd_open(pid)
    deadline = time.monotonic() + _PATIENCE_S
    try:
        signal.pidfd_send_signal(fd, signal.SIGTERM)
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
    os.waitpid(pid, 0)


def detach() -> None:
    """Leave the terminal: a session of our own, stdio to /dev/null."""
    try:
        os.setsid()
    except PermissionError:
        pass  # a process group leader already, as in a container's process 1
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
