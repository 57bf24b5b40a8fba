"""Words become commands as `ceph` makes them: the table was run through the ceph_argparse.py of Tentacle."""

from __future__ import annotations

import json

import pytest

from cephmonfs.model.descriptions import parse_descriptions
from cephmonfs.model.signature import NoSuchCommandError, Request, WrongArgumentError, find_command


def argument(name: str, kind: str, **more: object) -> dict[str, object]:
    return {"name": name, "type": kind, **more}


def optional(name: str, kind: str, **more: object) -> dict[str, object]:
    return argument(name, kind, req=False, **more)


STATES = optional("states", "CephChoices", strings="up|down|in", n="N")
FORMAT = argument("format", "CephChoices", strings="plain|json", req="false")
SIGNATURES = (
    ["status"],
    ["osd", "find", argument("id", "CephOsdName")],
    ["osd", "metadata", optional("id", "CephOsdName")],
    ["osd", "dump", optional("epoch", "CephInt", range="0")],
    ["osd", "tree", optional("epoch", "CephInt", range="0"), STATES],
    ["osd", "tree-from", optional("epoch", "CephInt", range="0"), argument("bucket", "CephString"), STATES],
    ["osd", "test", argument("weight", "CephFloat", range="0.0|1.0"), optional("deep", "CephBool")],
    ["osd", "ok-to-stop", argument("ids", "CephString", n="N"), optional("max", "CephInt", range="1|9")],
    ["osd", "safe", argument("ids", "CephOsdName", n="N")],
    ["osd", "pool", "get", argument("pool", "CephPoolname"), argument("var", "CephChoices", strings="size|all")],
    ["osd", "pool", "ls", optional("detail", "CephChoices", strings="detail")],
    [
        "osd",
        "map",
        argument("pool", "CephPoolname"),
        argument("object", "CephObjectname"),
        optional("ns", "CephString"),
    ],
    ["tell", argument("who", "CephName"), argument("text", "CephString", goodchars="[A-Za-z0-9-_.]")],
    ["pg", "map", argument("pgid", "CephPgid")],
    ["by", "uuid", argument("uuid", "CephUUID"), optional("only_named", "CephString", positional=False)],
    ["same", argument("a", "CephInt")],
    ["same", argument("a", "CephString"), argument("b", "CephString")],
    ["new", argument("x", "CephOfTomorrow"), FORMAT],
    ["sure", argument("yes", "CephString", req="false")],
    ["two", argument("x", "CephInt"), argument("y", "CephInt")],
    ["addr", argument("addr", "CephIPAddr"), optional("entity", "CephEntityAddr")],
    ["regex", argument("text", "CephString", goodchars="(((a+)+)+)+$")],
)
DESCRIPTIONS = parse_descriptions(
    json.dumps({f"cmd{n:03}": {"sig": sig, "perm": "r", "flags": 0} for n, sig in enumerate(SIGNATURES)}).encode()
)


def find(line: str) -> Request:
    return find_command(DESCRIPTIONS, line.split())[1]


