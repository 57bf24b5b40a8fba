"""FSMap and FSMapUser of four releases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.entity import Epoch
from cephmonfs.model.fsmap import FSMap, FSMapUser
from cephmonfs.wire.cursor import Cursor, Utime
from tests.unit.model.support import decode_all, encoded, relengthened, struct
from tests.vectors import RELEASES, STATES, load, load_json

ALL = [(release, state) for release in RELEASES for state in STATES]


def fsmap_bytes(release: str, state: str) -> bytes:
    cur = Cursor(load(release, f"{state}fsmap-message-front.bin"))
    cur.skip(4)  # the epoch, once more
    return cur.rest()


@pytest.mark.parametrize(("release", "state"), ALL)
def test_a_recorded_map_has_the_recorded_values(release: str, state: str) -> None:
    m = decode_all(FSMap.decode, fsmap_bytes(release, state))
    shown = load_json(release, f"{state}fs_dump.json")
    assert (m.epoch, m.legacy_client_fscid) == (shown["epoch"], shown["default_fscid"])
    flags = shown["feature_flags"]
    assert m.enable_multiple == flags["enable_multiple"]
    if not release.startswith("nautilus"):  # which sends 0 and prints true once there is more than one
        assert m.ever_enabled_multiple == flags["ever_enabled_multiple"]
    assert [(fs.fscid, fs.mdsmap.fs_name) for fs in m.filesystems] == [
        (fs["id"], fs["mdsmap"]["fs_name"]) for fs in shown["filesystems"]
    ]
    assert [(info.gid, info.name) for info in m.standbys] == [(i["gid"], i["name"]) for i in shown["standbys"]]
    assert [epoch for _, epoch in m.standby_epochs] == [i["epoch"] for i in shown["standbys"]]
    assert len(m.mds_roles) == len(m.standbys) + len(m.filesystems)
    assert (m.birth != Utime(0, 0)) == ("btime" in shown)


@pytest.mark.parametrize(("release", "state"), ALL)
def test_a_map_comes_back(release: str, state: str) -> None:
    data = fsmap_bytes(release, state)
    m = FSMap.decode(Cursor(data))
    assert decode_all(FSMap.decode, encoded(m)) == m
    if release.startswith("nautilus"):  # later ones have mirroring, which we do not keep
        assert encoded(m) == data


@pytest.mark.parametrize(("release", "state"), ALL)
def test_a_strict_prefix_is_an_error(release: str, state: str) -> None:
    data = fsmap_bytes(release, state)
    for cut in range(0, len(data), 3):
        with pytest.raises(DecodeError):
            FSMap.decode(Cursor(data[:cut]))
    for short in relengthened(data):
        with pytest.raises(DecodeError):
            FSMap.decode(Cursor(short))


def test_older_maps_are_refused() -> None:
    with pytest.raises(DecodeError, match="older than Nautilus"):
        FSMap.decode(Cursor(struct(5, 4, bytes(200))))


def test_version_6() -> None:
    m = FSMap.decode(Cursor(fsmap_bytes("nautilus-14.2.21", "")))
    body = encoded(m)[6:-1]
    assert decode_all(FSMap.decode, struct(6, 6, body)) == replace(m, ever_enabled_multiple=False)


@pytest.mark.parametrize(("release", "state"), ALL)
def test_the_short_form(release: str, state: str) -> None:
    cur = Cursor(load(release, f"{state}fsmap_user-message-front.bin"))
    cur.skip(4)
    data = cur.rest()
    user = decode_all(FSMapUser.decode, data)
    assert encoded(user) == data
    assert user == FSMap.decode(Cursor(fsmap_bytes(release, state))).for_user()
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            FSMapUser.decode(Cursor(data[:cut]))


def test_finding_a_file_system() -> None:
    user = FSMapUser(Epoch(1), 2, ((2, "cephfs"), (1, "two")))
    assert (user.fscid_of("two"), user.fscid_of("cephfs"), user.fscid_of("three")) == (1, 2, None)
    assert user.fscid_of("") == 2
    assert replace(user, legacy_client_fscid=-1).fscid_of("") == 1
    assert FSMapUser(Epoch(1), -1, ()).fscid_of("") is None
