from __future__ import annotations

import json
import tracemalloc

import pytest

from cephmonfs.files.events import RING_BYTES, EventRing
from tests.doubles.source import WALL


def seqs(data: bytes) -> list[int]:
    return [json.loads(line)["seq"] for line in data.splitlines()]


def test_a_line_is_time_number_and_facts() -> None:
    ring = EventRing()
    ring.append({"event": "health", "old": None, "new": "HEALTH_ÖK"}, WALL + 0.067)
    assert ring.read(0, 1000).decode() == (
        '{"time": "2027-01-15T08:00:00.067Z", "seq": 1, "event": "health", "old": null, "new": "HEALTH_ÖK"}\n'
    )
    assert ring.last_wall == WALL + 0.067
    assert ring.size == len(ring.read(0, 1000))


def test_the_ring_keeps_whole_lines_within_its_size() -> None:
    ring = EventRing()
    for i in range(10_000):
        ring.append({"event": "x", "detail": "y" * (i % 100)}, WALL)
        assert ring.size <= RING_BYTES
    kept = seqs(ring.read(0, RING_BYTES))
    assert kept == list(range(kept[0], 10_001))
    assert len(kept) > 300


@pytest.mark.parametrize("value", ["y" * RING_BYTES, ["OSD_DOWN"] * 100_000], ids=["text", "list"])
def test_a_line_without_end_leaves_out_what_is_long_and_pushes_out_no_other(value: object) -> None:
    ring = EventRing()
    ring.append({"event": "before"}, WALL)
    ring.append({"event": "health", "new": "HEALTH_ERR", "checks": value}, WALL)
    ring.append({"event": "after"}, WALL)
    assert seqs(ring.read(0, RING_BYTES)) == [1, 2, 3]
    line = json.loads(ring.read(0, RING_BYTES).splitlines()[1])
    assert (line["event"], line["new"]) == ("health", "HEALTH_ERR")
    assert line["left_out"] > RING_BYTES
    assert "checks" not in line


def test_the_ring_has_the_memory_it_needs_from_the_start() -> None:
    ring = EventRing()
    ring.append({"event": "x"}, WALL)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10_000):
            ring.append({"event": "x", "detail": "y" * 100}, WALL)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


def test_a_follower_sees_each_line_once() -> None:
    ring = EventRing()
    ring.append({"event": "before"}, WALL)
    place = ring.end()
    assert not ring.pending(place)
    for _ in range(5):
        ring.append({"event": "x"}, WALL)
    got = b""
    while ring.pending(place):
        got += ring.follow(place, 150)
    assert seqs(got) == [2, 3, 4, 5, 6]
    assert not ring.pending(place)


def test_a_follower_with_a_small_buffer_gets_lines_in_pieces() -> None:
    ring = EventRing()
    place = ring.end()
    for _ in range(3):
        ring.append({"event": "x"}, WALL)
    got = b""
    while ring.pending(place):
        got += ring.follow(place, 7)
    assert seqs(got) == [1, 2, 3]


def test_a_follower_that_was_too_slow_is_told_how_much_it_lost() -> None:
    ring = EventRing()
    place = ring.end()
    for _ in range(10_000):
        ring.append({"event": "x"}, WALL)
    lost = json.loads(ring.follow(place, 4096))
    got = b""
    while ring.pending(place):
        got += ring.follow(place, 65536)
    assert lost == {"event": "lost", "count": seqs(got)[0] - 1}
    assert seqs(got)[-1] == 10_000


# ---- the observer
