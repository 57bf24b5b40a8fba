"""Programs that walk the whole tree: of a healthy cluster, and while monitors are killed and paused and come back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory
from tests.support.cluster import FAST_ELECTIONS, Cluster
from tests.support.helper import Mounted

pytestmark = pytest.mark.fuse

BOUND_S = 20.0  # of one walk; half a second where the machine has nothing else to do

TAR = "tar cf {out}/all.tar ."
# What each says when it could not read something, and the status that goes with it.  `{out}` is a new directory.
WALKERS = {
    "find . -type f -exec cat {{}} + >{out}/all": 1,
    TAR: 2,
    "rsync -a ./ {out}/": 23,
    "cp -r . {out}/": 1,
    "grep -r nothing-like-that . || [ $? = 1 ]": 1,
}
# What has no data: when a monitor is down, the answer to this one command is EBUSY.
NO_DATA = re.compile(r"/ok-to-add-offline\b.*No data available|^rsync error: some files.*\(code 23\)")
# Like a log, it grows: tar says so and ends with 1.
GROWS = re.compile(r"tar: \./events: file changed as we read it")


# On a healthy cluster all of these end with status 0.  Where they may, they follow links.
FOLLOWERS = {
    "cp -a": "cp -a . {out}/all",
    "cp -rL": "cp -rL . {out}/all",
    "cat": "find . -type f -exec cat {{}} + >{out}/all",
    "grep -r": "grep -r nothing-like-that . || [ $? = 1 ]",
    "grep -R": "grep -R nothing-like-that . || [ $? = 1 ]",
    "rsync": "rsync -a ./ {out}/all/",
    "rsync -L": "rsync -aL ./ {out}/all/",
    "tar": "tar cf {out}/all.tar .",
    "tar -h": "tar chf {out}/all.tar .",
    "zip": "zip -qr {out}/all.zip .",
    "make_archive": 'python3 -c \'import shutil; shutil.make_archive("{out}/all", "zip", ".")\'',
    "git": "git init -q {out}/git && git --git-dir={out}/git/.git --work-tree=. add -A .",
    "borg": "borg init -e none {out}/borg && borg create {out}/borg::all .",
    "restic": "restic init -q -r {out}/restic && restic backup -q -r {out}/restic .",
}
OPTIONAL = ("borg", "restic")  # not worth a hundred megabytes on each machine that runs the tests


@dataclass
class Walk:
    """How one ended."""

    command: str
    status: int
    stderr: list[str]
    seconds: float

    def judge(self) -> None:
        said = [line for line in self.stderr if not NO_DATA.search(line)]
        grown = [line for line in said if GROWS.search(line)]
        assert said == grown, self
        expected = WALKERS[self.command] if len(said) < len(self.stderr) else 1 if grown else 0
        assert self.status == expected, self
        assert self.seconds < BOUND_S, self


@dataclass
class Disturbance:
    """Somebody who kills and pauses monitors, in a thread; `rounds` counts how often all of it was done."""

    cluster: Cluster
    rounds: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        a, b, c = (self.cluster.mon(name) for name in "abc")
        while not self.stop.is_set():
            a.kill()
            self.stop.wait(0.3)
            a.start()
            b.pause()
            self.stop.wait(0.3)
            b.resume()
            b.kill()
            c.kill()  # no quorum
            self.stop.wait(0.3)
            b.start()
            c.start()
            self.cluster.wait_quorum(3)
            self.rounds += 1
            self.stop.wait(1)

    def __enter__(self) -> Disturbance:
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()


@pytest.fixture
def mount(cluster_factory: ClusterFactory, tmp_path: Path) -> Iterator[tuple[Cluster, Mounted]]:
    cluster = cluster_factory(release="pacific", conf=FAST_ELECTIONS)
    options = ("name=df", f"secretfile={cluster.write_secret('client.df')}", "refresh=0", "cmd_timeout=0.5")
    with Mounted(cluster.source(), tmp_path / "m", *options) as mounted:
        yield cluster, mounted


def walk(mount: Mounted, command: str, out: Path) -> Walk:
    out.mkdir()
    began = time.monotonic()
    done = subprocess.run(
        ["timeout", "-k", "1", "60", "sh", "-c", f"cd {mount.path} && {command.format(out=out)}"],
        capture_output=True,
        text=True,
        errors="replace",
        env={"PATH": os.environ["PATH"], "HOME": str(out), "RESTIC_PASSWORD": "none"},
    )
    lines = [line for line in done.stderr.splitlines() if line]
    return Walk(command, done.returncode, lines, time.monotonic() - began)


def test_walkers_while_monitors_come_and_go(mount: tuple[Cluster, Mounted], tmp_path: Path) -> None:
    cluster, mounted = mount
    assert (mounted.path / "ceph/status").stat().st_size == 4096  # unknown: tar would pass by what says 0
    walk(mounted, TAR, tmp_path / "first").judge()
    with Disturbance(cluster) as disturbance:
        for number, command in enumerate(WALKERS):
            walk(mounted, command, tmp_path / f"disturbed{number}").judge()
    assert disturbance.rounds
    walk(mounted, TAR, tmp_path / "after").judge()
    stable = ("ceph/mon/getmap", "ceph/osd/crush/dump", "maps/monmap.bin", "fsid", "README")
    for directory in (tmp_path / name for name in ("first", "disturbed1", "disturbed2", "disturbed3", "after")):
        if (directory / "all.tar").exists():
            subprocess.run(["tar", "xf", "all.tar"], cwd=directory, check=True)
        names = {path.relative_to(directory) for path in directory.rglob("*")} - {Path("all.tar")}
        for path in mounted.path.rglob("*"):
            assert path.relative_to(mounted.path) in names or NO_DATA.search(f"{path}: No data available"), path
        for name in stable:
            assert (directory / name).read_bytes() == (mounted.path / name).read_bytes(), name
        assert (directory / "ceph/status").stat().st_size > 100
        assert not (directory / "events_pipe").exists()


@dataclass(frozen=True)
class Kind:
    """A mount to walk."""

    source: str
    options: tuple[str, ...]
    unlisted: tuple[str, ...]  # what is found by its name alone


def healthy(kind: str, request: pytest.FixtureRequest) -> Kind:
    if kind == "demo":
        return Kind("demo:", (), ("events_pipe",))
    factory: ClusterFactory = request.getfixturevalue("cluster_factory")
    release, _, bare = kind.partition(" ")
    cluster = factory(release=release, mons=1) if bare else request.getfixturevalue("clusters")(release)
    names = ["events_pipe"]
    if bare:
        names += ["mdsmap", "mdsmap.json", "maps/mdsmap.bin", "epoch/mdsmap", "debug/mdsmap"]
    if release == "tentacle":
        names += [f"ceph/osd/pool/availability-status{end}" for end in ("", ".json")]
    return Kind(cluster.source(), ("name=df", f"secretfile={cluster.write_secret('client.df')}"), tuple(names))


@pytest.mark.parametrize("kind", ["demo", "pacific", "pacific bare", "tentacle"])
def test_all_of_a_healthy_mount_can_be_read(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    found = healthy(kind, request)
    for name, command in FOLLOWERS.items():
        if name in OPTIONAL and shutil.which(name) is None:
            continue
        with Mounted(found.source, tmp_path / "m", *found.options) as mounted:
            done = walk(mounted, command, tmp_path / name.replace(" ", ""))
            assert (done.status, done.stderr) == (0, []), done
            assert done.seconds < BOUND_S, done
    with Mounted(found.source, tmp_path / "m", *found.options) as mounted:
        listed = {str(path.relative_to(mounted.path)) for path in mounted.path.rglob("*")}
        copied = {str(path.relative_to(tmp_path / "cp-rL/all")) for path in (tmp_path / "cp-rL/all").rglob("*")}
        assert listed == copied
        for name in found.unlisted:
            assert name not in listed
            assert (mounted.path / name).is_file(), name  # there all the same
        rtts = [path.read_text() for path in mounted.path.glob("mon/*/rtt_ms")]
        assert all(text == "" or float(text) > 0 for text in rtts), rtts
