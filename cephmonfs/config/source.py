"""SOURCE: the first field of a line of fstab, and what /proc/mounts shows in its place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.config.monaddr import MonTarget, parse_targets
from cephmonfs.errors import ConfigError
from cephmonfs.model.usertext import could_be_key, is_key, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW_SYNTAX: Final = re.compile(
    r"(?P<name>[^@/=:,\s]+)@(?P<fsid>[^.=/@:]*)(?:\.(?P<part>[^=/]*))?(?P<equals>=(?P<path>/.*)?)?/*\Z", re.DOTALL
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_FORMS: Final = '"NAME@[FSID].[FSNAME]=", "MON[,MON...]:/", ":/", "ceph" or "demo:"'
_BARE: Final = ("ceph", "none", "cephmon")
_DEMO: Final = ("demo:", "demo")
_MAX_SHOWN: Final = 1024  # bytes; the kernel takes 4095


@dataclass(frozen=True, slots=True)
class Source:
    """What a SOURCE says.  None: it does not say."""

    name: str | None = None
    fsid: str | None = None
    fs: str | None = None
    pool: str | None = None
    targets: tuple[MonTarget, ...] = ()
    options: str = ""  # of mount.fuse.ceph's "id=NAME,conf=FILE", to be parsed as -o
    demo: bool = False
    path: str = ""  # inside CephFS; means nothing to us


def parse_fsid(text: str) -> str:
    """Return the one spelling of an fsid; the kernel skips punctuation, so do we.  Raises ConfigError."""
    digits = re.sub(r"[-{}:]", "", text).lower()
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    if not _UUID.match(uuid):
        raise ConfigError(f'"{shown(text)}" is no fsid: wanted 32 hex digits, as "ceph fsid" prints them')
    return uuid


def parse_source(text: str) -> Source:
    """Tell the forms apart, the first that fits wins.  Raises ConfigError."""
    if is_key(text):
        raise ConfigError("the source is a key: put it into a file, and say secretfile=FILE")
    if text.rstrip("/") in _BARE:
        return Source()
    if text.rstrip("/") in _DEMO:
        return Source(demo=True)
    if match := _NEW_SYNTAX.match(text):
        fsid = parse_fsid(match["fsid"]) if match["fsid"] else None
        part = _unquoted(match["part"] or "") or None
        fs, pool = (part, None) if match["equals"] else (None, part)
        return Source(_unquoted(match["name"]), fsid, fs, pool, path=match["path"] or "")
    if re.match(r"(ceph\.)?(id|name|conf)=", text):
        return Source(options=text)
    found = _old_syntax(text)
    if found is not None:
        addresses, path = found
        return Source(targets=parse_targets(addresses, "source"), path=path)
    raise ConfigError(f'source "{shown(text)}" is none of {_FORMS}')


def _old_syntax(text: str) -> tuple[str, str] | None:
    """Split `[MON[,MON...]]:/PATH`; the path may be missing, the colon not.  Nonces in brackets have slashes too."""
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == ":" and depth == 0 and text[at + 1 : at + 2] in ("/", ""):
            return text[:at], text[at + 1 :]
    return None


# ---- what /proc/mounts shows -----------------------------------------------------------------------------------------


def shown_source(name: str, fsid: str, fs: str | None = None, pool: str | None = None) -> str:
    """Return the source for /proc/mounts: `NAME@FSID`, `NAME@FSID.FSNAME=` or `NAME@FSID.POOL`, what df is about.

    `parse_source` takes each back.  Other characters than letters, digits, "_", "-" and "." are URL-encoded: a colon
    would make a network file system of it for `df -l`, a blank two fields, "=" a file system of a pool.
    """
    who = f"{'hidden' if could_be_key(name) else _quoted(name)}@{fsid}"
    part = pool or fs
    if part is None or could_be_key(part):
        return who
    whole = f"{who}.{_quoted(part)}{'' if pool else '='}"
    return whole if len(whole) <= _MAX_SHOWN else who


def _quoted(text: str) -> str:
    return "".join(
        chr(byte) if re.match(rb"[A-Za-z0-9_.-]", bytes([byte])) else f"%{byte:02X}" for byte in text.encode()
    )


def _unquoted(text: str) -> str:
    data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode("utf-8", "replace"))
    return data.decode("utf-8", "replace")


# ---- what mount(8) makes of a source ---------------------------------------------------------------------------------


def as_written(text: str, directory: str = ".") -> str:
    """Undo what mount(8) makes of a source that is the name of a file in its working directory: an absolute path.

    `ceph` comes as "/etc/ceph" from `cd /etc; mount ...`.  No cephmon source begins with a slash.  The helper has the
    working directory of mount(8); where that does not help, the last parts of the path do.
    """
    if not text.startswith("/"):
        return text
    try:
        found = [*_names_of(text, os.path.realpath(directory))]
    except OSError:
        found = []
    for candidate in found:
        if _parses(candidate) is not None:
            return candidate
    parts = text.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        source = _parses(candidate := "/".join(parts[-count:]))
        if source is not None and not source.targets:
            return candidate
    return text


def _names_of(path: str, directory: str) -> Iterator[str]:
    """Return the names in a directory that lead to a path, through a symbolic link or without."""
    base = directory.rstrip("/") + "/"
    if path.startswith(base):
        yield path.removeprefix(base)
    with os.scandir(directory) as entries:
        links = [entry.name for entry in entries if entry.is_symlink()]
    for name in sorted(links):
        target = os.path.realpath(base + name)
        if path == target:
            yield name
        elif path.startswith(target.rstrip("/") + "/"):
            yield name + path.removeprefix(target.rstrip("/"))


def _parses(text: str) -> Source | None:
    try:
        return parse_source(text)
    except ConfigError:
        return None
