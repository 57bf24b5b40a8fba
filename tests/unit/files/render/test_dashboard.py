"""`dashboard.html`, the ring behind its curve, and the HTML it is made of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from cephmonfs.errors import NotPermitted
from cephmonfs.files.answers import DF_DETAIL, HEALTH, QUORUM, Command
from cephmonfs.files.render.dashboard import dashboard
from cephmonfs.files.view import View
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.mon.snapshot import CommandReply, MapRecord, Stamp, State, StatfsRecord
from cephmonfs.wire.cursor import Cursor
from tests.doubles import source as fake
from tests.doubles.source import FSID, KB, WALL, map_record, snapshot
from tests.vectors import load, load_json

RELEASE = "tentacle-20.2.4"
EVIL = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """Checks that elements are nested well, and keeps what is of interest."""

    VOID = ("meta", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def reply(value: object, age_s: float = 1.0) -> CommandReply:
    return CommandReply(0, "", json.dumps(value).encode(), Stamp(1000.0 - age_s, WALL + 10 - age_s))


def df() -> dict[str, object]:
    pools = [
        {
            "id": p["pool"],
            "stats": {"stored": i << 40, "objects": i * 1000, "max_avail": 1 << 40, "percent_used": i / 7},
        }
        for i, p in enumerate(load_json(RELEASE, "rich-osd_dump.json")["pools"], 1)
    ]
    return {"stats": {}, "pools": [*pools, "odd", {"id": "x"}]}


def answers(age_s: float = 1.0) -> dict[Command, CommandReply | Exception]:
    return {HEALTH: reply(fake.HEALTH, age_s), QUORUM: reply(fake.QUORUM, age_s), DF_DETAIL: reply(df(), age_s)}


def maps() -> dict[str, MapRecord]:
    at = Stamp(990.0, WALL)
    return dict(snapshot().maps) | {
        "osdmap": map_record("osdmap", 17, load(RELEASE, "rich-osdmap-all.bin"), at),
        "fsmap": map_record("fsmap", 5, load(RELEASE, "cli-fsmap.bin"), at),
    }


def record(at: float, used: float, pool: int | None = None) -> StatfsRecord:
    stats = replace(KB, kb_used=round(KB.kb * used))
    return StatfsRecord(stats, pool, Stamp(at, WALL), Stamp(at, WALL))


def curve(view: View, *samples: tuple[float, float]) -> None:
    for at, used in samples:
        view.records.capacity.note(record(at, used))


# ---- HTML


# ---- the ring


# ---- the page


def test_the_page_stands_alone(view_of: Callable[..., View]) -> None:
    text = dashboard(view_of(answers=answers(), maps=maps()))
    page = Page(text)
    metas = page.all("meta")
    assert {"http-equiv": "refresh", "content": "10"} in metas
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in metas)
    assert not page.all("script")
    assert not page.all("img")
    assert not re.search(r"https?:|url\(|@import|//[a-z]", text)
    assert [link["href"] for link in page.all("link")] == ["data:,"]


def test_what_it_shows(view_of: Callable[..., View]) -> None:
    view = view_of(answers=answers(), maps=maps())
    view.records.events.append(
        {"event": "quorum", "quorum": ["a", "b"], "leader": "a", "left": [], "joined": ["b"]}, WALL
    )
    view.records.events.append({"event": "osdmap", "epoch": 18}, WALL + 1)
    view.records.events.append({"event": "capacity", "used_bytes": 5 << 40, "detail": "so much"}, WALL + 2)
    text = Page(dashboard(view)).text
    for wanted in (
        *(FSID, "HEALTH_WARN", "OSDMAP_FLAGS", "noout flag(s) set", "25.0%", "1.25 TiB", "5.00 TiB", "123,456"),
        *("3 of 3 in quorum, leader a", "our session", "v2:10.0.0.1:3302/0", "0.9 ms", "up:active", "ecpool"),
        *("erasure ec21", "client.df", "secure", "2 sessions, 1 failover"),
        *("not covered by the key's caps", "08:00:01Z osdmap", "epoch 18", "quorum a b, leader a, joined b"),
        "used 5.00 TiB, so much",
    ):
        assert wanted in text, wanted
    assert "Stale" not in text
    for pool in load_json(RELEASE, "rich-osd_dump.json")["pools"]:
        assert pool["pool_name"] in text


def test_names_with_html_in_them(view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    osdmap = OSDMap.decode(Cursor(load(RELEASE, "rich-osdmap-all.bin")))
    fsmap = FSMap.decode(Cursor(load(RELEASE, "cli-fsmap.bin")))
    fs = fsmap.filesystems[0]
    infos = tuple(replace(info, name=EVIL) for info in fs.mdsmap.infos)
    evil_fs = replace(fs, mdsmap=replace(fs.mdsmap, fs_name=EVIL, infos=infos))
    pool = next(iter(osdmap.pools.values()))
    pools = {1: replace(pool, applications=(EVIL,), erasure_code_profile=EVIL, type=3)}
    monkeypatch.setattr(View, "osdmap", replace(osdmap, pools=pools, pool_names={1: EVIL}))
    monkeypatch.setattr(View, "fsmap", replace(fsmap, filesystems=(evil_fs,)))
    health = {"status": "HEALTH_ERR", "checks": {EVIL: {"severity": EVIL, "summary": {"message": EVIL}}}}
    mons = tuple(replace(mon, name=EVIL, last_error=EVIL) for mon in snapshot().mons)
    view = view_of(
        answers={HEALTH: reply(health), QUORUM: reply(fake.QUORUM | {"quorum_leader_name": EVIL})},
        mons=mons, mon=EVIL, addr=EVIL, mode=EVIL, entity=EVIL, fsid=EVIL, last_error=EVIL, last_contact=None,
        quorum_at=None,
    )  # fmt: skip
    view.records.events.append({"event": EVIL, EVIL: EVIL}, WALL)
    page = Page(dashboard(view))
    assert not page.all("script")
    assert page.text.count("alert('x')") >= 15


def test_a_muted_check_is_shown_as_muted(view_of: Callable[..., View]) -> None:
    page = Page(dashboard(view_of(answers={HEALTH: reply(fake.MUTED)})))
    assert "(muted: OSDMAP_FLAGS(59m))" in page.text
    assert "noout flag(s) set" not in page.text
    assert "HEALTH_OK" in page.text


def test_a_stale_page_says_so(view_of: Callable[..., View]) -> None:
    view = view_of(
        answers=answers(75.0), maps=maps(), state=State.HUNTING, last_contact=Stamp(925.0, WALL), since=None,
        quorum_at=Stamp(925.0, WALL),
        last_error="none of 3 monitors answered", statfs=record(925.0, 0.8),
    )  # fmt: skip
    page = Page(dashboard(view))
    assert "Stale: no monitor heard for 75 s. What follows is the last we know, not the present." in page.text
    assert "none of 3 monitors answered" in page.text
    assert "HEALTH_UNKNOWN" in page.text
    assert "It was HEALTH_WARN, 75 s ago:" in page.text
    assert "used, as of 75 s ago" in page.text
    assert "quorum unknown: ceph quorum_status -f json: the last answer is 75 s old" in page.text
    assert "our session" not in page.text
    assert page.all("main") == [{"class": "stale"}]


def test_nothing_is_known(view_of: Callable[..., View]) -> None:
    view = view_of(
        fsid="", mons=(), maps={}, statfs=None, last_contact=None, since=None, mode="", mon="",
        quorum_at=None, denied=frozenset(),
        state=State.CONNECTING,
    )  # fmt: skip
    text = Page(dashboard(view)).text
    assert "No monitor has answered yet." in text
    assert text.count("unknown") >= 4
    assert "Latest events" not in text


def test_missing_caps(view_of: Callable[..., View]) -> None:
    denied = dict.fromkeys((HEALTH, QUORUM, DF_DETAIL), NotPermitted("ceph health: access denied"))
    text = Page(dashboard(view_of(answers=denied, denied=frozenset({"osdmap", "fsmap"}), maps={}))).text
    assert "unknown: ceph health: access denied" in text
    assert "quorum unknown: ceph health: access denied" in text
    assert "unknown: the key's caps do not cover the osdmap" in text


def test_what_is_wrong_stands_out(view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    osdmap = OSDMap.decode(Cursor(load(RELEASE, "rich-osdmap-all.bin")))
    fsmap = FSMap.decode(Cursor(load(RELEASE, "cli-fsmap.bin")))
    fs = fsmap.filesystems[0]
    rejoining = replace(fs.mdsmap.infos[0], rank=1, state=11)
    some = replace(fs, mdsmap=replace(fs.mdsmap, infos=(rejoining,)))
    none = replace(fs, fscid=9, mdsmap=replace(fs.mdsmap, infos=()))
    monkeypatch.setattr(View, "osdmap", replace(osdmap, states=(3, 1, 3), weights=(0, 0x10000, 0x10000), flags=1 << 7))
    monkeypatch.setattr(View, "fsmap", replace(fsmap, filesystems=(some, none)))
    checks = {f"CHECK_{i}": {"severity": "HEALTH_ERR", "summary": {"message": "m"}} for i in range(20)}
    view = view_of(
        answers={
            HEALTH: reply({"status": "HEALTH_ERR", "checks": checks}),
            QUORUM: reply(fake.QUORUM | {"quorum_names": ["a"]}),
        }
    )
    text = Page(dashboard(view)).text
    assert "2 up, 2 in" in text
    assert "1 down" in text
    assert text.count("1 out") == 1
    assert "2 out" in text
    assert "noout" in text
    assert text.count("✗ out") == 2
    assert "and 8 more" in text
    assert "no MDS" in text
    assert "up:rejoin" in text
    assert "space unknown" in text


def test_a_cluster_without_file_systems_or_checks(
    view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsmap = FSMap.decode(Cursor(load(RELEASE, "cli-fsmap.bin")))
    monkeypatch.setattr(View, "fsmap", replace(fsmap, filesystems=()))
    view = view_of(answers={HEALTH: reply({"status": "HEALTH_OK"})}, maps=maps(), statfs=record(999, 0.1, pool=4))
    text = Page(dashboard(view)).text
    assert "no file system" in text
    assert "used of pool 4" in text


def test_many_pools(view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    osdmap = OSDMap.decode(Cursor(load(RELEASE, "rich-osdmap-all.bin")))
    pool = next(iter(osdmap.pools.values()))
    many = replace(osdmap, pools=dict.fromkeys(range(100), pool), pool_names={i: f"pool-{i}-" for i in range(100)})
    monkeypatch.setattr(View, "osdmap", many)
    odd = {"pools": [{"id": 70, "stats": {"stored": float("nan"), "objects": "x"}}, {"id": 71, "stats": {"stored": 5}}]}
    page = Page(dashboard(view_of(answers={DF_DETAIL: reply(odd, 30.0)})))
    assert "and 60 more pools; 30 s ago" in page.text
    assert page.text.index("pool-71-") < page.text.index("pool-0-")
    assert "pool-99-" not in page.text
    assert "5 B" in page.text


# ---- the curve


def paths(view: View) -> list[str]:
    return [attrs["d"] or "" for attrs in Page(dashboard(view)).all("path")]


def test_without_samples_there_is_no_curve(view_of: Callable[..., View]) -> None:
    view = view_of()
    curve(view, (990, 0.5))
    assert not Page(dashboard(view)).all("svg")


def test_the_curve(view_of: Callable[..., View]) -> None:
    view = view_of()
    curve(view, (400, 0.5), (700, 0.75), (1000, 0.25))
    area, line = paths(view)
    assert line == "M0.0 500.0L500.0 250.0L1000.0 750.0h0"
    assert area == "M0.0 1000L0.0 500.0L500.0 250.0L1000.0 750.0L1000.0 1000Z"
    text = Page(dashboard(view)).text
    assert "−1.25 TiB in 10 min" in text


def test_gaps_are_gaps(view_of: Callable[..., View]) -> None:
    view = view_of()
    curve(view, (0, 0.5), (60, 0.5), (900, 0.5), (1000, 2.0))
    assert len(paths(view)) == 4
    assert paths(view)[-1].endswith("L1000.0 0.0h0")
    assert "+7.50 TiB in 17 min" in Page(dashboard(view)).text


def test_a_young_curve_has_ten_minutes(view_of: Callable[..., View]) -> None:
    view = view_of()
    curve(view, (900, 0.5), (1000, 0.5))
    assert paths(view)[1].startswith("M833.3 500.0L")
    assert "10 min ago" in Page(dashboard(view)).text


def test_an_empty_cluster_has_no_curve(view_of: Callable[..., View]) -> None:
    nothing = replace(KB, kb=0, kb_used=0)
    at = Stamp(999.0, WALL)
    view = view_of(statfs=StatfsRecord(nothing, None, at, at))
    view.records.capacity.note(StatfsRecord(nothing, None, Stamp(1.0, 1.0), Stamp(1.0, 1.0)))
    view.records.capacity.note(StatfsRecord(nothing, None, at, at))
    assert "0.0%" in Page(dashboard(view)).text


def test_the_size_hardly_ever_changes(view_of: Callable[..., View]) -> None:
    before = view_of(statfs=None)
    after = view_of(answers=answers(), maps=maps())
    for i in range(8):
        after.records.events.append({"event": "osdmap", "epoch": i, "detail": "ü" * 50}, WALL)
    assert len(dashboard(before).encode()) == len(dashboard(after).encode()) == 32 << 10


def test_a_line_of_the_events_that_is_cut_in_two(view_of: Callable[..., View]) -> None:
    view = view_of()
    view.records.events.append({"event": "error", "detail": "x" * 20000}, WALL)
    view.records.events.append({"event": "osdmap", "epoch": 77}, WALL)
    text = Page(dashboard(view)).text
    assert "epoch 77" in text
    assert "xxx" not in text
