"""What others see of this process."""

from __future__ import annotations

import ctypes
from typing import Final

_PR_SET_NAME: Final = 15  # linux/prctl.h


def set_name(name: str) -> None:
    """Be shown by ps, pgrep and top as the program that was called, not as the Python that runs it."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
