"""Maps with everything that a release's map can have, beside what that release's own programs print of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cephmonfs.files.render import maps
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.wire.cursor import Cursor
from tests.vectors import DIRECTORY, load, load_json, load_text, printed


@pytest.mark.parametrize(("release", "name"), printed("mon-*"))
def test_monmap(release: str, name: str) -> None:
    m = MonMap.decode(Cursor(load(release, f"{name}.bin")))
    assert maps.monmap_text(m) == load_text(release, f"{name}.txt")
    assert maps.monmap_json(m, quorum=(0,)).strip() == load_text(release, f"{name}.json").strip()


@pytest.mark.parametrize(("release", "name"), printed("fs-*"))
def test_mdsmaps(release: str, name: str) -> None:
    text, dumped = load_text(release, f"{name}.txt"), load_text(release, f"{name}.json")
    for fs in FSMap.decode(Cursor(load(release, f"{name}.bin"))).filesystems:
        m = fs.mdsmap
        first, rest = maps.mdsmap_text(m).split("\n", 1)
        assert first == f"epoch {m.epoch}"
        shown = text.split(f"Filesystem '{m.fs_name}' ({fs.fscid})\n")[1]
        assert rest == shown[: len(rest)]
        assert shown[len(rest) :].startswith(" \n \n")
        shown = dumped.split(f',"id":{fs.fscid}}}')[0].rpartition('{"mdsmap":')[2]
        assert maps.mdsmap_json(m).strip() == shown


@pytest.mark.parametrize(("release", "name"), printed("osd-*"))
def test_osdmap_summary(release: str, name: str) -> None:
    """Every key that is shown is one of `ceph osd dump`, with its value."""
    shown = load_json(release, f"{name}.json")
    m = OSDMap.decode(Cursor(load(release, f"{name}.bin")))
    number = int(release.split("-")[1].split(".")[0])
    tree = json.loads(maps.osdmap_json(m, number))
    counts = {key: tree.pop(key) for key in ("num_osds", "num_up_osds", "num_in_osds")}
    assert counts["num_osds"] == len(shown["osds"])
    assert counts["num_up_osds"] == sum(osd["up"] for osd in shown["osds"])
    assert counts["num_in_osds"] == sum(osd["in"] for osd in shown["osds"])
    for pool, wanted in zip(tree["pools"], shown["pools"], strict=True):
        wanted["application_metadata"] = list(wanted["application_metadata"])
        assert pool == {key: wanted[key] for key in pool}
    assert {**tree, "pools": 0} == {key: shown[key] for key in tree} | {"pools": 0}


# ---- encodings of releases whose programs are not at hand


def other(name: str) -> Cursor:
    return Cursor((DIRECTORY / "others" / name).read_bytes())


NEWER_THAN_OCTOPUS = (
    "election_strategy", "disallowed_leaders", "stretch_mode", "tiebreaker_mon", "removed_ranks", "crush_location",
)  # fmt: skip


def test_a_monmap_of_octopus() -> None:
    """Version 7: what the wire has no field for is not printed."""
    m = MonMap.decode(other("octopus-monmap-v7.bin"))
    text, dumped = maps.monmap_text(m), maps.monmap_json(m)
    for key in NEWER_THAN_OCTOPUS:
        assert key not in text
        assert key not in dumped
    assert text == (
        "epoch 1\nfsid af4e1673-0b72-402d-990a-22d2919d0f1c\n"
        "last_changed 2020-05-07T03:36:39.918035+0000\ncreated 2020-05-07T03:36:39.918035+0000\n"
        "min_mon_release 15 (octopus)\n"
        "0: [v2:10.110.205.174:3300/0,v1:10.110.205.174:6789/0] mon.a\n"
    )
    tree = json.loads(dumped)
    assert list(tree["mons"][0])[-2:] == ["priority", "weight"]
    assert list(tree)[-3:] == ["min_mon_release_name", "features", "mons"]


def test_an_mdsmap_of_octopus() -> None:
    m = MDSMap.decode(other("octopus-15.2.1-mdsmap.bin"))
    keys = list(json.loads(maps.mdsmap_json(m)))
    assert keys[keys.index("session_autoclose") + 1 : keys.index("last_failure")] == [
        "min_compat_client",
        "max_file_size",
    ]
    tree = json.loads(maps.mdsmap_json(m))
    assert tree["min_compat_client"] == "0 (unknown)"
    assert tree["created"] == "2020-04-15T18:29:13.261677+0000"
    (info,) = tree["info"].values()
    assert (info["join_fscid"], "compat" in info) == (-1, False)
    text = maps.mdsmap_text(m)
    assert "\nmax_file_size\t1099511627776\nmin_compat_client\t0 (unknown)\nlast_failure\t" in text
    assert "required_client_features" not in text
    addr = "[v2:172.21.9.32:6830/35106097,v1:172.21.9.32:6831/35106097]"
    assert text.endswith(f"[mds.c{{0:4336}} state up:active seq 5 addr {addr}]\n")
    unset = replace(m, min_compat_client=255, infos=(replace(m.infos[0], join_fscid=2, flags=1),))
    assert "\nmin_compat_client\t0 (unknown)\n" in maps.mdsmap_text(unset)
    assert " frozen join_fscid=2 addr " in maps.mdsmap_text(unset)


def test_the_fsmap_of_octopus_has_the_same_mdsmap() -> None:
    (fs,) = FSMap.decode(other("octopus-15.2.1-FSMap.bin")).filesystems
    assert fs.mdsmap == MDSMap.decode(other("octopus-15.2.1-mdsmap.bin"))


def test_an_mdsmap_of_the_first_pacific() -> None:
    """Its daemons carry no compat set of their own."""
    m = MDSMap.decode(other("pacific-16.2.0-mdsmap.bin"))
    tree = json.loads(maps.mdsmap_json(m))
    (info,) = tree["info"].values()
    assert "compat" not in info
    assert tree["required_client_features"] == {}
    assert maps.mdsmap_text(m).endswith("/1272863538]]\n")


def test_a_monmap_of_the_first_tentacle() -> None:
    """Version 9, its monitors in version 5: no time_added, the location as text; no ciphers."""
    m = MonMap.decode(other("tentacle-20.2.0-like-monmap-v9.bin"))
    tree = json.loads(maps.monmap_json(m))
    (mon,) = tree["mons"]
    assert mon["crush_location"] == "{}"
    assert "time_added" not in mon
    assert not [key for key in tree if key.startswith("auth_")]
    assert tree["disallowed_leaders"] == ""
    assert "auth_" not in maps.monmap_text(m)


def test_a_monmap_between_octopus_and_pacific() -> None:
    """Version 8 knew elections, and no stretch mode."""
    m = replace(MonMap.decode(other("octopus-monmap-v7.bin")), version=8, stretch_mode=True)
    tree = json.loads(maps.monmap_json(m))
    assert (tree["election_strategy"], tree["removed_ranks: "]) == (1, "")
    assert "stretch_mode" not in tree
