from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from cephmonfs.errors import NoData, NotPermitted
from cephmonfs.files.answers import DESCRIPTIONS, Answer, Command, Failure
from cephmonfs.files.described import described
from cephmonfs.files.tree import Kind, Tree
from cephmonfs.files.view import View
from cephmonfs.mon.snapshot import CommandReply, Stamp

OPTIONAL = {"name": "epoch", "type": "CephInt", "req": "false"}
NEEDED = {"name": "pool", "type": "CephPoolname"}


def entry(words: str, *args: object, perm: str = "r", flags: object = 0, module: str = "mon") -> dict[str, object]:
    return {"sig": [*words.split(), *args], "help": "", "module": module, "perm": perm, "flags": flags}


SHOWN = [
    entry("status"),
    entry("mon dump", OPTIONAL),
    entry("osd crush rule ls", module="osd"),
    entry("osd getmap", OPTIONAL, module="osd"),
    entry("version", flags=33),
    entry("osd lspools", flags=4),
    entry("ping", perm=""),
]
HIDDEN = [
    entry("osd pool get", NEEDED),
    entry("osd set", perm="rw"),
    entry("auth ls", perm="rx", module="auth"),
    entry("auth whoami", module="auth"),
    entry("config-key ls", module="config-key"),
    entry("config ls", module="config"),
    entry("config dump", module="mon"),
    entry("pg stat", flags=8, module="pg"),
    entry("mds dump", flags=2, module="mds"),
    entry("ops", flags=33),
    entry("odd", flags="1"),
    entry(""),
    {"sig": "status"},
    {"sig": [7], "perm": "r"},
    {},
]


def descriptions(*entries: object) -> bytes:
    return json.dumps({f"cmd{i:03}": value for i, value in enumerate(entries)}).encode()


def test_what_is_shown() -> None:
    found = {str(command) for command in described(descriptions(*SHOWN, *HIDDEN, "nonsense", 7, None))}
    assert found == {
        "ceph status", "ceph status -f json",
        "ceph mon dump", "ceph mon dump -f json",
        "ceph osd crush rule ls", "ceph osd crush rule ls -f json",
        "ceph osd getmap",
        "ceph version", "ceph version -f json",
        "ceph osd lspools", "ceph osd lspools -f json",
        "ceph ping", "ceph ping -f json",
    }  # fmt: skip


def test_nothing_is_no_data() -> None:
    with pytest.raises(NoData):
        described(descriptions(*HIDDEN))


def answer(data: bytes) -> CommandReply:
    return CommandReply(0, "", data, Stamp(999.0, 1.0))


def test_commands_become_files(view_of: Callable[..., View]) -> None:
    status = CommandReply(0, "", b"\n{raw bytes\xff}", Stamp(999.0, 1.0))
    view = view_of(answers={DESCRIPTIONS: answer(descriptions(*SHOWN)), Command("status", json=True): status})
    tree = Tree()
    ceph = tree.find("ceph", view)
    assert ceph is not None
    assert set(tree.children(ceph, view)) == {
        "status",
        "status.json",
        "mon",
        "osd",
        "version",
        "version.json",
        "ping",
        "ping.json",
    }
    node = tree.find("ceph/status.json", view)
    assert node is not None
    assert node.render(view) == status.data
    getmap = tree.find("ceph/osd/getmap", view)
    assert getmap is not None
    assert getmap.row.kind is Kind.BINARY
    assert tree.find("ceph/osd/crush/rule/ls.json", view) is not None
    assert tree.find("ceph/osd/crush/nosuch", view) is None


def test_without_a_description_there_is_no_list(view_of: Callable[..., View]) -> None:
    for what in (NotPermitted("caps"), answer(b"[]"), answer(b"{}")):
        view = view_of(answers={DESCRIPTIONS: what})
        ceph = Tree().find("ceph", view)
        assert ceph is not None
        with pytest.raises((NotPermitted, NoData)):
            Tree().children(ceph, view)


def test_what_a_monitor_refuses_is_not_listed(view_of: Callable[..., View]) -> None:
    refused = Answer(failure=Failure(NoData, "no", at=1000.0, is_refusal=True))
    view = view_of(answers={DESCRIPTIONS: answer(descriptions(*SHOWN))})
    view = replace(view, answers={**view.answers, Command("status"): refused})
    for path, listed in (("ceph/status", False), ("ceph/status.json", False), ("ceph/version", True)):
        node = Tree().find(path, view)
        assert node is not None, path
        assert node.is_listed(view) == listed, path
