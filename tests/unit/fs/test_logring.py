from __future__ import annotations

import logging

from cephmonfs.fs.logring import LogRing


def record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("cephmonfs.x", logging.INFO, "f", 1, message, args, None)


def test_the_last_lines_are_kept() -> None:
    ring = LogRing(lines=3)
    assert (ring.text(), ring.version, ring.last_wall) == ("", 0, None)
    for i in range(5):
        ring.handle(record("number %d", i))
    lines = ring.text().splitlines()
    assert [line.split(": ")[1] for line in lines] == ["number 2", "number 3", "number 4"]
    assert " INFO cephmonfs.x: " in lines[0]
    assert ring.version == 5
    assert ring.last_wall is not None


def test_long_and_many_lines() -> None:
    ring = LogRing(lines=4)
    ring.handle(record("a\nb\n" + "c" * 5000))
    lines = ring.text().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) == 2000


def test_a_message_that_does_not_format_is_not_fatal() -> None:
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        ring = LogRing()
        ring.handle(record("%d", "no number"))
        assert ring.text() == ""
    finally:
        logging.raiseExceptions = before
