from __future__ import annotations

import pytest

from cephmonfs.config.filesettings import default_settings
from cephmonfs.files.statvfs import to_statvfs
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.snapshot import Stamp, StatfsRecord

AT = Stamp(0, 0)


@pytest.mark.parametrize(
    ("kb", "blocks"), [(0, 0), (4095, 0), (4096, 1), (8191, 1), ((1 << 64) - 1, ((1 << 64) - 1) >> 12)]
)
def test_blocks_are_four_mebibytes_rounded_down(kb: int, blocks: int) -> None:
    found = to_statvfs(StatfsRecord(Statfs(kb, 0, kb, 7), None, AT, AT))
    assert (found.f_bsize, found.f_frsize) == (4 << 20, 4 << 20)
    assert (found.f_blocks, found.f_bfree, found.f_bavail) == (blocks, blocks, blocks)
    assert (found.f_files, found.f_ffree, found.f_favail, found.f_namemax) == (7, 2**64 - 1, 2**64 - 1, 255)


@pytest.mark.parametrize(
    ("stale_after", "age_s", "may"),
    [(60, 59.9, True), (60, 60, False), (0, 0, False), (float("inf"), 1e12, True)],
)
def test_who_may_stand_in(stale_after: float, age_s: float, may: bool) -> None:
    assert default_settings(stale_after=stale_after).stands_in(age_s) is may
