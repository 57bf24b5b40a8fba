"""Decoding: maps larger than 64 KiB are decoded by the driver, in a thread, so that the loop goes on.

    session                                   driver
    a map of 5 MiB comes: Decode(job)    ->   job.run() in a thread
    takes the map, and what came after   <-   decoded(now)

Maps are taken in the order in which they came, so maps that come while a job is open wait behind it.  The monmap does
not: it is small, and a new session needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from cephmonfs.errors import CephMonFSError, DecodeError, UnexpectedMessage
from cephmonfs.messages import mon
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.mon.requests import ConnectionId
from cephmonfs.wire.cursor import Cursor

MapPayload = mon.MMDSMap | mon.MFSMap | mon.MOSDMap | mon.MMgrMap
Outcome = FSMap | MDSMap | OSDMap | CephMonFSError
Outcomes = Mapping[tuple[str, int], Outcome]  # by map and epoch

_AT_ONCE: Final = 64 * 1024  # bytes; some milliseconds
_MAX_WAITING: Final = 64 << 20  # bytes of maps of one connection that wait for their turn
_EACH: Final = 1024  # bytes of memory of a message, however little is in it


class DecodeJob:
    """One message with maps, to be decoded by `run`, which may be called in any thread."""

    def __init__(self, payload: MapPayload, osdmap: OSDMap | None) -> None:
        self._payload = payload
        self._osdmap = osdmap
        self.outcomes: Outcomes = {}

    def run(self) -> None:
        """Decode."""
        self.outcomes = dict(_outcomes(self._payload, self._osdmap))

    def failed(self) -> None:
        """`run` raised what it should not: no map of the message is taken."""
        self.outcomes = {of: DecodeError(of[0], 0, "cannot be decoded, see the log") for of in _names(self._payload)}


class Decoding:
    """The maps that wait, in their order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[ConnectionId, MapPayload]] = deque()
        self._job: DecodeJob | None = None

    def defer(self, conn_id: ConnectionId, payload: MapPayload) -> bool:
        """Whether this message has to wait; if not, it may be taken at once."""
        if not self._waiting and not _is_large(payload):
            return False
        self._forget_others(conn_id)
        if sum(_size(waiting) + _EACH for waiter, waiting in self._waiting if waiter == conn_id) > _MAX_WAITING:
            raise UnexpectedMessage("sends maps faster than they can be read")
        self._waiting.append((conn_id, payload))
        return True

    def _forget_others(self, conn_id: ConnectionId) -> None:
        """What came on a connection before this one is not decoded any more, but for what is under way."""
        waiting = list(self._waiting)
        begun = 1 if self._job is not None else 0
        self._waiting = deque(waiting[:begun] + [one for one in waiting[begun:] if one[0] == conn_id])

    def next_job(self, osdmap: OSDMap | None) -> DecodeJob | None:
        """Return what is to be decoded next, None when nothing is or something is under way.

        `osdmap` is the one that we have, for incremental ones.
        """
        if self._job is not None or not self._waiting:
            return None
        self._job = DecodeJob(self._waiting[0][1], osdmap)
        return self._job

    def finished(self) -> Iterator[tuple[ConnectionId, MapPayload, Outcomes]]:
        """Return the message whose job has run, and the small ones behind it."""
        job, self._job = self._job, None
        if job is None:
            raise RuntimeError("no map was being decoded")
        yield *self._waiting.popleft(), job.outcomes
        while self._waiting and not _is_large(self._waiting[0][1]):
            yield *self._waiting.popleft(), {}


def _size(payload: MapPayload) -> int:
    match payload:
        case mon.MOSDMap():
            return sum(map(len, payload.full.values())) + sum(map(len, payload.incrementals.values()))
        case mon.MFSMap():
            return len(payload.fsmap)
        case mon.MMDSMap():
            return len(payload.mdsmap)
        case mon.MMgrMap():
            return len(payload.mgrmap)


def _is_large(payload: MapPayload) -> bool:
    """Whether it takes long to decode; a mgrmap is kept as it is."""
    return not isinstance(payload, mon.MMgrMap) and _size(payload) > _AT_ONCE


def _names(payload: MapPayload) -> Iterator[tuple[str, int]]:
    """Return the maps in a message, by name and epoch."""
    match payload:
        case mon.MFSMap():
            yield "fsmap", payload.epoch
        case mon.MMDSMap():
            yield "mdsmap", payload.epoch
        case mon.MOSDMap():
            yield from (("osdmap", epoch) for epoch in (*payload.full, *payload.incrementals))


def _outcomes(payload: MapPayload, osdmap: OSDMap | None) -> Iterator[tuple[tuple[str, int], Outcome]]:
    match payload:
        case mon.MFSMap():
            yield ("fsmap", payload.epoch), _outcome(lambda: FSMap.decode(Cursor(payload.fsmap, "fsmap")))
        case mon.MMDSMap():
            yield ("mdsmap", payload.epoch), _outcome(lambda: MDSMap.decode(Cursor(payload.mdsmap, "mdsmap")))
        case mon.MOSDMap():
            yield from _osdmaps(payload, osdmap)


def _osdmaps(payload: mon.MOSDMap, osdmap: OSDMap | None) -> Iterator[tuple[tuple[str, int], Outcome]]:
    newest = max(payload.full, default=0)
    if newest:
        outcome = _outcome(lambda: OSDMap.decode(Cursor(payload.full[newest], "osdmap")))
        osdmap = outcome if isinstance(outcome, OSDMap) else osdmap
        yield ("osdmap", newest), outcome
    for epoch in sorted(payload.incrementals):
        if osdmap is None or epoch != osdmap.epoch + 1:
            continue
        outcome = _outcome(partial(_go_on, osdmap, payload.incrementals[epoch]))
        yield ("osdmap", epoch), outcome
        if not isinstance(outcome, OSDMap):
            return
        osdmap = outcome


def _go_on(osdmap: OSDMap, blob: bytes) -> OSDMap:
    return osdmap.apply(Incremental.decode(Cursor(blob, "osdmap")))


def _outcome(decode: Callable[[], Outcome]) -> Outcome:
    try:
        return decode()
    except CephMonFSError as exc:
        return exc
