"""The table of options."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

from cephmonfs.config.monaddr import MsMode
from cephmonfs.config.options import IGNORED, OPTIONS, options_help, parse_options, split_options
from cephmonfs.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        (",,a, b ,", ["a", "b"]),
        ('context="a,b",c', ["context=a,b", "c"]),
        ("mon_addr=[v2:a:3300/0,v1:a:6789/0]/b,c", ["mon_addr=[v2:a:3300/0,v1:a:6789/0]/b", "c"]),
        ("secret=AQ==,name=x", ["secret=AQ==", "name=x"]),
        ("a]b,c", ["a]b", "c"]),
    ],
)
def test_splitting(text: str, items: list[str]) -> None:
    assert split_options(text) == items


@pytest.mark.parametrize("text", ['a="b', "a=[b"])
def test_open_ends(text: str) -> None:
    with pytest.raises(ConfigError, match="not closed"):
        split_options(text)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("name=df", "name", "df"),
        ("id=df", "name", "df"),
        ("ceph.id=df", "name", "df"),
        ("ceph.name=client.df", "name", "client.df"),
        ("ceph.conf=/c", "conf", "/c"),
        ("ceph.keyring=/k", "keyring", "/k"),
        ("secretfile=rel", "secretfile", os.path.abspath("rel")),
        ("mds_namespace=f", "fs", "f"),
        ("ms_mode=crc", "ms_mode", MsMode.CRC),
        ("mount_timeout=0", "mount_timeout", math.inf),
        ("mount_timeout=2.5", "mount_timeout", 2.5),
        ("stale_after=inf", "stale_after", math.inf),
        ("stale_after=0", "stale_after", 0.0),
        ("bg", "bg", True),
        ("delay_connect", "bg", True),
        ("allow_other", "allow_other", True),
        ("noallow_other", "allow_other", False),
        ("noauto_unmount", "auto_unmount", False),
        ("uid=0", "uid", 0),
        ("uid=root", "uid", 0),
        ("gid=root", "gid", 0),
        ("gid=77", "gid", 77),
        ("mode=0640", "mode", 0o440),
        ("mode=400", "mode", 0o400),
        ("debug", "log_level", "debug"),
        ("log_level=error", "log_level", "error"),
        ("foreground", "foreground", True),
        ("demo_mons=5", "demo_mons", 5),
        ("demo_seed=0", "demo_seed", 0),
        ("name=a,name=b", "name", "b"),
    ],
)
def test_values(text: str, name: str, value: Any) -> None:
    parsed = parse_options([text])
    assert parsed.values == {name: value}
    assert parsed.origins == {name: "option"}


def test_lists_add_up_and_the_last_wins() -> None:
    parsed = parse_options(["name=a,bg", "name=b", "fs=f"])
    assert parsed.values == {"name": "b", "bg": True, "fs": "f"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("secretflie=/x", 'unknown option "secretflie": did you mean "secretfile"?'),
        ("mounttimeout=3", 'unknown option "mounttimeout": did you mean "mount_timeout"?'),
        ("noatme", 'unknown option "noatme": did you mean "noatime"?'),
        ("qqqqqq", 'unknown option "qqqqqq"; mount.cephmon --help lists the options'),
        ("key=AQ==", 'the kernel\'s "key=" is not understood: use secretfile= or keyring='),
        ("name", 'option "name" wants a value: name=NAME'),
        ("name=", "name=: wanted a value"),
        ("keyring=", "keyring=: wanted the path of a file"),
        ("bg=1", 'option "bg" takes no value'),
        ("ms_mode=fast", "ms_mode=fast: wanted one of legacy, crc, secure, prefer-crc, prefer-secure"),
        ("mount_timeout=x", 'mount_timeout=x: wanted seconds: a number, 0 or more, or "inf"'),
        ("mount_timeout=-1", 'mount_timeout=-1: wanted seconds: a number, 0 or more, or "inf"'),
        ("stale_after=nan", 'stale_after=nan: wanted seconds: a number, 0 or more, or "inf"'),
        ("statfs_timeout=0", "statfs_timeout=0: wanted seconds: a number above 0, and at most 3600"),
        ("statfs_timeout=inf", "statfs_timeout=inf: wanted seconds: a number above 0, and at most 3600"),
        ("cmd_timeout=1e999", "cmd_timeout=1e999: wanted seconds: a number above 0, and at most 3600"),
        ("mode=0888", "mode=0888: wanted an octal mode of 0 to 0777"),
        ("mode=7777", "mode=7777: wanted an octal mode of 0 to 0777"),
        ("uid=no-such-user", "uid=no-such-user: wanted a user of this machine, by name or number"),
        ("gid=no-such-group", "gid=no-such-group: wanted a group of this machine, by name or number"),
        ("uid=4294967295", "uid=4294967295: wanted a user of this machine, by name or number"),
        ("demo_mons=0", "demo_mons=0: wanted a number of 1 to 9"),
        ("demo_seed=-1", "demo_seed=-1: wanted a number of 0 to 9223372036854775807"),
        ("log_level=loud", "log_level=loud: wanted one of debug, info, warning, error"),
        ("secret=", "secret: wanted a value"),
    ],
)
def test_errors(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options([text])
    assert str(caught.value) == reason
    assert caught.value.status == 1


_NUMBERS = (
    *("mount_timeout", "statfs_timeout", "stale_after", "cmd_timeout", "refresh"),
    *("uid", "gid", "mode", "demo_mons", "demo_seed"),
)


@pytest.mark.parametrize("name", _NUMBERS)
@pytest.mark.parametrize(
    "value",
    ["\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT FOUR}", "\N{FULLWIDTH DIGIT FOUR}", "1_0", "0x4", "4" * 5000, "--4"],
    ids=ascii,
)
def test_a_number_is_written_as_people_write_it(name: str, value: str) -> None:
    """And whatever Python thinks of it, what comes is an error that says what was wanted."""
    with pytest.raises(ConfigError, match=f"^{name}=.*: wanted (seconds|an octal mode|a user|a group|a number)"):
        parse_options([f"{name}={value}"])


def test_every_option_that_is_a_number_is_in_that_table() -> None:
    taken = {option.name for option in OPTIONS if option.parse is not None and _takes(option.name, "4")}
    words = {option.name for option in OPTIONS if option.parse is not None and _takes(option.name, "x")}
    assert taken - words - {"fsid", "ip", "ms_mode", "key_type", "log_level"} == set(_NUMBERS)


def _takes(name: str, value: str) -> bool:
    try:
        parse_options([f"{name}={value}"])
    except ConfigError:
        return False
    return True


def test_remount_is_no_option_of_a_mount() -> None:
    assert parse_options(["remount,ro"]).remount
    assert not parse_options(["ro"]).remount
    with pytest.raises(ConfigError, match='unknown option "remount"'):
        parse_options(["remount=1"])


def test_sloppy_lets_unknown_words_pass_but_not_bad_values() -> None:
    parsed = parse_options(["qqq=1,name=df"], sloppy=True)
    assert parsed.unknown == ["qqq"]
    assert parsed.values == {"name": "df"}
    with pytest.raises(ConfigError):
        parse_options(["mode=x"], sloppy=True)


@pytest.mark.parametrize(
    "text",
    [
        "fd=3,rootmode=40000,user_id=0,group_id=0,default_permissions,blksize=4096,max_read=131072",
        "rw,defaults,_netdev,nofail,noauto,user,users,noatime,nodiratime,relatime,nosuid,noexec,nodev,dev,suid,sync",
        "x-systemd.automount,x-systemd.mount-timeout=90,X-mount.mkdir,comment=hello,context=system_u:object_r",
        "rsize=1048576,wsize=4096,rasize=0,recover_session=clean,noshare,nocrc,nodcache,dirstat,norbytes,nofallback,acl",
        "ceph.client_mountpoint=/x,ceph.debug=1,snapdirname=.s,crush_location=a:b|c:d,read_from_replica=localize,noquotadf",
        "caps_max=1,noasyncreaddir,ino32,noino32,fsc,fsc=tag,nopoolperm,wsync,nowsync,tcp_nodelay,notcp_nodelay,mandlock",
    ],
)
def test_what_others_put_on_the_line_is_ignored(text: str) -> None:
    parsed = parse_options([text])
    assert parsed.values == {}
    assert len(parsed.ignored) == len(text.split(","))


def test_the_table_is_consistent() -> None:
    names = [name for option in OPTIONS for name in (option.name, *option.aliases)]
    assert len(names) == len(set(names))
    assert not IGNORED & set(names)
    assert not [name for name in names if name.startswith("x-")]  # mount(8) would take them away
    text = options_help()
    for option in OPTIONS:
        assert f"  {option.spelled} " in text
        assert option.doc in text
