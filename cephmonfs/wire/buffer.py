"""ReceiveBuffer: bytes from a stream, taken in whole pieces."""

from __future__ import annotations

_LARGE = 1 << 20


class ReceiveBuffer:
    """Collects what a socket gave and hands out exact amounts once they are there."""

    __slots__ = ("_buf", "_pos")

    def __init__(self) -> None:
        self._buf = bytearray()
        self._pos = 0

    def __len__(self) -> int:
        return len(self._buf) - self._pos

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append received bytes."""
        if self._pos == len(self._buf):
            self._buf = bytearray(data)
            self._pos = 0
        else:
            if self._pos > 65536:
                del self._buf[: self._pos]
                self._pos = 0
            self._buf += data

    def take(self, n: int) -> bytes | None:
        """Remove and return exactly n bytes, or None while fewer are there."""
        pos = self._pos
        if len(self._buf) - pos < n:
            return None
        taken = bytes(memoryview(self._buf)[pos : pos + n])
        self._pos = pos + n
        if self._pos == len(self._buf) > _LARGE:
            self._buf, self._pos = bytearray(), 0  # the memory of a large message goes with it
        return taken

    def peek(self, n: int) -> bytes:
        """Return at most n bytes without removing them."""
        return bytes(memoryview(self._buf)[self._pos : self._pos + n])
