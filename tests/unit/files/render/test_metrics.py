"""`metrics`, read with Prometheus' own parser."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cephmonfs.config.filesettings import default_settings
from cephmonfs.errors import NotPermitted
from cephmonfs.files.answers import DF_DETAIL, HEALTH, MON_METADATA, QUORUM, STATUS, Command
from cephmonfs.files.render.metrics import metrics
from cephmonfs.files.settings import FsSettings
from cephmonfs.files.view import View
from cephmonfs.model.df import POOL_NUMBERS
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.mon.snapshot import CommandReply, MapRecord, Stamp, State
from cephmonfs.mon.tally import StatfsTally
from cephmonfs.wire.cursor import Cursor
from tests.doubles import source as fake
from tests.doubles.source import FSID, KB, WALL, map_record, snapshot
from tests.vectors import load, load_json

RELEASE = "tentacle-20.2.4"
POOL_STATS = {"stored": 5, "stored_raw": 15, "objects": 1, "rd": 7, "wr": 8, "percent_used": 0.25, "max_avail": 100}
DF = {
    "stats": {"total_bytes": 1000, "total_used_bytes": 400, "total_used_raw_bytes": 500, "total_avail_bytes": 500},
    "pools": [{"name": "cephfs_data", "id": 2, "stats": POOL_STATS}, {"name": "odd", "id": 9, "stats": None}],
}
HEALTHS = {
    "status": "HEALTH_WARN",
    "checks": {
        "SLOW_OPS": {"severity": "HEALTH_WARN", "summary": {"message": "42 slow ops, oldest one blocked for 12 sec"}},
        'ODD"\n\\': {"severity": "HEALTH_ERR", "summary": {"message": "x"}},
    },
}
METADATA = [{"name": "a", "hostname": "host1", "ceph_version": "ceph version 16.2.15"}, "odd", {"name": 7}]

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def reply(value: object, age_s: float = 1.0) -> CommandReply:
    return CommandReply(0, "", json.dumps(value).encode(), Stamp(1000.0 - age_s, WALL + 10 - age_s))


def answers(age_s: float = 1.0, **others: object) -> dict[Command, CommandReply | Exception]:
    found: dict[Command, CommandReply | Exception] = {
        HEALTH: reply(HEALTHS, age_s),
        QUORUM: reply(fake.QUORUM | {"quorum_names": ["a", "c"]}, age_s),
        DF_DETAIL: reply(DF, age_s),
        STATUS: reply({"pgmap": {"num_pgs": 3, "degraded_objects": 4}}, age_s),
        MON_METADATA: reply(METADATA, age_s),
    }
    return found


def recorded_maps() -> dict[str, MapRecord]:
    at = Stamp(990.0, WALL)
    return dict(snapshot().maps) | {
        "osdmap": map_record("osdmap", 1, load(RELEASE, "rich-osdmap-all.bin"), at),
        "fsmap": map_record("fsmap", 1, load(RELEASE, "cli-fsmap.bin"), at),
    }


def parsed(view: View) -> Samples:
    return parsed_text(metrics(view).decode())


def parsed_text(text: str) -> Samples:
    assert "\ttimestamp" not in text
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            assert sample.timestamp is None
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, /, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def series(samples: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for found, labels in samples if found == name]


def test_the_cluster(view_of: Callable[..., View]) -> None:
    found = parsed(view_of(answers=answers(), maps=recorded_maps()))
    assert value(found, "ceph_health_status") == 1
    assert value(found, "ceph_health_detail", name="SLOW_OPS", severity="HEALTH_WARN") == 1
    assert value(found, "ceph_health_detail", name='ODD"?\\', severity="HEALTH_ERR") == 1
    assert value(found, "ceph_healthcheck_slow_ops") == 42
    quorum = [value(found, "ceph_mon_quorum_status", ceph_daemon=f"mon.{name}") for name in "abc"]
    assert quorum == [1, 0, 1]
    assert series(found, "ceph_mon_metadata")[0] == {
        "ceph_daemon": "mon.a",
        "hostname": "host1",
        "public_addr": "10.0.0.1",
        "rank": "0",
        "ceph_version": "ceph version 16.2.15",
    }
    assert len(series(found, "ceph_mon_metadata")) == 3
    assert value(found, "ceph_cluster_total_bytes") == 1000
    assert value(found, "ceph_cluster_total_used_bytes") == 400
    assert value(found, "ceph_cluster_total_used_raw_bytes") == 500
    for name, number in POOL_STATS.items():
        assert value(found, f"ceph_pool_{name}", pool_id="2") == number
    assert value(found, "ceph_num_objects_degraded") == 4
    assert value(found, "ceph_num_objects_unfound") == 0


def test_the_maps(view_of: Callable[..., View]) -> None:
    found = parsed(view_of(answers=answers(), maps=recorded_maps()))
    shown = load_json(RELEASE, "rich-osd_dump.json")
    for osd in shown["osds"]:
        for name in ("up", "in", "weight"):
            assert value(found, f"ceph_osd_{name}", ceph_daemon=f"osd.{osd['osd']}") == osd[name]
    flags = shown["flags"].split(",")
    assert value(found, "ceph_osd_flag_noout") == ("noout" in flags)
    assert value(found, "ceph_osd_flag_nodeep_scrub") == ("nodeep-scrub" in flags)
    pools = {row["name"]: row for row in series(found, "ceph_pool_metadata")}
    assert {name: row["pool_id"] for name, row in pools.items()} == {
        pool["pool_name"]: str(pool["pool"]) for pool in shown["pools"]
    }
    assert (pools["ecpool"]["type"], pools["ecpool"]["description"]) == ("erasure", "ec:2+1")
    assert pools["d2"]["description"] == f"replica:{shown['pools'][-1]['size']}"
    assert pools["d2"]["compression_mode"] == "none"
    for pool in shown["pools"]:
        assert value(found, "ceph_pg_total", pool_id=str(pool["pool"])) == pool["pg_num"]
    fs_names = {row["name"] for row in series(found, "ceph_fs_metadata")}
    assert {fs["mdsmap"]["fs_name"] for fs in load_json(RELEASE, "cli-fs_dump.json")["filesystems"]} == fs_names
    assert all(row["ceph_daemon"].startswith("mds.") for row in series(found, "ceph_mds_metadata"))


def test_an_unknown_profile_of_a_pool(view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    osdmap = OSDMap.decode(Cursor(load(RELEASE, "rich-osdmap-all.bin")))
    pools = {
        id: replace(pool, erasure_code_profile="gone", compression_mode="force") for id, pool in osdmap.pools.items()
    }
    view = view_of(maps=recorded_maps())
    monkeypatch.setattr(View, "osdmap", replace(osdmap, pools=pools, pool_names={}))
    rows = series(parsed(view), "ceph_pool_metadata")
    assert "ec:unknown" in {row["description"] for row in rows}
    assert {(row["compression_mode"], row["name"]) for row in rows} == {("force", "")}


def test_help_and_type_are_those_of_the_mgr_module(view_of: Callable[..., View]) -> None:
    text = metrics(view_of(answers=answers(), maps=recorded_maps())).decode()
    assert "# HELP ceph_health_status Cluster health status\n# TYPE ceph_health_status untyped\n" in text
    assert "# HELP ceph_mon_quorum_status Monitors in quorum\n# TYPE ceph_mon_quorum_status gauge\n" in text
    assert "# HELP ceph_pool_rd DF pool rd\n" in text
    assert "_created" not in text


def test_ourselves(view_of: Callable[..., View]) -> None:
    found = parsed(view_of(counters={"hunts": 3, "decode_errors": 1, "maps_bad": 2, "bytes_in": 10}))
    assert value(found, "cephmonfs_up") == 1
    (info,) = series(found, "cephmonfs_info")
    assert (info["fsid"], info["name"], info["mode"]) == (FSID, "client.df", "secure")
    states = {state: value(found, "cephmonfs_session_state", state=state) for state in State}
    assert states == {state: state is State.OPEN for state in State}
    assert value(found, "cephmonfs_last_contact_timestamp_seconds") == WALL + 9.5
    assert value(found, "cephmonfs_map_epoch", map="osdmap") == 17
    assert value(found, "cephmonfs_map_received_timestamp_seconds", map="osdmap") == WALL
    assert value(found, "cephmonfs_mon_rtt_seconds", ceph_daemon="mon.b") == pytest.approx(0.0006)
    assert value(found, "cephmonfs_hunts_total") == 3
    assert (value(found, "cephmonfs_sessions_total"), value(found, "cephmonfs_failovers_total")) == (2, 1)
    assert value(found, "cephmonfs_received_bytes_total") == 10
    assert value(found, "cephmonfs_decode_errors_total", type="map") == 2
    assert value(found, "cephmonfs_requests_total", kind="statfs", result="fresh") == 0
    assert value(found, "cephmonfs_requests_total", kind="command", result="timeout") == 0


def test_the_histogram_of_statfs(view_of: Callable[..., View]) -> None:
    durations = [0] * len(StatfsTally().durations)
    durations[0], durations[3], durations[-1] = 5, 2, 1
    found = parsed(replace(view_of(), statfs_tally=StatfsTally(tuple(durations), 3.5)))
    name = "cephmonfs_statfs_duration_seconds"
    assert value(found, f"{name}_bucket", le="0.0005") == 5
    assert value(found, f"{name}_bucket", le="2.5") == 7
    assert value(found, f"{name}_bucket", le="+Inf") == value(found, f"{name}_count") == 8
    assert value(found, f"{name}_sum") == 3.5


def stale(view_of: Callable[..., View], settings: FsSettings | None = None) -> Samples:
    view = view_of(
        answers=answers(age_s=75.0),
        settings=settings,
        maps=recorded_maps(),
        state=State.HUNTING,
        last_contact=Stamp(925.0, WALL),
        quorum_at=Stamp(925.0, WALL),
        statfs=replace(snapshot().statfs, asked=Stamp(925.0, WALL)),  # type: ignore[type-var]
    )
    return parsed(view)


def test_what_is_stale_leaves(view_of: Callable[..., View]) -> None:
    found = stale(view_of)
    assert value(found, "cephmonfs_up") == 0
    assert value(found, "cephmonfs_session_state", state="hunting") == 1
    assert not [name for name, _ in found if name.startswith("ceph_")]


def test_with_stale_after_for_ever_it_stays_and_up_tells(view_of: Callable[..., View]) -> None:
    found = stale(view_of, default_settings(stale_after=math.inf))
    assert value(found, "cephmonfs_up") == 0
    assert value(found, "ceph_health_status") == 1
    assert value(found, "ceph_cluster_total_bytes") == 1000


def test_without_any_answer_to_commands_statfs_tells_the_total(view_of: Callable[..., View]) -> None:
    denied = NotPermitted("no")
    found = parsed(view_of(answers=dict.fromkeys((HEALTH, QUORUM, DF_DETAIL, STATUS, MON_METADATA), denied)))
    assert value(found, "ceph_cluster_total_bytes") == KB.kb << 10
    assert value(found, "ceph_cluster_total_used_raw_bytes") == KB.kb_used << 10
    assert value(found, "ceph_cluster_total_used_bytes") is None
    assert value(found, "ceph_health_status") is None
    assert len(series(found, "ceph_mon_metadata")) == 3


def test_the_numbers_of_a_pool_are_not_those_of_the_cluster(view_of: Callable[..., View]) -> None:
    found = parsed(view_of(statfs=replace(snapshot().statfs, pool=3)))  # type: ignore[type-var]
    assert value(found, "ceph_cluster_total_bytes") is None
    assert value(parsed(view_of(statfs=None)), "ceph_cluster_total_bytes") is None


@pytest.mark.parametrize("odd", [[], {}, "x", {"stats": 3, "pools": 4, "checks": 5, "pgmap": 6, "status": 7}])
def test_odd_answers_give_less(view_of: Callable[..., View], odd: object) -> None:
    found = parsed(view_of(answers=dict.fromkeys((HEALTH, QUORUM, DF_DETAIL, STATUS, MON_METADATA), reply(odd))))
    assert value(found, "cephmonfs_up") == 1
    assert value(found, "ceph_health_status") is None
    assert value(found, "ceph_num_objects_degraded") is None


def test_metadata_that_is_no_json(view_of: Callable[..., View]) -> None:
    bad = CommandReply(0, "", b"{", Stamp(999.0, WALL))
    assert len(series(parsed(view_of(answers={MON_METADATA: bad})), "ceph_mon_metadata")) == 3


def test_before_anything_is_known(view_of: Callable[..., View]) -> None:
    nothing = view_of(
        fsid="",
        mons=(),
        maps={},
        statfs=None,
        last_contact=None,
        quorum_at=None,
        since=None,
        mode="",
        mon="",
        state=State.CONNECTING,
    )
    found = parsed(nothing)
    assert value(found, "cephmonfs_up") == 0
    assert value(found, "cephmonfs_last_contact_timestamp_seconds") is None
    assert not [name for name, _ in found if name.startswith("ceph_")]


def test_ten_thousand_osds(view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    osdmap = OSDMap.decode(Cursor(load(RELEASE, "osdmap-all.bin")))
    many = replace(osdmap, max_osd=10_000, states=(3,) * 10_000, weights=(0x8000,) * 9_999 + (0,))
    view = view_of()
    monkeypatch.setattr(View, "osdmap", many)
    found = parsed(view)
    assert value(found, "ceph_osd_weight", ceph_daemon="osd.7") == 0.5
    assert value(found, "ceph_osd_in", ceph_daemon="osd.9999") == 0
    assert len(series(found, "ceph_osd_up")) == 10_000


def test_a_muted_check_is_active_as_in_the_mgr_module_and_told_to_be_muted(view_of: Callable[..., View]) -> None:
    found = parsed(view_of(answers=answers() | {HEALTH: reply(fake.MUTED)}))
    assert value(found, "ceph_health_status") == 0
    assert value(found, "ceph_health_detail", name="OSDMAP_FLAGS", severity="HEALTH_WARN") == 1
    assert value(found, "cephmonfs_health_check_muted", name="OSDMAP_FLAGS") == 1
    assert value(found, "ceph_healthcheck_slow_ops") == 0
    assert value(parsed(view_of(answers=answers())), "cephmonfs_health_check_muted", name="SLOW_OPS") == 0


def test_the_size_is_that_of_the_cluster_and_not_of_what_is_known(view_of: Callable[..., View]) -> None:
    """Who looks at the size first (web servers, sshfs) gets the whole page, and valid text."""
    known = view_of(answers=answers(), maps=recorded_maps())
    pages = [
        metrics(view)
        for view in (
            known,
            view_of(maps=recorded_maps()),  # before the commands that the open asks
            view_of(answers=answers(100.0), maps=recorded_maps()),  # samples that have left
            view_of(answers=answers(100.0), maps=recorded_maps(), last_contact=Stamp(100.0, WALL)),
            view_of(answers=answers(), maps=recorded_maps(), counters={"bytes_in": 10**15}),
        )
    ]
    assert {len(page) for page in pages} == {64 << 10}
    assert len(metrics(view_of(maps={}, statfs=None, mons=(), last_contact=None, fsid=""))) == 32 << 10
    for page in pages:
        assert page.endswith(b"\n\n")
        assert parsed_text(page.decode())


def test_many_osds_and_pools_have_a_page_of_one_size_too(
    view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    osdmap = OSDMap.decode(Cursor(load(RELEASE, "rich-osdmap-all.bin")))
    pool = next(iter(osdmap.pools.values()))
    pools = dict.fromkeys(range(1, 201), pool)
    names = {i: f"default.rgw.buckets.data-{i}" for i in pools}
    many = replace(osdmap, pools=pools, pool_names=names, states=(3,) * 500, weights=(0x10000,) * 500)
    monkeypatch.setattr(View, "osdmap", many)
    df = DF | {"pools": [{"id": i, "stats": dict.fromkeys(POOL_NUMBERS, 10**15)} for i in pools]}
    full = metrics(view_of(answers=answers() | {DF_DETAIL: reply(df)}, maps=recorded_maps()))
    bare = metrics(view_of(maps=recorded_maps(), last_contact=Stamp(100.0, WALL)))
    assert len(full.rstrip()) > 2 * len(bare.rstrip())
    assert len(full) == len(bare)
