"""Maps as they are kept."""

from __future__ import annotations

from cephmonfs.mon.mapstore import MapStore
from cephmonfs.mon.snapshot import EncodedMap, Stamp

T = Stamp(1.0, 1000.0)


def test_a_map_takes_the_place_of_another() -> None:
    store = MapStore()
    store.put("mdsmap", 5, b"five", T)
    store.put("mdsmap", 4, b"four", T)
    record = store.get("mdsmap")
    assert record is not None
    assert (record.epoch, record.blob) == (4, b"four")
    store.forget("mdsmap")
    assert store.get("mdsmap") is None


def test_incrementals_must_follow_one_by_one() -> None:
    store = MapStore()
    assert not store.put_incremental(2, b"inc", T)
    assert not store.osdmap_is_long()
    store.put("osdmap", 1, b"full", T)
    assert not store.put_incremental(3, b"inc3", T)
    assert store.put_incremental(2, b"inc2", T)
    assert store.put_incremental(3, b"inc3", T)
    record = store.records()["osdmap"]
    assert (record.epoch, record.blob, record.incrementals) == (3, b"full", (b"inc2", b"inc3"))


def test_a_whole_map_keeps_its_epoch_and_its_time() -> None:
    store = MapStore()
    store.put("osdmap", 7, b"full", T)
    assert store.records()["osdmap"].whole == EncodedMap(7, b"full", T)
    for epoch in (8, 9):
        store.put_incremental(epoch, b"inc", Stamp(float(epoch), 2000.0))
    record = store.records()["osdmap"]
    assert (record.epoch, record.at) == (9, Stamp(9.0, 2000.0))
    assert record.whole == EncodedMap(7, b"full", T)


def test_a_full_map_of_the_same_epoch_replaces_the_chain() -> None:
    store = MapStore()
    store.put("osdmap", 1, b"full", T)
    store.put_incremental(2, bytes(300_000), T)
    assert store.osdmap_is_long()
    store.put("osdmap", 2, b"full2", T)
    assert not store.osdmap_is_long()
    assert store.records()["osdmap"].incrementals == ()
