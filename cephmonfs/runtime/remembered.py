"""Monmaps remembered from one mount to the next, in /var/lib/cephmonfs.

A mount line whose addresses are all dead still finds its cluster: the monitors learned last time are tried
after those that were given.  Only addresses are remembered: these monitors authenticate like any other.

    FSID.monmap     of a cluster that was named by its fsid
    HASH.monmap     of the cluster that this SOURCE, with its user, conf and addresses, led to

Each is the MonMap as received (monmaptool --print reads it).  Its name is known before there is a session, so a mount
that does not wait for one (`bg`) opens it while we are still root, as any other does, and all of them write through the
descriptor later.  Other users cannot make, change or replace a file there: root makes itself the owner of the
directory, and no file is used that another user may write.
A file that cannot be read, written or decoded is logged and ignored.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import DecodeError
from cephmonfs.host import files
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
        self._fsid = config.fsid
        self._path = directory / f"{config.fsid or _digest(config)}.monmap"
        self._fd: int | None = None

    def candidates(self, kind: AddrType, priority: int) -> tuple[Candidate, ...]:
        """Return the monitors of last time, all with this priority; none if nothing usable is remembered."""
        try:
            blob = files.read(str(self._path), _MAX_SIZE)
            if not blob:  # of a mount that has not had a session yet
                return ()
            monmap = MonMap.decode(Cursor(blob, str(self._path)))
        except (FileNotFoundError, PermissionError):  # what root's mounts remember is root's
            return ()
        except (OSError, DecodeError) as exc:
            log.warning("the remembered monmap is not used: %s", exc)
            return ()
        if self._fsid is not None and str(monmap.fsid) != self._fsid:
            log.warning("the remembered monmap is not used: %s holds cluster %s", self._path, monmap.fsid)
            return ()
        found = []
        for info in monmap.mons:
            addr = info.addrs.of_type(kind)
            if addr is not None and not addr.blank:
                found.append(Candidate(info.name, addr, priority, remembered=True))
        return tuple(found)

    def open(self) -> None:
        """Make ready to remember; the first call has to come before privileges are given up."""
        if self._fd is not None:
            return
        try:
            directory = files.open_state(str(self._path.parent))
            try:
                self._fd = files.open_file(self._path.name, directory)
            finally:
                os.close(directory)
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


def _digest(config: MountConfig) -> str:
    """Return the file's name; conf and addresses count too, because the source "ceph" may mean several clusters."""
    where = (config.source, config.entity, config.shown.get("conf"), *config.targets, config.dns_srv)
    return hashlib.sha256("\0".join(map(str, where)).encode()).hexdigest()[:32]
