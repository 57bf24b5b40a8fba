"""Cursor: the one way to read bytes that came from outside.

Every read advances by exactly what it returns, or raises `DecodeError` and stays put.
All lengths are unsigned and checked against the bytes that are left, and against a
limit of the caller, before anything is allocated.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cephmonfs.errors import DecodeError, TooLarge, UnknownEncoding
from cephmonfs.wire import limits
from cephmonfs.wire.text import lines, printable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_S16 = struct.Struct("<h")
_S32 = struct.Struct("<i")
_S64 = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Utime:
    """utime_t: seconds since 1970 (or a duration) and nanoseconds.  Wire: le32 sec, le32 nsec."""

    sec: int
    nsec: int

    @classmethod
    def of(cls, seconds: float) -> Utime:
        """Return this moment.  32 bits of seconds last until 2106 and begin anew then, as before 1970."""
        sec = math.floor(seconds)
        return cls(sec & 0xFFFFFFFF, int((seconds - sec) * 1e9))

    def as_seconds(self) -> float:
        """Seconds as a float; good to a microsecond or so for present dates."""
        return self.sec + self.nsec / 1e9


class Cursor:
    """A bounds-checked reader of one buffer."""

    __slots__ = ("_budget", "_buf", "_end", "_pos", "what")

    def __init__(
        self, buf: bytes | bytearray | memoryview, what: str = "buffer", budget: list[int] | None = None
    ) -> None:
        """`budget`: how many values may yet be made from these bytes, shared with children; MAX_VALUES at first."""
        self._buf = memoryview(buf).toreadonly()
        self._budget = [limits.MAX_VALUES] if budget is None else budget
        self._pos = 0
        self._end = len(self._buf)
        self.what = what

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._pos

    @property
    def remaining(self) -> int:
        """Bytes left."""
        return self._end - self._pos

    def error(self, reason: str) -> DecodeError:
        """Make (not raise) an error that names this structure and place."""
        return DecodeError(self.what, self._pos, reason)

    def _take(self, n: int) -> int:
        pos = self._pos
        if n < 0 or n > self._end - pos:
            raise DecodeError(self.what, pos, f"wanted {n} bytes, {self._end - pos} left")
        self._pos = pos + n
        return pos

    def u8(self) -> int:
        """Read one unsigned byte."""
        return self._buf[self._take(1)]

    def u16(self) -> int:
        """Read le16."""
        return int(_U16.unpack_from(self._buf, self._take(2))[0])

    def u32(self) -> int:
        """Read le32."""
        return int(_U32.unpack_from(self._buf, self._take(4))[0])

    def u64(self) -> int:
        """Read le64."""
        return int(_U64.unpack_from(self._buf, self._take(8))[0])

    def s16(self) -> int:
        """Read signed le16."""
        return int(_S16.unpack_from(self._buf, self._take(2))[0])

    def s32(self) -> int:
        """Read signed le32."""
        return int(_S32.unpack_from(self._buf, self._take(4))[0])

    def s64(self) -> int:
        """Read signed le64."""
        return int(_S64.unpack_from(self._buf, self._take(8))[0])

    def boolean(self) -> bool:
        """Read a u8 as Ceph's bool: any non-zero value is true."""
        return self.u8() != 0

    def u16_be(self) -> int:
        """Read a big-endian u16 (ports, legacy address families)."""
        pos = self._take(2)
        return self._buf[pos] << 8 | self._buf[pos + 1]

    def utime(self) -> Utime:
        """Read utime_t."""
        pos = self._take(8)
        sec, nsec = struct.unpack_from("<II", self._buf, pos)
        return Utime(sec, nsec)

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """Read a record of fixed layout at once; much faster than field by field."""
        return form.unpack_from(self._buf, self._take(form.size))

    def raw(self, n: int) -> bytes:
        """Read n bytes without a length in front."""
        pos = self._take(n)
        return bytes(self._buf[pos : pos + n])

    def rest(self) -> bytes:
        """Read everything that is left."""
        return self.raw(self.remaining)

    def peek_u8(self) -> int:
        """Look at the next byte without moving."""
        if self._pos >= self._end:
            raise DecodeError(self.what, self._pos, "wanted 1 byte, 0 left")
        return self._buf[self._pos]

    def skip(self, n: int) -> None:
        """Move past n bytes."""
        self._take(n)

    def _length(self, limit: int) -> int:
        """A le32 length, checked against the limit and the rest; stays put on error."""
        start = self._pos
        length = self.u32()
        left = self._end - self._pos
        if length > limit or length > left:
            self._pos = start
            bound = f"limit {limit}" if length > limit else f"{left} bytes left"
            raise DecodeError(self.what, start, f"length {length}, {bound}")
        return length

    def blob(self, limit: int = limits.MAX_FRONT) -> bytes:
        """Read le32 length and that many bytes."""
        return self.raw(self._length(limit))

    def text(self, limit: int = limits.MAX_NAME) -> str:
        """Read a name or another text of one line, and make it printable (wire/text.py); never an error."""
        return printable(self.blob(limit).decode("utf-8", "replace"), limit)

    def lines(self, limit: int = limits.MAX_STRING) -> str:
        """Read a text that may have several lines, and make it printable but for those."""
        return lines(self.blob(limit).decode("utf-8", "replace"), limit)

    def count(self, each: int, limit: int = limits.MAX_MAP_ITEMS, *, kept: bool = True) -> int:
        """Read a le32 count of items of at least `each` bytes; one the rest cannot hold is refused.

        `kept`: a value will be made of each.  Raises TooLarge beyond `limit`, and beyond what all lists may have.
        """
        start = self._pos
        n = self.u32()
        left = self._end - self._pos
        if n * each > left:
            self._pos = start
            raise DecodeError(self.what, start, f"count {n}, {left} bytes left for {each} each")
        if n > limit:
            self._pos = start
            raise TooLarge(self.what, start, f"count {n}, limit {limit}")
        if kept:
            self._budget[0] -= n
            if self._budget[0] < 0:
                self._pos = start
                raise TooLarge(self.what, start, f"more than {limits.MAX_VALUES} values")
        return n

    def items(self, read: Callable[[Cursor], T], each: int, limit: int = limits.MAX_MAP_ITEMS) -> tuple[T, ...]:
        """Read list<T>: a count and that many items of at least `each` bytes."""
        return tuple(read(self) for _ in range(self.count(each, limit)))

    def mapping(
        self,
        key: Callable[[Cursor], K],
        value: Callable[[Cursor], V],
        each: int,
        limit: int = limits.MAX_MAP_ITEMS,
    ) -> dict[K, V]:
        """Read map<K, V>: a count and that many pairs of at least `each` bytes together."""
        return {key(self): value(self) for _ in range(self.count(each, limit))}

    def u32_array(self, limit: int = limits.MAX_MAP_ITEMS) -> tuple[int, ...]:
        """Read list<le32> at once: ten thousand items in well under a millisecond."""
        n = self.count(each=4, limit=limit, kept=False)  # small and at once
        return struct.unpack_from(f"<{n}I", self._buf, self._take(4 * n))

    def between(self, start: int, end: int) -> memoryview:
        """Look at bytes that were read already, for a checksum over them."""
        if not 0 <= start <= end <= self._pos:
            raise RuntimeError(f"bytes {start} to {end} of {self.what} are not read yet")
        return self._buf[start:end]

    def sub(self, n: int, what: str) -> Cursor:
        """Return a child that holds the next n bytes and cannot read past them; move past them now."""
        pos = self._take(n)
        return Cursor(self._buf[pos : pos + n], what, self._budget)

    def sub_blob(self, what: str, limit: int = limits.MAX_FRONT) -> Cursor:
        """Read a le32 length and return a child over that many bytes, without copying them."""
        return self.sub(self._length(limit), what)

    def struct(self, what: str, v: int) -> tuple[int, Cursor]:
        """Open an ENCODE_START block: u8 struct_v, u8 struct_compat, le32 struct_len.

        `v` is the newest encoding we understand.  Returns struct_v and a child that holds
        struct_len bytes; we move past all of them now, so fields of a newer writer are
        skipped.  Raises UnknownEncoding if struct_compat > v.
        """
        start = self._pos
        try:
            struct_v, compat = self.u8(), self.u8()
            if compat > v:
                raise UnknownEncoding(what, start, f"needs decoder v{compat}, ours is v{v}")
            return struct_v, self.sub(self.u32(), what)
        except DecodeError:
            self._pos = start
            raise

    def finish(self) -> None:
        """End of a format of exact size: trailing bytes are an error."""
        if self._pos != self._end:
            raise DecodeError(self.what, self._pos, f"{self._end - self._pos} bytes too many")
