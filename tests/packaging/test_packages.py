"""The packages in fresh Debian roots (slow: `make test-packages`), and README's commands where nothing is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.roots import SUITES, Root, fresh
from tests.support import killer
from tests.support.helper import ROOT

DIST = ROOT / "dist"

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif("CEPHMONFS_TEST_PACKAGES" not in os.environ, reason="only by make test-packages"),
]


@pytest.fixture(params=SUITES)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    yield fresh(request.param, tmp_path / "root")
    shutil.rmtree(tmp_path / "root", ignore_errors=True)


@pytest.fixture
def bookworm(tmp_path: Path) -> Iterator[Root]:
    yield fresh("bookworm", tmp_path / "root")
    shutil.rmtree(tmp_path / "root", ignore_errors=True)


PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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

KILL = """
mount -t cephmon demo: /mnt/ceph
pid=$(grep -lx mount.cephmon /proc/[0-9]*/comm | head -n 1 | cut -d / -f 3)
python3 -IS /tmp/killer.py /mnt/ceph $pid statfs kill 3000 1
umount /mnt/ceph
"""


# The daemon's user, and its environment: of a mount that begins with all that is hostile about Python.
WHO = """
mkdir -p /mnt/who
env PYTHONEXECUTABLE=/tmp/x PYTHONPATH=/tmp OPENSSL_CONF=/tmp/x RES_OPTIONS=debug mount.cephmon demo: /mnt/who
for p in /proc/[0-9]*; do
    test "$(cat $p/comm)" = mount.cephmon && grep ^Uid: $p/status && tr '\\0' ' ' <$p/environ
done
umount /mnt/who
"""


def who(root: Root) -> tuple[str, str]:
    """Uid and environment of a daemon."""
    uid, environment = root(WHO).stdout.splitlines()
    return uid.split()[1], environment.strip()


def account(root: Root) -> list[str]:
    """The line of /etc/passwd, where there is one; nobody can log in with it."""
    line = root("getent passwd cephmonfs", check=False).stdout.strip().split(":")
    if line != [""]:
        assert 0 < int(line[2]) < 1000
        assert line[6].endswith(("nologin", "false"))
        assert root("getent shadow cephmonfs").stdout.split(":")[1] in ("!", "*", "!*", "!!")
    return line


def test_the_debian_package(root: Root) -> None:
    (package,) = DIST.glob("cephmonfs_*_all.deb")
    shutil.copy(package, root.path / "tmp" / package.name)
    root(f"apt-get -q install -y --no-install-recommends /tmp/{package.name}")
    assert root("command -v gcc", check=False).returncode != 0, "it wants a compiler"
    assert root(LOOK).stdout.split() == ["fuse.cephmon", "open", "secure"]
    made = account(root)
    assert made[0] == "cephmonfs"
    assert who(root) == (made[2], PATH)
    root("test -s /usr/share/man/man8/mount.cephmon.8.gz && cephmonfs --version && cephmon --version")
    # pyfuse3 3.2.1 and 3.4.0, with the trio of their distribution: the loop survives killed callers there, too
    shutil.copy(killer.__file__, root.path / "tmp")
    found = json.loads(root(KILL).stdout)
    assert found["killed"] >= 3000
    assert not found["for_ever"], found
    line = "demo: /mnt/ceph cephmon _netdev,nofail 0 0"
    root(f"echo '{line}' >>/etc/fstab; mount -a; cat /mnt/ceph/session/state; umount /mnt/ceph")
    root("mkdir -p /mnt/ceph; mount -t fuse.cephmon demo: /mnt/ceph; cat /mnt/ceph/session/state; umount /mnt/ceph")
    root("dpkg --audit; apt-get -q install -y --reinstall --no-install-recommends /tmp/*.deb")
    left = root(
        "apt-get -q purge -y cephmonfs >&2; dpkg -L cephmonfs 2>/dev/null || true; ls /usr/lib/python3/dist-packages"
    ).stdout
    assert "cephmonfs" not in left
    assert account(root) == made  # so that nobody else gets its uid


def test_the_debian_package_on_its_own_account(bookworm: Root) -> None:
    """An account of that name that was there before is not touched; and an older version's files are taken back."""
    (package,) = DIST.glob("cephmonfs_*_all.deb")
    shutil.copy(package, bookworm.path / "tmp" / package.name)
    bookworm("useradd --uid 4321 --no-create-home --shell /bin/bash cephmonfs")
    bookworm("install -d -o nobody -m 775 /var/lib/cephmonfs; install -o nobody /dev/null /var/lib/cephmonfs/x.monmap")
    bookworm(f"apt-get -q install -y --no-install-recommends /tmp/{package.name}")
    assert bookworm("getent passwd cephmonfs").stdout.startswith("cephmonfs:x:4321:")
    assert who(bookworm)[0] == "4321"
    key = "AQDGSXFYAAAAABAAh5yoEVJTLVmcvC9ItbdFOw=="
    remembering = "mount.cephmon 127.0.0.1:9:/ /mnt/who -o bg,name=x,secretfile=/dev/fd/0; umount /mnt/who"
    bookworm(f"echo {key} | ( {remembering} )")
    state = bookworm("find /var/lib/cephmonfs -printf '%u %m %y\\n'").stdout.splitlines()
    assert state == ["root 755 d", "root 600 f"]  # x.monmap is gone, and there is one of this source
    bookworm("userdel cephmonfs")
    assert who(bookworm)[0] == "65520"


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
    assert who(bookworm) == (account(bookworm)[2], PATH)
    bookworm("cephmonfs --version && cephmon --version")
    began = bookworm(f"cd /; t0=$(date +%s); {install} >&2; t1=$(date +%s); echo $((t1 - t0))").stdout
    assert int(began) < 5
    bookworm("cd /root/cephmonfs && make uninstall; test ! -e /sbin/mount.cephmon; test ! -e /opt/cephmonfs")
