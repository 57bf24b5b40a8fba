from __future__ import annotations

import logging

from cephmonfs.files.logring import LogRing


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
    (line,) = ring.text().splitlines()
    assert " INFO cephmonfs.x: a b ccc" in line
    assert len(line) == 2000


def test_a_record_cannot_forge_another() -> None:
    """A message quotes what a monitor sent: it stays one line, and no terminal obeys it."""
    ring = LogRing()
    ring.handle(record("refused: %s", "no\n2027-01-15T08:00:00.000 INFO cephmonfs: all is well\x1b[2J\u2028\u202e"))
    (line,) = ring.text().splitlines()
    assert line.isprintable()


def test_a_traceback_keeps_its_lines() -> None:
    ring = LogRing()
    failed = record("failed")
    try:
        raise ValueError("evil\x1b[2J\x9b31m")
    except ValueError as exc:
        failed.exc_info = (type(exc), exc, exc.__traceback__)
    ring.handle(failed)
    lines = ring.text().splitlines()
    assert len(lines) >= 4
    assert lines[-1] == "ValueError: evil?[2J?31m"


def test_a_message_that_does_not_format_is_not_fatal() -> None:
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        ring = LogRing()
        ring.handle(record("%d", "no number"))
        assert ring.text() == ""
    finally:
        logging.raiseExceptions = before
