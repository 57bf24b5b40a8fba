"""Checks of the mount point and of this machine's FUSE before anything starts."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cephmonfs.errors import ConfigError
from cephmonfs.host.unmount import unmount
from cephmonfs.model.usertext import shown

FUSE_TYPE: Final = "fuse.cephmon"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST_WORD_S: Final = 0.5
_GENERATIONS: Final = 3
_MAX_LINKS: Final = 40  # as the kernel


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    mountpoint: str
    fstype: str
    source: str
    flags: tuple[str, ...] = ()  # "ro" if the mount or its file system is


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Parse proc_pid_mountinfo(5); lines that do not parse are skipped."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        head, dash, tail = line.partition(" - ")
        left, right = head.split(" "), tail.split(" ")
        if dash and len(left) >= 5 and len(right) >= 2:
            mounts.append(Mount(_unescape(left[4]), right[0], _unescape(right[1]), _flags(left[5:6], right[2:3])))
    return tuple(mounts)


def _flags(mount: list[str], superblock: list[str]) -> tuple[str, ...]:
    flags = mount[0].split(",") if mount else []
    if superblock and "ro" in superblock[0].split(","):
        flags = ["ro", *(flag for flag in flags if flag not in ("ro", "rw"))]
    return tuple(flags)


def top_mount(mounts: tuple[Mount, ...], path: str) -> Mount | None:
    """Return the mount at exactly this path, the uppermost if there are several."""
    return next((mount for mount in reversed(mounts) if mount.mountpoint == path), None)


def settle(path: str) -> str:
    """Return the path without symbolic links, and without touching what is mounted there: it may hang."""
    there = mounts()
    path = os.path.abspath(path)
    for _ in range(_MAX_LINKS):
        if top_mount(there, path) is not None:
            return path
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if top_mount(there, path) is not None:
            return path
        try:
            path = os.path.abspath(os.path.join(os.path.dirname(path), os.readlink(path)))
        except OSError:
            break  # no link
    return path


def check_mountpoint(path: str) -> str | None:
    """Check the directory; detach a dead cephmon mount on it.

    Returns a line for the user when something was detached.  Raises ConfigError.  An autofs mount is fine:
    it is what waits for us.
    """
    detached, name = None, shown(path)
    mount = top_mount(mounts(), path)
    life = life_of(path) if mount is not None and mount.fstype == FUSE_TYPE else None
    if life is Life.STUCK:
        raise ConfigError(f"{name} is a cephmon mount whose daemon does not answer: umount -f {name}", 32)
    if life is Life.DEAD:
        _detach(path)
        detached = f"{name} was a dead cephmon mount; it is detached and mounted again"
    try:
        info = os.stat(path)
    except FileNotFoundError:
        raise ConfigError(f"mount point {name} does not exist: mkdir {name}", 32) from None
    except OSError as exc:
        if exc.errno != errno.ENOTCONN:
            raise ConfigError(f"mount point {name}: {exc.strerror}", 32) from exc
        what = f"a dead {mount.fstype} mount" if mount else "below a dead mount"
        raise ConfigError(f"{name} is {what}: umount -l it first", 32) from None
    if not stat.S_ISDIR(info.st_mode):
        raise ConfigError(f"mount point {name} is not a directory", 32)
    mount = top_mount(mounts(), path)
    if mount is not None and mount.fstype != "autofs":
        raise ConfigError(f"{name} is already a mount point ({mount.fstype}, {mount.source}): umount it first", 32)
    return detached


def is_mounted_already(path: str) -> bool:
    """Return whether `mount -a` mounts an existing mount again: it cannot match the source that we show with fstab."""
    mount = top_mount(mounts(), path)
    if mount is None or mount.fstype != FUSE_TYPE:
        return False
    return _called_by_mount_all() and life_of(path) is Life.LIVE


def _called_by_mount_all() -> bool:
    """Look at our parent and, because mount.fuse starts a shell in between, at its parent."""
    pid = os.getppid()
    for _ in range(_GENERATIONS):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
        if os.path.basename(words[0]) == b"mount":
            return any(word == b"--all" or re.fullmatch(rb"-[A-Za-z]*a[A-Za-z]*", word) for word in words[1:])
    return False


def check_fuse(device: str = "/dev/fuse") -> None:
    """Check the device and the helper.  Raises ConfigError with status 2."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise ConfigError(
                f"{device} is absent: modprobe fuse (in a container: --device /dev/fuse --cap-add SYS_ADMIN)", 2
            ) from None
        raise ConfigError(f"cannot open {device}: {exc.strerror}", 2) from exc
    if shutil.which("fusermount3") is None:
        raise ConfigError("fusermount3 is missing: install the package fuse3", 2)


def set_path() -> None:
    """mount(8) and systemd start helpers without a PATH, and libfuse looks for fusermount3 in it."""
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{path}:{DEFAULT_PATH}" if path else DEFAULT_PATH


def mounts() -> tuple[Mount, ...]:
    """Return what is mounted now."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_mountinfo(file.read())


class Life(StrEnum):
    """How a FUSE mount does."""

    LIVE = "live"
    DEAD = "dead"  # its daemon is gone
    STUCK = "stuck"  # its daemon does not answer


_ASK: Final = "import errno, os, sys\ntry: os.statvfs(sys.argv[1])\nexcept OSError as exc: sys.exit(exc.errno)"


def life_of(path: str, patience_s: float = 5.0) -> Life:
    """Ask by statfs, the one call whose answer the kernel never has in its cache.

    In a process of its own: a call on a daemon that hangs may never return.  That process holds nothing of ours
    open meanwhile, and needs no /dev/null for that.
    """
    pipe = subprocess.PIPE
    argv = [sys.executable, "-I", "-S", "-c", _ASK, path]
    process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        return Life.DEAD if process.wait(patience_s) == errno.ENOTCONN else Life.LIVE
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.wait(_LAST_WORD_S)
        except subprocess.TimeoutExpired:
            process.returncode = -9  # it ends when the daemon does; we do not wait for it
        return Life.STUCK
    finally:
        for end in (process.stdin, process.stdout, process.stderr):
            if end is not None:
                end.close()


def _detach(path: str) -> None:
    if os.geteuid() == 0:
        try:
            unmount(path, lazy=True)
        except OSError as exc:
            raise ConfigError(f"cannot detach the dead mount on {shown(path)}: {exc.strerror}", 32) from exc
        return
    done = subprocess.run(["fusermount3", "-uz", "--", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(f"cannot detach the dead mount on {shown(path)}: {done.stderr.strip()}", 32)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)
