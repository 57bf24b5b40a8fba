"""Removes secrets of the command line from /proc/PID/cmdline and from tracebacks."""

from __future__ import annotations

import ctypes
import re
import sys
import traceback
from typing import TYPE_CHECKING, Final

from cephmonfs.model.usertext import censored, could_be_key

if TYPE_CHECKING:
    from types import TracebackType

_STAT_ARG_START: Final = 47  # fields 48 and 49 of proc_pid_stat(5), counted from 0
_VALUE: Final = re.compile(rb"(?<![A-Za-z0-9_.])(?:-[a-z]*o)?secret=([^,\0]*)")
_WORD: Final = re.compile(rb"[^\0]+")
_PART: Final = re.compile(rb"(?:[^,=]*=)?([^,]*)")


def hide_secrets() -> None:
    """Do both; to be called before anything else looks at the arguments."""
    sys.excepthook = _print_censored
    wipe_arguments()


def wipe_arguments() -> bool:
    """Overwrite in what /proc/PID/cmdline shows of this process the value of `secret=`, and what could be a key.

    The kernel shows the memory between two addresses of ours, so writing there is all it takes, without a
    privilege.  Python has made its own copies long before.  Returns whether something was wiped.
    """
    try:
        with open("/proc/self/cmdline", "rb") as file:
            seen = file.read()
        found = secret_places(seen)
        if not found:
            return False
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    start, end = (int(fields[i - 2]) for i in (_STAT_ARG_START, _STAT_ARG_START + 1))
    # Writing to a wrong address would be fatal: go on only if the memory holds the command line that the kernel shows.
    if end - start != len(seen) or ctypes.string_at(start, len(seen)) != seen:
        return False
    for at, size in found:
        ctypes.memset(start + at, ord("x"), size)
    return True


def secret_places(seen: bytes) -> list[tuple[int, int]]:
    """Return place and size of what is to be wiped from a command line, its words ended by zeros."""
    found = [(match.start(1), len(match[1])) for match in _VALUE.finditer(seen)]
    for word in _WORD.finditer(seen):
        parts = [(part.start(1), part[1]) for part in _PART.finditer(word[0]) if part[1]]
        suspicious = [(at, text) for at, text in parts if _is_suspicious(text)]
        if not suspicious and _is_suspicious(word[0]):
            suspicious = [(0, word[0])]
        found += [(word.start() + at, len(text)) for at, text in suspicious]
    return found


def _is_suspicious(text: bytes) -> bool:
    return could_be_key(text.decode("utf-8", "replace"))


def _print_censored(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    for line in traceback.format_exception(kind, exc, trace):
        sys.stderr.write(censored(line))
