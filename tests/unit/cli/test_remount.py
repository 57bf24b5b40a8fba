"""mount -o remount, as mount(8) calls for a mount with a line in fstab and for one without."""

from __future__ import annotations

from pathlib import Path

import pytest

from cephmonfs.cli import mount, remount
from cephmonfs.config.mountconfig import resolve
from cephmonfs.config.options import OPTIONS, Option, parse_options
from cephmonfs.config.source import shown_source
from cephmonfs.host.mountpoint import FUSE_TYPE, Life, Mount
from tests.doubles.machine import FSID, KEY, FakeMachine

LINE = f"rw,remount,_netdev,name=df,secretfile=/s,mon_addr=a:6789/b,fsid={FSID},ip=[::1],mode=0440,stale_after=inf"
FLAGS = ("ro", "nosuid", "nodev", "noexec", "relatime")
KERNEL = "nosuid,nodev,noexec,relatime,remount,user_id=0,group_id=0,default_permissions,allow_other"


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that the line made; its file `config`."""
    _mounted(tmp_path, monkeypatch, LINE, FLAGS)


def _mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, flags: tuple[str, ...]) -> None:
    config = resolve("ceph", str(tmp_path), [line], FakeMachine({"/s": KEY}))
    (tmp_path / "config").write_text(config.lines())
    there = Mount(str(tmp_path), FUSE_TYPE, shown_source("df", FSID), flags)
    monkeypatch.setattr(remount, "mounts", lambda: (there,))
    monkeypatch.setattr("cephmonfs.host.mountpoint.mounts", lambda: (there,))
    monkeypatch.setattr(remount, "life_of", lambda path: Life.LIVE)


def _remount(tmp_path: Path, source: str, options: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = mount.main([source, str(tmp_path), "-o", options])
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("ceph", LINE),
        ("ceph", f"ro,{LINE}"),
        (f"df@{FSID}", f"ro,{KERNEL}"),
        (f"df@{FSID}", LINE),
        ("none", "remount"),
        ("df@", "remount,name=client.df,stale_after=inf,allow_other,refresh=10"),
        ("a:6789,b:/", "remount"),
    ],
)
def test_nothing_to_do(tmp_path: Path, source: str, options: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _remount(tmp_path, source, options, capsys) == (0, "")


@pytest.mark.parametrize(
    ("source", "options", "changes"),
    [
        (f"df@{FSID}", f"rw,{KERNEL}", "rw"),
        (f"df@{FSID}", f"ro,noatime,{KERNEL}", "noatime"),
        (f"df@{FSID}", f"ro,{KERNEL.replace('noexec,', '')}", "exec"),
        (f"df@{FSID}", f"ro,pool=rbd,{KERNEL}", "pool"),
        ("ceph", f"{LINE},stale_after=30", "stale_after"),
        ("ceph", f"{LINE},bg,mode=0400", "mode, bg"),
        ("ceph", f"{LINE},secret={KEY}", "secret"),
        ("ceph", f"{LINE},show_as_rw", "show_as_rw"),
        ("x@", "remount", "name"),
        ("df@.cephfs=", "remount", "fs"),
        ("c:/", "remount", "mon_addr"),
        ("demo:", "remount", "source"),
        ("id=x,conf=/c", "remount", "name, conf"),
    ],
)
def test_a_change_is_refused_by_name(
    tmp_path: Path, source: str, options: str, changes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = _remount(tmp_path, source, options, capsys)
    assert status == 32
    assert said == (
        f"mount.cephmon: remount would change {changes}, and a mount's options cannot be changed: "
        f"umount {tmp_path}, and mount it anew\n"
    )


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_compared(tmp_path: Path, option: Option, capsys: pytest.CaptureFixture[str]) -> None:
    """One that would come out different is named; every option has a value here that the mount does not have."""
    other = {"uid": "7", "gid": "7", "mode": "0400", "ms_mode": "crc", "key_type": "aes256k", "log_level": "error"}
    other |= {"fsid": FSID.replace("2", "3"), "ip": "::2", "demo_mons": "5", "mon_addr": "c", "demo_seed": "7"}
    if option.parse is None:
        word = f"no{option.name}" if option.negatable else option.name
    else:
        word = f"{option.name}={other.get(option.name, '77')}"
    assert _remount(tmp_path, "ceph", f"remount,{word}", capsys) == (
        32,
        f"mount.cephmon: remount would change {option.name}, and a mount's options cannot be changed: "
        f"umount {tmp_path}, and mount it anew\n",
    )


def test_a_mount_flagged_rw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("rw", *FLAGS[1:])
    _mounted(tmp_path, monkeypatch, f"{LINE},show_as_rw", flags)
    assert _remount(tmp_path, f"df@{FSID}", f"rw,{KERNEL}", capsys)[0] == 0
    assert _remount(tmp_path, "ceph", f"{LINE},show_as_rw", capsys)[0] == 0
    assert _remount(tmp_path, "ceph", f"ro,{LINE},show_as_rw", capsys)[0] == 0
    for source, options in ((f"df@{FSID}", f"ro,{KERNEL}"), ("ceph", f"ro,{LINE}".replace("rw,", ""))):
        status, said = _remount(tmp_path, source, options, capsys)
        assert (status, "would change ro," in said) == (32, True)


def test_a_secret_is_taken_for_the_same_at_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"remount,name=df,secret={KEY},mon_addr=a"
    _mounted(tmp_path, monkeypatch, line, FLAGS)
    assert _remount(tmp_path, "ceph", line, capsys) == (0, "")


@pytest.mark.parametrize("life", [Life.DEAD, Life.STUCK])
def test_a_mount_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], life: Life
) -> None:
    monkeypatch.setattr(remount, "life_of", lambda path: life)
    status, said = _remount(tmp_path, "ceph", LINE, capsys)
    assert status == 32
    assert "does not answer" in said


def test_what_cannot_be_mounted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").unlink()
    status, said = _remount(tmp_path, "ceph", LINE, capsys)
    assert (status, said) == (32, f"mount.cephmon: remount: cannot read {tmp_path}/config: No such file or directory\n")
    monkeypatch.setattr(remount, "mounts", tuple)
    status, said = _remount(tmp_path, "ceph", LINE, capsys)
    assert (status, said) == (32, f"mount.cephmon: remount: {tmp_path} is no cephmon mount\n")


def test_remount_means_nothing_to_programs_that_do_not_mount() -> None:
    assert parse_options(["remount,ro"]).values == {}