UUID = "2f5a8f1e-64d1-4d6b-9f43-0b1c2d3e4f50"
FOUND: tuple[tuple[str, Request], ...] = (
    ("status", {"prefix": "status"}),
    ("osd find 0", {"prefix": "osd find", "id": 0}),
    ("osd find osd.12", {"prefix": "osd find", "id": 12}),
    ("osd find *", {"prefix": "osd find", "id": "*"}),
    ("osd find --id=3", {"prefix": "osd find", "id": 3}),
    ("osd find --id osd.3", {"prefix": "osd find", "id": 3}),
    ("osd metadata", {"prefix": "osd metadata"}),
    ("osd metadata 0", {"prefix": "osd metadata", "id": 0}),
    ("osd dump 0x10", {"prefix": "osd dump", "epoch": 16}),
    ("osd dump +7", {"prefix": "osd dump", "epoch": 7}),
    ("osd dump --epoch 7", {"prefix": "osd dump", "epoch": 7}),
    ("osd tree up down", {"prefix": "osd tree", "states": ["up", "down"]}),
    ("osd tree up,down in", {"prefix": "osd tree", "states": ["up", "down", "in"]}),
    ("osd tree 7 up", {"prefix": "osd tree", "epoch": 7, "states": ["up"]}),
    ("osd tree --states=up --states down", {"prefix": "osd tree", "states": ["up", "down"]}),
    ("osd tree up --epoch 4", {"prefix": "osd tree", "epoch": 4, "states": ["up"]}),
    ("osd tree-from default in", {"prefix": "osd tree-from", "bucket": "default", "states": ["in"]}),
    ("osd tree-from 3 default", {"prefix": "osd tree-from", "epoch": 3, "bucket": "default"}),
    ("osd test 1e-1", {"prefix": "osd test", "weight": 0.1}),
    ("osd test 1 --deep", {"prefix": "osd test", "weight": 1.0, "deep": True}),
    ("osd test 0 FALSE", {"prefix": "osd test", "weight": 0.0, "deep": False}),
    ("osd test 0 1", {"prefix": "osd test", "weight": 0.0, "deep": True}),
    ("osd test --deep=0 0", {"prefix": "osd test", "weight": 0.0, "deep": False}),
    ("osd ok-to-stop 0 1,2 --max 3", {"prefix": "osd ok-to-stop", "ids": ["0", "1,2"], "max": 3}),
    ("osd ok-to-stop --ids 0,1", {"prefix": "osd ok-to-stop", "ids": ["0", "1"]}),
    ("osd safe osd.1 2,osd.3", {"prefix": "osd safe", "ids": [1, 2, 3]}),
    ("osd pool get rbd size", {"prefix": "osd pool get", "pool": "rbd", "var": "size"}),
    ("osd pool get --var=size --pool rbd", {"prefix": "osd pool get", "pool": "rbd", "var": "size"}),
    ("osd pool ls detail", {"prefix": "osd pool ls", "detail": "detail"}),
    ("osd map rbd o/b:j", {"prefix": "osd map", "pool": "rbd", "object": "o/b:j"}),
    ("tell osd.3 a-b_c.9", {"prefix": "tell", "who": "osd.3", "text": "a-b_c.9"}),
    ("tell mds.x y", {"prefix": "tell", "who": "mds.x", "text": "y"}),
    ("tell * y", {"prefix": "tell", "who": "*", "text": "y"}),
    ("tell osd.* y", {"prefix": "tell", "who": "osd.*", "text": "y"}),
    ("pg map 1.7f", {"prefix": "pg map", "pgid": "1.7f"}),
    (f"by uuid {UUID}", {"prefix": "by uuid", "uuid": UUID}),
    (f"by uuid {UUID} --only-named x", {"prefix": "by uuid", "uuid": UUID, "only_named": "x"}),
    ("same 4", {"prefix": "same", "a": 4}),
    ("same 4 5", {"prefix": "same", "a": "4", "b": "5"}),
    ("new thing", {"prefix": "new", "x": "thing"}),
    ("new thing json", {"prefix": "new", "x": "thing", "format": "json"}),
    ("sure --yes-i-really-mean-it", {"prefix": "sure", "yes": "--yes-i-really-mean-it"}),
    ("two -1 0b11", {"prefix": "two", "x": -1, "y": 3}),
    ("two --y 1 2", {"prefix": "two", "x": 2, "y": 1}),
    ("addr 10.0.0.1", {"prefix": "addr", "addr": "10.0.0.1"}),
    ("addr v2:::1 10.0.0.1:0/77", {"prefix": "addr", "addr": "v2:::1", "entity": "10.0.0.1:0/77"}),
    ("addr [::1] ::2", {"prefix": "addr", "addr": "[::1]", "entity": "::2"}),
    ("regex aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", {"prefix": "regex", "text": "a" * 40 + "!"}),
)


@pytest.mark.parametrize(("line", "request_"), FOUND)
def test_words_become_a_request(line: str, request_: Request) -> None:
    found = find(line)
    assert found == request_
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in request_.items()}


