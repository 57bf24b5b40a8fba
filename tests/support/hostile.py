"""What a monitor could say to hurt whoever shows it: answers to commands, and names in maps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

# One of each kind that a terminal, a browser, a shell or a parser of lines acts upon, in one text.
EVIL = (
    "e\x1b[2J\x1b]0;pwn\x07\x00\r\n# HELP pwned\npwned 1\n"
    "\x9b31m\x85\u2028\u2029\u202egnp\u2066\u061c\ufeff\ud800\udcff\"} 1\\<b>'"
)
RAW = EVIL.replace("\ud800", "\udced\udca0\udc80")  # the same as bytes that are no UTF-8, for texts of an encoding
LONG = "x" * 200_000
HUGE = 10**400

# What may not come out, anywhere but in the bytes of a monitor's own reply.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def health(code: str, message: object, severity: object = "HEALTH_WARN", status: object = "HEALTH_WARN") -> object:
    check = {"severity": severity, "summary": {"message": message, "count": 1}, "muted": False}
    mute = {"code": code, "sticky": False, "summary": message, "count": 1, "ttl": message}
    return {"status": status, "checks": {code: check, f"{code}\x07": check}, "mutes": [mute]}


def quorum(name: object, leader: object) -> object:
    return {"quorum_names": [name, name], "quorum": [0, HUGE], "quorum_leader_name": leader}


def df(number: object, id: object = 1) -> object:
    names = ("stored", "max_avail", "percent_used", "objects", "rd", "quota_bytes")
    pool = {"id": id, "name": EVIL, "stats": dict.fromkeys(names, number)}
    return {"stats": {"total_bytes": number, "total_used_bytes": number}, "pools": [pool, pool]}


def described(*signatures: list[object]) -> object:
    return {
        f"cmd{i}{EVIL}": {"sig": sig, "help": EVIL, "module": "mon", "perm": "r", "flags": 0}
        for i, sig in enumerate(signatures)
    }


PATHS = described(
    ["../../etc"], [".."], ["."], ["a/b"], [""], ["x" * 10_000], ["d"] * 5000, ["\0nul"], ["e\x1b[2J"], ["r\u202e"],
    ["n\u2028l"], ["\ud800"], ["ok", "b"], ["ok"], ["README"], ["health"],
)  # fmt: skip


def nested(depth: int = 50_000) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def encoded(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def everywhere(value: object) -> dict[str, object]:
    return dict.fromkeys(("health", "quorum_status", "df", "status", "mon metadata", "get_command_descriptions"), value)


# By scenario, then by command: the answer, or an errno with EVIL as its text.
ANSWERS: Mapping[str, Mapping[str, object]] = {
    "text": {
        "health": health(EVIL, EVIL, EVIL),
        "quorum_status": quorum(EVIL, EVIL),
        "df": df(5),
        "status": {"pgmap": {"num_pgs": 1, "degraded_objects": EVIL}},
        "mon metadata": [{"name": name, "hostname": EVIL, "ceph_version": EVIL} for name in ("a", "b", EVIL)],
        "get_command_descriptions": PATHS,
    },
    "status with escapes": {"health": health("A", "x", status=f"HEALTH_OK\nHEALTH_ERR{EVIL}")},
    "lone surrogates": {
        "health": health("\ud800BAD", "\udfff"),
        "quorum_status": quorum("\ud800", "\udcff"),
        "df": {"\ud800": 1, "stats": {"\ud800": 2}},
        "mon metadata": [{"name": "\ud800", "\udfff": "\udbff"}],
    },
    "integers of 400 digits": {
        "health": health("SLOW_OPS", "9" * 400 + " slow ops"),
        "df": df(HUGE),
        "status": {"pgmap": {"num_pgs": HUGE}},
    },
    "integers of 5000 digits": {
        "health": b'{"status":"HEALTH_WARN","checks":{"SLOW_OPS":{"severity":"HEALTH_WARN","summary":{"message":"'
        + b"9" * 5000 + b' slow ops","count":' + b"9" * 5000 + b"}}}}",
        "df": b'{"stats":{"total_bytes":' + b"9" * 5000 + b'},"pools":[{"id":' + b"9" * 5000 + b"}]}",
    },
    "numbers that are none": {
        "health": health("A", 7, 7, 7),
        "quorum_status": quorum(7, {}),
        "df": b'{"stats":{"total_bytes":1e999,"total_used_bytes":NaN},"pools":[{"id":1,"stats":{"stored":1e308,'
        b'"max_avail":-Infinity,"percent_used":1e308,"objects":-1e999,"rd":true}}]}',
        "status": b'{"pgmap":{"num_pgs":1e999}}',
    },
    "too long": {
        "health": health(LONG, LONG, LONG),
        "quorum_status": quorum(LONG, LONG),
        "mon metadata": [{"name": "a", "hostname": LONG, "ceph_version": LONG}],
    },
    "too many": {
        "health": {"status": "HEALTH_ERR", "checks": {f"C{i}": {"severity": "HEALTH_ERR"} for i in range(20_000)}},
        "quorum_status": {"quorum_names": [str(i) for i in range(20_000)], "quorum": [], "quorum_leader_name": "0"},
    },
    "other types": everywhere([[], {}, 7, None, "x", {"name": {}, "hostname": 7}])
    | {"health": {"status": {}, "checks": [1], "mutes": {"a": 1}}, "quorum_status": {"quorum_names": {"a": 1}}},
    "lists": everywhere([]),
    "objects": everywhere({}),
    "null": everywhere(None),
    "nested": everywhere(nested()),
    "a bomb": everywhere(b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"),
    "no text": everywhere(b"\xff\xfe\x00\x1b[2J"),
    "nothing": everywhere(b""),
    "errors": everywhere(-22),
    "no access": everywhere(-13),
}  # fmt: skip
