"""mount(8) itself: what it makes of a source, remount, flags, /proc/mounts; on the embedded monitors."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from cephmonfs.config.source import parse_source
from tests.support.helper import run, wait_gone
from tests.system.test_fstab import script

pytestmark = pytest.mark.fuse

FSID = "2f5a8f1e-64d1-4d6b-9f43-0b1c2d3e4f50"


def sh(tmp_path: Path, body: str) -> str:
    """Run a script where mount(8) finds our helper; `m` is a mount point.  Returns all that was said."""
    (tmp_path / "m").mkdir()
    done = run(["unshare", "--mount", "bash", "-c", script(tmp_path, f"set +e; exec 2>&1; {body}")], timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_gone(tmp_path / "m")
    return done.stdout


@pytest.mark.parametrize("how", ["mkdir", "touch", "ln -s .."])
def test_demo_from_a_directory_with_such_a_name(tmp_path: Path, how: str) -> None:
    out = sh(tmp_path, f"mkdir d; cd d; {how} demo:; mount -t cephmon demo: ../m; cat ../m/health; umount ../m")
    assert out == "HEALTH_OK\n"


@pytest.mark.parametrize("source", ["ceph", "ceph/", "none", "cephmon", ":/", ":/x/y", "df@", "df@/", "df@.cephfs="])
@pytest.mark.parametrize("how", ["nothing", "directory", "link"])
def test_a_bare_source_means_the_same_everywhere(tmp_path: Path, source: str, how: str) -> None:
    """There is no cluster; the sentence names the conf, and so tells that this is what was read."""
    word, name = shlex.quote(source), shlex.quote(source.partition("/")[0])
    make = {"nothing": "true", "directory": f"mkdir -p {word}", "link": f"ln -s ../elsewhere {name}"}[how]
    option = f"secretfile={tmp_path}/key,conf={tmp_path}/c,mount_timeout=1"
    option += "" if source.startswith("df@") else ",name=df"
    body = f"""
        mkdir d elsewhere; echo '[global]' > c; echo 'mon host = 127.0.0.1:9' >> c; cd d; {make}
        mount -t cephmon {word} ../m -o {option}
        true
    """
    (tmp_path / "key").write_text("AQAA8VNlAAAAABAAMDEyMzQ1Njc4OWFiY2RlZg==\n")
    (tmp_path / "key").chmod(0o600)
    out = sh(tmp_path, body)
    assert "the monitor did not answer in 1 s: monitor 127.0.0.1:9 at v2:127.0.0.1:9/0: connect: connection ref" in out


def test_remount_of_a_mount_made_by_hand(tmp_path: Path) -> None:
    out = sh(
        tmp_path,
        """
        mount -t cephmon demo: m
        for o in remount remount,ro remount,rw remount,exec remount,pool=rbd; do mount -o $o m; echo "$o: $?"; done
        umount m
        """,
    )
    told = "mount.cephmon: remount would change {}, and a mount's options cannot be changed: "
    told += f"umount {tmp_path}/m, and mount it anew"
    assert out.splitlines() == [
        "remount: 0",
        "remount,ro: 0",
        told.format("rw"),
        "remount,rw: 32",
        told.format("exec"),
        "remount,exec: 32",
        told.format("pool"),
        "remount,pool=rbd: 32",
    ]


def test_remount_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "fstab").write_text(f"demo: {tmp_path}/m cephmon demo_mons=3,_netdev,bg 0 0\n")
    out = sh(
        tmp_path,
        f"""
        mount -T fstab m
        for o in remount remount,ro remount,rw remount,refresh=99; do mount -T fstab -o $o m; echo "$o: $?"; done
        sed -i s/bg/nofail/ fstab; mount -T fstab -o remount m; echo "$?"
        umount {tmp_path}/m
        """,
    )
    assert [line for line in out.splitlines() if "would change" not in line] == [
        "remount: 0", "remount,ro: 0", "remount,rw: 0", "remount,refresh=99: 32", "0",
    ]  # fmt: skip


def test_a_mount_flagged_rw_takes_no_write(tmp_path: Path) -> None:
    writes = [
        "touch m/x", "touch m/fsid", "echo > m/fsid", "echo >> m/events", "mkdir m/d", "rm -f m/fsid", "mv m/fsid m/y",
        "ln m/fsid m/y", "ln -s fsid m/y", "chmod 600 m/fsid", "chown 1 m/fsid", "truncate -s 0 m/fsid", "mknod m/z p",
        "rmdir m/mon", "touch m/mon/x", "cp m/fsid m/q",
    ]  # fmt: skip
    body = "; ".join(f"{command} && echo written" for command in writes)
    out = sh(
        tmp_path,
        f"mount -t cephmon demo: m -o show_as_rw; grep ' {tmp_path}/m ' /proc/mounts; {body}; cat m/health; umount m",
    )
    first, *refused, health = out.splitlines()
    assert first.split()[3].startswith("rw,nosuid,nodev,noexec,relatime,")
    assert len(refused) == len(writes), refused
    assert all("Read-only file system" in line for line in refused), refused
    assert health == "HEALTH_OK"


def test_a_mount_flagged_rw_takes_no_write_from_anybody(tmp_path: Path) -> None:
    """The kernel checks permissions first, so there are write bits; who may not read still may not."""
    tmp_path.chmod(0o755)
    user = "setpriv --reuid 12345 --regid 12345 --clear-groups sh -c"
    writes = ["echo > m/fsid", "echo >> m/health", "mkdir m/d", "rm -f m/fsid", "mv m/fsid m/y", "touch m/mon/x"]
    body = "; ".join(f"{user} '{command}'" for command in writes)
    out = sh(
        tmp_path,
        f"mount -t cephmon demo: m -o show_as_rw; {body}; {user} 'cat m/health; cat m/log'; "
        "stat -c %A m/fsid; umount m",
    )
    *refused, health, log, mode = out.splitlines()
    assert len(refused) == len(writes), refused
    assert all("Read-only file system" in line for line in refused), refused
    assert health == "HEALTH_OK"
    assert "Permission denied" in log
    assert mode == "-rw-rw-rw-"


@pytest.mark.parametrize(
    ("options", "part"),
    [("", ""), ("-o pool=rbd", ".rbd"), ("-o fs=cephfs", ".cephfs="), ("-o pool=rbd,fs=cephfs", ".rbd")],
)
def test_proc_mounts_names_what_df_is_about(tmp_path: Path, options: str, part: str) -> None:
    out = sh(tmp_path, f"mount -t cephmon demo: m {options}; grep ' {tmp_path}/m ' /proc/mounts; cat m/fsid; umount m")
    source, *_, fsid = out.split()
    assert source == f"demo@{fsid}{part}"
    assert parse_source(source).fsid == fsid
    assert os.path.basename(source) == source
