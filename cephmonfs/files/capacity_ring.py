"""The capacity over the last day, for the curve of the dashboard.

It is made from the answers to `df` and to readers of files; it causes no question of its own.  Times without a statfs
are gaps in the curve.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cephmonfs.mon.snapshot import StatfsRecord

SPACING_S: Final = 60.0  # between two samples that are kept
KEPT_S: Final = 24 * 3600.0
_MAX: Final = int(KEPT_S / SPACING_S) + 2
_SAMPLE: Final = Struct("=dQQ")


class Sample(NamedTuple):
    """One answer.  `at` is on the clock that does not jump."""

    at: float
    kb: int
    kb_used: int


class CapacityRing:
    """One sample a minute, and the newest.

    They are kept packed, in 35 KB that are there from the start: as objects they would be all that grows in a day.
    """

    def __init__(self) -> None:
        self._kept = bytearray(_MAX * _SAMPLE.size)
        self._count = 0  # of all that were ever put there; the oldest makes room
        self._last = 0.0
        self._newest: Sample | None = None
        self._pool: int | None = None

    def note(self, record: StatfsRecord | None) -> None:
        """Take an answer, if it is one that is not there yet."""
        if record is None:
            return
        if record.pool != self._pool:
            self._count = 0  # these are numbers of something else
            self._newest, self._pool = None, record.pool
        sample = Sample(record.at.mono, record.stats.kb, record.stats.kb_used)
        if self._newest is not None and sample.at <= self._newest.at:
            return
        self._newest = sample
        if not self._count or sample.at - self._last >= SPACING_S:
            _SAMPLE.pack_into(self._kept, self._count % _MAX * _SAMPLE.size, *sample)
            self._count += 1
            self._last = sample.at

    def since(self, at: float) -> list[Sample]:
        """Return what is not older, oldest first.  May be called from the thread that renders a large page."""
        newest, kept = self._newest, self._kept[: min(self._count, _MAX) * _SAMPLE.size]
        samples = [Sample(*numbers) for numbers in _SAMPLE.iter_unpack(kept) if numbers[0] >= at]
        samples.sort(key=lambda sample: sample.at)
        if newest is not None and newest.at >= at and newest not in samples[-1:]:
            samples.append(newest)
        return samples
