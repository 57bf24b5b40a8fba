"""ceph_statfs."""

from __future__ import annotations

from cephmonfs.model.statfs import Statfs
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder


def test_statfs_comes_back() -> None:
    stats = Statfs(kb=1, kb_used=2, kb_avail=3, num_objects=1 << 63)
    enc = Encoder()
    stats.encode(enc)
    assert bytes(enc) == b"\1" + bytes(7) + b"\2" + bytes(7) + b"\3" + bytes(7) + bytes(7) + b"\x80"
    assert Statfs.decode(Cursor(bytes(enc))) == stats
