from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from cephmonfs import __version__
from cephmonfs.config.filesettings import default_settings
from cephmonfs.errors import NoData, NotPermitted, RequestTimeout
from cephmonfs.files.answers import HEALTH, QUORUM
from cephmonfs.files.render import values
from cephmonfs.files.tree import ROWS, Tree
from cephmonfs.files.view import View
from cephmonfs.mon.snapshot import CommandReply, Stamp
from tests.doubles import source as fake
from tests.doubles.source import FSID, KB, WALL, snapshot

INF = float("inf")


def reply(value: object, age_s: float = 1.0) -> CommandReply:
    return CommandReply(0, "", json.dumps(value).encode(), Stamp(1000.0 - age_s, WALL + 10 - age_s))


def content(path: str, view: View) -> str:
    node = Tree().find(path, view)
    assert node is not None, path
    return node.render(view).decode()


@pytest.fixture
def full(view_of: Callable[..., View]) -> View:
    return view_of(answers={HEALTH: reply(fake.HEALTH), QUORUM: reply(fake.QUORUM)})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("version", __version__),
        ("fsid", FSID),
        ("health", "HEALTH_WARN"),
        ("capacity/total_bytes", str(KB.kb * 1024)),
        ("capacity/used_bytes", str(KB.kb_used * 1024)),
        ("capacity/avail_bytes", str(KB.kb_avail * 1024)),
        ("capacity/objects", "123456"),
        ("capacity/used_ratio", "0.2500"),
        ("capacity/age_seconds", "10.000"),
        ("epoch/monmap", "3"),
        ("epoch/osdmap", "17"),
        ("mon/count", "3"),
        ("mon/quorum_count", "3"),
        ("mon/leader", "a"),
        ("mon/c/rank", "2"),
        ("mon/c/addr", "[v2:10.0.0.1:3302/0,v1:10.0.0.1:6791/0]"),
        ("mon/c/in_quorum", "1"),
        ("mon/c/rtt_ms", "0.900"),
        ("mon/c/last_error", ""),
        ("session/state", "open"),
        ("session/mon", "b"),
        ("session/addr", "v2:10.0.0.1:3301/0"),
        ("session/mode", "secure"),
        ("session/global_id", "4152"),
        ("session/since", f"{WALL:.3f}"),
        ("session/last_contact", f"{WALL + 9.5:.3f}"),
        ("session/fresh", "1"),
        ("session/sessions", "2"),
        ("session/failovers", "1"),
        ("session/last_error", ""),
    ],
)
def test_values(full: View, path: str, text: str) -> None:
    assert content(path, full) == f"{text}\n"


@pytest.mark.parametrize("path", ["epoch/mdsmap", "mdsmap", "mdsmap.json"])
def test_maps_that_the_caps_do_not_cover(full: View, path: str) -> None:
    with pytest.raises(NotPermitted):
        content(path, full)


@pytest.mark.parametrize("path", ["epoch/fsmap", "maps/fsmap.bin", "mon/leader", "mon/a/in_quorum"])
def test_what_has_not_arrived(view: View, path: str) -> None:
    with pytest.raises(NoData):
        content(path, view)


def test_before_the_first_session(view_of: Callable[..., View]) -> None:
    view = view_of(
        fsid="",
        monmap=None,
        maps={},
        mons=(),
        statfs=None,
        since=None,
        last_contact=None,
        quorum_at=None,
        global_id=0,
        mon="",
        addr="",
    )
    for path in ("fsid", "capacity/objects", "mon/count", "session/since", "session/last_contact", "monmap"):
        with pytest.raises(NoData):
            content(path, view)
    assert content("health", view) == "HEALTH_UNKNOWN\n"
    assert content("session/fresh", view) == "0\n"
    assert content("session/mon", view) == "\n"
    with pytest.raises(NoData):
        values.xattr_client_id(view)


def test_an_old_verdict_is_no_verdict(view_of: Callable[..., View]) -> None:
    old = reply(fake.HEALTH, age_s=61)
    assert content("health", view_of(answers={HEALTH: old})) == "HEALTH_UNKNOWN\n"
    for stale_after, word in ((0.0, "HEALTH_UNKNOWN"), (float("inf"), "HEALTH_WARN"), (100.0, "HEALTH_WARN")):
        view = view_of(answers={HEALTH: old}, settings=default_settings(stale_after=stale_after))
        assert content("health", view) == f"{word}\n"
    young = view_of(answers={HEALTH: reply(fake.HEALTH, age_s=9)}, settings=default_settings(stale_after=0))
    assert content("health", young) == "HEALTH_WARN\n"
    assert content("health", view_of(answers={HEALTH: RequestTimeout("x")})) == "HEALTH_UNKNOWN\n"
    with pytest.raises(NotPermitted):
        content("health", view_of(answers={HEALTH: NotPermitted("x")}))


@pytest.mark.parametrize(
    ("stale_after", "age_s", "state", "fresh"),
    [
        (60, 59, "hunting", 1),
        (60, 61, "open", 0),
        (0, 1, "open", 1),
        (0, 1, "hunting", 0),
        (float("inf"), 1e6, "hunting", 1),
    ],
)
def test_fresh(view_of: Callable[..., View], stale_after: float, age_s: float, state: str, fresh: int) -> None:
    contact = Stamp(1000.0 - age_s, WALL)
    view = view_of(
        settings=default_settings(stale_after=stale_after), last_contact=contact, quorum_at=contact, state=state
    )
    assert content("session/fresh", view) == f"{fresh}\n"


def test_an_error_of_many_lines_is_one_line(view_of: Callable[..., View]) -> None:
    view = view_of(last_error="one\ntwo  three\n")
    assert content("session/last_error", view) == "one two three\n"


def test_an_empty_cluster_has_the_ratio_zero(view_of: Callable[..., View]) -> None:
    record = snapshot().statfs
    assert record is not None
    view = view_of(statfs=replace(record, stats=type(KB)(0, 0, 0, 0)))
    assert content("capacity/used_ratio", view) == "0.0000\n"
    assert "no OSD has reported" in content("status", view)


def test_session_texts(full: View) -> None:
    assert content("session/tickets", full).startswith("auth key_type aes secret_id 3 got 1800000000 renew_after 18")
    assert content("session/requests", full) == "7 statfs age_ms 250 mon b sends 1\n"
    assert "messages_received 12\n" in content("session/stats", full)
    facts = json.loads(content("session.json", full))
    assert facts["mons"][1] == {
        "name": "b",
        "rank": 1,
        "addr": "[v2:10.0.0.1:3301/0,v1:10.0.0.1:6790/0]",
        "rtt_ms": 0.6,
        "last_error": "",
    }
    assert facts["history"][-1]["reason"] == "mon.a closed the connection"
    assert facts["epochs"] == {"monmap": 3, "osdmap": 17}


def test_monmap_json_has_the_quorum_if_it_is_known(full: View, view: View) -> None:
    assert json.loads(content("monmap.json", full))["quorum"] == [0, 1, 2]
    assert "quorum" not in json.loads(content("monmap.json", view))


def test_readme_is_made_of_the_table(full: View) -> None:
    lines = content("README", full).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 110
    for row in ROWS:
        if row.path and "/" not in row.path:
            assert row.path in "\n".join(lines)
