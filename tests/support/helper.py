"""The mount helper as mount(8), fstab and people call it, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

ROOT = Path(__file__).resolve().parents[2]
HELPER = ROOT / "mount.cephmon"
CEPHMONFS = (str(ROOT / ".venv" / "bin" / "python"), "-m", "cephmonfs.cli.main")
STATE = Path("/var/lib/cephmonfs")  # what mounts remember
PATIENCE_S = 10.0


def run(argv: Sequence[str | Path], *, timeout_s: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run something and return its status and what it said."""
    return subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=timeout_s, check=False, **options
    )


def helper(source: str, directory: Path, *options: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Call ./mount.cephmon the way mount(8) does: nearly no environment, and not from the checkout."""
    argv = [str(HELPER), source, str(directory)]
    if options:
        argv += ["-o", ",".join(options)]
    return run(argv, timeout_s=timeout_s, env={"PATH": "/usr/bin:/bin"}, cwd="/")


def processes(directory: Path) -> list[int]:
    """Who has this mount point on its command line: the daemon, and fusermount3."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(directory) in words:
                found.append(int(entry.name))
    return sorted(found)


def is_mounted(directory: Path) -> bool:
    return any(line.split(" ")[4] == str(directory) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def wait_gone(directory: Path, timeout_s: float = PATIENCE_S) -> None:
    """Until neither mount nor process is left."""
    deadline = time.monotonic() + timeout_s
    while is_mounted(directory) or processes(directory):
        if time.monotonic() > deadline - timeout_s / 2 and not is_mounted(directory) and held_elsewhere(directory):
            # Somebody made a mount namespace meanwhile (another run's daemons in a root): its copy lives on.
            for pid in processes(directory):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        assert time.monotonic() < deadline, f"{processes(directory)} still run, mounted: {is_mounted(directory)}"
        time.sleep(0.01)


def held_elsewhere(directory: Path) -> bool:
    """Whether another mount namespace has a copy of the mount, which then lives on."""
    for file in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if f" {directory} " in file.read_text(errors="replace"):
                return True
        except OSError:
            continue
    return False


def unmount(directory: Path, patience_s: float = 5.0) -> subprocess.CompletedProcess[str]:
    """Unmount; whoever looks at every mount of the machine just now (`df`, `check`) keeps it busy for a moment."""
    deadline = time.monotonic() + patience_s
    while True:
        done = run(["umount", directory])
        if "busy" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(0.1)


@contextlib.contextmanager
def running(argv: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the block.  It is killed when the block fails: else the test would wait for its end."""
    with subprocess.Popen([str(word) for word in argv], text=True, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


class Mounted:
    """A mount by the helper.  Leaving the block unmounts it, and nothing may be left then."""

    def __init__(self, source: str, directory: Path, *options: str, argv: Sequence[str] | None = None) -> None:
        directory.mkdir(exist_ok=True)
        self.path = directory
        self.keep_memory = False  # what the mount remembers is for the next one
        began = time.monotonic()
        done = helper(source, directory, *options) if argv is None else run(argv, cwd="/")
        self.seconds = time.monotonic() - began
        self.stderr = done.stderr
        assert done.returncode == 0, done.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        fsid = self.fsid
        if is_mounted(self.path):
            done = unmount(self.path)
            if done.returncode != 0 or kind is not None:
                run(["umount", "-l", self.path])
            if kind is None:
                assert done.returncode == 0, done.stderr
        if not self.keep_memory:
            forget(fsid)
        if kind is None:
            wait_gone(self.path)

    @property
    def fsid(self) -> str:
        return self.text("fsid").strip() if is_mounted(self.path) else ""

    @property
    def daemon(self) -> int:
        """The daemon's pid."""
        for pid in processes(self.path):
            if Path(f"/proc/{pid}/comm").read_text().strip() != "fusermount3":
                return pid
        raise AssertionError("no daemon runs")

    def text(self, name: str) -> str:
        """The content of a file; no data (ENODATA) is the empty text."""
        return (self.path / name).read_text()

    def value(self, name: str) -> str:
        return self.text(name).removesuffix("\n")

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))

    def wait_for(self, name: str, wanted: str, timeout_s: float = PATIENCE_S) -> None:
        """Until a value file says that; a regular expression that has to match all of it."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                seen = self.value(name)
            except OSError as exc:
                seen = f"({exc.strerror})"
            if re.fullmatch(wanted, seen, re.DOTALL):
                return
            assert time.monotonic() < deadline, f"{name} says {seen!r}, wanted {wanted!r}"
            time.sleep(0.02)

    def df(self) -> tuple[int, int, int]:
        """Total, used and available bytes as df(1) prints them."""
        done = run(["df", "-B1", "--output=size,used,avail", self.path])
        assert done.returncode == 0, done.stderr
        total, used, avail = map(int, done.stdout.splitlines()[1].split())
        return total, used, avail

    def cpu_seconds(self) -> float:
        """What the daemon has used so far."""
        fields = Path(f"/proc/{self.daemon}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.daemon, number)


def forget(fsid: str) -> None:
    """Remove what mounts remembered of a throw-away cluster."""
    if not fsid:
        return
    for path in remembered(fsid):
        path.unlink(missing_ok=True)


def remembered(fsid: str, directory: Path = STATE) -> list[Path]:
    """The files that hold a monmap of this cluster."""
    found = []
    for path in directory.glob("*.monmap"):
        with contextlib.suppress(FileNotFoundError):  # another test's, gone by now
            if UUID(fsid).bytes in path.read_bytes():
                found.append(path)
    return found
