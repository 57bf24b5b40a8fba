"""Epochs never go back; subscriptions resume from what we have."""

from __future__ import annotations

from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.mon.maps import MapStore
from cephmonfs.mon.snapshot import Stamp
from cephmonfs.mon.subs import Subscriptions

T = Stamp(1.0, 1000.0)


def test_a_map_is_replaced_only_by_a_newer_one() -> None:
    store = MapStore()
    assert store.put("mdsmap", 5, b"five", T)
    assert not store.put("mdsmap", 4, b"four", T)
    assert not store.put("mdsmap", 5, b"other", T)
    assert store.put("mdsmap", 6, b"six", T)
    record = store.get("mdsmap")
    assert record is not None
    assert (record.epoch, record.blob) == (6, b"six")
    store.forget("mdsmap")
    assert store.get("mdsmap") is None
    assert store.put("mdsmap", 1, b"of another file system", T)


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


def test_a_full_map_of_the_same_epoch_replaces_the_chain() -> None:
    store = MapStore()
    store.put("osdmap", 1, b"full", T)
    store.put_incremental(2, bytes(300_000), T)
    assert store.osdmap_is_long()
    assert not store.put("osdmap", 2, b"full2", T)  # no news, but shorter
    assert not store.osdmap_is_long()
    assert store.records()["osdmap"].incrementals == ()


def test_a_new_session_asks_for_what_follows() -> None:
    subs = Subscriptions(mdsmap_at_once=True)
    assert subs.items(whole_monmap=True) == {
        name: SubscribeItem(0) for name in ("monmap", "mdsmap", "fsmap", "osdmap", "mgrmap")
    }
    subs.got("monmap", 3)
    subs.got("osdmap", 70)
    items = subs.items(whole_monmap=False)
    assert items["monmap"] == SubscribeItem(4)
    assert items["osdmap"] == SubscribeItem(71)
    assert subs.items(whole_monmap=True)["monmap"] == SubscribeItem(0)
    assert subs.have("osdmap") == 70


def test_the_mdsmap_of_a_chosen_file_system() -> None:
    subs = Subscriptions(mdsmap_at_once=False)
    assert "mdsmap" not in subs.items(whole_monmap=True)
    assert subs.item("mdsmap") == {}
    assert subs.choose_mdsmap(7)
    assert not subs.choose_mdsmap(7)
    assert subs.item("mdsmap") == {"mdsmap.7": SubscribeItem(0)}
    subs.got("mdsmap", 12)
    assert subs.items(whole_monmap=False)["mdsmap.7"] == SubscribeItem(13)
    assert subs.choose_mdsmap(8)
    assert subs.item("mdsmap") == {"mdsmap.8": SubscribeItem(0)}
    assert subs.choose_mdsmap(None)
    assert subs.item("osdmap") == {"osdmap": SubscribeItem(0)}
