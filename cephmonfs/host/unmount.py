"""Unmounting as root without following a link that another user may have put in place of a directory."""

from __future__ import annotations

import ctypes
import os
from typing import Final

# linux/fs.h, umount2(2)
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8


def unmount(path: str, *, lazy: bool) -> None:
    """Unmount what is mounted on a path that has been made free of links.  Raises OSError.

    The kernel checks the last part of the path only (UMOUNT_NOFOLLOW), so its parent is opened part by part.
    """
    parent = _open_parent(path)
    try:
        name = f"/proc/self/fd/{parent}/{os.path.basename(path)}"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(name), _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(parent)


def _open_parent(path: str) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open("/", flags)
    try:
        for part in os.path.dirname(os.path.abspath(path)).split("/"):
            if part:
                below = os.open(part, flags, dir_fd=here)
                os.close(here)
                here = below
    except OSError:
        os.close(here)
        raise
    return here
