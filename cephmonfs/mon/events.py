"""What a session tells its driver: what to do next, and which answers came."""

from __future__ import annotations

from dataclasses import dataclass

from cephmonfs.errors import CephMonFSError
from cephmonfs.model.entity import EntityAddr
from cephmonfs.mon.decoding import DecodeJob
from cephmonfs.mon.requests import LinkId, WaiterId
from cephmonfs.mon.snapshot import CommandReply, StatfsRecord


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection to `addr` for this link."""

    link: LinkId
    addr: EntityAddr


@dataclass(frozen=True, slots=True)
class Close:
    """Close this link's connection; nothing more will be sent or read on it."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class Answered:
    """These waiters have their answer."""

    waiters: tuple[WaiterId, ...]
    result: StatfsRecord | CommandReply


@dataclass(frozen=True, slots=True)
class Failed:
    """These waiters get no answer."""

    waiters: tuple[WaiterId, ...]
    error: CephMonFSError


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that files show is different now: names of maps, "session", "statfs"."""

    what: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decode:
    """Call `job.run()`, best in a thread, and then `decoded`."""

    job: DecodeJob


SessionEvent = Connect | Close | Answered | Failed | Changed | Decode
