"""Requests: what is unanswered, matched by tid, resent on every new session.

Callers of statfs share requests (group commit): at most one is on the wire.  A caller who comes while it is out joins
the next one, so that no answer is older than its question.  The next one leaves when as many callers have joined as
waited for the last one, or when the driver says that no other caller comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cephmonfs.messages.registry import ToMonitor
    from cephmonfs.mon.snapshot import Stamp

ConnectionId = int
WaiterId = int


class Kind(StrEnum):
    """What a request asks; the words of the kernel's `monc` file."""

    STATFS = "statfs"
    VERSION = "mon_get_version"
    COMMAND = "mon_command"


_ROUNDING: Final = 1e-6  # timers come to the moment, give or take that
LATE_AFTER_S: Final = {Kind.STATFS: 0.3, Kind.VERSION: 0.3, Kind.COMMAND: 2.0}
"""Silence for longer than this makes us look for another monitor; commands may honestly take a while."""


@dataclass(slots=True)
class Request:
    """One question.  `make` encodes it once the cluster's fsid is known."""

    tid: int
    kind: Kind
    make: Callable[[bytes], ToMonitor]
    created: float
    waiters: dict[WaiterId, float] = field(default_factory=dict)  # in their order, with how long each waits
    sent: dict[ConnectionId, float] = field(default_factory=dict)  # on which connections it is out, since when
    proofs: dict[ConnectionId, int] = field(
        default_factory=dict
    )  # of a command: the tid of the proof that it left behind
    asked: Stamp | None = None  # when it first left
    sends: int = 0
    optional: bool = False  # silence may mean caps: never a reason to leave a monitor


