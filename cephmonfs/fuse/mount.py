"""The mount itself: libfuse's options, fusermount3, and how it ends."""

from __future__ import annotations

import errno
import logging
import os
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import pyfuse3

from cephmonfs.config.source import shown_source
from cephmonfs.errors import ConfigError
from cephmonfs.host import apparmor, privileges
from cephmonfs.host.unmount import unmount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.mon.snapshot import Snapshot

log = logging.getLogger(__name__)

_UNMOUNT_PATIENCE_S: Final = 1.5
_FAILED: Final = 32  # mount(8): the mount failed


def fuse_options(config: MountConfig, snapshot: Snapshot) -> set[str]:
    """Return the options for libfuse.  The source has no colon: `df -l` takes one for a network file system."""
    fsid = snapshot.fsid or config.fsid or ""
    name = "demo" if config.demo else config.entity.id
    options = {
        f"fsname={shown_source(name, fsid, config.fs, config.pool)}",
        "subtype=cephmon",
        "rw" if config.show_as_rw else "ro",
        "nosuid",
        "nodev",
        "noexec",
        "default_permissions",
    }
    if config.allow_other:
        options.add("allow_other")
    if leaves_unmounting(config):
        options.add("auto_unmount")
    return options


def is_handed(config: MountConfig) -> bool:
    """Return whether another process made the mount and passed /dev/fuse; that process also unmounts."""
    return config.handed is not None


def leaves_unmounting(config: MountConfig) -> bool:
    """Return whether fusermount3 stays to unmount when we end: by option, or because we no longer may.

    It unmounts only what says ENOTCONN to it, and to root another user's mount without allow_other says EACCES.
    """
    if is_handed(config):
        return False
    if config.run_as is not None:
        return True
    return config.auto_unmount and (config.allow_other or os.geteuid() == 0)


@contextmanager
def mounted(operations: pyfuse3.Operations, config: MountConfig, snapshot: Snapshot) -> Iterator[None]:
    """Hold the mount.  Raises ConfigError with what libfuse and fusermount3 said."""
    before = _sockets()
    low = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    with captured_output() as said:
        try:
            # libfuse takes such a path for an existing mount
            where = config.mountpoint if config.handed is None else f"/dev/fd/{config.handed}"
            # A libfuse (3.17) that mounts by itself starts fusermount3 without the type of the mount: at the end that
            # takes the automount below for our mount, opens it, and systemd mounts again, for ever.
            with privileges.without_mounting() if leaves_unmounting(config) else nullcontext():
                pyfuse3.init(operations, where, fuse_options(config, snapshot))
        except RuntimeError as exc:
            text = " ".join(said().split()) or str(exc)
            raise ConfigError(f"mounting on {config.mountpoint} failed: {text}{_remedy(text)}", _FAILED) from exc
    helper = _sockets() - before
    _move_below(low, helper)
    try:
        yield
    finally:
        if leaves_unmounting(config):
            # fusermount3 waits for its end of this socket, unmounts and leaves; it is our child.
            pyfuse3.close(unmount=False)
            for fd in (low, *helper):
                try:
                    os.close(fd)
                except OSError:
                    pass  # a libfuse that has closed it itself
            _wait_for_child()
        elif os.geteuid() == 0 and not is_handed(config):
            pyfuse3.close(unmount=False)
            try:
                unmount(config.mountpoint, lazy=True)  # libfuse would follow a link
            except OSError as exc:
                log.log(logging.DEBUG if exc.errno == errno.EINVAL else logging.WARNING, "umount: %s", exc)
        else:
            pyfuse3.close(unmount=True)


def _move_below(low: int, helper: set[int]) -> None:
    """Hold our end of fusermount3's socket at `low`, below /dev/fuse; where it was, /dev/null keeps the place.

    When we are killed, the kernel lets go of our open files from the last to the first (`exit_files`, `task_work_run`).
    At the end of its socket fusermount3 opens the mount and unmounts it only if that fails with ENOTCONN: if /dev/fuse
    were still open, it would get ECONNABORTED and leave a dead mount.
    """
    for fd in helper:
        os.dup2(fd, low, inheritable=False)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, fd, inheritable=False)
        os.close(null)


def _remedy(text: str) -> str:
    if "user_allow_other" in text:
        return " (or mount with noallow_other)"
    if "Permission denied" in text or "Operation not permitted" in text:
        profile = ", or the AppArmor profile of fusermount3: see dmesg" if apparmor.confined() else ""
        return f" (a container without CAP_SYS_ADMIN{profile})"
    return ""


def _sockets() -> set[int]:
    """Return our open sockets; libfuse has no call that returns its socket to fusermount3."""
    found: set[int] = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _wait_for_child() -> None:
    """Wait for fusermount3, for a moment: when it has gone, so has the mount."""
    deadline = time.monotonic() + _UNMOUNT_PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) != (0, 0):
                return
        except ChildProcessError:
            return
        time.sleep(0.005)
    log.warning("fusermount3 is still unmounting")


@contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Catch what C code and fusermount3 print; what they said while all went well goes to the log.

    fusermount3 stays for as long as the mount: with our own stdout it would keep a pipe of our caller's open.
    """
    memory = os.memfd_create("output", os.MFD_CLOEXEC)
    saved = {fd: os.dup(fd) for fd in (1, 2)}
    for fd in saved:
        os.dup2(memory, fd)

    def said() -> str:
        return os.pread(memory, 4096, 0).decode("utf-8", "replace")

    try:
        yield said
    finally:
        for fd, copy in saved.items():
            os.dup2(copy, fd)
            os.close(copy)
        if text := said().strip():
            log.debug("fuse: %s", text)
        os.close(memory)


def end() -> None:
    """Stop serving."""
    pyfuse3.terminate()
