"""Importing trio and the other modules of the daemon: more than half of the time from `mount` to the first `df`."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBPTHREAD: Final = "libpthread.so.0"  # its name in every glibc; where it has none, trio's threads have no names


@contextmanager
def loading() -> Iterator[None]:
    """Import inside this block what stays as long as the process.

    The garbage collector is off meanwhile, and skips these objects later: it would scan them again and again and find
    next to nothing.

    trio wants libpthread, to name its threads, and `ctypes.util` runs ldconfig to find it, or gcc: 12 ms, and programs
    that nobody expects root to run for a mount.
    """
    import ctypes.util

    def find_library(name: str) -> str | None:
        return _LIBPTHREAD if name == "pthread" else find(name)

    find = ctypes.util.find_library
    enabled = gc.isenabled()
    ctypes.util.find_library = find_library
    gc.disable()
    try:
        yield
    finally:
        ctypes.util.find_library = find
        gc.freeze()
        if enabled:
            gc.enable()
