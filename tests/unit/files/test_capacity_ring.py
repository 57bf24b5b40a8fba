"""The capacity of a day, in a few KiB."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from cephmonfs.files.capacity_ring import SPACING_S, CapacityRing
from cephmonfs.mon.snapshot import Stamp, StatfsRecord
from tests.doubles.source import KB, WALL


def record(at: float, used: float, pool: int | None = None) -> StatfsRecord:
    stats = replace(KB, kb_used=round(KB.kb * used))
    return StatfsRecord(stats, pool, Stamp(at, WALL), Stamp(at, WALL))


def test_the_ring_keeps_one_a_minute_and_the_newest() -> None:
    ring = CapacityRing()
    ring.note(None)
    for second in range(0, 601, 10):
        ring.note(record(second, 0.5))
        ring.note(record(second, 0.6))  # not newer
    kept = [sample.at for sample in ring.since(0)]
    assert kept == [0.0, *range(60, 601, 60)]
    ring.note(record(605, 0.7))
    assert [sample.at for sample in ring.since(590)] == [600, 605]
    ring.note(record(659, 0.7))
    assert [sample.at for sample in ring.since(590)] == [600, 659]
    ring.note(record(661, 0.7))
    assert [sample.at for sample in ring.since(590)] == [600, 661]


def test_the_ring_is_bounded() -> None:
    ring = CapacityRing()
    for minute in range(3000):
        ring.note(record(minute * SPACING_S, 0.5))
    assert len(ring.since(0)) == 1442
    ring.note(record(3000 * SPACING_S - 1, 0.5))
    assert len(ring.since(0)) == 1443
    assert not ring.since(3000 * SPACING_S)
    kept = [sample.at for sample in ring.since(0)]
    assert kept == sorted(kept)


def test_the_ring_grows_by_nothing() -> None:
    ring = CapacityRing()
    ring.note(record(0, 0.5))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for minute in range(1, 3000):
            ring.note(record(minute * SPACING_S, 0.5))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


def test_the_ring_forgets_another_pool() -> None:
    ring = CapacityRing()
    ring.note(record(1, 0.5))
    ring.note(record(100, 0.5, pool=3))
    assert [sample.at for sample in ring.since(0)] == [100]
