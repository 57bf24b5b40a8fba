"""Monmaps remembered from one mount to the next, in /var/lib/cephmonfs.

A mount line whose addresses are all dead still finds its cluster: the monitors learned last time are tried
after those that were given.  What is remembered is only where to knock; whoever opens has to prove himself as ever.

    FSID.monmap          the MonMap as received (monmaptool --print reads it)
    sources/HASH         the fsid that this SOURCE, with its user, conf and addresses, led to

Files are opened while we are still root and written through their descriptors later.
A file that cannot be read, written or decoded is a line in the log and nothing more.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cephmonfs.errors import DecodeError
from cephmonfs.model.entity import AddrType
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.hunt import Candidate
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from cephmonfs.config.mountconfig import MountConfig

log = logging.getLogger(__name__)

DIRECTORY: Final = Path("/var/lib/cephmonfs")
_MAX_SIZE: Final = 1 << 20


class Remembered:
    """What is known of one SOURCE."""

    def __init__(self, config: MountConfig, directory: Path = DIRECTORY) -> None:
        self._directory = directory
        # One source, "ceph" above all, may mean several clusters: what told where to look counts too.
        where = (config.source, config.entity, config.shown.get("conf"), *config.targets, config.dns_srv)
        digest = hashlib.sha256("\0".join(map(str, where)).encode()).hexdigest()
        self._pointer = directory / "sources" / digest[:32]
        self._fsid = config.fsid
        self._fd: int | None = None

    def candidates(self, kind: AddrType, priority: int) -> tuple[Candidate, ...]:
        """Return the monitors of last time, all with this priority; none if nothing usable is remembered."""
        fsid = self._fsid or self._read_pointer()
        if fsid is None:
            return ()
        path = self._directory / f"{fsid}.monmap"
        try:
            with path.open("rb") as file:
                monmap = MonMap.decode(Cursor(file.read(_MAX_SIZE), str(path)))
        except FileNotFoundError:
            return ()
        except (OSError, DecodeError) as exc:
            log.warning("the remembered monmap is not used: %s", exc)
            return ()
        if str(monmap.fsid) != fsid:
            log.warning("the remembered monmap is not used: %s holds cluster %s", path, monmap.fsid)
            return ()
        found = []
        for info in monmap.mons:
            addr = info.addrs.of_type(kind)
            if addr is not None and not addr.blank:
                found.append(Candidate(info.name, addr, priority, remembered=True))
        return tuple(found)

    def _read_pointer(self) -> str | None:
        try:
            return str(UUID(self._pointer.read_text(encoding="ascii").strip()))
        except (OSError, ValueError):
            return None

    def open(self, fsid: str) -> None:
        """Make ready to remember this cluster; the first call has to come before privileges are given up."""
        if self._fd is not None:
            return
        try:
            self._pointer.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path = self._directory / f"{fsid}.monmap"
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            self._pointer.write_text(fsid + "\n", encoding="ascii")
        except OSError as exc:
            log.debug("monmaps are not remembered: %s", exc)

    def save(self, monmap: bytes) -> None:
        """Remember a monmap; a failure (a full disk) is a line in the log."""
        if self._fd is None or len(monmap) > _MAX_SIZE:
            return
        try:
            written = os.pwrite(self._fd, monmap, 0)
            os.ftruncate(self._fd, written)
            if written < len(monmap):  # the decoder will not take the half of it
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as exc:
            log.warning("the monmap is not remembered: %s", exc)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
