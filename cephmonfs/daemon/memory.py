"""How the C library returns freed memory to the kernel."""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 256 << 10


def return_large_blocks() -> None:
    """Map each large block by itself, so that it goes back to the kernel as soon as it is free.

    By default glibc raises that threshold to the largest block that was ever freed, up to 32 MiB.  After one large map
    the heap would keep the holes that later ones leave.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, _LARGE)
    mallopt(_M_TRIM_THRESHOLD, _LARGE)
