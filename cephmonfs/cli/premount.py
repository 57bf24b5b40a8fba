"""cephmonfs premount: make the mount; a mount.cephmon that systemd starts next serves it.

A sandboxed service cannot make a mount that other processes see.  So a first process with all privileges mounts, puts
/dev/fuse into systemd's store of file descriptors and exits; the second process gets it as LISTEN_FDS and needs no
privilege.  See contrib/systemd.
"""

from __future__ import annotations

import ctypes
import os
import stat
from typing import TYPE_CHECKING, Any, Final

from cephmonfs.cli.args import parse_args
from cephmonfs.cli.program import run, say
from cephmonfs.config.options import parse_options
from cephmonfs.config.source import parse_fsid, parse_source, shown_source
from cephmonfs.daemon.fork import Exit
from cephmonfs.daemon.notify import FUSE_NAME, Notifier
from cephmonfs.errors import ConfigError
from cephmonfs.host import journal
from cephmonfs.host.mountpoint import FUSE_TYPE, check_fuse, check_mountpoint, set_path, settle
from cephmonfs.host.unmount import unmount
from cephmonfs.model.entity import EntityName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAM: Final = "premount"
_READ_ONLY: Final = 1
_FLAGS: Final = _READ_ONLY | 2 | 4 | 8  # MS_RDONLY, NOSUID, NODEV, NOEXEC


def main(argv: Sequence[str]) -> int:
    """Mount, hand /dev/fuse to systemd, and end."""
    return run(PROGRAM, lambda: _main(argv))


def _main(argv: Sequence[str]) -> int:
    args = parse_args(argv)
    if args.help:
        print("usage: cephmonfs premount SOURCE DIR [-o OPTIONS]")
        print("ExecStartPre= of contrib/systemd/cephmonfs@.service")
        return Exit.OK
    set_path()
    options = parse_options(args.option_lists, sloppy=args.sloppy).values
    notifier = Notifier()
    if not notifier.heard:
        raise ConfigError("premount is for systemd: NOTIFY_SOCKET is not set; use mount.cephmon", 2)
    check_fuse()
    path = settle(args.mountpoint)
    if note := check_mountpoint(path):
        say(PROGRAM, note, journal.WARNING)
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    flags = _FLAGS & ~_READ_ONLY if options.get("show_as_rw") else _FLAGS
    _mount(fuse, path, _shown(args.source, options), flags, allow_other=options.get("allow_other", True))
    if not notifier.store(fuse, FUSE_NAME):
        _umount(path)
        raise ConfigError("systemd does not take the file descriptor: FileDescriptorStoreMax=1, NotifyAccess=exec", 2)
    return Exit.OK


def _shown(source: str, options: Mapping[str, Any]) -> str:
    """What df shows as the source, as far as it is known before a session."""
    given = parse_source(source)
    name = "demo" if given.demo else EntityName.parse(given.name or options.get("name", "admin")).id
    fsid = given.fsid or (parse_fsid(options["fsid"]) if "fsid" in options else "")
    return shown_source(name, fsid, given.fs or options.get("fs"), given.pool or options.get("pool"))


def _mount(fuse: int, path: str, source: str, flags: int, *, allow_other: bool) -> None:
    data = f"fd={fuse},rootmode={stat.S_IFDIR:o},user_id=0,group_id=0,default_permissions"
    data += ",allow_other" if allow_other else ""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in (source, path, FUSE_TYPE)]
    if libc.mount(*words, ctypes.c_ulong(flags), data.encode()) != 0:
        code = ctypes.get_errno()
        raise ConfigError(f"mounting on {path} failed: {os.strerror(code)}", Exit.FAILED)


def _umount(path: str) -> None:
    try:
        unmount(path, lazy=True)
    except OSError as exc:
        say(PROGRAM, str(exc), journal.WARNING)