class Requests:
    """The table of pending requests."""

    def __init__(self) -> None:
        self._pending: dict[int, Request] = {}
        self._last_tid = 0
        self._last_waiter = 0
        self._statfs: Request | None = None  # on the wire, or first in line while there is no session
        self._statfs_next: dict[WaiterId, float] = {}
        self.first_until = math.inf  # when the first caller of statfs waits no longer, or an earlier moment
        self._statfs_expected = 0  # callers that the next may have, judging by those of the last

    def pending(self) -> tuple[Request, ...]:
        """Everything unanswered, oldest first."""
        return tuple(self._pending.values())

    def late_at(self, conn_id: ConnectionId, late_after_s: Mapping[Kind, float]) -> float:
        """Return when this connection is late with a request, if it stays silent; inf if it owes none."""
        late = math.inf
        for request in self._pending.values():
            sent = request.sent.get(conn_id)
            if sent is not None and not request.optional:
                due = sent + late_after_s[request.kind]
                if due < late:
                    late = due
        return late

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._statfs_next) or any(request.waiters for request in self._pending.values())

    @property
    def statfs(self) -> Request | None:
        """The open statfs."""
        return self._statfs

    def quorum_is_late(self, conn_id: ConnectionId, now: float) -> bool:
        """Whether this connection is late with what only a quorum answers."""
        kinds = (Kind.STATFS, Kind.VERSION)
        sent = (r.sent.get(conn_id, math.inf) + LATE_AFTER_S[r.kind] for r in self._pending.values() if r.kind in kinds)
        return min(sent, default=math.inf) <= now + _ROUNDING

    def waiter(self) -> WaiterId:
        """Return a new waiter's number."""
        self._last_waiter += 1
        return self._last_waiter

    def add(self, kind: Kind, make: Callable[[bytes], ToMonitor], now: float, *, optional: bool = False) -> Request:
        """Enter a request; the caller adds waiters and sends it."""
        self._last_tid += 1
        request = Request(self._last_tid, kind, make, now, optional=optional)
        self._pending[request.tid] = request
        return request

    def join_statfs(
        self, make: Callable[[bytes], ToMonitor], now: float, until: float = math.inf
    ) -> tuple[WaiterId, Request | None]:
        """Enter a caller of statfs; returns the request to send now, None if the caller waits for the next."""
        self._last_waiter = waiter = self._last_waiter + 1
        if until < self.first_until:
            self.first_until = until
        current = self._statfs
        if current is not None and not current.sends:
            current.waiters[waiter] = until
            return waiter, None
        self._statfs_next[waiter] = until
        everybody = len(self._statfs_next) >= self._statfs_expected
        return waiter, self.next_statfs(make, now) if everybody else None

    def ask_statfs(self, make: Callable[[bytes], ToMonitor], now: float) -> Request:
        """Return the open statfs, a new one on nobody's behalf if there is none: its silence means caps again."""
        if self._statfs is None:
            self._statfs = self.add(Kind.STATFS, make, now, optional=True)
        return self._statfs

    def get(self, tid: int, kind: Kind, conn_id: ConnectionId) -> Request | None:
        """Return the request that a reply on this connection belongs to, None if none is out there."""
        request = self._pending.get(tid)
        return request if request is not None and request.kind is kind and conn_id in request.sent else None

    def answered(self, tid: int, kind: Kind, conn_id: ConnectionId) -> Request | None:
        """Take out the request that this reply belongs to, None if there is none."""
        request = self.get(tid, kind, conn_id)
        if request is not None:
            self.forget(request)
        return request

    def forget(self, request: Request) -> None:
        """Nobody waits for this request any more."""
        del self._pending[request.tid]
        if request is self._statfs:
            self._statfs = None
            self._statfs_expected = len(request.waiters) + len(self._statfs_next)
            self.first_until = min(self._statfs_next.values()) if self._statfs_next else math.inf

    @property
    def statfs_gathering(self) -> int:
        """How many callers wait for a statfs that has yet to leave, while none is on the wire."""
        return len(self._statfs_next) if self._statfs is None else 0

    def next_statfs(self, make: Callable[[bytes], ToMonitor], now: float) -> Request | None:
        """Return the next shared statfs, None when nobody waits for one."""
        if self._statfs is not None or not self._statfs_next:
            return None
        self._statfs = self.add(Kind.STATFS, make, now)
        self._statfs.waiters, self._statfs_next = self._statfs_next, {}
        self._statfs_expected = 0
        return self._statfs

    def give_up(self, waiter: WaiterId) -> None:
        """A caller stopped waiting.  A command that nobody waits for is forgotten; a statfs stays
        out, so that its late answer still freshens the numbers."""
        if waiter in self._statfs_next:
            del self._statfs_next[waiter]
            return
        for request in self._pending.values():
            if waiter in request.waiters:
                del request.waiters[waiter]
                if not request.waiters and request.kind is not Kind.STATFS:
                    del self._pending[request.tid]
                return

    def take_expired(self, now: float) -> tuple[WaiterId, ...]:
        """Take out the callers of statfs whose time has come; the question stays out."""
        if now < self.first_until:
            return ()
        expired: list[WaiterId] = []
        first = math.inf
        for waiters in (self._statfs.waiters if self._statfs is not None else {}, self._statfs_next):
            gone = [waiter for waiter, until in waiters.items() if until <= now]
            for waiter in gone:
                del waiters[waiter]
            expired += gone
            first = min(first, min(waiters.values(), default=math.inf))
        self.first_until = first
        return tuple(expired)

    def fail_statfs(self) -> tuple[WaiterId, ...]:
        """Take out every caller of statfs: it cannot be answered."""
        waiters = tuple(self._statfs.waiters) if self._statfs else ()
        if self._statfs is not None:
            del self._pending[self._statfs.tid]
            self._statfs = None
        waiters += tuple(self._statfs_next)
        self._statfs_next = {}
        self.first_until = math.inf
        return waiters

    def statfs_open_since(self) -> float | None:
        """When the statfs without an answer was first asked, None if there is none."""
        return self._statfs.created if self._statfs is not None else None

    def statfs_sent_before(self, when: float) -> bool:
        """Whether the statfs on the wire left before this moment."""
        return self._statfs is not None and any(t < when for t in self._statfs.sent.values())

    def connection_closed(self, conn_id: ConnectionId) -> None:
        """What was out on this connection is out no more."""
        for request in self._pending.values():
            request.sent.pop(conn_id, None)
