"""The programs beside the mount, as far as they need no cluster."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from pathlib import Path

import pytest

from cephmonfs.cli import ceph, check, collect, main
from cephmonfs.cli.report import Report, Status
from cephmonfs.cli.watch import human
from cephmonfs.daemon.notify import FUSE_NAME, Notifier, handed_over
from cephmonfs.model.descriptions import parse_descriptions

EPOCH = {"name": "epoch", "type": "CephInt", "req": False}
DETAIL = {"name": "detail", "type": "CephChoices", "strings": "detail", "req": "false"}
VAR = {"name": "var", "type": "CephChoices", "strings": "size|pg_num"}
DESCRIPTIONS = {
    "cmd0": {"sig": ["health", DETAIL], "perm": "r"},
    "cmd1": {"sig": ["osd dump", EPOCH], "perm": "r"},
    "cmd2": {"sig": ["osd", "pool", "get", {"name": "pool", "type": "CephPoolname"}, VAR], "perm": "r"},
    "cmd4": {"sig": ["osd", "set", {"name": "key", "type": "CephString"}], "perm": "rw"},
    "cmd5": {"sig": ["auth", "get", {"name": "entity"}], "perm": "rx"},
    "odd": {"sig": [{"name": "a"}, "b"]},
}


def find(line: str) -> dict[str, object]:
    return ceph.find(parse_descriptions(json.dumps(DESCRIPTIONS).encode()), line.split())


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("health", {"prefix": "health"}),
        ("health detail", {"prefix": "health", "detail": "detail"}),
        ("osd dump 7", {"prefix": "osd dump", "epoch": 7}),
        ("osd pool get rbd size", {"prefix": "osd pool get", "pool": "rbd", "var": "size"}),
    ],
)
def test_words_become_a_request(line: str, request_: dict[str, object]) -> None:
    assert find(line) == request_


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("osd set noout", "`osd set noout` needs more than to read"),
        ("auth get client.admin", "needs more than to read"),
        ("osd pool get rbd", "`osd pool get`: var is missing"),
        ("osd pool get rbd x", "`osd pool get`: x: wanted one of size, pg_num"),
        ("osd dump 1 2", "`osd dump`: 2 is one word too many"),
        ("heatlh", "the monitors know no command `heatlh`; near it: health"),
        ("b", "the monitors know no command `b`"),
    ],
)
def test_what_is_no_command_that_reads(line: str, sentence: str) -> None:
    with pytest.raises(ceph.RefusedError) as caught:
        find(line)
    assert sentence in str(caught.value)


def test_keys_are_blanked() -> None:
    for kind, length in ((1, 16), (2, 32)):
        key = base64.b64encode(struct.pack("<HIIH", kind, 1700000000, 0, length) + bytes(range(length)))
        for text in (b"key = %s\n", b'{"key":"%s"}', b"secret=%s,x", b"%s"):
            blanked = collect.blank(text % key)
            assert key not in blanked
            assert key[:20] not in blanked
            assert b"<hidden>" in blanked
    assert collect.blank(b'"password": "hunter2", "x": 1') == b'"password": "<hidden>", "x": 1'
    plain = b"secret <hidden>  # option\nfsid 2f5a8f1e-64d1-4d6b-9f43-0b1c2d3e4f50\nepoch 7\n"
    assert collect.blank(plain) == plain


def test_the_report_fits_eighty_columns() -> None:
    report = Report()
    report.add("fuse", Status.OK, "fine")
    assert report.verdict == "all is well"
    report.add("a long title of a step", Status.WARN, "word " * 40, "do " * 40, {"connect": 1.234})
    assert report.verdict == "it works; 1 thing could be better"
    report.add("key", Status.FAULT, "bad")
    report.add("key", Status.FAULT, "worse")
    assert report.verdict == "2 faults: key"
    lines = report.text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "verdict: 2 faults: key"
    assert "connect 1.2" in report.text()
    value = json.loads(report.json())
    assert (value["ok"], value["faults"], value["steps"][-1]["status"]) == (False, 2, "fault")


def test_files_that_caps_do_not_cover() -> None:
    assert check.denied_files(set(), set()) == []
    files = check.denied_files({"osdmap"}, {"health"})
    assert {"osdmap", "osdmap.json", "maps/osdmap.bin", "epoch/osdmap", "health", "ceph/health"} <= set(files)
    assert not {"monmap", "status", "README", "session/state"} & set(files)


def test_people_read_bytes() -> None:
    assert [human(n) for n in (0, 1023, 1024, 5 << 40, 1 << 70)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 TiB",
        "1024.0 EiB",
    ]


def test_a_descriptor_is_handed_over_to_this_process_only(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        env = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "other"}
        assert handed_over(env) is None
        assert handed_over({}) is None
        assert handed_over(env | {"LISTEN_PID": "1", "LISTEN_FDNAMES": FUSE_NAME}) is None
        assert handed_over(env | {"LISTEN_FDS": "x"}) is None


def test_without_a_socket_nothing_is_stored() -> None:
    assert not Notifier({}).store(0, "x")
    assert not Notifier({"NOTIFY_SOCKET": "/nowhere"}).store(0, "x")


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name in ("mount", "premount"):
        assert main.main([name, "--help"]) == 0
    else:
        with pytest.raises(SystemExit, match="0"):
            main.main([name, "--help"])
    assert "usage: " in capsys.readouterr().out
