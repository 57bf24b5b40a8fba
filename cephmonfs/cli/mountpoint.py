"""The mount point and this machine's FUSE: what can be told before anything starts."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from typing import Final

from cephmonfs.errors import ConfigError

FUSE_TYPE: Final = "fuse.cephmon"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MNT_DETACH: Final = 2


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    mountpoint: str
    fstype: str
    source: str


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Parse proc_pid_mountinfo(5); lines that do not parse are skipped."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        head, dash, tail = line.partition(" - ")
        left, right = head.split(" "), tail.split(" ")
        if dash and len(left) >= 5 and len(right) >= 2:
            mounts.append(Mount(_unescape(left[4]), right[0], _unescape(right[1])))
    return tuple(mounts)


def top_mount(mounts: tuple[Mount, ...], path: str) -> Mount | None:
    """Return what is mounted exactly on a path, the uppermost if several are."""
    return next((mount for mount in reversed(mounts) if mount.mountpoint == path), None)


def check_mountpoint(path: str) -> str | None:
    """Check the directory; detach a dead cephmon mount on it.

    Returns a line for the user when something was detached.  Raises ConfigError.  An autofs mount is fine:
    it is what waits for us.
    """
    detached = None
    mount = top_mount(mounts(), path)
    if mount is not None and mount.fstype == FUSE_TYPE and _is_dead(path):
        _detach(path)
        detached = f"{path} was a dead cephmon mount; it is detached and mounted again"
    try:
        info = os.stat(path)
    except FileNotFoundError:
        raise ConfigError(f"mount point {path} does not exist: mkdir {path}", 32) from None
    except OSError as exc:
        if exc.errno != errno.ENOTCONN:
            raise ConfigError(f"mount point {path}: {exc.strerror}", 32) from exc
        what = f"a dead {mount.fstype} mount" if mount else "below a dead mount"
        raise ConfigError(f"{path} is {what}: umount -l it first", 32) from None
    if not stat.S_ISDIR(info.st_mode):
        raise ConfigError(f"mount point {path} is not a directory", 32)
    mount = top_mount(mounts(), path)
    if mount is not None and mount.fstype != "autofs":
        raise ConfigError(f"{path} is already a mount point ({mount.fstype}, {mount.source}): umount it first", 32)
    return detached


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


def _is_dead(path: str) -> bool:
    """Ask by statfs, the one call whose answer the kernel never has in its cache."""
    try:
        os.statvfs(path)
    except OSError as exc:
        return exc.errno == errno.ENOTCONN
    return False


def _detach(path: str) -> None:
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
            raise ConfigError(f"cannot detach the dead mount on {path}: {os.strerror(ctypes.get_errno())}", 32)
        return
    done = subprocess.run(["fusermount3", "-uz", "--", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(f"cannot detach the dead mount on {path}: {done.stderr.strip()}", 32)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)
