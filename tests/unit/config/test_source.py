"""The forms of SOURCE."""

from __future__ import annotations

import pytest

from cephmonfs.config.monaddr import MonTarget
from cephmonfs.config.source import Source, parse_fsid, parse_source
from cephmonfs.errors import ConfigError
from tests.unit.config.machine import FSID


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("ceph", Source()),
        ("none", Source()),
        ("cephmon", Source()),
        ("demo:", Source(demo=True)),
        ("demo", Source(demo=True)),
        ("df@", Source("df")),
        ("client.df@", Source("client.df")),
        ("df@.", Source("df")),
        ("df@.=", Source("df")),
        ("df@.=/", Source("df", path="/")),
        ("df@.cephfs=/a/b", Source("df", fs="cephfs", path="/a/b")),
        (f"df@{FSID}", Source("df", FSID)),
        (f"df@{FSID}.cephfs=/", Source("df", FSID, "cephfs", path="/")),
        (f"df@{FSID.replace('-', '').upper()}.my.fs=/", Source("df", FSID, "my.fs", path="/")),
        ("a:/", Source(targets=(MonTarget("a", None, None),), path="/")),
        ("a:", Source(targets=(MonTarget("a", None, None),))),
        ("a,b:3300:/x", Source(targets=(MonTarget("a", None, None), MonTarget("b", 3300, "v2")), path="/x")),
        ("1.2.3.4:6789:/", Source(targets=(MonTarget("1.2.3.4", 6789, "v1"),), path="/")),
        ("[::1]:/", Source(targets=(MonTarget("::1", None, None),), path="/")),
        ("[::1]:3300:/", Source(targets=(MonTarget("::1", 3300, "v2"),), path="/")),
        (
            "[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]:/",
            Source(targets=(MonTarget("1.2.3.4", 3300, "v2"), MonTarget("1.2.3.4", 6789, "v1")), path="/"),
        ),
        ("id=foo,conf=/c", Source(options="id=foo,conf=/c")),
    ],
)
def test_forms(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4:6789", "/dev/sda", "@", ":/", "@x.y=/", "a@b@c"])
def test_none_of_them(text: str) -> None:
    with pytest.raises(ConfigError, match=r"NAME@\[FSID\].*|no host name|no fsid"):
        parse_source(text)


def test_addresses_in_the_source_are_checked() -> None:
    with pytest.raises(ConfigError, match="source: an IPv6 address stands in brackets"):
        parse_source("fe80::1:/")


@pytest.mark.parametrize("text", [FSID, FSID.upper(), FSID.replace("-", ""), "{" + FSID + "}"])
def test_fsid(text: str) -> None:
    assert parse_fsid(text) == FSID


@pytest.mark.parametrize("text", ["", "x", FSID[:-1], FSID + "0", FSID.replace("f", "g")])
def test_no_fsid(text: str) -> None:
    with pytest.raises(ConfigError, match="is no fsid: wanted 32 hex digits"):
        parse_fsid(text)
