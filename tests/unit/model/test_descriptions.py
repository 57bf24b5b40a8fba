from __future__ import annotations

import json

import pytest

from cephmonfs.errors import NoData
from cephmonfs.model.descriptions import CommandArgument, CommandDescription, parse_descriptions
from cephmonfs.wire import limits


def parsed(*entries: object) -> tuple[CommandDescription, ...]:
    return parse_descriptions(json.dumps({f"cmd{i:03}": entry for i, entry in enumerate(entries)}).encode())


def test_a_command_with_arguments() -> None:
    arguments = [
        {"name": "ids", "type": "CephString", "n": "N"},
        {"name": "format", "type": "CephChoices", "strings": "json|plain", "req": "false"},
        {"name": "really", "type": "CephBool", "req": False},
    ]
    entry = {"sig": ["osd find", *arguments], "module": "osd", "perm": "r", "flags": 4, "help": ""}
    assert parsed(entry) == (
        CommandDescription(
            ("osd", "find"),
            (
                CommandArgument("ids", "CephString", optional=False, many=True, choices=()),
                CommandArgument("format", "CephChoices", optional=True, many=False, choices=("json", "plain")),
                CommandArgument("really", "CephBool", optional=True, many=False, choices=()),
            ),
            "r",
            "osd",
            4,
        ),
    )


def test_what_is_not_told_gives_no_right() -> None:
    (found,) = parsed({"sig": ["x"]})
    assert (found.permission, found.module, found.flags) == ("?", "", 0)
    assert parsed({"sig": ["x"], "flags": "1", "perm": ""})[0].flags == -1
    assert parsed({"sig": ["x"], "flags": 10**400, "perm": ""})[0].permission == ""


SIGNATURES: tuple[object, ...] = (
    ["../../etc"], [".."], ["."], ["a/b"], [""], ["x" * 10_000], ["d"] * 5000, ["\0nul"], ["e\x1b[2J"], ["r\u202e"],
    ["n\u2028l"], ["\ud800"], ["-rf"], [7], [None], [{"name": "x"}, "late"], [], "x", None, {"a": 1}, ["k\xf6ln"],
)  # fmt: skip


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda sig: ascii(sig)[:20])
def test_words_that_are_no_words_of_a_command(signature: object) -> None:
    assert [one.prefix for one in parsed({"sig": signature}, {"sig": ["good"]}, 7)] == [("good",)]


def test_no_object() -> None:
    with pytest.raises(NoData):
        parse_descriptions(b"[]")


@pytest.mark.parametrize(
    ("told", "optional"),
    [(True, False), ("true", False), ("True", False), (False, True), ("false", True), ("no", True), (None, False)],
)
def test_whether_an_argument_is_required(told: object, optional: bool) -> None:
    """What is neither counts as false, as a misspelt word of Nautilus does there."""
    (found,) = parsed({"sig": ["x", {"name": "a", "type": "CephString", "req": told}]})
    assert found.arguments[0].optional is optional


def test_commands_are_bounded() -> None:
    assert len(parsed(*({"sig": [f"c{i}"]} for i in range(limits.MAX_COMMANDS_TOLD + 1)))) == limits.MAX_COMMANDS_TOLD
