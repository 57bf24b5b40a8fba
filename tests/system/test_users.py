"""Users who are not root, through fusermount3; keys by descriptor and by credential."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.helper import CEPHMONFS, HELPER, ROOT, forget, run, wait_gone

pytestmark = [pytest.mark.fuse, pytest.mark.cluster]

USER = 65534
BECOME = "setpriv --reuid=65534 --regid=65534 --clear-groups"
USER_ALLOW_OTHER = "echo user_allow_other >/run/conf && mount --bind /run/conf /etc/fuse.conf"


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the user's own, with a mount point."""
    path = Path(tempfile.mkdtemp(prefix="cmfs-user-"))
    (path / "m").mkdir()
    os.chown(path, USER, USER)
    os.chown(path / "m", USER, USER)
    yield path
    run(["umount", "-l", path / "m"])
    shutil.rmtree(path)


def as_user(script: str, *, root_before: str = "true") -> subprocess.CompletedProcess[str]:
    """Run it as the user, where everybody may open /dev/fuse (a desktop's udev sees to that)."""
    device = "cp -a /dev/fuse /run/fuse && chmod 666 /run/fuse && mount --bind /run/fuse /dev/fuse"
    inner = f"mount --make-rprivate / && mount -t tmpfs none /run && {device} && {root_before} && exec {BECOME} sh -c "
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return run(["unshare", "--mount", "sh", "-c", inner + shlex.quote(script)], env=env, cwd="/")


def owned(cluster: Cluster, home: Path) -> Path:
    path = cluster.write_secret("client.df", home / "secret")
    os.chown(path, USER, USER)
    return path


def test_a_user_mounts_looks_and_unmounts(pacific: Cluster, home: Path) -> None:
    options = f"name=df,secretfile={owned(pacific, home)}"
    done = as_user(
        f"{HELPER} {pacific.source()} {home}/m -o {options} && cat {home}/m/fsid && df --output=fstype {home}/m && "
        f"grep ' {home}/m ' /proc/mounts && {shlex.join(CEPHMONFS)} umount {home}/m"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == [pacific.fsid, "Type", "fuse.cephmon"]
    assert f"user_id={USER}" in done.stdout
    assert "allow_other" not in done.stdout
    assert re.fullmatch(
        r"mount\.cephmon: other users will not see the mount: /etc/fuse\.conf has no line user_allow_other \(.*\)\n",
        done.stderr,
    )
    wait_gone(home / "m")


def test_allow_other_is_what_fuse_conf_says(pacific: Cluster, home: Path) -> None:
    options = f"name=df,secretfile={owned(pacific, home)}"
    mount = f"{HELPER} {pacific.source()} {home}/m -o {options}"
    done = as_user(f"{mount},allow_other")
    assert done.returncode == 2
    assert done.stderr == (
        'mount.cephmon: allow_other: only root may, unless /etc/fuse.conf has a line "user_allow_other"\n'
    )
    done = as_user(f"{mount} && grep ' {home}/m ' /proc/mounts; fusermount3 -u {home}/m", root_before=USER_ALLOW_OTHER)
    assert done.stderr == ""
    assert ",allow_other" in done.stdout
    done = as_user(f"{mount},noallow_other && fusermount3 -u {home}/m")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_directory_of_somebody_else(pacific: Cluster, home: Path) -> None:
    os.chown(home / "m", 0, 0)
    done = as_user(f"{HELPER} {pacific.source()} {home}/m -o name=df,secretfile={owned(pacific, home)},noallow_other")
    assert done.returncode == 32
    assert re.search(r"mounting on \S+ failed: .*fusermount3: user has no write access to mountpoint", done.stderr)
    assert done.stderr.count("\n") == 1


def test_what_only_root_may_ask_for(pacific: Cluster, home: Path) -> None:
    options = f"name=df,secretfile={owned(pacific, home)},noallow_other"
    done = as_user(f"{HELPER} {pacific.source()} {home}/m -o {options},run_as=daemon")
    assert (done.returncode, done.stderr) == (
        1,
        "mount.cephmon: run_as: only a mount made by root can change its user\n",
    )


def test_a_key_by_descriptor(pacific: Cluster, home: Path) -> None:
    """Such a key is in no file and on no command line."""
    script = f"echo {pacific.keys['client.df']} | {HELPER} {pacific.source()} {home}/m -o name=df,secretfile=/dev/fd/"
    done = run(["sh", "-c", f"{script}0 && cat {home}/m/fsid && umount {home}/m"])
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, pacific.fsid, "")
    secret = pacific.write_secret("client.df")
    script = f"exec 7<{secret}; {HELPER} {pacific.source()} {home}/m -o name=df,secretfile=/dev/fd/7"
    done = run(["sh", "-c", f"{script} && cat {home}/m/fsid && umount {home}/m"])
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, pacific.fsid, "")
    done = run(["sh", "-c", f"{HELPER} {pacific.source()} {home}/m -o name=df,secretfile=/dev/fd/99"])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot read secretfile /dev/fd/99: No such file or directory" in done.stderr
    forget(pacific.fsid)


@pytest.mark.parametrize("kind", ["cephmon.secret", "cephmon.keyring"])
def test_a_key_by_credential(pacific: Cluster, home: Path, kind: str) -> None:
    """What LoadCredential= makes."""
    directory = home / "credentials"
    directory.mkdir()
    write = pacific.write_secret if kind == "cephmon.secret" else pacific.write_keyring
    write("client.df", directory / kind)
    argv: list[str | Path] = [HELPER, pacific.source(), home / "m", "-o", "name=df"]
    done = run(argv, env={"PATH": "/usr/bin:/bin", "CREDENTIALS_DIRECTORY": str(directory)}, cwd="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert (home / "m" / "fsid").read_text().strip() == pacific.fsid
    assert run(["umount", home / "m"]).returncode == 0
    forget(pacific.fsid)


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_key_file_that_others_can_read_is_told(pacific: Cluster, home: Path, mode: int, told: bool) -> None:
    secret = pacific.write_secret("client.df", home / "secret")
    secret.chmod(mode)
    done = run([HELPER, pacific.source(), home / "m", "-o", f"name=df,secretfile={secret}"])
    run(["umount", home / "m"])
    sentence = f"mount.cephmon: others can read the key in {secret}: chmod 600 {secret}\n"
    assert (done.returncode, done.stderr) == (0, sentence if told else "")
    forget(pacific.fsid)