WRONG = (
    ("osd find", "`osd find`: id is missing"),
    ("osd find x", "`osd find`: x: wanted osd.N or N"),
    ("osd find mon.1", "`osd find`: mon.1: wanted osd.N or N"),
    ("osd find -1", "`osd find`: -1: wanted osd.N or N"),
    ("osd find osd.", "`osd find`: osd.: wanted osd.N or N"),
    ("osd find 1 2", "`osd find`: 2 is one word too many"),
    ("osd find --idd 3", "`osd find`: there is no argument --idd"),
    ("osd find --id", "`osd find`: there is no argument --id"),
    ("osd dump x", "`osd dump`: x is one word too many"),
    ("osd dump -1", "`osd dump`: -1 is one word too many"),
    ("osd dump 010", "`osd dump`: 010 is one word too many"),
    ("osd dump --epoch=x", "`osd dump`: x is no integer"),
    ("osd dump --epoch=-1", "`osd dump`: -1 is not within 0"),
    ("osd test x", "`osd test`: x is no number"),
    ("osd test 1.5", "`osd test`: 1.5 is not within 0 to 1"),
    ("osd test 1 --deep=yes", "`osd test`: yes: wanted true or false"),
    ("osd safe 1,x", "`osd safe`: x: wanted osd.N or N"),
    ("osd safe", "`osd safe`: ids is missing"),
    ("osd tree --states=up,x", "`osd tree`: x: wanted one of up, down, in"),
    ("osd pool get rbd sizes", "`osd pool get`: sizes: wanted one of size, all"),
    ("tell x y", "`tell`: x: wanted osd.N, or mon, mgr, mds or client with a name"),
    ("tell osd.x y", "`tell`: osd.x: wanted osd.N, or mon, mgr, mds or client with a name"),
    ("tell osd.1 a/b", "`tell`: a/b: '/' may not be in it"),
    ("tell osd.1 \u00e9", "`tell`: \u00e9: '\u00e9' may not be in it"),
    ("osd pool ls \u00e9", "`osd pool ls`: \u00e9 is one word too many"),
    ("osd ok-to-stop \u00e9", "`osd ok-to-stop`: \u00e9: '\u00e9' may not be in it"),
    ("addr mon.a", "`addr`: mon.a: wanted an IP address"),
    ("pg map 1", "`pg map`: 1: wanted POOL.PG, as in 1.7f"),
    ("pg map -1.0", "`pg map`: -1.0: wanted POOL.PG, as in 1.7f"),
    ("pg map 1.g", "`pg map`: 1.g: wanted POOL.PG, as in 1.7f"),
    ("by uuid 7", "`by uuid`: 7 is no UUID"),
    (f"by uuid {UUID} x", "`by uuid`: x is one word too many"),
)


@pytest.mark.parametrize(("line", "sentence"), WRONG)
def test_what_does_not_fit_is_named(line: str, sentence: str) -> None:
    with pytest.raises(WrongArgumentError) as caught:
        find(line)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("line", ["", "x", "osd", "osd pool", "stat", "osd fin 0"])
def test_no_command(line: str) -> None:
    with pytest.raises(NoSuchCommandError):
        find(line)


def test_an_obsolete_command_is_none() -> None:
    entries = {"cmd000": {"sig": ["old"], "flags": 2}, "cmd001": {"sig": ["old", argument("x", "CephInt")], "flags": 0}}
    with pytest.raises(WrongArgumentError, match="x is missing"):
        find_command(parse_descriptions(json.dumps(entries).encode()), ["old"])


@pytest.mark.parametrize("told", ["x", "1|2|3", "nan", "1|inf"])
def test_a_range_that_is_none_is_the_monitors_affair(told: str) -> None:
    entries = {"cmd000": {"sig": ["n", argument("x", "CephInt", range=told)]}}
    descriptions = parse_descriptions(json.dumps(entries).encode())
    assert find_command(descriptions, ["n", "-9"])[1] == {"prefix": "n", "x": -9}


KEY = "AQBk3ThlAAAAABAAq0mD2u8hP5Xw7yJzq3cRmg=="
PLACES = (
    "status {}", "osd find {}", "osd find --id={}", "osd find --{}", "osd dump {}", "osd dump --epoch={}",
    "osd test {}", "osd test 1 --deep={}", "osd pool get rbd {}", "tell {} x", "tell osd.1 {}", "pg map {}",
    "by uuid {}", "addr {}",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_key_in_the_wrong_place_is_not_repeated(place: str) -> None:
    with pytest.raises(WrongArgumentError) as caught:
        find(place.format(KEY))
    assert KEY[:12] not in str(caught.value)
    assert "<hidden>" in str(caught.value)
