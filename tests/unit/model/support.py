"""What the tests of the maps share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T_co = TypeVar("T_co", covariant=True)


class Encodable(Protocol):
    """A value that appends itself."""

    def encode(self, enc: Encoder) -> None:
        """Append it."""


def encoded(value: Encodable) -> bytes:
    """The bytes of a value."""
    enc = Encoder()
    value.encode(enc)
    return bytes(enc)


def decode_all(decode: Callable[[Cursor], T_co], data: bytes) -> T_co:
    """Decode and see that nothing is left."""
    cur = Cursor(data)
    value = decode(cur)
    cur.finish()
    return value


def relengthened(data: bytes) -> Iterator[bytes]:
    """Every strict prefix of an ENCODE_START block with its length made to fit: only the fields are missing."""
    for cut in range(len(data) - 7, -1, -1):
        yield data[:2] + cut.to_bytes(4, "little") + data[6 : 6 + cut]


def struct(v: int, compat: int, body: bytes) -> bytes:
    """An ENCODE_START block."""
    return bytes([v, compat]) + len(body).to_bytes(4, "little") + body
