"""Events: what the session wants its driver to do or to pass on."""

from __future__ import annotations

from dataclasses import dataclass

from cephmonfs.errors import CephMonFSError
from cephmonfs.model.entity import EntityAddr
from cephmonfs.mon.decoding import DecodeJob
from cephmonfs.mon.requests import ConnectionId, WaiterId
from cephmonfs.mon.snapshot import CommandReply, StatfsRecord


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection to `addr` for this connection."""

    conn_id: ConnectionId
    addr: EntityAddr


@dataclass(frozen=True, slots=True)
class Close:
    """Close this connection's connection; nothing more will be sent or read on it."""

    conn_id: ConnectionId


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
