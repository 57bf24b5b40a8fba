"""Looks at the files of a mount: what one reading saw, and a reader that waits in poll(2)."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

RINGS = ("events", "events_pipe")  # grow or have no end; everything else is a rendering per handle
_CHANGED = select.POLLPRI | select.POLLERR
_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """One open, read to the end, fstat and stat of a file.  Times are monotonic, `wall` is when it began."""

    name: str
    began: float
    ended: float
    wall: float
    error: int  # errno, 0 for none
    data: bytes
    size: int  # st_size by fstat after the last byte
    mtime: float

    @property
    def took(self) -> float:
        return self.ended - self.began

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    @property
    def value(self) -> str:
        """The value, or the name of the error in brackets."""
        return f"({errno.errorcode.get(self.error, self.error)})" if self.error else self.text.removesuffix("\n")

    def __str__(self) -> str:
        shown = self.value if len(self.value) < 80 else f"{self.value[:77]}..."
        return f"{self.name} = {shown!r}"


def look(root: Path, name: str) -> Reading:
    """Read one file; an error is a part of what was seen."""
    wall, began = time.time(), time.monotonic()
    data, size, mtime, error = b"", 0, 0.0, 0
    try:
        fd = os.open(root / name, os.O_RDONLY)
        try:
            parts = []
            while part := os.read(fd, 1 << 20):
                parts.append(part)
                if sum(map(len, parts)) > _MOST:
                    raise OSError(errno.EFBIG, "no end")
            data = b"".join(parts)
            found = os.fstat(fd)
            size, mtime = found.st_size, found.st_mtime
        finally:
            os.close(fd)
    except OSError as exc:
        error = exc.errno or -1
    return Reading(name, began, time.monotonic(), wall, error, data, size, mtime)


def names(root: Path, under: str = "") -> list[str]:
    """Every file that is listed below a directory, as paths within the mount."""
    found = []
    for directory, _, files in os.walk(root / under):
        found += [os.path.relpath(os.path.join(directory, file), root) for file in files]
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Wake:
    """poll(2) said that a file has changed, and what this handle read before and after it."""

    at: float
    before: bytes | None  # None: an error
    after: bytes | None

    @property
    def in_vain(self) -> bool:
        return self.before == self.after


class Poller:
    """Reads a file, waits in poll(2), reads again, for ever; in a thread of its own."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.wakes: list[Wake] = []
        self.holds: bytes | None = None  # what its handle has read last; None: an error
        self.since = time.monotonic()  # when it read that
        self._path = root / name
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def since_then(self, began: float) -> list[Wake]:
        return [wake for wake in self.wakes if wake.at >= began]

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                fd = os.open(self._path, os.O_RDONLY)
            except OSError:
                self._end.wait(0.2)
                continue
            try:
                self._follow(fd)
            finally:
                os.close(fd)

    def _follow(self, fd: int) -> None:
        self._read(fd)
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        while not self._end.is_set():
            if any(event & _CHANGED for _, event in poller.poll(250)):
                at, before = time.monotonic(), self.holds
                self._read(fd)
                self.wakes.append(Wake(at, before, self.holds))

    def _read(self, fd: int) -> None:
        try:
            self.holds = os.pread(fd, 1 << 20, 0)
        except OSError:
            self.holds = None
        self.since = time.monotonic()
