"""Statfs: the monitors' numbers of used and free space."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cephmonfs.wire.cursor import Cursor
    from cephmonfs.wire.encoder import Encoder

_STATFS: Final = struct.Struct("<QQQQ")


@dataclass(frozen=True, slots=True)
class Statfs:
    """ceph_statfs: capacity of the cluster (raw) or of one pool (as stored).

    Wire: le64 kb, le64 kb_used, le64 kb_avail, le64 num_objects.  Ceph: src/include/ceph_fs.h.
    """

    kb: int
    kb_used: int
    kb_avail: int
    num_objects: int

    @classmethod
    def decode(cls, cur: Cursor) -> Statfs:
        """Read the four numbers."""
        return cls(*cur.unpack(_STATFS))

    def encode(self, enc: Encoder) -> None:
        """Append the four numbers."""
        enc.u64(self.kb).u64(self.kb_used).u64(self.kb_avail).u64(self.num_objects)
