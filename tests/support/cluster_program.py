"""The program behind `make cluster`: tools/cluster."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import chroot
from tests.support.cluster import Cluster
from tests.support.daemon import start_time
from tests.support.release import RELEASES, ClusterError, ClusterUnavailable, Runner


def down(directory: Path) -> int:
    """End the daemons recorded in `directory`, and only those: pid and start time must both fit."""
    ended = 0
    for file in sorted((directory / "run").glob("*.pid")):
        pid, started = file.read_text().split()
        if start_time(int(pid)) == started != "0":
            os.kill(int(pid), signal.SIGKILL)
            ended += 1
        file.unlink()
    for root in chroot.cache_dir().glob("*/.cephmonfs-recipe"):
        chroot.forget(root.parent, directory)
    return ended


def _up(options: argparse.Namespace) -> None:
    directory = Path(options.dir).resolve()
    if list((directory / "run").glob("*.pid")):
        sys.exit(f"cluster: one is in {directory} already; end it first: make cluster-down DIR={options.dir}")
    if (directory / "ceph.conf").exists():
        shutil.rmtree(directory)
    elif directory.exists() and any(directory.iterdir()):
        sys.exit(f"cluster: {directory} is not empty and not one of ours")
    began = time.monotonic()
    small = options.mons_only
    cluster = Cluster.create(
        release=options.release,
        directory=directory,
        mons=options.mons,
        mgr=not small,
        osds=0 if small else 1,
        mds=0 if small else 1,
        watchdog=False,
    )
    secret = cluster.write_secret("client.df")
    mounting = f"mount -t cephmon {cluster.source()} /mnt -o name=df,secretfile={secret}"
    print(f"{options.release} is up after {time.monotonic() - began:.1f} s, fsid {cluster.fsid}, in {directory}")
    for name, addrs in cluster.mon_addrs().items():
        print(f"  mon.{name}  {addrs.addrvec}")
    print(f"try:   {mounting}")
    print(f"ceph:  {_ceph_line(cluster)}")
    print(f"end:   make cluster-down DIR={options.dir}")


def _ceph_line(cluster: Cluster) -> str:
    words = ["ceph", "-c", str(cluster.conf_path), "-s"]
    if cluster.runner.root is None:
        return " ".join(words)
    return f"tools/cluster ceph --dir {cluster.directory} -- -s"


def _ceph(options: argparse.Namespace) -> None:
    directory = Path(options.dir).resolve()
    release = (directory / "release").read_text().strip()
    words = [word for word in options.words if word != "--"]
    argv = ["ceph", "-c", str(directory / "ceph.conf"), "--keyring", str(directory / "admin.keyring"), *words]
    sys.exit(subprocess.call(Runner.find(release, directory).argv(argv)))


def _where(release: str) -> str:
    try:
        return f"{release}: {Runner.find(release, Path('/tmp')).root or 'installed on this machine'}"
    except ClusterUnavailable as exc:
        return f"{release}: none here: {exc}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools/cluster", description="A real throw-away Ceph cluster on loopback.")
    sub = parser.add_subparsers(dest="what", required=True)
    up = sub.add_parser("up", help="start one; it stays until `down`")
    up.add_argument("--release", choices=RELEASES, default="pacific")
    up.add_argument("--mons", type=int, default=3)
    up.add_argument("--mons-only", action="store_true", help="no mgr, OSD and MDS: up in a second")
    end = sub.add_parser("down", help="end it")
    run = sub.add_parser("ceph", help="the ceph program of its release, as client.admin")
    run.add_argument("words", nargs=argparse.REMAINDER)
    build = sub.add_parser("chroots", help="see that every release is there; builds the missing roots, once")
    for one in (up, end, run):
        one.add_argument("--dir", default="./cluster")
    del build
    options = parser.parse_args(arguments)
    try:
        match options.what:
            case "up":
                _up(options)
            case "down":
                print(f"cluster: {down(Path(options.dir).resolve())} daemons ended")
            case "ceph":
                _ceph(options)
            case "chroots":
                with ThreadPoolExecutor(len(RELEASES)) as pool:
                    for line in pool.map(_where, RELEASES):
                        print(line)
    except (ClusterError, ClusterUnavailable) as exc:
        sys.exit(f"cluster: {exc}")


if __name__ == "__main__":
    main()
