"""MonSession: the client's whole life with a monitor quorum; no socket, no clock.

Theory of operation.  The session owns a few links (connections with their authentication).  One of them is
`current`: the open session.  When the current monitor leaves something unanswered for longer than a moment, links
to other monitors are opened *beside* it, the unanswered requests go out there too, and the first link that answers
becomes current; the rest are closed.  A reset is the same without the waiting.  While there is no session, links
are opened one after the other, each without waiting long for the one before.

The driver hands in bytes, connects and time, and takes out bytes and events:

    connected / connect_failed / closed / receive_data / handle_timeout      in
    next_event -> Connect, Close, Answered, Failed, Changed                  out
    data_to_send -> (link, bytes)                                            out
    next_timeout -> when handle_timeout wants to be called

Requests are resent on every new session with the same tid; what is not safe to repeat is never sent.
Ceph v20.2.4: src/mon/MonClient.cc.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cephmonfs.auth.credentials import AuthMethod, Credentials
from cephmonfs.auth.envelope import RandomBytes
from cephmonfs.errors import (
    AuthError,
    CephMonFSError,
    DecodeError,
    ForeignCluster,
    IntegrityError,
    MissingFeatures,
    NotPermitted,
    ProtocolError,
    UnexpectedMessage,
    WrongProtocol,
)
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message
from cephmonfs.messages.registry import FromMonitor, ToMonitor, from_monitor
from cephmonfs.model.entity import EntityAddr
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon import roster
from cephmonfs.mon.following import Following
from cephmonfs.mon.hunt import Candidate, Hunt
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.link import EACCES, EVERYTHING, Happened, Identity, Link, Offer, Phase, key_type_refused
from cephmonfs.mon.requests import LATE_AFTER_S, Kind, LinkId, Request, Requests, WaiterId
from cephmonfs.mon.snapshot import (
    CommandReply,
    MonView,
    RequestView,
    SessionChange,
    Snapshot,
    Stamp,
    State,
    StatfsRecord,
)
from cephmonfs.mon.space import Space
from cephmonfs.mon.tickets import Tickets
from cephmonfs.wire.cursor import Cursor, Utime

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

_GATHER_S: Final = 0.005  # longest that a shared statfs waits for more callers
_HEDGE_EVERY_S: Final = 0.3  # silence that opens one more link
_LOST_HASTE: Final = 1 / 3  # of that, when the session broke: somebody waits, and the next monitor may be electing
_MAX_LINKS: Final = 3
_HANDSHAKE_S: Final = 10.0  # connect to SERVER_IDENT
_HEDGE_LIFE_S: Final = 20.0  # a link beside the current one that answers nothing makes room for another one
_HEDGE_FIRST_LIFE_S: Final = (
    2.0  # the first such one, doubled with each: where all connections went mute, new ones may not
)
_PING_S: Final = 20.0  # idle time after which a sign of life is asked for
_SILENT_S: Final = 30.0  # without a byte although one was due: the link is dead
_PROBE_GRACE_S: Final = 1.5  # an answered probe, and still no answer to what was asked before it: caps
_ASKED_WITHIN_S: Final = 15.0  # somebody asked so recently that the hunt stays brisk
_SUBS_RENEW_MIN_S: Final = 1.0
_CAPS_AGAIN_S: Final = 60.0  # a session's caps are those of its beginning: so often a new one is tried


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session needs to know."""

    identity: Identity
    fsid: UUID | None = None  # refuse any other cluster
    fs: str | None = None  # follow this file system, df of its data pool
    pool: str | None = None  # df of this pool, by name or id
    hostname: str = ""
    late_after_s: float = _HEDGE_EVERY_S
    offer: Offer = EVERYTHING


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
class _Probe:
    """An answered probe."""

    link: LinkId
    answered: float
    result: int


SessionEvent = Connect | Close | Answered | Failed | Changed


