"""What is measured side by side: our mount, ceph-fuse, librados; each with the processes that call it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support import chroot
from tests.support.cluster import Cluster
from tests.support.release import Runner

TOP = Path(__file__).parents[2]
_PROBER = Path(__file__).parent / "prober.py"
_READY_S = 30.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it began and ended (monotonic), its errno, and what it returned."""

    begin: float
    end: float
    error: int
    value: str

    @property
    def took(self) -> float:
        return self.end - self.begin


class Prober:
    """A process that calls in a loop."""

    def __init__(
        self, argv: Sequence[str], *words: str, pause_s: float = 0.02, count: int = 0, script: Path = _PROBER
    ) -> None:
        self.calls: list[Call] = []
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            [*argv, str(script), *words, str(pause_s), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_ready(self) -> None:
        if not self._ready.wait(_READY_S):
            raise RuntimeError("a caller does not start")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "ready\n":
                self._ready.set()
                continue
            begin, end, error, value = line.split()
            self.calls.append(Call(float(begin), float(end), int(error), value))

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End it; one that hangs in the kernel is let go when its mount is."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def last_answer(self) -> float:
        return self.calls[-1].end if self.calls else 0.0


@dataclass
class Client:
    """One thing that is measured."""

    name: str
    prober: Prober
    pid: int  # who has the session
    others: dict[str, Prober] = field(default_factory=dict)
    mount: Mount | None = None

    @property
    def probers(self) -> list[Prober]:
        return [self.prober, *self.others.values()]

    def answers(self) -> bool:
        """Whether the last call is over and went well, a moment ago; ours with numbers that are not held ones."""
        calls = self.prober.calls
        if not calls or calls[-1].error or time.monotonic() - calls[-1].end > 0.5:
            return False
        ages = self.others["age"].calls if "age" in self.others else []
        return all(age.error == 0 and float(age.value) <= age.took + 0.1 for age in ages[-5:])


class Mount:
    """Our daemon in the foreground, as a child."""

    def __init__(
        self, cluster: Cluster, directory: Path, source: str, options: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        self.path = directory
        directory.mkdir(parents=True, exist_ok=True)
        secret = cluster.write_secret("client.df", directory.with_suffix(".secret"))
        words = f"name=df,secretfile={secret},foreground,log_level=info" + (f",{options}" if options else "")
        self.log_path = directory.with_suffix(".log")
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [str(TOP / "mount.cephmon"), source, str(directory), "-o", words],
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )
        deadline = time.monotonic() + _READY_S
        while not os.path.ismount(directory):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"no mount: {self.log_path.read_text()[-2000:]}")
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-l", str(self.path)], check=False)


@contextlib.contextmanager
def ours(cluster: Cluster, source: str, directory: Path, options: str = "") -> Iterator[Client]:
    """Our mount with three callers: df, the age it claims, and stat of a file."""
    path = directory / "ours"
    python = [sys.executable]
    with Mount(cluster, path, source, options) as mount:
        others = {
            "age": Prober(python, "age", str(path), pause_s=0.1),
            "stat": Prober(python, "stat", f"{path}/README", pause_s=0.01),
        }
        client = Client("cephmonfs", Prober(python, "statvfs", str(path)), mount.pid, others, mount)
        try:
            for prober in client.probers:
                prober.wait_ready()
            yield client
        finally:
            for prober in client.probers:
                prober.stop()


@contextlib.contextmanager
def ceph_fuse(cluster: Cluster, mon_host: str, directory: Path) -> Iterator[Client]:
    """The installed ceph-fuse.  A caller that hangs in it is freed by aborting its connection."""
    path = directory / "ceph-fuse"
    path.mkdir(parents=True, exist_ok=True)
    argv = ["ceph-fuse", "-f", "-c", str(cluster.conf_path), "-n", "client.admin", "-k", str(cluster.admin_keyring)]
    process = subprocess.Popen(
        [*argv, "-m", mon_host, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    prober = None
    try:
        deadline = time.monotonic() + _READY_S
        while not os.path.ismount(path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("ceph-fuse does not mount")
            time.sleep(0.02)
        prober = Prober([sys.executable], "statvfs", str(path))
        prober.wait_ready()
        yield Client(f"ceph-fuse {_version(cluster.release)}", prober, process.pid)
    finally:
        process.kill()
        process.wait()
        if prober is not None:
            prober.stop()
        subprocess.run(["umount", "-l", str(path)], stderr=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def librados(cluster: Cluster, mon_host: str, release: str) -> Iterator[Client]:
    """librados of a release, its own Python."""
    runner = Runner.find(release, cluster.directory)
    script = cluster.directory / _PROBER.name
    script.write_bytes(_PROBER.read_bytes())
    argv = ["/usr/bin/python3"] if runner.root is None else chroot.enter(runner.root, cluster.directory, ["python3"])
    words = ("rados", str(cluster.conf_path), str(cluster.admin_keyring), mon_host)
    prober = Prober(argv, *words, script=script)
    try:
        prober.wait_ready()
        yield Client(f"librados {_version(release)}", prober, prober.process.pid)
    finally:
        prober.stop()


def _version(release: str) -> str:
    return {"nautilus": "14.2", "pacific": "16.2", "reef": "18.2", "tentacle": "20.2"}[release]


def connected_to(pid: int) -> set[str]:
    """IPv4 addresses that a process has TCP connections to.  It must be in our network namespace."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(fd)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and fields[9] in inodes:
            found.add(socket.inet_ntoa(bytes.fromhex(fields[2][:8])[::-1]))
    return found
