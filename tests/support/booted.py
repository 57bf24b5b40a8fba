"""A Debian root that runs its own systemd, as PID 1 of a container with the network of this machine.

Nothing but util-linux is needed: unshare makes the namespaces, a script does what systemd asks of who starts it in a
container (https://systemd.io/CONTAINER_INTERFACE).  It has a cgroup of its own; where the machine runs cgroup v1 beside
v2 there are no controllers in it, so memory and task limits are not checked, device rules are.  The kernel ends
everything when PID 1 is killed: no process and no mount is left.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

BOOT = """
mount --make-rprivate /
umount -a -l -t fuse.cephmon 2>/dev/null || :
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m 666 dev/fuse c 10 229
test ! -e /dev/autofs || mknod -m 600 dev/autofs c 10 235
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
pivot_root . .
umount -l .
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no
"""
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup")
UP_S = 60.0


class CannotBoot(RuntimeError):
    """This machine cannot have it; the text says why."""


class Booted:
    """Calling it runs a command inside.  Leaving the block ends all of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.console = root.with_name("console.log")
        self._cgroup = _cgroup2() / f"cephmonfs-test-{os.getpid()}"
        self._unshare: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise CannotBoot("only root may boot a container")
        if missing := [name for name in ("unshare", "nsenter", "pivot_root") if shutil.which(name) is None]:
            raise CannotBoot(f"{', '.join(missing)} not installed")
        try:
            self._cgroup.mkdir()
        except OSError as exc:
            raise CannotBoot(f"no cgroup for it: {exc}") from exc
        try:
            self._boot()
        except BaseException:
            self.end()
            raise
        return self

    def _boot(self) -> None:
        argv = ["unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-ec", BOOT, "boot", str(self.root)]
        enter = ["sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', str(self._cgroup)]
        with self.console.open("wb") as console:
            self._unshare = subprocess.Popen([*enter, *argv], stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = time.monotonic() + UP_S
        state = ""
        while state not in ("running", "degraded"):
            if self._unshare.poll() is not None or time.monotonic() > deadline:
                said = self.console.read_text(errors="replace").strip()[-500:]
                raise CannotBoot(f"systemd does not come up as PID 1 ({state or 'ended'}): {said}")
            time.sleep(0.2)
            if self._pid or self._find_pid():
                state = self("systemctl", "is-system-running", check=False).stdout.strip()

    def _find_pid(self) -> bool:
        assert self._unshare is not None
        pid = self._unshare.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd":
                self._pid = int(children[0])
        return self._pid != 0

    def __call__(self, *argv: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program in there, as root and outside of any unit."""
        env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", "TERM=dumb"]
        done = subprocess.run(
            ["nsenter", f"--target={self._pid}", "--all", "--root", "--wd", "env", "-i", *env, *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{argv}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def out(self, *argv: str) -> str:
        """Run it and return what it printed."""
        return self(*argv).stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.out("systemctl", "show", unit, "--value", "--property", name)

    def mounts(self) -> str:
        """Return mountinfo as PID 1 sees it."""
        return Path(f"/proc/{self._pid}/mountinfo").read_text()

    def processes(self, name: str) -> list[int]:
        """Return the pids, as in there, of who has such a command name."""
        script = f'for f in /proc/[0-9]*/comm; do read -r n <"$f" && test "$n" = {name} && echo "$f"; done; :'
        return sorted(int(path.split("/")[2]) for path in self("sh", "-c", script + " 2>/dev/null").stdout.split())

    def wait_ended(self, timeout_s: float) -> None:
        """Wait until it has shut itself down.  Raises TimeoutExpired."""
        assert self._unshare is not None
        self._unshare.wait(timeout_s)

    def end(self) -> None:
        """Kill PID 1, and with it everything."""
        if self._unshare is not None:
            self._unshare.kill()  # --kill-child: PID 1 goes with it, and the kernel ends the others
            self._unshare.wait()
            self._unshare = None
        deadline = time.monotonic() + 10
        while self._cgroup.exists():
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            assert time.monotonic() < deadline, f"processes are left in {self._cgroup}"
            time.sleep(0.05)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.end()


def _cgroup2() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if match := re.search(r"^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 ", line):
            return Path(match[1])
    raise CannotBoot("no cgroup2 is mounted")
