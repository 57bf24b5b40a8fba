"""Files that users write: bytes as editors save them, in; text out."""

from __future__ import annotations

import codecs
from typing import Final

from cephmonfs.errors import ConfigError

# The longer marks first: UTF-32's begins as UTF-16's does.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT: Final = 256


def decode_text(data: bytes, path: str) -> str:
    """Decode UTF-8, or what a byte order mark says.  Raises ConfigError for UTF-16 without one."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.removeprefix(mark).decode(encoding, "replace")
    if _is_utf16(data[:_LOOKED_AT]):
        raise ConfigError(f"{path} is UTF-16 without a byte order mark: save it as UTF-8")
    return data.decode("utf-8", "replace")


def _is_utf16(data: bytes) -> bool:
    """Tell whether every other byte is zero, and no other one."""
    even, odd = data[::2], data[1::2]
    return len(data) >= 4 and any(not any(zeros) and all(others) for zeros, others in ((odd, even), (even, odd)))
