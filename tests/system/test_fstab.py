"""Lines of fstab as people have them for CephFS, with another type: mount -a, mount -o bind, umount -l."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.helper import HELPER, run, wait_gone

pytestmark = [pytest.mark.fuse, pytest.mark.cluster]

# {A} addresses with commas, {S} with slashes, {F} fsid, {K} secretfile, {R} keyring, {C} ceph.conf, {D} the mount point
LINES = {
    "kernel, old": "{A}:/ {D} cephmon name=df,secretfile={K},_netdev,noatime 0 2",
    "a directory": "{A}:/volumes/home/alice {D} cephmon rw,relatime,name=df,secretfile={K},acl,noauto,"
    "x-systemd.automount 0 0",
    "tuned": "{A}:/ {D} cephmon name=df,secretfile={K},rsize=16777216,wsize=16777216,rasize=8388608,caps_max=65536,"
    "readdir_max_entries=1024,readdir_max_bytes=524288,nocrc,dirstat,norbytes,noasyncreaddir,noshare,_netdev 0 0",
    "recovering": "{A}:/ {D} cephmon name=df,secretfile={K},recover_session=clean,mount_timeout=30,"
    "osdkeepalive=10,nowsync,"
    "nofail,x-systemd.requires=network-online.target,x-systemd.mount-timeout=2min 0 0",
    "one of several file systems": "{A}:/ {D} cephmon name=df,secretfile={K},mds_namespace=cephfs,"
    "ms_mode=prefer-crc,_netdev 0 0",
    "fs=": "{A}:/ {D} cephmon name=df,secretfile={K},fs=cephfs,ms_mode=secure,noatime,nodiratime,nosuid,nodev 0 0",
    "kernel, new": "df@.cephfs=/ {D} cephmon mon_addr={S},secretfile={K},noatime,_netdev 0 0",
    "new with fsid": "df@{F}.cephfs=/ {D} cephmon mon_addr={S},secretfile={K},ms_mode=prefer-secure,"
    "_netdev,comment=storage 0 0",
    "new with conf": "df@{F}.cephfs=/some/where {D} cephmon conf={C},keyring={R},defaults,_netdev,context=x 0 0",
    "ours, short": "df@ {D} cephmon conf={C},keyring={R},_netdev,nofail 0 0",
    "ours, pool": "ceph {D} cephmon name=df,conf={C},keyring={R},pool=cephfs_data,user,uid=1000,gid=100,mode=0440 0 0",
    "ceph-fuse": "none {D} fuse.cephmon ceph.id=df,ceph.conf={C},ceph.keyring={R},_netdev,defaults 0 0",
    "ceph-fuse with a path": "none {D} fuse.cephmon ceph.id=df,ceph.conf={C},ceph.keyring={R},"
    "ceph.client_mountpoint=/x,nonempty,allow_other 0 0",
    "ceph-fuse of old": "id=df,conf={C} {D} fuse.cephmon defaults,keyring={R},_netdev 0 0",
    "a comment of old": "{A}:/ {D} cephmon name=client.df,secretfile={K},comment=systemd.automount,"
    "nobootwait,quiet 0 0",
}  # fmt: skip


def script(directory: Path, body: str) -> str:
    """Shell with /sbin/mount.cephmon and cephmon in place, in a mount namespace of its own."""
    here = shlex.quote(str(directory))
    return f"""
        set -e; mount --make-rprivate /; cd {here}; mkdir old new
        mount --bind /usr/sbin old
        for file in old/*; do ln -s {here}/"$file" new/; done
        ln -sf {HELPER} new/mount.cephmon; ln -sf {HELPER} new/cephmon
        mount --bind new /usr/sbin
        {body}
    """


def fill(line: str, cluster: Cluster, directory: Path) -> str:
    addresses = cluster.source().removesuffix(":/")
    return line.format(
        A=addresses, S=addresses.replace(",", "/"), F=cluster.fsid, K=cluster.write_secret("client.df"),
        R=cluster.write_keyring("client.df"), C=cluster.conf_path, D=directory,
    )  # fmt: skip


def sh(directory: Path, body: str) -> str:
    done = run(["unshare", "--mount", "sh", "-c", script(directory, body)], timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", LINES)
def test_a_line_works_when_its_type_is_changed(pacific: Cluster, tmp_path: Path, name: str) -> None:
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    (tmp_path / "fstab").write_text(fill(LINES[name], pacific, mountpoint) + "\n")
    if "nobootwait" in LINES[name]:
        # an option of no program any more: told, and let pass by -s, as mount(8) has it
        assert 'unknown option "nobootwait"' in run(
            ["unshare", "--mount", "sh", "-c", script(tmp_path, "mount -T fstab m")]
        ).stderr  # fmt: skip
        for made in ("old", "new"):
            run(["rm", "-r", tmp_path / made])
    out = sh(tmp_path, f"mount -s -T fstab {mountpoint}; df --output=fstype m; cat m/fsid; umount m")
    assert out.split() == ["Type", "fuse.cephmon", pacific.fsid]
    wait_gone(mountpoint)


def test_mount_a_and_again(pacific: Cluster, tmp_path: Path) -> None:
    """The second time there is nothing to do, though what df shows is not the source of the line."""
    lines = [LINES["kernel, old"], LINES["kernel, new"], LINES["ceph-fuse"], LINES["a directory"]]
    for number, line in enumerate(lines):
        (tmp_path / f"m{number}").mkdir()
        lines[number] = fill(line, pacific, tmp_path / f"m{number}")
    (tmp_path / "fstab").write_text("\n".join(lines) + "\n")
    out = sh(tmp_path, "mount -T fstab -a; mount -T fstab --all; cat m0/fsid m1/fsid m2/fsid; ls m3; umount m0 m1 m2")
    assert out.split() == [pacific.fsid] * 3  # the fourth is noauto


def test_bind_and_lazy_umount(pacific: Cluster, tmp_path: Path) -> None:
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "fstab").write_text(fill(LINES["kernel, old"], pacific, mountpoint) + "\n")
    body = """
        mount -T fstab -a; mount -o bind m b
        cat b/fsid; umount -l m; cat b/fsid; cat b/session/state
        exec 9<b/fsid; umount -l b; cat <&9; exec 9<&-
    """
    assert sh(tmp_path, body).split() == [pacific.fsid, pacific.fsid, "open", pacific.fsid]
    wait_gone(mountpoint)


def test_a_mount_over_and_under(pacific: Cluster, tmp_path: Path) -> None:
    """mount -a with a line below another's mount point, which is read-only."""
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    (tmp_path / "fstab").write_text(fill(LINES["kernel, old"], pacific, mountpoint) + "\n")
    body = "mount -T fstab -a; mount -t tmpfs none m/mon; ls m/mon; umount m/mon; mount -f -T fstab m; umount m"
    assert sh(tmp_path, body) == ""
