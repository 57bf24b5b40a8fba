"""CRC-32C as Ceph keeps it."""

from __future__ import annotations

import pytest

from cephmonfs.wire.crc32c import raw_crc32c

CHECK = b"123456789"


def test_the_ordinary_crc_is_the_inverted_register() -> None:
    assert raw_crc32c(CHECK, 0xFFFFFFFF) ^ 0xFFFFFFFF == 0xE3069283  # the check value of every CRC-32C


@pytest.mark.parametrize("seed", [0, 1, 0xFFFFFFFF])
def test_pieces_chain_and_nothing_changes_nothing(seed: int) -> None:
    assert raw_crc32c(b"", seed) == seed
    for cut in range(len(CHECK) + 1):
        assert raw_crc32c(CHECK[cut:], raw_crc32c(CHECK[:cut], seed)) == raw_crc32c(CHECK, seed)


def test_every_kind_of_buffer() -> None:
    assert raw_crc32c(bytearray(CHECK), 7) == raw_crc32c(memoryview(CHECK), 7) == raw_crc32c(CHECK, 7)
