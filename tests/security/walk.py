"""Tries everything that a file system of files to read has to refuse; prints what came of it as JSON.

Run by a plain interpreter, as any user:  python3 walk.py DIRECTORY
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import stat
import sys
from collections.abc import Callable
from functools import partial

found: dict[str, dict[str, int]] = {}


def attempt(what: str, act: Callable[[], object]) -> None:
    """Note the errno of an attempt; "done" when it was not refused."""
    try:
        act()
        name = "done"
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, str(exc.errno))
    except ValueError:
        name = "ValueError"
    found.setdefault(what, {}).setdefault(name, 0)
    found[what][name] += 1


def opened(path: bytes, flags: int, mode: int = 0o600) -> None:
    os.close(os.open(path, flags, mode))


def on_any(path: bytes, new: bytes) -> None:
    attempt("chmod", lambda: os.chmod(path, 0o777))
    attempt("chown", lambda: os.chown(path, 0, 0))
    attempt("utime", lambda: os.utime(path, (1, 1)))
    attempt("rename", lambda: os.rename(path, new))
    attempt("rename away", lambda: os.rename(path, b"/tmp/out-of-here"))
    attempt("link", lambda: os.link(path, new))
    attempt("symlink", lambda: os.symlink(b"/etc/passwd", new))
    attempt("mknod", lambda: os.mknod(new, stat.S_IFREG | 0o600))
    attempt("mkfifo", lambda: os.mkfifo(new))
    attempt("mkdir", lambda: os.mkdir(new))
    attempt("create", lambda: opened(new, os.O_CREAT | os.O_WRONLY))
    attempt("create, exclusive", lambda: opened(new, os.O_CREAT | os.O_EXCL | os.O_RDWR))
    attempt("setxattr", lambda: os.setxattr(path, b"user.x", b"y"))
    attempt("setxattr, security", lambda: os.setxattr(path, b"security.capability", b"\1\0\0\2" + bytes(16)))
    attempt("setxattr, acl", lambda: os.setxattr(path, b"system.posix_acl_access", b"\2\0\0\0"))
    attempt("removexattr", lambda: os.removexattr(path, b"ceph.cluster_fsid"))
    for name in (
        b"user.x",
        b"user." + b"n" * 250,
        b"trusted.x",
        b"ceph.quota",
        b"ceph.dir.rctime",
        b"security.selinux",
    ):
        attempt("getxattr", partial(os.getxattr, path, name))
    attempt("name too long", lambda: os.stat(path + b"/" + b"n" * 256))
    attempt("path too long", lambda: os.stat(path + b"/n" * 3000))
    attempt("no such name", lambda: os.stat(path + b"/no such name\xff\xfe\n"))
    attempt("no such place", lambda: os.stat(path + b"/../" * 3 + b"nowhere"))


def on_file(path: bytes) -> None:
    for flags, name in (
        (os.O_WRONLY, "write"),
        (os.O_RDWR, "read and write"),
        (os.O_WRONLY | os.O_APPEND, "append"),
        (os.O_WRONLY | os.O_TRUNC, "truncate at open"),
        (os.O_RDONLY | os.O_TRUNC, "truncate at open for reading"),
        (os.O_RDONLY | os.O_DIRECTORY, "open as directory"),
        (os.O_RDONLY | os.O_CREAT | os.O_EXCL, "create what is there"),
    ):
        attempt(name, partial(opened, path, flags))
    attempt("truncate", lambda: os.truncate(path, 0))
    attempt("unlink", lambda: os.unlink(path))
    attempt("rmdir a file", lambda: os.rmdir(path))
    attempt("list a file", lambda: os.listdir(path))
    attempt("execute", lambda: os.execv(path, [path]))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        attempt("write to a handle", lambda: os.write(fd, b"x"))
        attempt("truncate a handle", lambda: os.ftruncate(fd, 0))
        attempt("allocate", lambda: os.posix_fallocate(fd, 0, 4096))
        attempt("map for writing", lambda: mmap.mmap(fd, 1, mmap.MAP_SHARED, mmap.PROT_WRITE))
        for number in (0x80086601, 0x40086602, 0x40049409, 0x5401, 0xFFFFFFFF, 0, 0x8004587D, 0x125E, 0xC0045800):
            attempt("ioctl", partial(fcntl.ioctl, fd, number, bytes(64)))
        attempt("lease for writing", lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK))
        attempt("seek to nowhere", lambda: os.lseek(fd, -1, os.SEEK_SET))
        if not path.endswith(b"_pipe"):
            for offset in (1 << 40, (1 << 63) - 10000):
                attempt("read far behind the end", partial(os.pread, fd, 4096, offset))
    finally:
        os.close(fd)


def on_directory(path: bytes) -> None:
    attempt("open a directory for writing", lambda: opened(path, os.O_WRONLY))
    attempt("nameless file", lambda: opened(path, os.O_TMPFILE | os.O_WRONLY))
    attempt("rmdir", lambda: os.rmdir(path))
    attempt("unlink a directory", lambda: os.unlink(path))
    attempt("read a directory", lambda: os.read(os.open(path, os.O_RDONLY), 10))


def main() -> None:
    root = os.fsencode(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    for directory, directories, files in os.walk(root):
        directories[:] = [name for name in directories if name != b"ceph" or len(directory) < len(root)]
        on_any(directory, directory + b"/new")
        on_directory(directory)
        for name in files:
            path = directory + b"/" + name
            on_any(path, path + b".new")
            on_file(path)
    code = libc.umount2(root, 0) if os.geteuid() else -1
    found["umount by another"] = {"done" if code == 0 else errno.errorcode.get(ctypes.get_errno(), "root"): 1}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
