"""Encoder: an append-only writer; lengths are filled in afterwards."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Self, TypeVar

    from cephmonfs.wire.cursor import Utime

    T = TypeVar("T")
    K = TypeVar("K")
    V = TypeVar("V")


class Encoder:
    """Builds one buffer.  Values out of range raise `struct.error` or ValueError: our own misuse."""

    __slots__ = ("_buf",)

    def __init__(self) -> None:
        self._buf = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._buf)

    def __len__(self) -> int:
        return len(self._buf)

    def u8(self, value: int) -> Self:
        """Append one byte."""
        self._buf.append(value)
        return self

    def u16(self, value: int) -> Self:
        """Append le16."""
        self._buf += struct.pack("<H", value)
        return self

    def u32(self, value: int) -> Self:
        """Append le32."""
        self._buf += struct.pack("<I", value)
        return self

    def u64(self, value: int) -> Self:
        """Append le64."""
        self._buf += struct.pack("<Q", value)
        return self

    def s16(self, value: int) -> Self:
        """Append signed le16."""
        self._buf += struct.pack("<h", value)
        return self

    def s32(self, value: int) -> Self:
        """Append signed le32."""
        self._buf += struct.pack("<i", value)
        return self

    def s64(self, value: int) -> Self:
        """Append signed le64."""
        self._buf += struct.pack("<q", value)
        return self

    def boolean(self, value: bool) -> Self:
        """Append a u8, 0 or 1."""
        return self.u8(1 if value else 0)

    def u16_be(self, value: int) -> Self:
        """Append a big-endian u16."""
        self._buf += struct.pack(">H", value)
        return self

    def utime(self, value: Utime) -> Self:
        """Append utime_t."""
        return self.u32(value.sec).u32(value.nsec)

    def raw(self, data: bytes | bytearray | memoryview) -> Self:
        """Append bytes without a length."""
        self._buf += data
        return self

    def blob(self, data: bytes | bytearray | memoryview) -> Self:
        """Append a le32 length and the bytes."""
        self.u32(len(data))
        self._buf += data
        return self

    def blob_u16(self, data: bytes) -> Self:
        """Append a le16 length and the bytes (the msgr2 banner's payload alone)."""
        return self.u16(len(data)).raw(data)

    def text(self, value: str) -> Self:
        """Append a string as UTF-8 with a le32 length."""
        return self.blob(value.encode("utf-8", "surrogateescape"))

    def items(self, values: Collection[T], write: Callable[[Encoder, T], object]) -> Self:
        """Append list<T>."""
        self.u32(len(values))
        for value in values:
            write(self, value)
        return self

    def mapping(
        self,
        values: Mapping[K, V],
        key: Callable[[Encoder, K], object],
        value: Callable[[Encoder, V], object],
    ) -> Self:
        """Append map<K, V> in the mapping's own order."""
        self.u32(len(values))
        for k, v in values.items():
            key(self, k)
            value(self, v)
        return self

    @contextmanager
    def length(self) -> Iterator[None]:
        """Put a le32 in front of what is appended inside, holding its length."""
        at = len(self._buf)
        self.u32(0)
        yield
        struct.pack_into("<I", self._buf, at, len(self._buf) - at - 4)

    @contextmanager
    def struct(self, v: int, compat: int) -> Iterator[None]:
        """Write an ENCODE_START block around what is appended inside."""
        self.u8(v).u8(compat)
        with self.length():
            yield
