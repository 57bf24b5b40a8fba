"""Published holes of a Ceph client in what it asks for (T09, T10)."""

from __future__ import annotations

import ast
import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import trio

import cephmonfs
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message, MsgType
from cephmonfs.wire.cursor import Cursor
from tests.doubles.attack import attacked, instead
from tests.security.published import published

PACKAGE = Path(cephmonfs.__file__).parent
NAMES = re.compile(r"monmap|fsmap|osdmap|mgrmap|mdsmap(\.\d+)?")


@published(9, "CVE-2026-50152", "a crafted subscription reads the cluster's secrets")
async def test_T09_subscriptions() -> None:
    """Five names, all constants; of what a monitor says only a number goes into one of them."""

    def evil(message: Message) -> list[Message]:
        name = b"cephfs"
        front = message.front.replace(struct.pack("<I", 6) + name, struct.pack("<I", 6) + b"config")
        return [replace(message, front=front)]

    async with attacked(
        instead(MsgType.FS_MAP, evil), config=lambda c: replace(c, fs="config"), measure=False
    ) as attack:
        await attack.opened()
        await attack.until(lambda: bool(attack.snapshot.maps.get("fsmap")), "no fsmap")
        await attack.reconnect(2)
        received = [m for fake in attack.cluster.mons for m in fake.received if m.type == MsgType.MON_SUBSCRIBE]
    names = {name for m in received for name in mon.MMonSubscribe.decode(Cursor(m.front), m.version).what}
    assert names
    assert all(NAMES.fullmatch(name) for name in names)
    for path in (PACKAGE / "mon").glob("*.py"):
        strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not strings & {"config", "kv", "config-key"}, path.name


SENT = {
    MsgType.MON_GET_MAP,
    MsgType.MON_GET_VERSION,
    MsgType.STATFS,
    MsgType.MON_SUBSCRIBE,
    MsgType.AUTH,
    MsgType.MON_COMMAND,
}


@published(
    10,
    "CVE-2018-14662, CVE-2020-10736, CVE-2016-5009, CVE-2018-10861",
    "read-only keys do what they should not: disk keys, pool operations, an empty command",
)
async def test_T10_what_is_sent() -> None:
    """Six message types and no other can leave this program; no pool operation among them, no command without words,
    none that writes and none of auth, config and config-key."""
    assert _types_made() <= SENT
    async with attacked(measure=False) as attack:
        await attack.opened()
        await attack.statfs()
        with trio.fail_after(5):
            await attack.client.command({"prefix": "health", "format": "json"})
        await attack.reconnect(1)
        received = [message for fake in attack.cluster.mons for message in fake.received]
    assert {message.type for message in received} <= SENT
    for message in received:
        if message.type == MsgType.MON_COMMAND:
            for word in mon.MMonCommand.decode(Cursor(message.front), 1).command:
                assert json.loads(word)["prefix"]


def _types_made() -> set[int]:
    """The types of all messages that code outside the demo makes."""
    made = set()
    classes = {name: cls for module in (mon, auth) for name, cls in vars(module).items() if hasattr(cls, "TYPE")}
    for path in PACKAGE.rglob("*.py"):
        if {"demo", "monitor"} & set(path.parts) or (path.parts[-2] == "messages" and path.name != "registry.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                function = node.func
                if isinstance(function, ast.Attribute) and function.attr == "of":
                    function = function.value
                name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                if name in classes:
                    made.add(int(classes[name].TYPE))
    return made


def test_T10_commands_are_chosen_from_those_that_read() -> None:
    """Whatever a monitor describes."""
    from cephmonfs.files.described import described

    def entry(sig: list[object], perm: str = "r", module: str = "mon", flags: int = 0) -> dict[str, object]:
        return {"sig": sig, "perm": perm, "module": module, "flags": flags}

    evil: dict[str, object] = {
        "a": entry(["auth", "ls"], module="mon"),
        "b": entry(["config-key dump"]),
        "c": entry(["config", "dump"]),
        "d": entry(["osd", "pool", "rm"], perm="rw"),
        "e": entry(["osd", "down", {"req": "true", "name": "ids"}]),
        "f": entry([]),
        "g": entry(["x"], module="config-key"),
        "h": entry(["x"], module="auth"),
        "good": entry(["health"]),
        "junk": 7,
    }
    assert {command.words for command in described(json.dumps(evil).encode())} == {"health"}