class MonSession:
    """See the module."""

    def __init__(self, config: SessionConfig, random: RandomBytes, now: Stamp) -> None:
        self._config = config
        self._random = random
        self._now = now
        self._hunt = Hunt(self._chance)
        self._configured: tuple[Candidate, ...] = ()
        self._gone: tuple[str, ...] = ()  # of these, names that the monmap does not have
        self._links: dict[LinkId, Link] = {}
        self._current: Link | None = None
        self._last_link = 0
        self._next_hedge = 0.0
        self._mute_hedges = 0  # in a row, dropped for their silence
        self._renewing: LinkId | None = None
        self._journal = Journal()
        self._tickets = Tickets()
        self._following = Following(config.fsid, config.fs, config.pool, self._journal)
        self._space = Space(self._journal)
        self._requests = Requests()
        self._late_after_s = {kind: max(config.late_after_s, own_s) for kind, own_s in LATE_AFTER_S.items()}
        self._gathered_by = 0.0
        self._probe: _Probe | None = None
        self._statfs_denied = False
        self._caps_again = 0.0
        self._last_asked = now.mono
        self._state = State.CONNECTING
        self._since: Stamp | None = None
        self._last_contact: Stamp | None = None
        self._mon = ""
        self._addr = ""
        self._mode = ""
        self._sessions = 0
        self._failovers = 0
        self._rtt: dict[str, float] = {}
        self._events: deque[SessionEvent] = deque()
        self._closed = False
        self._due: float | None = None  # the next timeout, kept until something comes in
        self._due_known = False

    def _chance(self) -> float:
        return Cursor(self._random(4)).u32() / 2**32

    # ---- in: from the driver

    def _at(self, now: Stamp) -> None:
        """Something comes in at this moment."""
        self._now = now
        self._due_known = False

    def set_candidates(self, candidates: Iterable[Candidate], now: Stamp) -> None:
        """Give the configured monitors, resolved anew as often as the driver likes."""
        self._at(now)
        self._configured = tuple(candidates)
        self._refresh_candidates()
        self._drive()

    def connected(self, link_id: LinkId, now: Stamp) -> None:
        """TCP is up."""
        self._at(now)
        link = self._links.get(link_id)
        if link is None:
            return
        try:
            link.connected(now.mono)
        except CephMonFSError as exc:
            self._drop(link, exc)
        self._update_state()
        self._drive()

    def connect_failed(self, link_id: LinkId, reason: str, now: Stamp) -> None:
        """TCP did not come up."""
        self.closed(link_id, reason, now)

    def closed(self, link_id: LinkId, reason: str, now: Stamp) -> None:
        """The connection ended without our doing."""
        self._at(now)
        link = self._links.get(link_id)
        if link is not None:
            self._drop(link, ProtocolError(reason))
        self._drive()

    def receive_data(self, link_id: LinkId, data: bytes | bytearray | memoryview, now: Stamp) -> None:
        """Take bytes of one link.  Whatever is wrong with them costs that link only."""
        self._at(now)
        link = self._links.get(link_id)
        if link is None:
            return
        self._journal.counters["bytes_in"] += len(data)
        self._last_contact = now
        try:
            link.receive_data(data, now.mono)
            while link.messages and link.id in self._links:
                self._on_link(link, link.messages.popleft())
        except CephMonFSError as exc:
            self._drop(link, exc)
        self._update_state()
        self._drive()

    def handle_timeout(self, now: Stamp) -> None:
        """Do what is due."""
        self._at(now)
        for link in tuple(self._links.values()):
            self._link_timeouts(link)
        if self._requests.statfs_gathering and now.mono >= self._gathered_by:
            self.statfs_gathered(now)
        self._probe_timeouts()
        self._renew()
        self._renew_subs()
        self._drive()

    def shut_down(self, now: Stamp) -> None:
        """End the session: close every link, fail every waiter."""
        self._at(now)
        self._closed = True
        for link in tuple(self._links.values()):
            self._close(link)
        self._current = None

    # ---- in: requests

    def request_statfs(self, now: Stamp) -> WaiterId:
        """Ask for the space; concurrent callers share.  The answer comes as Answered or Failed."""
        self._now = now
        self._asked()
        problem = self._statfs_problem()
        if problem is not None:
            waiter = self._requests.waiter()
            self._events.append(Failed((waiter,), problem))
            return waiter
        waiter, request = self._requests.join_statfs(self._make_statfs, now.mono)
        if request is not None:
            self._due_known = False
            self._send_everywhere(request)
        elif self._requests.statfs_gathering == 1:
            self._due_known = False
        return waiter

    def request_command(self, command: Mapping[str, object], now: Stamp) -> WaiterId:
        """Run one read-only monitor command."""
        self._at(now)
        self._asked()
        waiter = self._requests.waiter()
        request = self._requests.add(Kind.COMMAND, lambda fsid: mon.MMonCommand.of(fsid, command), now.mono)
        request.waiters[waiter] = None
        self._send_everywhere(request)
        return waiter

    def statfs_open_since(self) -> float | None:
        """Return since when (monotonic) a statfs is without an answer, None when none is."""
        return self._requests.statfs_open_since()

    @property
    def statfs_gathering(self) -> int:
        """How many callers wait for a statfs that leaves as soon as the driver says that nobody else comes."""
        return self._requests.statfs_gathering

    def statfs_gathered(self, now: Stamp) -> None:
        """Nobody else is about to ask: send it.  Without this call it leaves a few milliseconds later."""
        self._at(now)
        following = self._requests.next_statfs(self._make_statfs, now.mono)
        if following is not None:
            self._send_everywhere(following)

    def give_up(self, waiter: WaiterId) -> None:
        """The waiter left."""
        self._due_known = False
        self._requests.give_up(waiter)

    def _asked(self) -> None:
        self._last_asked = self._now.mono
        if self._current is None:
            self._due_known = False
            self._hunt.asked(self._now.mono)
            self._drive()

    # ---- out

    def next_event(self) -> SessionEvent | None:
        """Return what the driver has to do or pass on next, None when nothing."""
        if self._events:
            return self._events.popleft()
        changed = self._journal.take_changes()
        return Changed(changed) if changed else None

    def data_to_send(self) -> list[tuple[LinkId, bytes]]:
        """Return and forget the bytes that wait to be sent."""
        out = []
        for link in self._links.values():
            if data := link.data_to_send():
                self._journal.counters["bytes_out"] += len(data)
                out.append((link.id, data))
        return out

    def next_timeout(self) -> float | None:
        """Return when (monotonic) `handle_timeout` wants to be called, None for never."""
        if not self._due_known:
            self._due = self._next_timeout()
            self._due_known = True
        return self._due

    def _next_timeout(self) -> float | None:
        if self._closed:
            return None
        times = [self._link_due(link) for link in self._links.values()]
        if self._requests.statfs_gathering:
            times.append(self._gathered_by)
        late = self._first_late()
        if self._current is None or (late is not None and late <= self._now.mono):
            if len(self._links) < self._max_links():
                times.append(max(self._next_hedge, self._hunt.next_time()))
        elif late is not None:
            times.append(late)
        if self._probe is not None and self._current is not None and self._waits_for_probe():
            times.append(self._probe.answered + _PROBE_GRACE_S)
        if self._tickets.renew_after is not None and self._current is not None:
            times.append(self._tickets.renew_after)
        if self._current is not None and self._current.renew_subs_at is not None:
            times.append(self._current.renew_subs_at)
        return min(times, default=None)

    # ---- links

    def _drive(self) -> None:
        """Open the links that are wanted now."""
        if self._closed:
            return
        if self._current is not None and self._late_since() is None:
            for link in tuple(self._links.values()):
                if link is not self._current:
                    self._close(link)
            self._next_hedge = 0.0
            self._mute_hedges = 0
            return
        now = self._now.mono
        if len(self._links) >= self._max_links() or now < self._next_hedge:
            return
        busy = {link.candidate.addr for link in self._links.values()}
        asked = now - self._last_asked < _ASKED_WITHIN_S or not self._requests.empty
        candidate = self._hunt.pick(now, busy, asked=asked)
        if candidate is None:
            return
        self._last_link += 1
        link = Link(
            self._last_link,
            candidate,
            self._config.identity,
            self._tickets.credentials,
            self._random,
            now,
            offer=self._config.offer,
            ciphers=self._following.monmap.auth_ciphers.allowed if self._following.monmap is not None else (),
        )
        self._links[link.id] = link
        self._journal.counters["connects"] += 1
        broke = self._current is None and self._sessions > 0
        self._next_hedge = now + self._config.late_after_s * (_LOST_HASTE if broke else 1)
        self._events.append(Connect(link.id, candidate.addr))
        self._update_state()

    def _max_links(self) -> int:
        return min(_MAX_LINKS, len(self._hunt.candidates))

    def _close(self, link: Link) -> None:
        """Close without blame."""
        if self._links.pop(link.id, None) is not None:
            self._requests.link_closed(link.id)
            self._events.append(Close(link.id))

    def _drop(self, link: Link, reason: CephMonFSError) -> None:
        """A link failed: remember why, close it, hunt on."""
        if link.id not in self._links:
            return
        sentence = link.describe(reason)
        self._journal.last_error = sentence
        self._journal.errors[link.candidate.name] = sentence
        self._journal.counters["links_failed"] += 1
        if isinstance(reason, DecodeError):
            self._journal.counters["decode_errors"] += 1
        refused = isinstance(reason, AuthError | WrongProtocol | MissingFeatures)
        self._close(link)
        if isinstance(reason, DecodeError | IntegrityError | UnexpectedMessage | ForeignCluster):
            self._hunt.shun(link.candidate.addr, self._now.mono)
        if link.ready_at is not None and not refused:
            self._hunt.lost(link.candidate.addr)
        else:
            self._hunt.failed(link.candidate.addr, refused=refused)
        if self._renewing == link.id:
            self._renewing = None
        if link.prior is not None and link.phase is Phase.AUTH:
            self._doubt(link.prior, reason)
        self._next_hedge = 0.0
        if link is self._current:
            self._current = None
            self._note(State.HUNTING, sentence)
            self._promote_any()
        self._journal.changed("session")
        self._update_state()

    def _promote_any(self) -> None:
        """A link that is already open takes over."""
        for link in self._links.values():
            if link.ready and link.phase is Phase.OPEN:
                self._promote(link)
                return

    def _promote(self, link: Link) -> None:
        """This link is the session now."""
        if link is self._current:
            return
        previous = self._mon
        self._current = link
        self._sessions += 1
        name = link.candidate.name
        if previous and previous != name:
            self._failovers += 1
        self._mon, self._addr, self._mode = name, str(link.candidate.addr), str(link.mode)
        self._since = self._now
        self._journal.errors.pop(name, None)
        if link.connected_at is not None and link.ready_at is not None:
            self._rtt.setdefault(name, link.connected_at - link.opened)
        self._hunt.succeeded(link.candidate.addr)
        if link.result is not None:
            self._tickets.take(link.result.credentials, self._now)
        self._note(State.OPEN, "")
        self._warn_of_old_list(again=True)
        self._journal.changed("session")
        self._update_state()

    def _doubt(self, shown: Credentials, reason: CephMonFSError) -> None:
        if self._tickets.doubt(shown, reason):
            self._journal.counters["tickets_stale"] += 1

    def _note(self, state: State, reason: str) -> None:
        self._journal.history.append(SessionChange(self._now, state, self._mon, reason))

    def _update_state(self) -> None:
        old = self._state
        if self._current is not None:
            self._state = State.OPEN if self._late_since() is None else State.HUNTING
        elif self._hunt.refused and not any(link.phase is Phase.MAPS for link in self._links.values()):
            self._state = State.REFUSED
        elif self._sessions:
            self._state = State.HUNTING
        elif any(link.phase in (Phase.AUTH, Phase.MAPS) for link in self._links.values()):
            self._state = State.AUTHENTICATING
        else:
            self._state = State.CONNECTING
        if self._state is not old:
            self._journal.changed("session")
            if self._state is State.HUNTING:
                self._journal.counters["hunts"] += 1

    # ---- timers

    def _link_due(self, link: Link) -> float:
        if link.ready_at is None:
            return link.opened + _HANDSHAKE_S
        if link is not self._current:
            return link.ready_at + self._hedge_life()
        ping = link.last_received + _PING_S if link.keepalive_sent is None else link.keepalive_sent + _SILENT_S
        return min(ping, self._request_late(link) + _HEDGE_LIFE_S)

    def _hedge_life(self) -> float:
        return min(_HEDGE_FIRST_LIFE_S * 2.0**self._mute_hedges, _HEDGE_LIFE_S)

    def _link_timeouts(self, link: Link) -> None:
        now = self._now.mono
        if now < self._link_due(link):
            return
        if link.ready_at is None:
            self._drop(link, ProtocolError(f"no session within {_HANDSHAKE_S:g} s"))
        elif link is not self._current:
            life = self._hedge_life()
            self._mute_hedges += 1
            self._drop(link, ProtocolError(f"answers nothing for {life:g} s"))
        elif now >= self._request_late(link) + _HEDGE_LIFE_S:
            self._drop(link, ProtocolError(f"answers nothing for {_HEDGE_LIFE_S:g} s"))
        elif link.keepalive_sent is not None:
            self._drop(link, ProtocolError(f"silent for {_SILENT_S:g} s"))
        else:
            self._ping(link)

    def _ping(self, link: Link) -> None:
        wall = self._now.wall
        link.send_keepalive(self._now.mono, Utime(int(wall), int(wall % 1 * 1e9)))
        self._journal.counters["keepalives"] += 1

    def _request_late(self, link: Link) -> float:
        """When this link is late with a request, if it stays silent; never (inf) if it owes none."""
        late = math.inf
        for request in self._requests.pending():
            sent = request.sent.get(link.id)
            if sent is None or request.optional or (self._statfs_denied and request.kind is Kind.STATFS):
                continue
            due = sent + self._late_after_s[request.kind]
            if due < late:
                late = due
        return late

    def _first_late(self) -> float | None:
        """When the current monitor will be late with something, if it stays silent; None if nothing is due."""
        link = self._current
        if link is None or (self._requests.empty and link.keepalive_sent is None):
            return None
        due = self._request_late(link)
        if link.keepalive_sent is not None:
            due = min(due, link.keepalive_sent + self._config.late_after_s)
        return None if due == math.inf else due

    def _late_since(self) -> float | None:
        """Since when the current monitor is late, None if it is not."""
        due = self._first_late()
        return due if due is not None and due <= self._now.mono else None

    # ---- what links tell

    def _on_link(self, link: Link, item: Message | Happened) -> None:
        if item is Happened.READY:
            self._on_ready(link)
        elif item is Happened.ALIVE:
            self._on_alive(link)
        elif isinstance(item, Message):
            self._journal.counters["messages_in"] += 1
            payload = from_monitor(item)
            if payload is None:
                self._journal.counters["messages_unknown"] += 1
            else:
                self._on_payload(link, item, payload)

    def _on_ready(self, link: Link) -> None:
        self._update_state()
        link.monmap_due = self._now.mono
        self._subscribe(self._following.items(whole_monmap=True), (link,))
        if self._following.monmap is not None:
            self._resend(link)

    def _on_alive(self, link: Link) -> None:
        if link.keepalive_sent is not None:
            self._rtt[link.candidate.name] = self._now.mono - link.keepalive_sent
            link.keepalive_sent = None

    def _opened(self, link: Link) -> None:
        """The first monmap came: this is our cluster, and the monitor answers."""
        link.phase = Phase.OPEN
        link.monmap_due = None
        self._ask_probe(link)
        if self._current is None:
            self._promote(link)
        if self._statfs_denied:
            self._requests.ask_statfs(self._make_statfs, self._now.mono)
        self._resend(link)

    # ---- sending

    def _send(self, link: Link, payload: Payload, tid: int = 0) -> None:
        link.send(payload, tid)
        self._journal.counters["messages_out"] += 1

    def _send_request(self, link: Link, request: Request) -> None:
        if self._following.monmap is None or link.id in request.sent:
            return
        if request.kind is Kind.STATFS and not self._following.statfs_meant():
            return
        self._send(link, request.make(self._following.monmap.fsid.bytes), request.tid)
        request.sent[link.id] = self._now.mono
        request.sends += 1
        if request.asked is None:
            request.asked = self._now
        else:
            self._journal.counters["resends"] += 1

    def _send_everywhere(self, request: Request) -> None:
        """On the session; while it is late also on those that may take over."""
        for link in self._links.values():
            if link.ready and (link is self._current or link.phase is Phase.OPEN):
                self._send_request(link, request)

    def _resend(self, link: Link) -> None:
        for request in self._requests.pending():
            self._send_request(link, request)

    def _ask_probe(self, link: Link, prefix: str = "fsid") -> None:
        """A command is answered whatever our caps are: what stays unanswered beside it, they forbid."""
        if any(r.optional for r in self._requests.pending()):
            return
        request = self._requests.add(
            Kind.COMMAND, lambda fsid: mon.MMonCommand.of(fsid, {"prefix": prefix}), self._now.mono, optional=True
        )
        self._send_request(link, request)

    # ---- receiving

    def _on_payload(self, link: Link, message: Message, payload: FromMonitor) -> None:
        match payload:
            case mon.MMonMap():
                self._on_monmap(link, payload)
            case mon.MStatfsReply():
                self._on_statfs(link, message.tid, payload)
            case mon.MMonCommandAck():
                self._on_command(link, message, payload)
            case mon.MMDSMap():
                self._following.on_mdsmap(link, payload, self._now)
                self._settle_statfs()
            case mon.MFSMap():
                self._subscribe(self._following.on_fsmap(link, payload, self._now), self._links.values())
                self._settle_statfs()
            case mon.MOSDMap():
                self._subscribe(self._following.on_osdmap(link, payload, self._now), (link,))
                self._settle_statfs()
            case mon.MMgrMap():
                self._following.on_mgrmap(payload, self._now)
            case auth.MAuthReply():
                self._on_auth_reply(link, payload)
            case mon.MMonSubscribeAck(interval_s):
                link.renew_subs_at = self._now.mono + max(interval_s / 2, _SUBS_RENEW_MIN_S)
            case _:
                self._journal.counters["messages_unasked"] += 1

    def _on_monmap(self, link: Link, payload: mon.MMonMap) -> None:
        monmap = self._following.on_monmap(payload, self._now)
        if monmap is not None:
            self._refresh_candidates()
            self._warn_of_key_type(monmap)
            self._match_links(monmap)
            if link.id not in self._links:
                return
        if link.phase is Phase.MAPS:
            self._opened(link)

    def _warn_of_key_type(self, monmap: MonMap) -> None:
        """The cluster stopped taking keys like ours: nothing happens to this session, and the next will be refused."""
        who = self._config.identity
        if sentence := key_type_refused(who, monmap.auth_ciphers.allowed):
            self._journal.error(f"{who.entity}: {sentence} before it connects again")

    def _refresh_candidates(self) -> None:
        monmap = self._following.monmap
        self._hunt.set_candidates(roster.candidates(self._configured, monmap, self._config.identity.addr_type))
        self._warn_of_old_list()

    def _warn_of_old_list(self, *, again: bool = False) -> None:
        """Tell when that shows, and with each session."""
        monmap = self._following.monmap
        if monmap is None:
            return
        gone = roster.unlisted(self._configured, monmap)
        if gone and (again or gone != self._gone):
            self._journal.error(roster.out_of_date(gone, monmap))
        self._gone = gone

    def _match_links(self, monmap: MonMap) -> None:
        """Links get the names of the new monmap; one whose monitor was removed from it is left."""
        for link in tuple(self._links.values()):
            info = monmap.by_addr(link.candidate.addr)
            if info is not None:
                link.listed = True
                link.candidate = Candidate(info.name, link.candidate.addr, info.priority, info.weight)
                if link is self._current:
                    self._mon = info.name
            elif link.listed:
                self._drop(link, ProtocolError("is no longer in the monmap"))
        there = {info.name for info in monmap.mons} | {c.name for c in self._configured}
        for kept in (self._journal.errors, self._rtt):
            for name in kept.keys() - there:
                del kept[name]

    def _renew_subs(self) -> None:
        """A monitor that acknowledges subscriptions forgets them after the interval it named."""
        link = self._current
        if link is not None and link.renew_subs_at is not None and self._now.mono >= link.renew_subs_at:
            link.renew_subs_at = None  # until the next acknowledgement
            self._journal.counters["subs_renewed"] += 1
            self._subscribe(self._following.items(whole_monmap=False), (link,))

    def _subscribe(self, items: Mapping[str, mon.SubscribeItem], links: Iterable[Link]) -> None:
        for link in links:
            if items and link.ready:
                self._send(link, mon.MMonSubscribe(items, self._config.hostname))

    def _on_command(self, link: Link, message: Message, payload: mon.MMonCommandAck) -> None:
        request = self._requests.answered(message.tid, Kind.COMMAND)
        if request is None:
            self._journal.counters["replies_unasked"] += 1
            return
        if request.optional:
            if self._probe is None or self._current is None or self._probe.link != self._current.id:
                self._probe = _Probe(link.id, self._now.mono, payload.result)
        else:
            self._answered_by(link, request)
        if request.waiters:
            reply = CommandReply(payload.result, payload.text, message.data, self._now)
            self._events.append(Answered(tuple(request.waiters), reply))

    def _answered_by(self, link: Link, request: Request) -> None:
        """Who answers what the current monitor left unanswered is the session now."""
        old = self._current
        if link is old or link.phase is not Phase.OPEN:
            return
        if old is not None:
            if old.id not in request.sent:
                return
            sentence = self._journal.errors[old.candidate.name] = old.describe("left, it did not answer")
            self._journal.error(sentence)
            self._journal.counters["left_silent"] += 1
            self._close(old)
        self._promote(link)

    # ---- statfs

    def _statfs_problem(self) -> CephMonFSError | None:
        """Why a statfs cannot be asked at all, None if it can."""
        if self._statfs_denied:
            self._try_caps_again()
            return self._no_caps()
        return self._following.statfs_problem(self._config.identity.entity)

    def _settle_statfs(self) -> None:
        """A map came, or will not: a statfs that waited for it leaves now, or is told why it cannot."""
        # after a refusal for caps each new session asks on nobody's behalf
        problem = None if self._statfs_denied else self._statfs_problem()
        if problem is not None:
            if waiters := self._requests.fail_statfs():
                self._events.append(Failed(waiters, problem))
            return
        for request in self._requests.pending():
            if request.kind is Kind.STATFS:
                self._send_everywhere(request)

    def _make_statfs(self, fsid: bytes) -> ToMonitor:
        return mon.MStatfs(fsid, self._following.statfs_pool())

    def _on_statfs(self, link: Link, tid: int, payload: mon.MStatfsReply) -> None:
        request = self._requests.answered(tid, Kind.STATFS)
        if request is None:
            self._journal.counters["replies_unasked"] += 1
            return
        self._following.check_fsid_bytes(payload.fsid)
        self._journal.counters["statfs"] += 1
        self._statfs_denied = False
        self._answered_by(link, request)
        record = self._space.take(payload, self._following.statfs_pool(), request.asked or self._now, self._now)
        if request.waiters:
            self._events.append(Answered(tuple(request.waiters), record))
        self._journal.changed("statfs")
        self._gathered_by = self._now.mono + _GATHER_S

    # ---- caps

    def _waits_for_probe(self) -> bool:
        return self._following.any_awaited() or any(r.kind is Kind.STATFS and r.sent for r in self._requests.pending())

    def _probe_timeouts(self) -> None:
        """The probe was answered a while ago; what was asked before it and is still unanswered, our caps forbid.

        A monitor without quorum also answers the probe and leaves a statfs waiting.  So a statfs is only blamed on
        the caps when the probe was refused for them and no statfs was ever answered.
        """
        if self._probe is None or self._current is None:
            return
        probe = self._probe
        if self._now.mono < probe.answered + _PROBE_GRACE_S:
            return
        if probe.link == self._current.id:
            self._following.deny_awaited()
            self._settle_statfs()
            if (
                probe.result == EACCES
                and self._space.record is None
                and self._requests.statfs_sent_before(probe.answered)
            ):
                self._fail_statfs_for_caps()
        self._probe = None
        if self._space.record is None and any(r.kind is Kind.STATFS and r.sent for r in self._requests.pending()):
            # one that wants the same caps as a statfs: those for `fsid` may be there without them
            self._ask_probe(self._current, "pg stat")

    def _fail_statfs_for_caps(self) -> None:
        """From now on callers are told at once; each new session asks anew, on nobody's behalf."""
        waiters = self._requests.fail_statfs()
        self._statfs_denied = True
        self._caps_again = self._now.mono + _CAPS_AGAIN_S
        error = self._no_caps()
        self._journal.last_error = str(error)
        if waiters:
            self._events.append(Failed(waiters, error))
        self._journal.changed("session")
        self._update_state()  # nobody is late any more

    def _no_caps(self) -> NotPermitted:
        entity = self._config.identity.entity
        return NotPermitted(
            f"{entity} may connect but not ask for the space: it needs mon 'allow r' (or at least 'allow service pg r')"
        )

    def _try_caps_again(self) -> None:
        """Somebody asks, and the refusal is old: the key may have got more caps, which a new session would have."""
        if self._current is not None and self._now.mono >= self._caps_again:
            self._caps_again = self._now.mono + _CAPS_AGAIN_S
            self._close(self._current)
            self._current = None
            self._update_state()
            self._drive()

    # ---- tickets

    def _renew(self) -> None:
        link = self._current
        credentials = self._tickets.due(self._now.mono) if link is not None else None
        if link is None or credentials is None:
            return
        payload = link.renewal(credentials)
        if payload is None:
            return
        self._renewing = link.id
        epoch = self._following.monmap.epoch if self._following.monmap is not None else 0
        self._journal.counters["renewals"] += 1
        self._send(link, auth.MAuth(AuthMethod.CEPHX, payload, epoch))

    def _on_auth_reply(self, link: Link, payload: auth.MAuthReply) -> None:
        if link.id != self._renewing:
            self._journal.counters["replies_unasked"] += 1
            return
        self._renewing = None
        if payload.protocol != AuthMethod.CEPHX:
            raise UnexpectedMessage(f"auth reply for method {payload.protocol} to a renewal of cephx tickets")
        if payload.result > 0:
            raise UnexpectedMessage(f"auth reply with result {payload.result}")
        if payload.result < 0:
            self._journal.error(link.describe(f"tickets were not renewed: error {payload.result} {payload.text}"))
            return
        self._tickets.take(link.renewed(payload.payload, payload.global_id), self._now)

    # ---- the view

    def snapshot(self, now: Stamp) -> Snapshot:
        """Return the present view."""
        return Snapshot(
            now=now,
            entity=str(self._config.identity.entity),
            state=self._state,
            mon=self._mon,
            addr=self._addr,
            mode=self._mode,
            global_id=self._tickets.global_id,
            since=self._since if self._current is not None else None,
            last_contact=self._last_contact,
            sessions=self._sessions,
            failovers=self._failovers,
            last_error=self._journal.last_error,
            fsid=str(self._following.monmap.fsid) if self._following.monmap is not None else "",
            errors=dict(self._journal.errors),
            monmap=self._following.monmap,
            maps=self._following.records(),
            denied=frozenset(self._following.denied) | (frozenset({"statfs"}) if self._statfs_denied else frozenset()),
            fscid=self._following.fscid,
            fs_missing=self._following.fs_missing,
            mons=self._mon_views(),
            statfs=self._space.record,
            tickets=self._tickets.views(),
            requests=self._request_views(now),
            counters=dict(self._journal.counters),
            history=tuple(self._journal.history),
            my_addr=self._current.my_addr if self._current is not None else None,
        )

    def _mon_views(self) -> tuple[MonView, ...]:
        if self._following.monmap is None:
            return ()
        return tuple(
            MonView(info.name, rank, info.addrs, self._rtt.get(info.name), self._journal.errors.get(info.name, ""))
            for rank, info in enumerate(self._following.monmap.mons)
        )

    def _request_views(self, now: Stamp) -> tuple[RequestView, ...]:
        views = []
        for request in self._requests.pending():
            link = next((self._links[i] for i in request.sent if i in self._links), None)
            name = link.candidate.name if link is not None else ""
            views.append(RequestView(request.tid, request.kind, now.mono - request.created, name, request.sends))
        return tuple(views)
