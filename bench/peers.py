"""Who is measured: our mount, ceph-fuse, librados; all on one cluster, all in secure mode."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.machine import Process, load
from tests.support.cluster import Cluster
from tests.support.helper import Mounted, is_mounted, processes, run, wait_gone


@contextmanager
def cluster(release: str = "pacific", **options: Any) -> Iterator[Cluster]:
    """A whole cluster; its directory goes with it."""
    directory = Path(tempfile.mkdtemp(prefix="cmfs-bench-"))
    directory.chmod(0o755)
    wanted: dict[str, Any] = {"mons": 3, "mgr": True, "osds": 1, "mds": 1} | options
    try:
        with Cluster.create(release=release, directory=directory, **wanted) as made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def mon_ports(one: Cluster) -> set[int]:
    return {port for addrs in one.mon_addrs().values() for port in (addrs.v2_port, addrs.v1_port) if port is not None}


class Ours:
    """Our mount, made by the helper as mount(8) would call it."""

    name = "cephmonfs"

    def __init__(self, one: Cluster, label: str = "ours", *options: str) -> None:
        self.path = one.directory / label
        secret = one.directory / "client.df.secret"
        if not secret.exists():
            one.write_secret("client.df")
        words = ["name=df", f"secretfile={secret}", "ms_mode=secure", *options]
        began = time.perf_counter()
        self._mount = Mounted(one.source(), self.path, *words)
        os.statvfs(self.path)
        self.first_df_s = time.perf_counter() - began
        self.process = Process(self._mount.daemon)

    def load(self, callers: int, seconds: float) -> dict[str, float]:
        return load("statvfs", self.path, callers=callers, seconds=seconds)

    def stats(self) -> dict[str, int]:
        """session/stats."""
        lines = (self.path / "session" / "stats").read_text().splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}

    def close(self) -> None:
        self._mount.__exit__(None, None, None)


class CephFuse:
    """ceph-fuse as the cluster's admin, for it needs the MDS and we do not."""

    name = "ceph-fuse"

    def __init__(self, one: Cluster, label: str = "ceph-fuse") -> None:
        self.path = one.directory / label
        self.path.mkdir(exist_ok=True)
        argv = ["ceph-fuse", "-c", str(one.conf_path), "--id", "admin", "-k", str(one.admin_keyring), str(self.path)]
        argv += ["--ms_mon_client_mode=secure", "--ms_client_mode=secure"]
        began = time.perf_counter()
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode or not is_mounted(self.path):
            raise RuntimeError(f"ceph-fuse: {done.stderr[-1000:]}")
        os.statvfs(self.path)
        self.first_df_s = time.perf_counter() - began
        (self.pid,) = processes(self.path)
        self.process = Process(self.pid)

    def load(self, callers: int, seconds: float) -> dict[str, float]:
        return load("statvfs", self.path, callers=callers, seconds=seconds)

    def close(self) -> None:
        """Unmount; now and then ceph-fuse does not come to an end then, and is helped."""
        run(["umount", self.path])
        try:
            wait_gone(self.path, 5)
        except AssertionError:
            os.kill(self.pid, signal.SIGKILL)
            wait_gone(self.path)


class Librados:
    """rados_cluster_stat by librados itself, inside the load generator: no FUSE, no Python."""

    name = "librados"

    def __init__(self, one: Cluster) -> None:
        self._words = (one.conf_path, "admin", one.admin_keyring)

    def load(self, callers: int, seconds: float) -> dict[str, float]:
        return load("rados", *self._words, callers=callers, seconds=seconds)

    def close(self) -> None:
        """Nothing is left open."""


def mons_received(one: Cluster) -> int:
    """Messages that all monitors together have received, from anyone, by their own perf counters."""
    total = 0
    for name in one.mon_addrs():
        for section, values in one.mon(name).admin_socket("perf", "dump").items():
            if section.startswith("AsyncMessenger::Worker"):
                total += values["msgr_recv_messages"]
    return total
