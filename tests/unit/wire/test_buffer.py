"""Pieces come out whole, however they went in."""

from __future__ import annotations

from cephmonfs.wire.buffer import ReceiveBuffer


def test_bytes_wait_until_all_are_there() -> None:
    buf = ReceiveBuffer()
    buf.feed(b"abc")
    assert buf.take(4) is None
    assert (len(buf), buf.peek(2), buf.peek(9)) == (3, b"ab", b"abc")
    buf.feed(bytearray(b"de"))
    assert (buf.take(4), len(buf), buf.take(1), buf.take(1)) == (b"abcd", 1, b"e", None)
    assert buf.take(0) == b""


def test_what_was_taken_is_let_go() -> None:
    buf = ReceiveBuffer()
    data = bytes(range(256)) * 300
    buf.feed(data)
    assert buf.take(70_000) == data[:70_000]
    buf.feed(b"x")
    assert len(buf) == len(data) - 70_000 + 1
    assert buf.take(len(buf)) == data[70_000:] + b"x"
    buf.feed(memoryview(b"y"))
    assert buf.take(1) == b"y"
