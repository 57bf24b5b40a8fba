"""Loading trio and the rest that the daemon is made of: more than half of the time from `mount` to the first `df`."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBPTHREAD: Final = "libpthread.so.0"  # its name in every glibc; where it has none, trio's threads have no names


@contextmanager
def loading() -> Iterator[None]:
    """Import in here what stays as long as the process.

    The garbage collector would go through it again and again as it grows, and find next to nothing: it rests meanwhile,
    and leaves all of it alone later.

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
