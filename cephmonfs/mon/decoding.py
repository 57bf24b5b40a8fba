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

from cephmonfs.errors import CephMonFSError, UnexpectedMessage
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
_MAX_WAITING: Final = 64 << 20  # bytes of maps that wait for their turn


class DecodeJob:
    """One message with maps, to be decoded by `run`, which may be called in any thread."""

    def __init__(self, payload: MapPayload, osdmap: OSDMap | None) -> None:
        self._payload = payload
        self._osdmap = osdmap
        self.outcomes: Outcomes = {}

    def run(self) -> None:
        """Decode."""
        self.outcomes = dict(_outcomes(self._payload, self._osdmap))


class Decoding:
    """The maps that wait, in their order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[ConnectionId, MapPayload]] = deque()
        self._job: DecodeJob | None = None

    def defer(self, conn_id: ConnectionId, payload: MapPayload) -> bool:
        """Whether this message has to wait; if not, it may be taken at once."""
        if not self._waiting and _size(payload) <= _AT_ONCE:
            return False
        if sum(_size(waiting) for _, waiting in self._waiting) + _size(payload) > _MAX_WAITING:
            raise UnexpectedMessage("sends maps faster than they can be read")
        self._waiting.append((conn_id, payload))
        return True

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
        while self._waiting and _size(self._waiting[0][1]) <= _AT_ONCE:
            yield *self._waiting.popleft(), {}


def _size(payload: MapPayload) -> int:
    match payload:
        case mon.MOSDMap():
            return sum(map(len, payload.full.values())) + sum(map(len, payload.incrementals.values()))
        case mon.MFSMap():
            return len(payload.fsmap)
        case mon.MMDSMap():
            return len(payload.mdsmap)
        case _:
            return 0  # a mgrmap is not decoded


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
