"""cephmonfs collect: a support bundle of what a mount shows and of this machine's versions, without secrets.

It holds nothing that its user could not read without it.  The files of a mount hold no keys; anything that looks like
one is blanked all the same.
"""

from __future__ import annotations

import io
import os
import platform
import re
import stat
import sys
import tarfile
import time
from importlib import metadata
from typing import TYPE_CHECKING, Final

from cephmonfs import __version__
from cephmonfs.cli.program import parser, run, say
from cephmonfs.daemon.fork import Exit
from cephmonfs.errors import ConfigError
from cephmonfs.host import files
from cephmonfs.host.mountpoint import FUSE_TYPE, mounts, settle, top_mount
from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM: Final = "collect"
_NAMES: Final = 100  # that are tried where others may make files
_MAX_FILE: Final = 32 << 20
_MAX_ALL: Final = 256 << 20
_PACKAGES: Final = ("pyfuse3", "trio", "cryptography", "crc32c", "dnspython", "prometheus-client", "rich")
# Ceph's keys in base64: type 1 (16 bytes) and type 2 (32 bytes), each with its header of 12 bytes.
_KEY: Final = re.compile(rb"A[Qg][A-Za-z0-9+/]{36,58}={0,2}")
_NAMED: Final = re.compile(
    rb"(?i)\b((?:secret|password|passwd|token|access_key|secret_key)\"?\s*[=:]\s*\"?)(?!<hidden>)[^\s\",&]+"
)


def main(argv: Sequence[str]) -> int:
    """Write the bundle."""
    return run(PROGRAM, lambda: _main(argv))


def _main(argv: Sequence[str]) -> int:
    arguments = parser(PROGRAM, "Packs what a mount shows, and versions, into a tar.gz without secrets.")
    arguments.add_argument("directory", metavar="DIR", help="the mount point")
    arguments.add_argument("-o", "--output", metavar="FILE", help='default: cephmonfs-DATE.tar.gz; "-" is stdout')
    given = arguments.parse_args(argv)
    root = settle(given.directory)
    mount = top_mount(mounts(), root)
    if mount is None or mount.fstype != FUSE_TYPE:
        raise ConfigError(f"{shown(root)} is no cephmon mount")
    name = f"cephmonfs-{time.strftime('%Y%m%d-%H%M%S')}"
    if given.output == "-":
        _pack(name, root, sys.stdout.buffer)
        return Exit.OK
    path, fd = _create(name, given.output)
    with os.fdopen(fd, "wb") as file:
        count, size = _pack(name, root, file), file.tell()
    print(path)
    say(PROGRAM, f"{count} files, {size} bytes; look into it before you send it")
    return Exit.OK


def _create(name: str, wanted: str | None) -> tuple[str, int]:
    """Make a new file; an existing name is an error, because in /tmp it may be a link of another user."""
    paths = [wanted] if wanted else [f"{name}{end}.tar.gz" for end in ("", *(f"-{i}" for i in range(2, _NAMES)))]
    for path in paths:
        try:
            return path, files.create(path)
        except FileExistsError:
            continue
    raise ConfigError(f"{shown(paths[0])} is there already: name a new file by -o, or - for stdout")


def _pack(name: str, root: str, file: io.BufferedIOBase | object) -> int:
    problems: list[str] = []
    count, total = 0, 0
    with tarfile.open(fileobj=file, mode="w:gz") as tar:  # type: ignore[call-overload]
        for path, mtime in _files(root, problems):
            try:
                data = _read(os.path.join(root, path))
            except OSError as exc:
                problems.append(f"{path}: {exc.strerror or exc}")
                continue
            total += len(data)
            if total > _MAX_ALL:
                problems.append(f"{path} and those after it are left out: {_MAX_ALL >> 20} MiB are enough")
                break
            _add(tar, f"{name}/mount/{path}", blank(data), mtime)
            count += 1
        _add(tar, f"{name}/versions", blank(versions(root).encode()), time.time())
        _add(tar, f"{name}/problems", "".join(f"{line}\n" for line in problems).encode(), time.time())
    return count + 2


def _add(tar: tarfile.TarFile, name: str, data: bytes, mtime: float) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), int(mtime), 0o600
    tar.addfile(info, io.BytesIO(data))


def _files(root: str, problems: list[str]) -> Iterator[tuple[str, float]]:
    def note(exc: OSError) -> None:
        problems.append(f"{exc.filename}: {exc.strerror}")

    for where, directories, names in os.walk(root, onerror=note):
        directories.sort()
        for name in sorted(names):
            path = os.path.relpath(os.path.join(where, name), root)
            try:
                info = os.stat(os.path.join(root, path))
            except OSError as exc:
                problems.append(f"{path}: {exc.strerror}")
                continue
            if stat.S_ISREG(info.st_mode):
                yield path, info.st_mtime


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise OSError(27, f"larger than {_MAX_FILE >> 20} MiB", path)
    return data


def blank(data: bytes) -> bytes:
    """Blank what looks like a key."""
    return _NAMED.sub(rb"\1<hidden>", _KEY.sub(b"<hidden>", data))


def versions(root: str) -> str:
    """Tell what runs here; nothing of it is secret."""
    lines = [f"cephmonfs {__version__}", f"python {platform.python_version()}", f"kernel {platform.release()}"]
    lines += [f"machine {platform.machine()}", f"system {_system()}"]
    for package in _PACKAGES:
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{package} is not installed")
    lines += ["", *_lines_about("/proc/self/mountinfo", root), *_lines_about("/proc/mounts", root)]
    return "".join(f"{line}\n" for line in lines)


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"


def _lines_about(path: str, root: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in file if f" {root} " in line]
    except OSError:
        return []
