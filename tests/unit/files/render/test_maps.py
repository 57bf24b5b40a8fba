"""Maps print as the `ceph` program of their release printed them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from cephmonfs.files.render import maps
from cephmonfs.model.entity import AddrVec, Epoch
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import AuthCiphers, MonInfo, MonMap
from cephmonfs.model.osdmap import OSDMap, Pool
from cephmonfs.wire.cursor import Cursor, Utime
from tests.vectors import RELEASES, STATES, load, load_json, load_text

if TYPE_CHECKING:
    from collections.abc import Callable

IPV6 = ("pacific-16.2.15", "tentacle-20.2.4")


def monmap(release: str, name: str) -> MonMap:
    return MonMap.decode(Cursor(load(release, name)))


def cli_mdsmap(release: str) -> MDSMap:
    return FSMap.decode(Cursor(load(release, "cli-fsmap.bin"))).filesystems[0].mdsmap


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("release", RELEASES)
def test_monmap_json_says_what_the_program_said(release: str, state: str) -> None:
    shown = load_json(release, f"{state}mon_dump.json")
    m = monmap(release, f"{state}monmap-msgr2-all.bin")
    assert json.loads(maps.monmap_json(m, quorum=shown["quorum"])) == shown
    del shown["quorum"]
    assert json.loads(maps.monmap_json(m)) == shown


@pytest.mark.parametrize(
    ("release", "prefix", "quorum"),
    [*((release, "cli", (0, 1, 2)) for release in RELEASES), *((release, "ipv6", (0,)) for release in IPV6)],
)
def test_monmap_byte_for_byte(release: str, prefix: str, quorum: tuple[int, ...]) -> None:
    m = monmap(release, f"{prefix}-monmap.bin")
    assert maps.monmap_text(m) == load_text(release, f"{prefix}-mon_dump.txt")
    assert maps.monmap_json(m, quorum=quorum).strip() == load_text(release, f"{prefix}-mon_dump.json").strip()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("release", RELEASES)
def test_mdsmap_json_says_what_the_program_said(release: str, state: str) -> None:
    shown = load_json(release, f"{state}fs_dump.json")["filesystems"][0]["mdsmap"]
    m = MDSMap.decode(Cursor(load(release, f"{state}mdsmap-all.bin")))
    assert json.loads(maps.mdsmap_json(m)) == shown


@pytest.mark.parametrize("release", RELEASES)
def test_mdsmap_byte_for_byte(release: str) -> None:
    m = cli_mdsmap(release)
    first, rest = maps.mdsmap_text(m).split("\n", 1)
    assert first == f"epoch {m.epoch}"
    assert f"\nFilesystem 'cephfs' (1)\n{rest} \n \n" in load_text(release, "cli-fs_dump.txt")
    assert f'{{"mdsmap":{maps.mdsmap_json(m).strip()},"id":1}}' in load_text(release, "cli-fs_dump.json")


def test_what_is_only_there_at_times() -> None:
    m = cli_mdsmap("tentacle-20.2.4")
    laggy = replace(m.infos[0], laggy_since=Utime(1_700_000_000, 5000), export_targets=(1, 2), flags=1)
    m = replace(m, infos=(laggy,), inline_data=True, failed=(1, 2), tail=None, flags=0x1C0)
    text = maps.mdsmap_text(m)
    assert " laggy since 2023-11-14T22:13:20.000005+0000 export targets 1,2 frozen join_fscid=1 addr " in text
    assert "\ninline_data\tenabled\n" in text
    assert "\nfailed\t1,2\n" in text
    words = "joinable refuse_client_session refuse_standby_for_another_fs balance_automate"
    assert f"\nflags\t1c0 {words}\n" in text
    tree = json.loads(maps.mdsmap_json(m))
    info = tree["info"][f"gid_{laggy.gid}"]
    assert (info["laggy_since"], info["export_targets"]) == ("2023-11-14T22:13:20.000005+0000", [1, 2])
    assert (tree["max_xattr_size"], tree["qdb_cluster"]) == (0, [])


def test_a_daemon_of_nautilus_that_is_laggy() -> None:
    m = cli_mdsmap("nautilus-14.2.21")
    m = replace(m, infos=(replace(m.infos[0], laggy_since=Utime(0, 7_000)),), min_compat_client=255)
    text = maps.mdsmap_text(m)
    assert " laggy since 0.000007 addr " in text
    assert "\nmin_compat_client\t-1 (unspecified)\n" in text


def test_daemons_are_shown_by_rank() -> None:
    m = cli_mdsmap("reef-18.2.7")
    info = m.infos[0]
    infos = tuple(
        replace(info, gid=gid, rank=rank, incarnation=inc) for gid, rank, inc in ((1, 1, 4), (2, 0, 0), (3, 0, 9))
    )
    lines = maps.mdsmap_text(replace(m, infos=infos)).splitlines()[-3:]
    assert [line.split("{")[1].split("}")[0] for line in lines] == ["0:3", "0:2", "1:1"]
    homeless = maps.mdsmap_text(replace(m, infos=(replace(info, join_fscid=-1),)))
    assert "join_fscid" not in homeless
    nobody = maps.mdsmap_text(replace(m, infos=()))
    assert nobody.endswith("standby_count_wanted\t1\n")


def test_stretch_mode() -> None:
    m = replace(monmap("pacific-16.2.15", "cli-monmap.bin"), stretch_mode=True, tiebreaker="c", disallowed_leaders=())
    text = maps.monmap_text(m)
    assert "election_strategy: 2\nstretch_mode_enabled 1\ntiebreaker_mon c\ndisallowed_leaders \n0: " in text
    plain = maps.monmap_text(replace(m, stretch_mode=False))
    assert "election_strategy: 2\n0: " in plain


def test_values_newer_than_we_are() -> None:
    m = MonMap(
        10, UUID(int=1), Epoch(1), Utime(1, 0), Utime(2, 3_000), (MonInfo("a", AddrVec(())),),
        persistent_features=1 << 40, min_mon_release=33, auth_ciphers=AuthCiphers(1, 9, (), 0),
    )  # fmt: skip
    tree = json.loads(maps.monmap_json(m))
    assert tree["features"]["persistent"] == ["unknown"]
    assert tree["min_mon_release_name"] == "unknown"
    assert tree["auth_service_cipher"] == {"name": "???", "value": 9}
    assert tree["created"] == "2.000003"
    assert "\n0:  mon.a\n" in maps.monmap_text(m)


@pytest.mark.parametrize(
    ("version", "minimum", "release"),
    [(1, 0, 14), (5, 15, 15), (7, 14, 14), (9, 15, 16), (9, 18, 18), (10, 19, 20), (10, 21, 21)],
)
def test_which_release_made_a_monmap(version: int, minimum: int, release: int) -> None:
    m = replace(monmap("nautilus-14.2.21", "cli-monmap.bin"), version=version, min_mon_release=minimum)
    assert maps.monmap_release(m) == release


@pytest.mark.parametrize("release", RELEASES)
def test_osdmap_summary(release: str) -> None:
    shown = load_json(release, "rich-osd_dump.json")
    m = OSDMap.decode(Cursor(load(release, "rich-osdmap-all.bin")))
    number = int(release.split("-")[1].split(".")[0])
    tree = json.loads(maps.osdmap_json(m, number))
    for key in ("epoch", "fsid", "created", "modified", "flags", "flags_num", "flags_set", "pool_max", "max_osd"):
        assert tree[key] == shown[key]
    assert (tree["num_osds"], tree["num_up_osds"], tree["num_in_osds"]) == (1, 1, 1)
    assert len(tree["pools"]) == len(shown["pools"])
    for pool, wanted in zip(tree["pools"], shown["pools"], strict=True):
        assert pool.pop("application_metadata") == list(wanted.pop("application_metadata"))
        assert pool == {key: wanted[key] for key in pool}
    text = maps.osdmap_text(m, number)
    assert text.startswith(f"epoch {m.epoch}\nfsid {m.fsid}\ncreated {shown['created']}\n")
    for wanted in shown["pools"]:
        assert f"\npool {wanted['pool']} '{wanted['pool_name']}' " in text
    assert " erasure profile ec21 size 3 min_size 2 crush_rule 1 " in text
    assert " max_bytes 123456789 max_objects 4242 " in text


def test_an_odd_osdmap() -> None:
    never = Utime(0, 0)
    m = OSDMap(UUID(int=1), Epoch(1), never, never, {1: Pool(type=9, pg_autoscale_mode=7)}, {}, 1, 0, 0, (), ())
    wanted = "pool 1 '<unknown>' ??? size 1 min_size 1 crush_rule 0 pg_num 1 pgp_num 1 autoscale_mode ??? last_change 0"
    assert maps.osdmap_text(m).endswith(f"\nnum_pools 1\n{wanted} stripe_width 0\n")
    assert json.loads(maps.osdmap_json(m))["created"] == "0.000000"


def test_json_is_one_line_of_utf_8() -> None:
    mons = (MonInfo("m\u00e9", AddrVec(())),)
    text = maps.monmap_json(replace(monmap("reef-18.2.7", "cli-monmap.bin"), mons=mons))
    assert text.count("\n") == 1
    assert '"m\u00e9"' in text


@pytest.mark.parametrize("render", [maps.monmap_text, maps.monmap_json])
def test_times_of_an_unknown_release(render: Callable[[Any], str]) -> None:
    """A map in an old form, from monitors that do not say who they are."""
    m = replace(monmap("nautilus-14.2.21", "cli-monmap.bin"), version=2, min_mon_release=0)
    assert "2026-11-24 18:41:24.001805" in render(m)
