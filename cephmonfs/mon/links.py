"""Links: the connections of a session, which of them is the session, and what it means that one is silent.

A current monitor that leaves something unanswered for longer than a moment is hedged: others are connected beside it,
one every so often and never more than a few, and whichever answers first is the session.  Those that answer nothing
either make room for new ones.  A link with nothing to answer is asked for a sign of life now and then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import (
    AuthError,
    CephMonFSError,
    DecodeError,
    ForeignCluster,
    IntegrityError,
    MissingFeatures,
    ProtocolError,
    UnexpectedMessage,
    Unproven,
    WrongProtocol,
)
from cephmonfs.mon.events import Close, Connect, SessionEvent
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.journal import Cause
from cephmonfs.mon.link import Phase
from cephmonfs.mon.requests import LATE_AFTER_S
from cephmonfs.mon.snapshot import RequestView
from cephmonfs.wire.cursor import Utime

if TYPE_CHECKING:
    from collections import deque

    from cephmonfs.model.entity import EntityAddr
    from cephmonfs.model.monmap import MonMap
    from cephmonfs.mon.hunt import Hunt
    from cephmonfs.mon.journal import Journal
    from cephmonfs.mon.link import Link
    from cephmonfs.mon.requests import Kind, LinkId, Requests
    from cephmonfs.mon.snapshot import Stamp

HEDGE_EVERY_S: Final = 0.3
"""Silence that opens one more link."""

_LOST_HASTE: Final = 1 / 3  # of that, when the session broke: somebody waits, and the next monitor may be electing
_MAX_LINKS: Final = 3
_HANDSHAKE_S: Final = 10.0  # connect to SERVER_IDENT
_HEDGE_LIFE_S: Final = 20.0  # a link beside the current one that answers nothing makes room for another one
_HEDGE_FIRST_LIFE_S: Final = 2.0  # the first such one; doubled with each.  If all went mute, new ones may not be
_PING_S: Final = 20.0  # idle time after which a sign of life is asked for
_SILENT_S: Final = 30.0  # without a byte although one was due: the link is dead


class Links:
    """All links by their number; `current` is one of them, or None while there is no session.

    Closing goes through `close` and `drop`, which tell the driver and the requests that were out there.
    """

    def __init__(
        self,
        hunt: Hunt,
        requests: Requests,
        journal: Journal,
        events: deque[SessionEvent],
        late_after_s: float = HEDGE_EVERY_S,
    ) -> None:
        self.by_id: dict[LinkId, Link] = {}
        self.current: Link | None = None
        self._hunt = hunt
        self._requests = requests
        self._journal = journal
        self._events = events
        self._hedge_every_s = late_after_s
        self._late_after_s = {kind: max(late_after_s, own_s) for kind, own_s in LATE_AFTER_S.items()}
        self._last_id = 0
        self._next_hedge = 0.0
        self._mute_hedges = 0  # in a row, dropped for their silence

    # ---- opening and closing

    def may_open(self, now: float) -> bool:
        """Whether there is room for one more link, and its time has come."""
        return len(self.by_id) < self._limit() and now >= self._next_hedge

    def _limit(self) -> int:
        return min(_MAX_LINKS, len(self._hunt.candidates))

    def addrs(self) -> set[EntityAddr]:
        """Return the addresses that have a link."""
        return {link.candidate.addr for link in self.by_id.values()}

    def new_id(self) -> LinkId:
        """Return the number for a new link."""
        self._last_id += 1
        return self._last_id

    def add(self, link: Link, now: float, *, after_loss: bool) -> None:
        """Have it connected.  After the loss of a session the next one follows sooner."""
        self.by_id[link.id] = link
        self._journal.counters["connects"] += 1
        self._next_hedge = now + self._hedge_every_s * (_LOST_HASTE if after_loss else 1)
        self._events.append(Connect(link.id, link.candidate.addr))

    def close(self, link: Link) -> None:
        """Close without blame."""
        if self.by_id.pop(link.id, None) is None:
            return
        if link is self.current:
            self.current = None
        self._requests.link_closed(link.id)
        self._hunt.shown_proof(link.proofs_sent)
        self._events.append(Close(link.id))

    def drop(self, link: Link, reason: CephMonFSError, now: float) -> str:
        """Close a link that failed, and remember why; returns it in words."""
        sentence = link.describe(reason)
        addr = link.candidate.addr
        self._journal.errors[link.candidate.name] = sentence
        self._journal.counters["links_failed"] += 1
        if isinstance(reason, DecodeError):
            self._journal.counters["decode_errors"] += 1
        refused = isinstance(reason, AuthError | WrongProtocol | MissingFeatures)
        self.close(link)
        if isinstance(reason, Unproven):
            self._journal.counters["proofs_failed"] += 1
            self._hunt.distrust(addr, now)
        elif isinstance(reason, DecodeError | IntegrityError | UnexpectedMessage | ForeignCluster):
            self._hunt.shun(addr, now)
        if link.ready_at is not None and not refused:
            self._hunt.lost(addr)
        else:
            self._hunt.failed(addr, refused=refused)
        self._next_hedge = 0.0
        if refused:
            self._journal.blame(Cause.REFUSED, sentence)
        else:
            self._journal.error(sentence)
        return sentence

    def leave(self, link: Link) -> None:
        """Close one that left unanswered what another answered."""
        sentence = self._journal.errors[link.candidate.name] = link.describe("left, it did not answer")
        self._journal.error(sentence)
        self._journal.counters["left_silent"] += 1
        self.close(link)

    def rename(self, link: Link, monmap: MonMap) -> bool:
        """Give it the monitor's name of a new monmap; returns False if the monitor was removed from it."""
        info = monmap.by_addr(link.candidate.addr)
        if info is None:
            return not link.listed
        link.listed = True
        link.candidate = Candidate(info.name, link.candidate.addr, info.priority, info.weight)
        return True

    def successor(self) -> Link | None:
        """Return one that can be the session at once."""
        return next((link for link in self.by_id.values() if link.ready and link.phase is Phase.OPEN), None)

    def only_current(self) -> None:
        """The current one answers: nothing is wanted beside it."""
        if len(self.by_id) > 1:
            for link in tuple(self.by_id.values()):
                if link is not self.current:
                    self.close(link)
        self._next_hedge = 0.0
        self._mute_hedges = 0

    # ---- who is late

    def late_at(self) -> float:
        """Return when the current monitor is late with something, if it stays silent; inf if it owes nothing."""
        link = self.current
        if link is None or (self._requests.empty and link.keepalive_sent is None):
            return math.inf
        due = self._request_late(link)
        if link.keepalive_sent is not None:
            due = min(due, link.keepalive_sent + self._hedge_every_s)
        return due

    def _request_late(self, link: Link) -> float:
        """When this link is late with a request, if it stays silent; inf if it owes none."""
        late = math.inf
        for request in self._requests.pending():
            sent = request.sent.get(link.id)
            if sent is None or request.optional:
                continue
            due = sent + self._late_after_s[request.kind]
            if due < late:
                late = due
        return late

    def late_when_asked(self, kind: Kind, now: float) -> float:
        """Return when a monitor that is asked now is late with the answer."""
        return now + self._late_after_s[kind]

    # ---- timers

    def next_timeout(self, now: float) -> float:
        """Return when a link is due for `check`, or another one is wanted; inf for never."""
        current = self.current
        late = self.late_at()
        first = late
        if current is None or late <= now:
            first = max(self._next_hedge, self._hunt.next_time()) if len(self.by_id) < self._limit() else math.inf
        for link in self.by_id.values():
            due = self._due(link)
            if due < first:
                first = due
        return first

    def _due(self, link: Link) -> float:
        if link.ready_at is None:
            return link.opened + _HANDSHAKE_S
        if link is not self.current:
            return link.ready_at + self._hedge_life()
        ping = link.last_received + _PING_S if link.keepalive_sent is None else link.keepalive_sent + _SILENT_S
        return min(ping, self._request_late(link) + _HEDGE_LIFE_S)

    def _hedge_life(self) -> float:
        return min(_HEDGE_FIRST_LIFE_S * 2.0**self._mute_hedges, _HEDGE_LIFE_S)

    def check(self, link: Link, now: Stamp) -> ProtocolError | None:
        """Return why this link is given up now, None if it is not.  It may be asked for a sign of life."""
        if now.mono < self._due(link):
            return None
        if link.ready_at is None:
            return ProtocolError(f"no session within {_HANDSHAKE_S:g} s")
        if link is not self.current:
            life = self._hedge_life()
            self._mute_hedges += 1
            return ProtocolError(f"answers nothing for {life:g} s")
        if now.mono >= self._request_late(link) + _HEDGE_LIFE_S:
            return ProtocolError(f"answers nothing for {_HEDGE_LIFE_S:g} s")
        if link.keepalive_sent is not None:
            return ProtocolError(f"silent for {_SILENT_S:g} s")
        link.send_keepalive(now.mono, Utime.of(now.wall))
        self._journal.counters["keepalives"] += 1
        return None

    # ---- the view

    def request_views(self, now: float) -> tuple[RequestView, ...]:
        """Return what is unanswered, and with which monitor."""
        views = []
        for request in self._requests.pending():
            link = next((self.by_id[i] for i in request.sent if i in self.by_id), None)
            name = link.candidate.name if link is not None else ""
            views.append(RequestView(request.tid, request.kind, now - request.created, name, request.sends))
        return tuple(views)
