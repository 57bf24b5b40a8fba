"""MgrMaps of four releases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.mgrmap import MgrMap
from cephmonfs.wire.cursor import Cursor
from tests.unit.model.support import decode_all, encoded
from tests.vectors import DIRECTORY, load, load_json, names

VECTORS = names("*mgrmap-*message-front.bin")


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_recorded_map_has_the_recorded_values(release: str, name: str) -> None:
    m = decode_all(MgrMap.decode, load(release, name))
    shown = load_json(release, ("rich-" if name.startswith("rich-") else "") + "mgr_dump.json")
    assert (m.epoch, m.active_gid, m.available) == (shown["epoch"], shown["active_gid"], shown["available"])
    assert (m.active_name, m.active_addrs.legacy.legacy_str) == (shown["active_name"], shown["active_addr"])
    assert list(m.modules) == shown["modules"]
    assert dict(m.services) == shown["services"]
    assert m.standbys == tuple((standby["gid"], standby["name"]) for standby in shown["standbys"])


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_strict_prefix_is_an_error(release: str, name: str) -> None:
    data = load(release, name)
    for cut in [*range(300), *range(300, len(data), 997)]:
        with pytest.raises(DecodeError):
            MgrMap.decode(Cursor(data[:cut]))


@pytest.mark.parametrize(("release", "name"), VECTORS)
def test_a_map_comes_back(release: str, name: str) -> None:
    m = MgrMap.decode(Cursor(load(release, name)))
    m = replace(m, standbys=((5, "y"),), services=(("prometheus", "http://[::1]:9283/"),))
    assert decode_all(MgrMap.decode, encoded(m)) == m


def test_the_first_version() -> None:
    """That of Kraken has no modules."""
    m = decode_all(MgrMap.decode, (DIRECTORY / "others" / "kraken-MgrMap-306eb734.bin").read_bytes())
    assert (m.epoch, m.available, m.active_name, m.modules, m.services) == (1, False, "", (), ())
