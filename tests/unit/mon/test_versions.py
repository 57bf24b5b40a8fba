"""Versions: a newer one at once, an older one after ten seconds."""

from __future__ import annotations

import math

from cephmonfs.mon.versions import Versions


def test_a_newer_version_counts_at_once() -> None:
    versions = Versions()
    assert versions.counts("osdmap", 1, 0, 0.0)
    assert versions.counts("osdmap", 2**32 - 1, 1, 0.0)
    assert versions.next_timeout() == math.inf


def test_an_older_version_counts_after_ten_seconds_of_older_ones_and_is_asked_for_once() -> None:
    versions = Versions()
    assert not versions.counts("osdmap", 812, 900, 5.0)
    assert not versions.counts("osdmap", 815, 900, 14.9)
    assert versions.next_timeout() == 15.0
    assert versions.take_due(14.9) == ()
    assert versions.take_due(15.0) == ("osdmap",)
    assert versions.take_due(16.0) == ()
    assert versions.next_timeout() == math.inf
    assert versions.counts("osdmap", 816, 900, 16.0)


def test_a_newer_one_in_between_begins_the_ten_seconds_anew() -> None:
    versions = Versions()
    assert not versions.counts("osdmap", 812, 900, 5.0)
    assert versions.counts("osdmap", 900, 900, 9.0)
    assert not versions.counts("osdmap", 812, 900, 16.0)
    assert not versions.counts("fsmap", 1, 2, 16.0)
    versions.forget("osdmap")
    assert not versions.counts("osdmap", 812, 900, 30.0)
