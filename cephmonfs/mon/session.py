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
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
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
    NoData,
    NotPermitted,
    ProtocolError,
    StaleTicket,
    UnexpectedMessage,
    UnknownEncoding,
    WrongProtocol,
)
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message
from cephmonfs.messages.registry import FromMonitor, ToMonitor, from_monitor
from cephmonfs.model.entity import EntityAddr, EntityType
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.mon.hunt import Candidate, Hunt
from cephmonfs.mon.link import EACCES, EVERYTHING, Happened, Identity, Link, Offer, Phase, key_type_refused
from cephmonfs.mon.maps import MapStore
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
    TicketView,
)
from cephmonfs.mon.subs import MAPS, Subscriptions
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor, Utime

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

DecodedMap = TypeVar("DecodedMap", FSMap, MDSMap, OSDMap)

_HEDGE_EVERY_S: Final = 0.3  # silence that opens one more link
_MAX_LINKS: Final = 3
_HANDSHAKE_S: Final = 10.0  # connect to SERVER_IDENT
_HEDGE_LIFE_S: Final = 20.0  # a link beside the current one that answers nothing makes room for another monitor
_PING_S: Final = 20.0  # idle time after which a sign of life is asked for
_SILENT_S: Final = 30.0  # without a byte although one was due: the link is dead
_PROBE_GRACE_S: Final = 1.5  # an answered probe, and still no answer to what was asked before it: caps
_ASKED_WITHIN_S: Final = 15.0  # somebody asked so recently that the hunt stays brisk
_RENEW_AT: Final = 0.75  # of a ticket's life
_RENEW_AGAIN_S: Final = 30.0  # after a failed renewal
_TICKET_DOUBTS: Final = 2  # handshakes that broke off after our ticket, in a row: try without it
_SUBS_RENEW_MIN_S: Final = 1.0
_HISTORY: Final = 32
_CAPS_AGAIN_S: Final = 60.0  # a session's caps are those of its beginning: so often a new one is tried
_ROLLED_BACK_S: Final = 10.0  # statfs versions below ours for so long: the cluster was rolled back, believe it


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
        self._credentials: Credentials | None = None
        self._tickets_got: Stamp | None = None
        self._renew_after: float | None = None
        self._renewing: LinkId | None = None
        self._ticket_doubts = 0
        self._subs = Subscriptions(mdsmap_at_once=config.fs is None)
        self._maps = MapStore()
        self._monmap: MonMap | None = None
        self._fscid: int | None = None
        self._fs_missing = False
        self._fs_pool: int | None = None  # the one data pool of the chosen file system
        self._osdmap: OSDMap | None = None
        self._bad_maps: dict[str, int] = {}  # crc of the last one of each name that did not decode
        self._unread: set[str] = set()  # maps that the cluster has and we cannot read
        self._denied: set[str] = set()
        self._probe: _Probe | None = None
        self._statfs_denied = False
        self._caps_again = 0.0
        self._osdmap_asked_at = -1  # what we had when we last asked for a full one
        self._requests = Requests()
        self._statfs: StatfsRecord | None = None
        self._statfs_version = 0
        self._lagging_since: float | None = None
        self._last_asked = now.mono
        self._state = State.CONNECTING
        self._since: Stamp | None = None
        self._last_contact: Stamp | None = None
        self._mon = ""
        self._addr = ""
        self._mode = ""
        self._sessions = 0
        self._failovers = 0
        self._last_error = ""
        self._mon_errors: dict[str, str] = {}
        self._rtt: dict[str, float] = {}
        self._history: deque[SessionChange] = deque(maxlen=_HISTORY)
        self._events: deque[SessionEvent] = deque()
        self._changed: set[str] = set()
        self._closed = False
        self.counters: Counter[str] = Counter()

    def _chance(self) -> float:
        return Cursor(self._random(4)).u32() / 2**32

    # ---- in: from the driver

    def set_candidates(self, candidates: Iterable[Candidate], now: Stamp) -> None:
        """Give the configured monitors, resolved anew as often as the driver likes."""
        self._now = now
        self._configured = tuple(candidates)
        self._refresh_candidates()
        self._drive()

    def connected(self, link_id: LinkId, now: Stamp) -> None:
        """TCP is up."""
        self._now = now
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
        self._now = now
        link = self._links.get(link_id)
        if link is not None:
            self._drop(link, ProtocolError(reason))
        self._drive()

    def receive_data(self, link_id: LinkId, data: bytes | bytearray | memoryview, now: Stamp) -> None:
        """Take bytes of one link.  Whatever is wrong with them costs that link only."""
        self._now = now
        link = self._links.get(link_id)
        if link is None:
            return
        self.counters["bytes_in"] += len(data)
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
        self._now = now
        for link in tuple(self._links.values()):
            self._link_timeouts(link)
        self._probe_timeouts()
        self._renew()
        self._renew_subs()
        self._drive()

    def shut_down(self, now: Stamp) -> None:
        """End the session: close every link, fail every waiter."""
        self._now = now
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
            self._send_everywhere(request)
        return waiter

    def request_command(self, command: Mapping[str, object], now: Stamp) -> WaiterId:
        """Run one read-only monitor command."""
        self._now = now
        self._asked()
        waiter = self._requests.waiter()
        request = self._requests.add(Kind.COMMAND, lambda fsid: mon.MMonCommand.of(fsid, command), now.mono)
        request.waiters[waiter] = None
        self._send_everywhere(request)
        return waiter

    def statfs_open_since(self) -> float | None:
        """Return since when (monotonic) a statfs is without an answer, None when none is."""
        return self._requests.statfs_open_since()

    def give_up(self, waiter: WaiterId) -> None:
        """The waiter left."""
        self._requests.give_up(waiter)

    def _asked(self) -> None:
        self._last_asked = self._now.mono
        if self._current is None:
            self._hunt.asked(self._now.mono)
            self._drive()

    # ---- out

    def next_event(self) -> SessionEvent | None:
        """Return what the driver has to do or pass on next, None when nothing."""
        if self._events:
            return self._events.popleft()
        if self._changed:
            changed, self._changed = frozenset(self._changed), set()
            return Changed(changed)
        return None

    def data_to_send(self) -> list[tuple[LinkId, bytes]]:
        """Return and forget the bytes that wait to be sent."""
        out = []
        for link in self._links.values():
            if data := link.data_to_send():
                self.counters["bytes_out"] += len(data)
                out.append((link.id, data))
        return out

    def next_timeout(self) -> float | None:
        """Return when (monotonic) `handle_timeout` wants to be called, None for never."""
        if self._closed:
            return None
        times = [self._link_due(link) for link in self._links.values()]
        late = self._first_late()
        if self._current is None or (late is not None and late <= self._now.mono):
            if len(self._links) < self._max_links():
                times.append(max(self._next_hedge, self._hunt.next_time()))
        elif late is not None:
            times.append(late)
        if self._probe is not None and self._current is not None and self._waits_for_probe():
            times.append(self._probe.answered + _PROBE_GRACE_S)
        if self._renew_after is not None and self._current is not None:
            times.append(self._renew_after)
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
            self._credentials,
            self._random,
            now,
            offer=self._config.offer,
            ciphers=self._monmap.auth_ciphers.allowed if self._monmap is not None else (),
        )
        self._links[link.id] = link
        self.counters["connects"] += 1
        self._next_hedge = now + self._config.late_after_s
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
        self._last_error = sentence
        self._mon_errors[link.candidate.name] = sentence
        self.counters["links_failed"] += 1
        if isinstance(reason, DecodeError):
            self.counters["decode_errors"] += 1
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
            self._doubt_ticket(link.prior, reason)
        self._next_hedge = 0.0
        if link is self._current:
            self._current = None
            self._note(State.HUNTING, sentence)
            self._promote_any()
        self._changed.add("session")
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
        self._mon_errors.pop(name, None)
        if link.connected_at is not None and link.ready_at is not None:
            self._rtt.setdefault(name, link.connected_at - link.opened)
        self._hunt.succeeded(link.candidate.addr)
        if link.result is not None:
            self._take_credentials(link.result.credentials)
        self._note(State.OPEN, "")
        self._warn_of_old_list(again=True)
        self._changed.add("session")
        self._update_state()

    def _take_credentials(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._tickets_got = self._now
        validity = credentials.shortest_validity_s()
        self._renew_after = None if validity is None else self._now.mono + validity * _RENEW_AT
        self._renewing = None
        self._ticket_doubts = 0

    def _doubt_ticket(self, prior: Credentials, reason: CephMonFSError) -> None:
        """A handshake failed after our old ticket was shown.

        A monitor out of quorum closes there, but so do those up to Reef on a ticket that their keys do not decrypt.
        """
        self._ticket_doubts += 1
        if isinstance(reason, StaleTicket) or self._ticket_doubts >= _TICKET_DOUBTS:
            self._ticket_doubts = 0
            if self._credentials is prior:
                self._credentials = None
                self.counters["tickets_stale"] += 1

    def _note(self, state: State, reason: str) -> None:
        self._history.append(SessionChange(self._now, state, self._mon, reason))

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
            self._changed.add("session")

    # ---- timers

    def _link_due(self, link: Link) -> float:
        if link.ready_at is None:
            return link.opened + _HANDSHAKE_S
        if link is not self._current:
            return link.ready_at + _HEDGE_LIFE_S
        ping = link.last_received + _PING_S if link.keepalive_sent is None else link.keepalive_sent + _SILENT_S
        return min(ping, self._request_late(link) + _HEDGE_LIFE_S)

    def _link_timeouts(self, link: Link) -> None:
        now = self._now.mono
        if now < self._link_due(link):
            return
        if link.ready_at is None:
            self._drop(link, ProtocolError(f"no session within {_HANDSHAKE_S:g} s"))
        elif link is not self._current or now >= self._request_late(link) + _HEDGE_LIFE_S:
            self._drop(link, ProtocolError(f"answers nothing for {_HEDGE_LIFE_S:g} s"))
        elif link.keepalive_sent is not None:
            self._drop(link, ProtocolError(f"silent for {_SILENT_S:g} s"))
        else:
            self._ping(link)

    def _ping(self, link: Link) -> None:
        wall = self._now.wall
        link.send_keepalive(self._now.mono, Utime(int(wall), int(wall % 1 * 1e9)))
        self.counters["keepalives"] += 1

    def _request_late(self, link: Link) -> float:
        """When this link is late with a request, if it stays silent; never (inf) if it owes none."""
        if self._requests.empty:
            return math.inf
        after = self._config.late_after_s
        times = []
        for request in self._requests.pending():
            sent = request.sent.get(link.id)
            if sent is not None and not request.optional and not (self._statfs_denied and request.kind is Kind.STATFS):
                times.append(sent + max(after, LATE_AFTER_S[request.kind]))
        return min(times, default=math.inf)

    def _first_late(self) -> float | None:
        """When the current monitor will be late with something, if it stays silent; None if nothing is due."""
        link = self._current
        if link is None:
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
            self.counters["messages_in"] += 1
            payload = from_monitor(item)
            if payload is None:
                self.counters["messages_unknown"] += 1
            else:
                self._on_payload(link, item, payload)

    def _on_ready(self, link: Link) -> None:
        self._update_state()
        link.monmap_due = self._now.mono
        self._send(link, mon.MMonSubscribe(self._subs.items(whole_monmap=True), self._config.hostname))
        if self._monmap is not None:
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
        self.counters["messages_out"] += 1

    def _send_request(self, link: Link, request: Request) -> None:
        if self._monmap is None or link.id in request.sent:
            return
        if request.kind is Kind.STATFS and not self._statfs_meant():
            return
        self._send(link, request.make(self._monmap.fsid.bytes), request.tid)
        request.sent[link.id] = self._now.mono
        request.sends += 1
        if request.asked is None:
            request.asked = self._now
        else:
            self.counters["resends"] += 1

    def _send_everywhere(self, request: Request) -> None:
        """On the session; while it is late also on those that may take over."""
        for link in self._links.values():
            if link.ready and (link is self._current or link.phase is Phase.OPEN):
                self._send_request(link, request)

    def _resend(self, link: Link) -> None:
        for request in self._requests.pending():
            self._send_request(link, request)

    def _ask_probe(self, link: Link) -> None:
        """A command is answered whatever our caps are: what stays unanswered beside it, they forbid."""
        if any(r.optional for r in self._requests.pending()):
            return
        request = self._requests.add(
            Kind.COMMAND, lambda fsid: mon.MMonCommand.of(fsid, {"prefix": "fsid"}), self._now.mono, optional=True
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
                self._check_fsid(UUID(bytes=payload.fsid))
                self._on_mdsmap(link, payload)
                self._settle_statfs()
            case mon.MFSMap():
                self._on_fsmap(link, payload)
                self._settle_statfs()
            case mon.MOSDMap():
                self._check_fsid(UUID(bytes=payload.fsid))
                self._on_osdmap(link, payload)
                self._settle_statfs()
            case mon.MMgrMap():
                self._got_map("mgrmap", payload.epoch, payload.mgrmap)
            case auth.MAuthReply():
                self._on_auth_reply(link, payload)
            case mon.MMonSubscribeAck(interval_s):
                link.renew_subs_at = self._now.mono + max(interval_s / 2, _SUBS_RENEW_MIN_S)
            case _:
                self.counters["messages_unasked"] += 1

    def _check_fsid(self, fsid: UUID) -> None:
        wanted = self._monmap.fsid if self._monmap is not None else self._config.fsid
        if wanted is not None and fsid != wanted:
            raise ForeignCluster(f"belongs to cluster {fsid}, wanted {wanted}")

    def _on_monmap(self, link: Link, payload: mon.MMonMap) -> None:
        monmap = MonMap.decode(Cursor(payload.monmap, "MonMap"))
        self._check_fsid(monmap.fsid)
        if not monmap.mons:
            raise DecodeError("MonMap", 0, "no monitors in it")
        if self._maps.put("monmap", monmap.epoch, payload.monmap, self._now):
            self._monmap = monmap
            self._subs.got("monmap", monmap.epoch)
            self._changed.add("monmap")
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
            self._last_error = f"{who.entity}: {sentence} before it connects again"
            self._changed.add("session")

    def _refresh_candidates(self) -> None:
        """The monmap's monitors first; configured addresses that it does not have come last.

        A configured address that is a monitor's other one (v1 where we speak v2, or the reverse) is that monitor:
        it is tried where it speaks our protocol, and there alone.
        """
        kind = self._config.identity.addr_type
        known = []
        elsewhere: set[str] = set()
        if self._monmap is not None:
            for info in self._monmap.mons:
                addr = info.addrs.of_type(kind)
                if addr is not None and not addr.blank:
                    known.append(Candidate(info.name, addr, info.priority, info.weight))
                    elsewhere.update(other.hostport for other in info.addrs.addrs if other.type != kind)
        last = max((c.priority for c in known), default=-1) + 1
        have = {c.addr for c in known}
        extra = [c for c in self._configured if c.addr not in have and c.addr.hostport not in elsewhere]
        if known:
            extra = [Candidate(c.name, c.addr, last, c.weight) for c in extra]
        self._hunt.set_candidates([*known, *extra])
        self._warn_of_old_list()

    def _warn_of_old_list(self, *, again: bool = False) -> None:
        """Monitors that were given and that the cluster does not have are told when that shows, and with each session.

        They are tried last from now on.
        """
        if self._monmap is None:
            return
        there = {addr.hostport for info in self._monmap.mons for addr in info.addrs.addrs}
        given: dict[str, bool] = {}
        for candidate in self._configured:
            if not candidate.remembered:
                given[candidate.name] = given.get(candidate.name, False) or candidate.addr.hostport in there
        gone = tuple(name for name, known in given.items() if not known)
        if gone and (again or gone != self._gone):
            mons = ", ".join(f"{info.name} {info.addrs}" for info in self._monmap.mons)
            verb = "is no monitor" if len(gone) == 1 else "are no monitors"
            self._last_error = (
                f"the list of monitors is out of date: {', '.join(gone)} {verb} of this cluster, which has {mons}"
            )
            self._changed.add("session")
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

    def _got_map(self, name: str, epoch: int, blob: bytes) -> bool:
        if not self._maps.put(name, epoch, blob, self._now):
            return False
        self._subs.got(name, epoch)
        self._denied.discard(name)
        self._unread.discard(name)
        self._changed.add(name)
        return True

    def _decoded(
        self, link: Link, name: str, epoch: int, blob: bytes, decode: Callable[[Cursor], DecodedMap]
    ) -> DecodedMap | None:
        """Decode a map before it takes the place of a good one; None: we do without it.

        Damage costs the monitor its session.  But the same bytes once more are the cluster's own word, and what is too
        new for us is nobody's fault: then that map is left out, and everything else goes on.
        """
        try:
            value = decode(Cursor(blob, name))
            if value.epoch != epoch:
                raise DecodeError(name, 0, f"epoch {value.epoch} where {epoch} was announced")
            return value
        except (DecodeError, IntegrityError) as exc:
            crc = raw_crc32c(blob, 0)
            seen, self._bad_maps[name] = self._bad_maps.get(name), crc
            self.counters["maps_bad"] += 1
            if seen != crc and not isinstance(exc, UnknownEncoding):
                raise
            self._last_error = link.describe(exc)
            self._unread.add(name)
            self._changed.add("session")
            return None

    def _on_fsmap(self, link: Link, payload: mon.MFSMap) -> None:
        fsmap = self._decoded(link, "fsmap", payload.epoch, payload.fsmap, FSMap.decode)
        if fsmap is None or not self._got_map("fsmap", payload.epoch, payload.fsmap):
            return
        names = fsmap.for_user()
        if self._config.fs is None:
            first = fsmap.legacy_client_fscid
            self._fscid = first if first >= 0 else None
            return
        fscid = names.fscid_of(self._config.fs)
        self._fs_missing = fscid is None
        self._fscid = fscid
        if self._subs.choose_mdsmap(fscid):
            self._maps.forget("mdsmap")
            self._fs_pool = None
            items = self._subs.item("mdsmap")
            if items:
                self._subscribe(items)

    def _renew_subs(self) -> None:
        """A monitor that acknowledges subscriptions forgets them after the interval it named."""
        link = self._current
        if link is not None and link.renew_subs_at is not None and self._now.mono >= link.renew_subs_at:
            link.renew_subs_at = None  # until the next acknowledgement
            self.counters["subs_renewed"] += 1
            self._send(link, mon.MMonSubscribe(self._subs.items(whole_monmap=False), self._config.hostname))

    def _subscribe(self, items: Mapping[str, mon.SubscribeItem]) -> None:
        for link in self._links.values():
            if link.ready:
                self._send(link, mon.MMonSubscribe(items, self._config.hostname))

    def _on_mdsmap(self, link: Link, payload: mon.MMDSMap) -> None:
        mdsmap = self._decoded(link, "mdsmap", payload.epoch, payload.mdsmap, MDSMap.decode)
        if mdsmap is None or not self._got_map("mdsmap", payload.epoch, payload.mdsmap):
            return
        if self._config.fs is not None:
            pools = mdsmap.data_pools
            self._fs_pool = pools[0] if len(pools) == 1 else None

    def _on_osdmap(self, link: Link, payload: mon.MOSDMap) -> None:
        newest = max(payload.full, default=0)
        if newest and newest >= self._subs.have("osdmap"):
            osdmap = self._decoded(link, "osdmap", newest, payload.full[newest], OSDMap.decode)
            if osdmap is not None:
                self._check_fsid(osdmap.fsid)
                self._got_map("osdmap", newest, payload.full[newest])
                self._osdmap = osdmap
        for epoch in sorted(payload.incrementals):
            if epoch > self._subs.have("osdmap") and not self._apply_incremental(link, epoch, payload):
                self._ask_full_osdmap(link)
                return
        if self._maps.osdmap_is_long():
            self._ask_full_osdmap(link)

    def _apply_incremental(self, link: Link, epoch: int, payload: mon.MOSDMap) -> bool:
        """Go one epoch on; False if we cannot from where we are."""
        old, blob = self._osdmap, payload.incrementals[epoch]
        if old is None or epoch != old.epoch + 1:
            return False
        osdmap = self._decoded(link, "osdmap", epoch, blob, lambda cur: old.apply(Incremental.decode(cur)))
        if osdmap is None or not self._maps.put_incremental(epoch, blob, self._now):
            return False
        self._osdmap = osdmap
        self._subs.got("osdmap", epoch)
        self._changed.add("osdmap")
        return True

    def _ask_full_osdmap(self, link: Link) -> None:
        """Once for what we have: a monitor that lags behind answers with a map that does not help."""
        have = self._subs.have("osdmap")
        if self._osdmap_asked_at == have:
            return
        self._osdmap_asked_at = have
        self.counters["osdmap_full_asked"] += 1
        self._send(link, mon.MMonSubscribe({"osdmap": mon.SubscribeItem(0)}, self._config.hostname))

    def _on_command(self, link: Link, message: Message, payload: mon.MMonCommandAck) -> None:
        request = self._requests.answered(message.tid, Kind.COMMAND)
        if request is None:
            self.counters["replies_unasked"] += 1
            return
        if request.optional:
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
            self._last_error = self._mon_errors[old.candidate.name] = old.describe("left, it did not answer")
            self.counters["left_silent"] += 1
            self._close(old)
        self._promote(link)

    # ---- statfs

    def _statfs_problem(self) -> CephMonFSError | None:
        """Why a statfs cannot be asked at all, None if it can."""
        if self._statfs_denied:
            self._try_caps_again()
            return self._no_caps()
        if self._config.pool is not None and self._monmap is not None and self._maps.get("osdmap") is not None:
            if self._pool_id() is None:
                return NoData(f"the cluster has no pool {self._config.pool}")
        elif self._config.pool is not None and "osdmap" in self._denied:
            return NotPermitted(f"{self._config.identity.entity} may not read the osdmap that names pools")
        if self._fs_missing:
            return NoData(f"the cluster has no file system {self._config.fs}")
        if self._config.fs is not None and "fsmap" in self._denied:
            return NotPermitted(f"{self._config.identity.entity} may not read the fsmap that names file systems")
        return None

    def _statfs_meant(self) -> bool:
        """Whether the maps have come that tell what a statfs is about: before them it would be of the whole cluster."""
        if self._config.pool is not None:
            return self._maps.get("osdmap") is not None or "osdmap" in self._unread
        if self._config.fs is None or not self._awaited("mdsmap"):
            return True
        return self._fscid is None and not self._awaited("fsmap")

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
        return mon.MStatfs(fsid, self._statfs_pool())

    def _statfs_pool(self) -> int | None:
        return self._pool_id() if self._config.pool is not None else self._fs_pool

    def _pool_id(self) -> int | None:
        wanted = self._config.pool
        names = self._osdmap.pool_names if self._osdmap is not None else {}
        for number, name in names.items():
            if name == wanted:
                return number
        return int(wanted) if wanted is not None and wanted.isdigit() and int(wanted) in names else None

    def _on_statfs(self, link: Link, tid: int, payload: mon.MStatfsReply) -> None:
        request = self._requests.answered(tid, Kind.STATFS)
        if request is None:
            self.counters["replies_unasked"] += 1
            return
        self._check_fsid(UUID(bytes=payload.fsid))
        self.counters["statfs"] += 1
        self._statfs_denied = False
        self._answered_by(link, request)
        record = self._statfs_record(request, payload)
        if request.waiters:
            self._events.append(Answered(tuple(request.waiters), record))
        self._changed.add("statfs")
        following = self._requests.next_statfs(self._make_statfs, self._now.mono)
        if following is not None:
            self._send_everywhere(following)

    def _statfs_record(self, request: Request, payload: mon.MStatfsReply) -> StatfsRecord:
        """A monitor that lags behind the numbers we already have does not take us back in time."""
        pool = self._statfs_pool()
        old = self._statfs
        lags = old is not None and old.pool == pool and payload.version < self._statfs_version
        if lags and old is not None:
            self.counters["statfs_lagging"] += 1
            if self._lagging_since is None:
                self._lagging_since = self._now.mono
            if self._now.mono < self._lagging_since + _ROLLED_BACK_S:
                return old
        self._lagging_since = None
        self._statfs_version = payload.version
        if payload.stats.kb_used > payload.stats.kb or payload.stats.kb_avail > payload.stats.kb:
            self.counters["statfs_implausible"] += 1
        self._statfs = StatfsRecord(payload.stats, pool, request.asked or self._now, self._now)
        return self._statfs

    # ---- caps

    def _waits_for_probe(self) -> bool:
        return any(self._awaited(name) for name in MAPS) or any(
            r.kind is Kind.STATFS and r.sent for r in self._requests.pending()
        )

    def _awaited(self, name: str) -> bool:
        return self._subs.have(name) == 0 and name not in self._denied and name not in self._unread

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
            for name in MAPS:
                wanted = name != "mdsmap" or self._fscid is not None or self._config.fs is None
                if wanted and self._awaited(name) and not self._no_mdsmap(name):
                    self._denied.add(name)
                    self._changed.add(name)
            self._settle_statfs()
            if probe.result == EACCES and self._statfs is None and self._requests.statfs_sent_before(probe.answered):
                self._fail_statfs_for_caps()
        self._probe = None
        if self._statfs is None and any(r.kind is Kind.STATFS and r.sent for r in self._requests.pending()):
            self._ask_probe(self._current)

    def _no_mdsmap(self, name: str) -> bool:
        """Without a file system there is no mdsmap of the default one."""
        return name == "mdsmap" and self._subs.have("fsmap") != 0 and self._fscid is None

    def _fail_statfs_for_caps(self) -> None:
        """From now on callers are told at once; each new session asks anew, on nobody's behalf."""
        waiters = self._requests.fail_statfs()
        self._statfs_denied = True
        self._caps_again = self._now.mono + _CAPS_AGAIN_S
        error = self._no_caps()
        self._last_error = str(error)
        if waiters:
            self._events.append(Failed(waiters, error))
        self._changed.add("session")

    def _no_caps(self) -> NotPermitted:
        entity = self._config.identity.entity
        return NotPermitted(
            f"{entity} may connect but not read: it needs mon 'allow r' (or at least 'allow service pg r')"
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
        if link is None or self._renew_after is None or self._now.mono < self._renew_after:
            return
        self._renew_after = self._now.mono + _RENEW_AGAIN_S
        if self._credentials is None:
            return
        payload = link.renewal(self._credentials)
        if payload is None:
            return
        self._renewing = link.id
        epoch = self._monmap.epoch if self._monmap is not None else 0
        self.counters["renewals"] += 1
        self._send(link, auth.MAuth(AuthMethod.CEPHX, payload, epoch))

    def _on_auth_reply(self, link: Link, payload: auth.MAuthReply) -> None:
        if link.id != self._renewing:
            self.counters["replies_unasked"] += 1
            return
        self._renewing = None
        if payload.protocol != AuthMethod.CEPHX:
            raise UnexpectedMessage(f"auth reply for method {payload.protocol} to a renewal of cephx tickets")
        if payload.result > 0:
            raise UnexpectedMessage(f"auth reply with result {payload.result}")
        if payload.result < 0:
            self._last_error = link.describe(f"tickets were not renewed: error {payload.result} {payload.text}")
            self._changed.add("session")
            return
        self._take_credentials(link.renewed(payload.payload, payload.global_id))

    # ---- the view

    def snapshot(self, now: Stamp) -> Snapshot:
        """Return the present view."""
        credentials = self._credentials
        return Snapshot(
            now=now,
            entity=str(self._config.identity.entity),
            state=self._state,
            mon=self._mon,
            addr=self._addr,
            mode=self._mode,
            global_id=credentials.global_id if credentials else 0,
            since=self._since if self._current is not None else None,
            last_contact=self._last_contact,
            sessions=self._sessions,
            failovers=self._failovers,
            last_error=self._last_error,
            fsid=str(self._monmap.fsid) if self._monmap is not None else "",
            errors=dict(self._mon_errors),
            monmap=self._monmap,
            maps=self._maps.records(),
            denied=frozenset(self._denied) | (frozenset({"statfs"}) if self._statfs_denied else frozenset()),
            fscid=self._fscid,
            fs_missing=self._fs_missing,
            mons=self._mon_views(),
            statfs=self._statfs,
            tickets=self._ticket_views(),
            requests=self._request_views(now),
            counters=dict(self.counters),
            history=tuple(self._history),
        )

    def _mon_views(self) -> tuple[MonView, ...]:
        if self._monmap is None:
            return ()
        return tuple(
            MonView(info.name, rank, info.addrs, self._rtt.get(info.name), self._mon_errors.get(info.name, ""))
            for rank, info in enumerate(self._monmap.mons)
        )

    def _ticket_views(self) -> tuple[TicketView, ...]:
        credentials, got = self._credentials, self._tickets_got
        if credentials is None or got is None:
            return ()
        return tuple(
            TicketView(
                service=_service_name(ticket.service),
                key_type=ticket.session_key.type.name.lower(),
                secret_id=ticket.secret_id,
                got=got.wall,
                renew_after=got.wall + ticket.validity_s * _RENEW_AT,
                expires=got.wall + ticket.validity_s,
            )
            for ticket in credentials.tickets.values()
        )

    def _request_views(self, now: Stamp) -> tuple[RequestView, ...]:
        views = []
        for request in self._requests.pending():
            link = next((self._links[i] for i in request.sent if i in self._links), None)
            name = link.candidate.name if link is not None else ""
            views.append(RequestView(request.tid, request.kind, now.mono - request.created, name, request.sends))
        return tuple(views)


def _service_name(service: int) -> str:
    try:
        return EntityType(service).name.lower()
    except ValueError:
        return str(service)
