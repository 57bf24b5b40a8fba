"""Maps as they are kept, and what subscriptions ask for."""

from __future__ import annotations

from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.mon.maps import MapStore
from cephmonfs.mon.snapshot import EncodedMap, Stamp
from cephmonfs.mon.subs import MAPS, Subscriptions

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


def test_whole_maps_and_what_follows() -> None:
    subs = Subscriptions(mdsmap_at_once=True)
    assert subs.next() == {name: SubscribeItem(0) for name in MAPS}
    subs.got("monmap", 3)
    subs.got("osdmap", 70)
    items = subs.next()
    assert items["monmap"] == SubscribeItem(4)
    assert items["osdmap"] == SubscribeItem(71)
    assert subs.whole(["monmap", "osdmap"]) == {"monmap": SubscribeItem(0), "osdmap": SubscribeItem(0)}
    assert subs.have("osdmap") == 70


def test_the_mdsmap_of_a_chosen_file_system() -> None:
    subs = Subscriptions(mdsmap_at_once=False)
    assert "mdsmap" not in subs.next()
    assert subs.whole(["mdsmap"]) == {}
    assert subs.choose_mdsmap(7)
    assert not subs.choose_mdsmap(7)
    assert subs.whole(["mdsmap"]) == {"mdsmap.7": SubscribeItem(0)}
    subs.got("mdsmap", 12)
    assert subs.next()["mdsmap.7"] == SubscribeItem(13)
    assert subs.choose_mdsmap(8)
    assert subs.next()["mdsmap.8"] == SubscribeItem(0)
    assert subs.choose_mdsmap(None)
    assert subs.whole(["mdsmap"]) == {}
