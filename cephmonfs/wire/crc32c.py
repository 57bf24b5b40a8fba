"""CRC-32C the way Ceph keeps it: the raw register, given a seed, without the final inversion.

Ceph: src/include/crc32c.h.  The ordinary CRC-32C of x is ~raw(x, 0xffffffff).
"""

from __future__ import annotations

import crc32c as _lib

_MASK = 0xFFFFFFFF


def raw_crc32c(data: bytes | bytearray | memoryview, seed: int) -> int:
    """Return the register after `data`, started at `seed`; chains over pieces."""
    return _lib.crc32c(data, seed ^ _MASK) ^ _MASK
