"""Every spelling of a monitor's address."""

from __future__ import annotations

from typing import Literal

import pytest

from cephmonfs.config.monaddr import MonTarget, MsMode, parse_slash_list, parse_targets, targets_for_mode
from cephmonfs.errors import ConfigError

P = Literal["v2", "v1"]


def _t(host: str, port: int | None = None, protocol: P | None = None) -> MonTarget:
    return MonTarget(host, port, protocol)


V2, V1 = _t("1.2.3.4", 3300, "v2"), _t("1.2.3.4", 6789, "v1")


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("", []),
        ("a", [_t("a")]),
        ("mon-1.example.net", [_t("mon-1.example.net")]),
        ("a:3300", [_t("a", 3300, "v2")]),
        ("a:6789", [_t("a", 6789, "v1")]),
        ("a:40001", [_t("a", 40001)]),
        ("1.2.3.4", [_t("1.2.3.4")]),
        ("1.2.3.4:6789/0", [V1]),
        ("[::1]", [_t("::1")]),
        ("[::1]:3300", [_t("::1", 3300, "v2")]),
        ("[fe80:0:0::1]", [_t("fe80::1")]),
        ("v2:1.2.3.4", [_t("1.2.3.4", None, "v2")]),
        # without brackets, as Ceph takes them: all of it is the address
        ("::1", [_t("::1")]),
        ("FD42::1", [_t("fd42::1")]),
        ("fd42::1/0", [_t("fd42::1")]),
        ("fd42::1:6789", [_t("fd42::1:6789")]),
        ("1:2:3:4:5:6:7:8", [_t("1:2:3:4:5:6:7:8")]),
        ("fd42::1,127.0.0.1:6789", [_t("fd42::1"), _t("127.0.0.1", 6789, "v1")]),
        ("fd42::1 ::2;fd43::", [_t("fd42::1"), _t("::2"), _t("fd43::")]),
        ("v2:fd42::1", [_t("fd42::1", None, "v2")]),
        ("v1:fd42::1", [_t("fd42::1", None, "v1")]),
        ("any:fd42::1", [_t("fd42::1")]),
        ("[1.2.3.4:6789]", [V1]),
        ("[1.2.3.4:3300/0],[1.2.3.4]", [V2, _t("1.2.3.4")]),
        ("[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0][v2:b:3300/0]", [V2, V1, _t("b", 3300, "v2")]),
        ("[::1][::2]:3300", [_t("::1"), _t("::2", 3300, "v2")]),
        ("v2:1.2.3.4:3300/0", [V2]),
        ("v1:1.2.3.4:40002", [_t("1.2.3.4", 40002, "v1")]),
        ("v2:[::1]:3300/0", [_t("::1", 3300, "v2")]),
        ("any:1.2.3.4:40001", [_t("1.2.3.4", 40001)]),
        ("[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]", [V2, V1]),
        ("[v2:1.2.3.4:3300,v1:1.2.3.4:6789]", [V2, V1]),
        ("[v2:1.2.3.4:3300/0 v1:1.2.3.4:6789/0]", [V2, V1]),
        ("[v2:[::1]:3300/0,v1:[::1]:6789/0]", [_t("::1", 3300, "v2"), _t("::1", 6789, "v1")]),
        ("[v2:1.2.3.4:3300/0]", [V2]),
        ("[1.2.3.4:3300,1.2.3.4:6789]", [V2, V1]),
        ("[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0],[v2:b:3300/0]", [V2, V1, _t("b", 3300, "v2")]),
        ("a,b", [_t("a"), _t("b")]),
        ("a b\tc", [_t("a"), _t("b"), _t("c")]),
        ("a; b ,c,", [_t("a"), _t("b"), _t("c")]),
        ("a,a", [_t("a")]),
        ("v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0", [V2, V1]),
    ],
)
def test_spellings(text: str, targets: list[MonTarget]) -> None:
    assert parse_targets(text, "mon_host") == tuple(targets)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("a/b/c", [_t("a"), _t("b"), _t("c")]),
        ("1.2.3.4:3300/[::1]:6789", [V2, _t("::1", 6789, "v1")]),
        ("v2:1.2.3.4:3300/0/b", [V2, _t("b")]),
        ("1.2.3.4:3300/0/fd42::1/0", [V2, _t("fd42::1")]),
        ("[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]/b", [V2, V1, _t("b")]),
        ("a,b", [_t("a"), _t("b")]),
    ],
)
def test_slash_lists(text: str, targets: list[MonTarget]) -> None:
    assert parse_slash_list(text) == tuple(targets)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1:2:3:4:5:6:7:8:3300", 'x: an IPv6 address with a port stands in brackets: "[::1]:3300"'),
        ("fe80::1%eth0", 'x: an IPv6 address with a port stands in brackets: "[::1]:3300"'),
        ("[fe80::1%eth0]", 'x: "[fe80::1%eth0]" has no IPv6 address in its brackets'),
        ("AQBzT2dlwA", 'x: "<hidden>" could be a key, and is no host name or address'),
        ("[::1", 'x: "[" without "]" in "[::1"'),
        ("::1]", 'x: "]" without "[" in "::1]"'),
        ("[::1]3300", 'x: wanted ":PORT" after "]" in "[::1]3300"'),
        ("[nonsense]", 'x: "[nonsense]" has no IPv6 address in its brackets'),
        ("a:0", 'x: wanted a port of 1 to 65535 in "a:0"'),
        ("a:\u0663", 'x: wanted a port of 1 to 65535 in "a:\u0663"'),
        ("a:1234567", 'x: wanted a port of 1 to 65535 in "a:1234567"'),
        ("a:1/\u0663", 'x: wanted a number after "/" in "a:1/\u0663"'),
        ("a:65536", 'x: wanted a port of 1 to 65535 in "a:65536"'),
        ("a:x", 'x: wanted a port of 1 to 65535 in "a:x"'),
        ("a:", 'x: wanted a port of 1 to 65535 in "a:"'),
        ("a:1/x", 'x: wanted a number after "/" in "a:1/x"'),
        ("1.2.3.400", 'x: "1.2.3.400" is no IPv4 address'),
        ("a!b", 'x: "a!b" is no host name or address'),
        (":3300", 'x: ":3300" is no host name or address'),
    ],
)
def test_damage(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_targets(text, "x")
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("text", "mode", "candidates"),
    [
        ("a", MsMode.SECURE, ["a:3300 MSGR2"]),
        ("a", MsMode.LEGACY, ["a:6789 LEGACY"]),
        ("a:40001", MsMode.PREFER_CRC, ["a:40001 MSGR2"]),
        ("a:40001", MsMode.LEGACY, ["a:40001 LEGACY"]),
        ("[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]", MsMode.PREFER_SECURE, ["1.2.3.4:3300 MSGR2"]),
        ("[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]", MsMode.LEGACY, ["1.2.3.4:6789 LEGACY"]),
        ("v1:a v2:b", MsMode.CRC, ["b:3300 MSGR2"]),
        ("[::1]", MsMode.CRC, ["[::1]:3300 MSGR2"]),
        ("v2:a a", MsMode.CRC, ["a:3300 MSGR2"]),
        ("", MsMode.CRC, []),
    ],
)
def test_for_mode(text: str, mode: MsMode, candidates: list[str]) -> None:
    found = targets_for_mode(parse_targets(text, "x"), mode)
    assert [f"{one} {one.type.name}" for one in found] == candidates


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (
            "10.0.0.1:6789",
            MsMode.PREFER_SECURE,
            "10.0.0.1:6789 speaks the v1 protocol; use port 3300 or ms_mode=legacy",
        ),
        ("v1:[::1]", MsMode.CRC, "[::1]:6789 speaks the v1 protocol; use port 3300 or ms_mode=legacy"),
        ("10.0.0.1:3300", MsMode.LEGACY, "10.0.0.1:3300 speaks the v2 protocol; use port 6789"),
    ],
)
def test_the_wrong_protocol_is_told_at_once(text: str, mode: MsMode, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        targets_for_mode(parse_targets(text, "x"), mode)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    "text", ["a", "a:3300", "[::1]:6789", "v2:a", "v1:[::1]", "v2:a:40001", "a:40001", "v1:a:3300"]
)
def test_printing_gives_back_what_was_parsed(text: str) -> None:
    (target,) = parse_targets(text, "x")
    assert str(target) == text
