"""SOURCE: the first field of a line of fstab."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cephmonfs.config.monaddr import MonTarget, parse_targets
from cephmonfs.errors import ConfigError

_NEW_SYNTAX: Final = re.compile(r"(?P<name>[^@/=:,\s]+)@(?P<fsid>[^.=/@:]*)(?:\.(?P<fs>[^=/]*))?(?:=(?P<path>/.*)?)?\Z")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_FORMS: Final = '"NAME@[FSID].[FSNAME]=", "MON[,MON...]:/", "ceph" or "demo:"'


@dataclass(frozen=True, slots=True)
class Source:
    """What a SOURCE says.  None: it does not say."""

    name: str | None = None
    fsid: str | None = None
    fs: str | None = None
    targets: tuple[MonTarget, ...] = ()
    options: str = ""  # of mount.fuse.ceph's "id=NAME,conf=FILE", to be parsed as -o
    demo: bool = False
    path: str = ""  # inside CephFS; means nothing to us


def parse_fsid(text: str) -> str:
    """Return the one spelling of an fsid; the kernel skips punctuation, so do we.  Raises ConfigError."""
    digits = re.sub(r"[-{}:]", "", text).lower()
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    if not _UUID.match(uuid):
        raise ConfigError(f'"{text}" is no fsid: wanted 32 hex digits, as "ceph fsid" prints them')
    return uuid


def parse_source(text: str) -> Source:
    """Tell the forms apart, the first that fits wins.  Raises ConfigError."""
    if text in ("ceph", "none", "cephmon"):
        return Source()
    if text in ("demo:", "demo"):
        return Source(demo=True)
    if match := _NEW_SYNTAX.match(text):
        fsid = parse_fsid(match["fsid"]) if match["fsid"] else None
        return Source(match["name"], fsid, match["fs"] or None, path=match["path"] or "")
    if re.match(r"(ceph\.)?(id|name|conf)=", text):
        return Source(options=text)
    addresses, path = _old_syntax(text)
    if addresses:
        return Source(targets=parse_targets(addresses, "source"), path=path)
    raise ConfigError(f'source "{text}" is none of {_FORMS}')


def _old_syntax(text: str) -> tuple[str, str]:
    """Split `MON[,MON...]:/PATH`; the path may be missing, the colon not.  Nonces in brackets have slashes too."""
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == ":" and depth == 0 and text[at + 1 : at + 2] in ("/", ""):
            return text[:at], text[at + 1 :]
    return "", ""
