"""Mount points and this machine's FUSE."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cephmonfs.errors import ConfigError
from cephmonfs.host import mountpoint
from cephmonfs.host.mountpoint import Mount, check_fuse, check_mountpoint, parse_mountinfo, set_path, top_mount

MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /mnt/a\\040b rw,relatime shared:2 master:1 - autofs systemd-1 rw,fd=40
41 40 0:36 / /mnt/a\\040b ro,nosuid - fuse.cephmon df@x ro,user_id=0
junk
1 2 3
"""


def test_mountinfo() -> None:
    mounts = parse_mountinfo(MOUNTINFO)
    assert mounts == (
        Mount("/", "ext4", "/dev/sda1", ("rw", "relatime")),
        Mount("/mnt/a b", "autofs", "systemd-1", ("rw", "relatime")),
        Mount("/mnt/a b", "fuse.cephmon", "df@x", ("ro", "nosuid")),
    )
    (flagged,) = parse_mountinfo("41 40 0:36 / /m rw,nosuid - fuse.cephmon df@x ro,user_id=0")
    assert flagged.flags == ("ro", "nosuid")  # the file system is, so the mount is
    assert top_mount(mounts, "/mnt/a b") == mounts[2]
    assert top_mount(mounts, "/mnt") is None


def _pretend(monkeypatch: pytest.MonkeyPatch, *mounts: Mount) -> None:
    monkeypatch.setattr(mountpoint, "mounts", lambda: mounts)


def test_a_free_directory(tmp_path: Path) -> None:
    assert check_mountpoint(str(tmp_path)) is None


def test_autofs_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, Mount(str(tmp_path), "autofs", "systemd-1"))
    assert check_mountpoint(str(tmp_path)) is None


def test_missing_file_and_occupied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for path, reason in (
        (tmp_path / "no", f"mount point {tmp_path}/no does not exist: mkdir {tmp_path}/no"),
        (tmp_path / "file", f"mount point {tmp_path}/file is not a directory"),
        (tmp_path / "file" / "x", f"mount point {tmp_path}/file/x: Not a directory"),
    ):
        with pytest.raises(ConfigError) as caught:
            check_mountpoint(str(path))
        assert (str(caught.value), caught.value.status) == (reason, 32)
    _pretend(monkeypatch, Mount(str(tmp_path), "fuse.cephmon", "df@x"))
    with pytest.raises(ConfigError, match=r"is already a mount point \(fuse.cephmon, df@x\): umount it first"):
        check_mountpoint(str(tmp_path))
    _pretend(monkeypatch, Mount(str(tmp_path), "ext4", "/dev/sdb"))
    with pytest.raises(ConfigError, match=r"is already a mount point \(ext4, /dev/sdb\): umount it first"):
        check_mountpoint(str(tmp_path))


def test_a_dead_mount_of_ours_is_detached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, mounts = str(tmp_path), [Mount(str(tmp_path), "fuse.cephmon", "df@")]
    monkeypatch.setattr(mountpoint, "life_of", lambda name: mountpoint.Life.DEAD)
    monkeypatch.setattr(mountpoint, "mounts", lambda: tuple(mounts))
    monkeypatch.setattr(mountpoint, "_detach", lambda name: mounts.clear())
    assert check_mountpoint(path) == f"{path} was a dead cephmon mount; it is detached and mounted again"


def test_a_mount_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, Mount(str(tmp_path), "fuse.cephmon", "df@"))
    monkeypatch.setattr(mountpoint, "life_of", lambda name: mountpoint.Life.STUCK)
    with pytest.raises(ConfigError, match="whose daemon does not answer: umount -f"):
        check_mountpoint(str(tmp_path))


def test_who_is_asked_and_does_not_answer_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life_of = mountpoint.life_of
    assert life_of(str(tmp_path)) is mountpoint.Life.LIVE
    monkeypatch.setattr(mountpoint, "_ASK", "import time; time.sleep(60)")
    assert life_of(str(tmp_path), 0.1) is mountpoint.Life.STUCK
    monkeypatch.setattr(mountpoint, "_ASK", f"import sys; sys.exit({errno.ENOTCONN})")
    assert life_of(str(tmp_path)) is mountpoint.Life.DEAD


@pytest.mark.parametrize(("mounts", "what"), [(["fuse.sshfs"], "a dead fuse.sshfs mount"), ([], "below a dead mount")])
def test_a_dead_mount_of_others_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: list[str], what: str
) -> None:
    real = os.stat

    def stat(name: str, *, follow_symlinks: bool = True) -> os.stat_result:
        if str(name) == str(tmp_path):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return real(name, follow_symlinks=follow_symlinks)

    monkeypatch.setattr("os.stat", stat)
    _pretend(monkeypatch, *(Mount(str(tmp_path), kind, "x") for kind in mounts))
    with pytest.raises(ConfigError, match=f"is {what}: umount -l it first"):
        check_mountpoint(str(tmp_path))


def test_detaching_what_is_not_mounted_fails_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_path()
    with pytest.raises(ConfigError, match="cannot detach the dead mount"):
        mountpoint._detach(str(tmp_path))


def test_fuse_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fuse").write_text("")
    (tmp_path / "fusermount3").write_text("#!/bin/sh\n")
    (tmp_path / "fusermount3").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check_fuse(str(tmp_path / "fuse"))
    with pytest.raises(ConfigError, match="is absent: modprobe fuse") as caught:
        check_fuse(str(tmp_path / "missing"))
    assert caught.value.status == 2
    with pytest.raises(ConfigError, match=r"cannot open .*: Is a directory") as caught:
        check_fuse(str(tmp_path))
    assert caught.value.status == 2
    (tmp_path / "fusermount3").unlink()
    with pytest.raises(ConfigError, match="fusermount3 is missing: install the package fuse3") as caught:
        check_fuse(str(tmp_path / "fuse"))
    assert caught.value.status == 2


def test_a_path_is_made_up_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    set_path()
    assert os.environ["PATH"] == mountpoint.DEFAULT_PATH
    monkeypatch.setenv("PATH", "/x")
    set_path()
    assert os.environ["PATH"] == f"/x:{mountpoint.DEFAULT_PATH}"


def test_a_path_is_settled_without_touching_a_mount(tmp_path: Path) -> None:
    (tmp_path / "real" / "m").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "to").symlink_to("link/m")
    wanted = str(tmp_path / "real" / "m")
    for name in ("real/m", "link/m", "to", "real/../to", "real/m/"):
        assert mountpoint.settle(str(tmp_path / name)) == wanted
    assert mountpoint.settle("/proc/") == "/proc"
    assert mountpoint.settle(str(tmp_path / "missing")) == str(tmp_path / "missing")
    (tmp_path / "loop").symlink_to("loop")
    assert mountpoint.settle(str(tmp_path / "loop")) == str(tmp_path / "loop")
