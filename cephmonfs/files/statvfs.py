"""statfs answers as the numbers of statvfs(3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cephmonfs.mon.snapshot import StatfsRecord

_BLOCK_SHIFT: Final = 22  # 4 MiB blocks, as the kernel client: CEPH_BLOCK_SHIFT, Linux fs/ceph/super.h
_KB_TO_BLOCK_SHIFT: Final = _BLOCK_SHIFT - 10
_UNKNOWN: Final = (1 << 64) - 1  # a monitor cannot tell how many more files would fit
NAME_MAX: Final = 255


class Statvfs(NamedTuple):
    """The fields of struct statvfs that df and its relatives read."""

    f_bsize: int
    f_frsize: int
    f_blocks: int
    f_bfree: int
    f_bavail: int
    f_files: int
    f_ffree: int
    f_favail: int
    f_namemax: int


def to_statvfs(record: StatfsRecord) -> Statvfs:
    """Convert kilobytes to blocks; the remainder is dropped, as the kernel client does."""
    stats = record.stats
    available = stats.kb_avail >> _KB_TO_BLOCK_SHIFT
    return Statvfs(
        f_bsize=1 << _BLOCK_SHIFT,
        f_frsize=1 << _BLOCK_SHIFT,
        f_blocks=stats.kb >> _KB_TO_BLOCK_SHIFT,
        f_bfree=available,
        f_bavail=available,
        f_files=stats.num_objects,
        f_ffree=_UNKNOWN,
        f_favail=_UNKNOWN,
        f_namemax=NAME_MAX,
    )
