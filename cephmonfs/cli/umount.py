"""cephmonfs umount: unmount, as root or as the user who mounted, and wait until the daemon has ended."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from typing import TYPE_CHECKING, Final

from cephmonfs.cli.program import parser, run
from cephmonfs.daemon.fork import Exit
from cephmonfs.errors import ConfigError
from cephmonfs.host.mountpoint import FUSE_TYPE, mounts, set_path, settle, top_mount
from cephmonfs.host.unmount import unmount
from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "umount"
_PATIENCE_S: Final = 10.0


def main(argv: Sequence[str]) -> int:
    """Unmount."""
    return run(PROGRAM, lambda: _main(argv))


def _main(argv: Sequence[str]) -> int:
    arguments = parser(PROGRAM, "Unmounts, and waits until the daemon has gone.")
    arguments.add_argument("directory", metavar="DIR")
    arguments.add_argument("-l", "--lazy", action="store_true", help="detach now, even while files are open")
    arguments.add_argument("-q", "--quiet", action="store_true", help="where nothing is mounted there is nothing to do")
    given = arguments.parse_args(argv)
    set_path()
    directory = settle(given.directory)
    mount = top_mount(mounts(), directory)
    if mount is None:
        if given.quiet:
            return Exit.OK
        raise ConfigError(f"{shown(directory)} is not mounted")
    if mount.fstype != FUSE_TYPE:
        raise ConfigError(f"{shown(directory)} is no cephmon mount but {mount.fstype}")
    daemons = _daemons(directory)
    _unmount(directory, lazy=given.lazy)
    if not given.lazy:
        _wait(daemons)
    return Exit.OK


def _unmount(directory: str, *, lazy: bool) -> None:
    busy = " (lsof tells who holds files open; --lazy detaches at once)"
    if os.geteuid() == 0:
        try:
            unmount(directory, lazy=lazy)
        except OSError as exc:
            remedy = busy if exc.errno == errno.EBUSY else ""
            raise ConfigError(f"{shown(directory)}: {exc.strerror}{remedy}", Exit.FAILED) from exc
        return
    argv = ["fusermount3", "-uz" if lazy else "-u", "--", directory]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConfigError(f"{argv[0]} is missing: install the package fuse3", 2) from None
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"{argv[0]} ended with {done.returncode}"
        raise ConfigError(f"{reason}{busy if 'busy' in reason else ''}", Exit.FAILED)


def _daemons(directory: str) -> list[int]:
    """Return the processes that serve a mount point: it is on their command line."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if os.fsencode(directory) in words and any(b"cephmon" in word for word in words):
            found.append(int(name))
    return found


def _wait(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while any(_lives(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise ConfigError(f"unmounted, but its process {pids[0]} still runs", Exit.FAILED)
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
