"""The forms of SOURCE."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cephmonfs.config.monaddr import MonTarget
from cephmonfs.config.source import Source, as_written, parse_fsid, parse_source, shown_source
from cephmonfs.errors import ConfigError
from tests.doubles.machine import FSID


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("ceph", Source()),
        ("ceph/", Source()),
        ("none//", Source()),
        (":/", Source(path="/")),
        (":/x", Source(path="/x")),
        (":", Source()),  # what mount(8) leaves of ":/" where a directory has that name
        ("df@/", Source("df")),
        ("df@.rbd", Source("df", pool="rbd")),
        (f"df@{FSID}.rbd", Source("df", FSID, pool="rbd")),
        (f"df@{FSID}.a.b", Source("df", FSID, pool="a.b")),
        (f"df@{FSID}..rgw.root", Source("df", FSID, pool=".rgw.root")),
        (f"df@{FSID}.a%20b%3D", Source("df", FSID, pool="a b=")),
        (f"df@{FSID}.%C3%BC=", Source("df", FSID, "ü")),
        ("a%3Ab@", Source("a:b")),
        ("fd42::1:/", Source(targets=(MonTarget("fd42::1", None, None),), path="/")),
        ("::1,a:/", Source(targets=(MonTarget("::1", None, None), MonTarget("a", None, None)), path="/")),
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


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4:6789", "/dev/sda", "@", "@x.y=/", "a@b@c"])
def test_none_of_them(text: str) -> None:
    with pytest.raises(ConfigError, match=r"NAME@\[FSID\].*|no host name|no fsid"):
        parse_source(text)


def test_addresses_in_the_source_are_checked() -> None:
    with pytest.raises(ConfigError, match="source: an IPv6 address with a port stands in brackets"):
        parse_source("1:2:3:4:5:6:7:8:3300:/")


@pytest.mark.parametrize("name", ["df", "a.b", "a:b", "50%", "ü", "a#b", "client"])
@pytest.mark.parametrize("fsid", [FSID, ""])
@pytest.mark.parametrize("part", ["rbd", "a.b", ".rgw.root", "a b", "x=", "=", "a=b/c", "a%20b", "ü\n", "1", "-", "\\"])
def test_what_proc_mounts_shows_is_taken_back(name: str, fsid: str, part: str) -> None:
    for fs, pool in ((part, None), (None, part), (None, None)):
        text = shown_source(name, fsid, fs, pool)
        assert re.fullmatch(r"[A-Za-z0-9_.@%=-]+", text)
        assert parse_source(text) == Source(name, fsid or None, fs, pool)


def test_what_df_is_about_is_the_pool() -> None:
    assert shown_source("df", FSID) == f"df@{FSID}"
    assert shown_source("df", FSID, fs="cephfs") == f"df@{FSID}.cephfs="
    assert shown_source("df", FSID, fs="cephfs", pool="rbd") == f"df@{FSID}.rbd"
    assert shown_source("df", FSID, pool="p" * 2000) == f"df@{FSID}"  # the kernel takes no more than a page
    assert shown_source("AQBzT2dlwA", FSID, pool="AQBzT2dlwA") == f"hidden@{FSID}"


# ---- what mount(8) makes of a source

WRITTEN = (
    "ceph",
    "none",
    "cephmon",
    "df@",
    "demo:",
    "demo",
    ":",
    ":/x",
    "df@.fs=",
    "df@.fs=/vol",
    "df@.rbd",
    "mon1:/vol",
)


@pytest.mark.parametrize("how", ["file", "directory", "link", "link elsewhere", "in a linked directory"])
@pytest.mark.parametrize("text", WRITTEN)
def test_a_source_that_is_a_files_name_is_taken_back(tmp_path: Path, text: str, how: str) -> None:
    here, path = tmp_path / "etc", tmp_path / "etc" / text
    here.mkdir()
    first = here / text.partition("/")[0]
    if how.startswith("link"):
        target = (here if how == "link" else tmp_path) / "target"
        (target / text.partition("/")[2]).mkdir(parents=True)
        first.symlink_to(target)
    elif how == "file" and "/" not in text:
        path.write_text("")
    else:
        path.mkdir(parents=True)
    cwd = str(here)
    if how == "in a linked directory":
        cwd = str(tmp_path / "other")
        os.symlink(here, cwd)
    seen = os.path.realpath(path)  # what mount(8) does
    assert as_written(seen, cwd) == text
    if "link" not in how and text != "mon1:/vol":
        assert parse_source(as_written(seen, "/")) == parse_source(text)  # and from a directory that is not mount(8)'s


@pytest.mark.parametrize("text", ["ceph", "a:/etc/ceph", ":/ceph", "/dev/sda", "/", "/srv/mon1:", "", "/etc/nothing"])
def test_what_mount8_left_alone_stays(tmp_path: Path, text: str) -> None:
    assert as_written(text, str(tmp_path)) == text
    assert as_written(text, str(tmp_path / "gone")) == text


@pytest.mark.parametrize("text", [FSID, FSID.upper(), FSID.replace("-", ""), "{" + FSID + "}"])
def test_fsid(text: str) -> None:
    assert parse_fsid(text) == FSID


@pytest.mark.parametrize("text", ["", "x", FSID[:-1], FSID + "0", FSID.replace("f", "g")])
def test_no_fsid(text: str) -> None:
    with pytest.raises(ConfigError, match="is no fsid: wanted 32 hex digits"):
        parse_fsid(text)
