"""Snapshot: the immutable view of a session that everything above it reads.

A snapshot is made whole and never edited.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Union

from cephmonfs.mon.tally import StatfsTally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.model.entity import AddrVec, EntityAddr
    from cephmonfs.model.fsmap import FSMap
    from cephmonfs.model.mdsmap import MDSMap
    from cephmonfs.model.monmap import MonMap
    from cephmonfs.model.osdmap import OSDMap
    from cephmonfs.model.statfs import Statfs


MAPS: Final = ("monmap", "osdmap", "mdsmap", "fsmap", "mgrmap")
"""The names of all maps, in the order in which people are shown them."""

DecodedMap = Union["MonMap", "FSMap", "MDSMap", "OSDMap"]


class State(StrEnum):
    """What `session/state` shows."""

    CONNECTING = "connecting"  # no session yet, connections are being made
    AUTHENTICATING = "authenticating"  # no session yet, a monitor is checking our key
    OPEN = "open"
    HUNTING = "hunting"  # there was a session; another monitor is being looked for
    REFUSED = "refused"  # the monitors answer and refuse us; tried again slowly


class Stamp(NamedTuple):
    """One moment on both clocks: `mono` counts on through clock changes, `wall` is seconds since 1970."""

    mono: float
    wall: float


NEVER: Final = Stamp(-math.inf, -math.inf)


@dataclass(frozen=True, slots=True)
class EncodedMap:
    """The bytes of one map, of which epoch they are, and when they came."""

    epoch: int
    blob: bytes
    at: Stamp


@dataclass(frozen=True, slots=True)
class MapRecord:
    """One map as a monitor sent it, and decoded."""

    epoch: int
    blob: bytes  # the encoded map itself, without the message around it
    at: Stamp
    incrementals: tuple[bytes, ...] = ()  # osdmap alone: what to apply to `blob` to get to `epoch`
    value: DecodedMap | None = None  # the map of `epoch`; None for the mgrmap
    whole_at: Stamp | None = None  # when `blob` came, where incrementals came since

    @property
    def whole(self) -> EncodedMap:
        """The encoded map by itself, without what came since."""
        return EncodedMap(self.epoch - len(self.incrementals), self.blob, self.whole_at or self.at)


@dataclass(frozen=True, slots=True)
class StatfsRecord:
    """One statfs answer.  `asked` is when the request left: the answer is no older than that."""

    stats: Statfs
    pool: int | None
    asked: Stamp
    at: Stamp


@dataclass(frozen=True, slots=True)
class MonView:
    """What we know of one monitor."""

    name: str
    rank: int
    addrs: AddrVec
    rtt_s: float | None  # of the last keepalive or handshake, None before one
    last_error: str  # the last failure in words, empty when none


@dataclass(frozen=True, slots=True)
class TicketView:
    """A ticket without its key material.  Times are wall clock."""

    service: str
    key_type: str
    secret_id: int
    got: float
    renew_after: float
    expires: float


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request without an answer yet."""

    tid: int
    kind: str
    age_s: float
    mon: str  # the monitor it was sent to, empty while it waits for a session
    sends: int


@dataclass(frozen=True, slots=True)
class SessionChange:
    """One line of the session's history."""

    at: Stamp
    state: State
    mon: str
    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """An error worth a line of the log and of `events`.  `number` counts them; what repeats itself is left out."""

    number: int
    at: Stamp
    sentence: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The session at one moment."""

    now: Stamp
    entity: str  # "client.df"
    state: State
    mon: str  # name of the monitor we are with (or were last), empty before the first
    addr: str  # its address as text, "v2:127.0.0.1:3300/0"
    mode: str  # "secure", "crc" or "legacy"; empty before the first session
    global_id: int  # 0 before the first session
    since: Stamp | None  # when the present session opened
    last_contact: Stamp | None  # when a monitor last sent us anything
    sessions: int  # opened so far
    failovers: int  # sessions opened with another monitor than the one before
    last_error: str
    errors: Mapping[str, str]  # by monitor name (or address as configured): how the last attempt with it failed
    fsid: str  # empty before the first monmap
    monmap: MonMap | None
    maps: Mapping[str, MapRecord]  # by name: monmap mdsmap fsmap osdmap mgrmap
    denied: frozenset[str]  # names of maps that the key's caps do not cover
    fscid: int | None  # of the chosen (or first) file system
    fs_missing: bool  # an fs= was asked for that the cluster does not have
    mons: tuple[MonView, ...]  # in rank order
    statfs: StatfsRecord | None
    tickets: tuple[TicketView, ...]
    requests: tuple[RequestView, ...]
    counters: Mapping[str, int]
    history: tuple[SessionChange, ...]  # the last few, oldest first
    my_addr: EntityAddr | None = None  # our own address as the monitor we are with sees it
    told: tuple[Told, ...] = ()  # the last few, oldest first
    problem: str = ""  # why `df` has nothing to be about: its pool or file system is not there, or not ours to see
    statfs_tally: StatfsTally = field(default_factory=StatfsTally)  # how calls of statfs ended so far
    quorum_at: Stamp | None = None
    """When the newest answered question that only a quorum answers was asked, None before the first.

    Stays None where the key's caps cover neither MMonGetVersion nor a statfs.
    """


@dataclass(frozen=True, slots=True)
class CommandReply:
    """What a monitor in quorum answered to one command.  `result` is 0 or a negative errno.

    The answer is no older than `asked`, and neither is `quorum_at` of the snapshot (if the caps cover a proof).
    """

    result: int
    text: str
    data: bytes
    at: Stamp
    asked: Stamp = NEVER  # when it left for the monitor that answered
