"""Files in directories that other users may write to: no link is followed, no file of another user is used."""

from __future__ import annotations

import os
import stat
from typing import Final

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def create(path: str, mode: int = 0o600) -> int:
    """Make a new file and return its descriptor.  Raises FileExistsError, for a link too, wherever it leads."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def overwrite(path: str, mode: int = 0o644) -> int:
    """Open a file that the caller named, and truncate it.  Raises OSError, also for a link.

    The links in /dev are the system's own.
    """
    nofollow = 0 if path.startswith("/dev/") else os.O_NOFOLLOW
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | nofollow, mode)


def open_state(path: str) -> int:
    """Open a directory of ours, make it if it is missing, and return its descriptor.  Raises OSError.

    Root makes itself its owner, and removes files that are not root's.
    """
    os.makedirs(path, mode=0o755, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        info = os.fstat(fd)
        if os.geteuid() == 0 and (info.st_uid != 0 or info.st_mode & _OTHERS_WRITE):
            os.fchown(fd, 0, 0)
            os.fchmod(fd, 0o755)
            for name in os.listdir(fd):
                if not is_ours(os.stat(name, dir_fd=fd, follow_symlinks=False)):
                    _remove(name, fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def open_file(name: str, directory: int) -> int:
    """Open a file of ours in such a directory to read and write; make it if it is missing.  Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(name, flags, 0o644, dir_fd=directory)
    if is_ours(os.fstat(fd)):
        return fd
    os.close(fd)
    os.unlink(name, dir_fd=directory)
    return os.open(name, flags | os.O_EXCL, 0o644, dir_fd=directory)


def read(path: str, limit: int) -> bytes:
    """Read the beginning of a file of ours.  Raises OSError, PermissionError for one that another user may write."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not is_ours(os.fstat(file.fileno())):
            raise PermissionError(1, "somebody else may write it", path)
        return file.read(limit)


def is_ours(info: os.stat_result) -> bool:
    """Tell whether a file is one that only we, or root, can have written."""
    return stat.S_ISREG(info.st_mode) and info.st_uid in (0, os.geteuid()) and not info.st_mode & _OTHERS_WRITE


def _remove(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        pass  # not a name that we use
