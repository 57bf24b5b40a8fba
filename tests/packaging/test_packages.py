"""The packages in fresh Debian roots (slow: `make test-packages`), and README's commands where nothing is installed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chroot import cache_dir, mirror
from tests.support.helper import ROOT

DIST = ROOT / "dist"
SUITES = {"bookworm": "12", "trixie": "13"}

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif("CEPHMONFS_TEST_PACKAGES" not in os.environ, reason="only by make test-packages"),
]


class Root:
    """A copy of a freshly installed Debian.  Commands run in it with a mount and a pid namespace of their own."""

    def __init__(self, suite: str, path: Path) -> None:
        self.suite = suite
        self.path = path
        self._binds = [*_local_indexes(), *(p for p in ("/etc/ssl/certs",) if Path(p).exists())]
        for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf"):
            if Path(name).exists():
                shutil.copy(name, path / name[1:])
        for folder in ("/etc/xdg/pip", str(Path.home() / ".config/pip")):
            if Path(folder).exists():
                shutil.copytree(folder, path / folder[1:], dirs_exist_ok=True)
        self("apt-get -q update")

    def __call__(self, script: str, *, check: bool = True, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """Run a script; everything it started has ended afterwards, and its mounts are gone."""
        root = shlex.quote(str(self.path))
        begin = ["mount --make-rprivate /", f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
        for bind in self._binds:
            quoted = shlex.quote(bind)
            begin.append(f"mkdir -p {root}{quoted} && mount --bind {quoted} {root}{quoted}")
        begin.append(f'exec chroot {root} sh -eu -c "$1"')
        argv = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            " && ".join(begin),
            "root",
            script,
        ]
        env = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        env |= {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, timeout=timeout_s, check=False
        )
        if check:
            assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done


def _local_indexes() -> list[str]:
    """Folders on this machine that its pip takes packages from."""
    done = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    found = {f"/{path.split('/')[1]}" for path in re.findall(r"(?:file://|')(/(?!etc)[^' \n]+)", done.stdout)}
    return sorted(path for path in found if Path(path).is_dir() and path not in ("/usr", "/root", "/tmp"))


def _fresh(suite: str, target: Path) -> Root:
    base = cache_dir() / f"clean-{suite}"
    if not base.exists():
        temporary = base.with_name(f"{base.name}.tmp.{os.getpid()}")
        argv = ["mmdebstrap", "--variant=apt", "--mode=root", "--components=main", "--dpkgopt=force-unsafe-io"]
        argv += ['--aptopt=Acquire::Check-Valid-Until "false"', suite, str(temporary), mirror()]
        subprocess.run(argv, check=True, capture_output=True, timeout=600)
        temporary.rename(base)
    subprocess.run(["cp", "-a", str(base), str(target)], check=True)
    return Root(suite, target)


@pytest.fixture(params=SUITES)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    yield _fresh(request.param, tmp_path / "root")
    shutil.rmtree(tmp_path / "root", ignore_errors=True)


@pytest.fixture
def bookworm(tmp_path: Path) -> Iterator[Root]:
    yield _fresh("bookworm", tmp_path / "root")
    shutil.rmtree(tmp_path / "root", ignore_errors=True)


LOOK = """
mkdir -p /mnt/ceph
mount -t cephmon demo: /mnt/ceph
df --output=fstype /mnt/ceph | tail -n 1
cat /mnt/ceph/session/state /mnt/ceph/session/mode
test "$(cat /mnt/ceph/capacity/total_bytes)" -gt 0
cat /mnt/ceph/monmap.json >/dev/null
umount /mnt/ceph
i=0; while grep -qsxE "mount.cephmon|cephmon|cephmonfs|python3|fusermount3" /proc/[0-9]*/comm; do
    i=$((i + 1)); test $i -lt 50; sleep 0.1
done
"""


def test_the_debian_package(root: Root) -> None:
    (package,) = DIST.glob("cephmonfs_*_all.deb")
    shutil.copy(package, root.path / "tmp" / package.name)
    root(f"apt-get -q install -y --no-install-recommends /tmp/{package.name}")
    assert root("command -v gcc", check=False).returncode != 0, "it wants a compiler"
    assert root(LOOK).stdout.split() == ["fuse.cephmon", "open", "secure"]
    root("test -s /usr/share/man/man8/mount.cephmon.8.gz && cephmonfs --version && cephmon --version")
    line = "demo: /mnt/ceph cephmon _netdev,nofail 0 0"
    root(f"echo '{line}' >>/etc/fstab; mount -a; cat /mnt/ceph/session/state; umount /mnt/ceph")
    root("mkdir -p /mnt/ceph; mount -t fuse.cephmon demo: /mnt/ceph; cat /mnt/ceph/session/state; umount /mnt/ceph")
    root("dpkg --audit; apt-get -q install -y --reinstall --no-install-recommends /tmp/*.deb")
    left = root(
        "apt-get -q purge -y cephmonfs >&2; dpkg -L cephmonfs 2>/dev/null || true; ls /usr/lib/python3/dist-packages"
    ).stdout
    assert "cephmonfs" not in left


def test_the_wheel_and_the_sdist(bookworm: Root) -> None:
    """As docs/quickstart.md says: pyfuse3 is compiled."""
    (wheel,) = DIST.glob("cephmonfs-*.whl")
    (sdist,) = DIST.glob("cephmonfs-*.tar.gz")
    for file in (wheel, sdist):
        shutil.copy(file, bookworm.path / "tmp" / file.name)
    packages = "fuse3 libfuse3-dev pkg-config gcc python3-dev python3-venv ca-certificates"
    bookworm(f"apt-get -q install -y --no-install-recommends {packages}")
    bookworm(f"python3 -m venv /opt/cephmonfs-wheel && /opt/cephmonfs-wheel/bin/pip -q install /tmp/{wheel.name}")
    commands = "mkdir -p /mnt/c; {0}/cephmonfs mount demo: /mnt/c; cat /mnt/c/session/state; umount /mnt/c"
    assert bookworm(commands.format("/opt/cephmonfs-wheel/bin")).stdout == "open\n"
    bookworm("test -s /opt/cephmonfs-wheel/share/man/man8/mount.cephmon.8")
    # The sdist needs the same packages; only its own build is new.
    bookworm(f"/opt/cephmonfs-wheel/bin/pip -q install --no-deps --force-reinstall /tmp/{sdist.name}")
    assert bookworm(commands.format("/opt/cephmonfs-wheel/bin")).stdout == "open\n"


def test_the_first_commands_of_the_readme(bookworm: Root) -> None:
    """git, make, python3 and nothing else; `make test` is what CI runs, so here are the others."""
    bookworm("apt-get -q install -y --no-install-recommends git make python3")
    subprocess.run(["git", "clone", "-q", str(ROOT), str(bookworm.path / "root/cephmonfs")], check=True)
    demo = bookworm("cd /root/cephmonfs && make demo && umount ./mnt").stdout
    assert "fuse" in demo or "demo@" in demo
    assert "HEALTH_" in demo
    assert "capacity" in demo
    install = "cd /root/cephmonfs && make install"
    bookworm(install)
    assert bookworm(LOOK).stdout.split() == ["fuse.cephmon", "open", "secure"]
    bookworm("cephmonfs --version && cephmon --version")
    began = bookworm(f"cd /; t0=$(date +%s); {install} >&2; t1=$(date +%s); echo $((t1 - t0))").stdout
    assert int(began) < 5
    bookworm("cd /root/cephmonfs && make uninstall; test ! -e /sbin/mount.cephmon; test ! -e /opt/cephmonfs")
