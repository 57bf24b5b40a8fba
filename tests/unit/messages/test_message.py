"""The header that travels with every message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.messages.message import HEADER2_SIZE, Header2, Message

if TYPE_CHECKING:
    pass


def test_header2() -> None:
    data = Message(3, b"front", 5, 7, 2, priority=4).header2(1, 6)
    assert len(data) == HEADER2_SIZE == 41
    assert Header2.decode(data) == Header2(1, 2, 3, 4, 5, 6, 7)
    for wrong in (data[:-1], data + b"x"):
        with pytest.raises(DecodeError):
            Header2.decode(wrong)
