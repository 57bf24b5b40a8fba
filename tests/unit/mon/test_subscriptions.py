"""What subscriptions ask for."""

from __future__ import annotations

from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.mon.snapshot import MAPS
from cephmonfs.mon.subscriptions import Subscriptions


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
