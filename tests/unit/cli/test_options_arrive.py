"""Each option, set to what is not its default, is seen by who acts on it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import cephmonfs
from cephmonfs.config.filesettings import fs_settings
from cephmonfs.config.monaddr import MonTarget
from cephmonfs.config.mountconfig import MountConfig, resolve
from cephmonfs.config.options import DEFAULTS, OPTIONS
from cephmonfs.fuse import mount
from cephmonfs.runtime.configured import session_config
from tests.doubles.machine import FSID, KEY, KEY2, FakeMachine, keyring
from tests.doubles.mount_cephmon import snapshot

FILES: dict[str, str | bytes] = {
    "/s": KEY, "/k": keyring(key=KEY2), "/c": f"mon host = c\nkey = {KEY}", "/etc/ceph/ceph.conf": f"key = {KEY}"
}  # fmt: skip


def _fuse(config: MountConfig) -> set[str]:
    return mount.fuse_options(config, snapshot())


def _base64(config: MountConfig) -> str:
    key = session_config(config).identity.key
    return "" if key is None else key.to_base64()


def _field(name: str) -> Callable[[MountConfig], Any]:
    return lambda config: getattr(config, name)


def _setting(name: str) -> Callable[[MountConfig], Any]:
    return lambda config: getattr(fs_settings(config), name)


# option: what is typed, who sees it, what he sees then
ARRIVES: dict[str, tuple[str, Callable[[MountConfig], Any], Any]] = {
    "name": ("name=x", lambda config: str(session_config(config).identity.entity), "client.x"),
    "secret": (f"secret={KEY2}", _base64, KEY2),
    "secretfile": ("secretfile=/s,conf=/none", _base64, KEY),
    "keyring": ("keyring=/k,name=df", _base64, KEY2),
    "conf": ("conf=/c", _field("targets"), (MonTarget("c", None, None),)),
    "mon_addr": ("mon_addr=b", _field("targets"), (MonTarget("b", None, None),)),
    "fsid": (f"fsid={FSID}", lambda config: str(session_config(config).fsid), FSID),
    "ip": ("ip=::1", _field("ip"), "::1"),
    "ms_mode": ("ms_mode=crc", lambda config: [str(m) for m in session_config(config).identity.modes], ["crc"]),
    "key_type": (
        f"key_type=aes256k,secret={KEY2}",
        lambda config: session_config(config).identity.weakest.name,
        "AES256K",
    ),
    "fs": ("fs=x", lambda config: session_config(config).fs, "x"),
    "pool": ("pool=x", lambda config: session_config(config).pool, "x"),
    "mount_timeout": ("mount_timeout=7", _field("mount_timeout"), 7.0),
    "statfs_timeout": ("statfs_timeout=7", _setting("statfs_timeout"), 7.0),
    "stale_after": ("stale_after=7", _setting("stale_after"), 7.0),
    "cmd_timeout": ("cmd_timeout=7", _setting("cmd_timeout"), 7.0),
    "refresh": ("refresh=7", _setting("refresh"), 7.0),
    "bg": ("bg", _field("bg"), True),
    "show_as_rw": ("show_as_rw", lambda config: {"ro", "rw"} & _fuse(config), {"rw"}),
    "uid": ("uid=7", _setting("uid"), 7),
    "gid": ("gid=7", _setting("gid"), 7),
    "mode": ("mode=0400", _setting("mode"), 0o400),
    "allow_other": ("noallow_other", lambda config: "allow_other" in _fuse(config), False),
    "auto_unmount": ("noauto_unmount,run_as=root", lambda config: "auto_unmount" in _fuse(config), False),
    "run_as": ("run_as=root", _field("run_as"), None),
    "log_level": ("log_level=error", _field("log_level"), "error"),
    "foreground": ("foreground", _field("foreground"), True),
    "demo_mons": ("demo_mons=5", lambda config: config.demo and config.demo.mons, 5),
    "demo_seed": ("demo_seed=5", lambda config: config.demo and config.demo.seed, 5),
}  # fmt: skip


def test_every_option_is_in_the_table() -> None:
    assert ARRIVES.keys() == {option.name for option in OPTIONS}


def _resolve(option: str, typed: str) -> MountConfig:
    if option.startswith("demo_"):
        return resolve("demo:", "/mnt", [typed], FakeMachine(dict(FILES)))
    others = {"name": "name=df", "mon_addr": "mon_addr=a", "secret": f"secret={KEY}"}
    others.pop(option, None)
    if option in ("secretfile", "keyring", "conf", "key_type"):
        others.pop("secret")
    if option == "conf":
        others.pop("mon_addr")
    return resolve("none", "/mnt", [*others.values(), typed], FakeMachine(dict(FILES)))


@pytest.mark.parametrize("option", ARRIVES)
def test_an_option_arrives(option: str) -> None:
    typed, see, wanted = ARRIVES[option]
    config = _resolve(option, typed)
    assert see(config) == wanted
    line = next(line for line in config.lines().splitlines() if line.startswith(f"{option} "))
    assert not line.endswith("# default")
    if option not in ("secretfile", "keyring", "conf"):
        assert see(_resolve(option, "name=df" if option == "name" else "")) != wanted


def test_what_is_kept_is_read() -> None:
    """A field of the config that nobody outside of it reads is an option without effect."""
    read = {
        node.attr
        for folder in ("cli", "daemon", "fuse", "runtime")
        for path in (Path(cephmonfs.__file__).parent / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute)
    }
    read |= {item.name for item in fields(fs_settings(_resolve("bg", "bg")))}
    assert {item.name for item in fields(MountConfig)} & DEFAULTS.keys() <= read


def test_a_default_is_what_would_be_typed() -> None:
    for option in OPTIONS:
        assert not (option.default and option.otherwise)
        if option.parse is None:
            assert option.default in ("on", "off") or option.otherwise
        assert DEFAULTS[option.name] == option.initial
