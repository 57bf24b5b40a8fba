"""MonSession: the client's whole life with the monitors; no socket, no clock.

Theory of operation.  The session has up to three connections.  One of them is `current`: the open session.  If the
current monitor leaves a request unanswered for 0.3 s, other monitors are connected *beside* it, the unanswered requests
are sent to them too, and the first monitor that answers becomes current; the other connections are closed.  After a
reset the same happens without the wait.  While there is no session, monitors are connected one after the other, each a
moment after the one before.

The parts, none of which knows the session: `connections` (which monitor is late, when another is wanted), `hunt` and
`candidates` (which monitor next), `requests` and `sending` (what is unanswered, and where it was sent), `commands` and
`quorum` (replies from old state are refused), `maps` and `subscriptions`, `target` (the subject of df), `versions`
(which of two is used), `caps` (what the key may not do), `tickets`, `statfs` (the last answer), `status` and `report`
(what is shown).  The session passes between them what comes in.

The driver calls these, and takes bytes and events:

    connected / connect_failed / closed / receive_data / handle_timeout      in
    next_event -> Connect, Close, Answered, Failed, Changed, Decode          out
    data_to_send -> (connection, bytes)                                      out
    next_timeout -> when handle_timeout wants to be called                   out

Requests are resent on every new session with the same tid; what is not safe to repeat is never sent.
Ceph v20.2.4: src/mon/MonClient.cc.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cephmonfs.auth.envelope import RandomBytes
from cephmonfs.errors import CephMonFSError, ProtocolError
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message
from cephmonfs.messages.registry import FromMonitor, from_monitor
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.candidates import Candidates
from cephmonfs.mon.caps import FIRST_PROBE, SECOND_PROBE, Caps
from cephmonfs.mon.commands import Commands
from cephmonfs.mon.connection import EVERYTHING, Happened, Identity, MonConnection, Offer, Phase, key_type_refused
from cephmonfs.mon.connections import HEDGE_EVERY_S, Connections
from cephmonfs.mon.decoding import Decoding, MapPayload, Outcomes
from cephmonfs.mon.events import Answered, Changed, Close, Connect, Decode, Failed, SessionEvent
from cephmonfs.mon.hunt import Candidate, Hunt
from cephmonfs.mon.maps import Maps
from cephmonfs.mon.quorum import Quorum
from cephmonfs.mon.report import Report
from cephmonfs.mon.requests import ConnectionId, Kind, Request, Requests, WaiterId
from cephmonfs.mon.sending import Sender
from cephmonfs.mon.snapshot import Snapshot, Stamp
from cephmonfs.mon.statfs import Patience, StatfsCalls
from cephmonfs.mon.status import SessionStatus
from cephmonfs.mon.target import Target
from cephmonfs.mon.tickets import Tickets
from cephmonfs.mon.versions import Versions
from cephmonfs.wire.cursor import Cursor

# all that a driver needs
__all__ = ["Answered", "Changed", "Close", "Connect", "Decode", "Failed", "MonSession", "SessionConfig", "SessionEvent"]

_ASKED_WITHIN_S: Final = 15.0  # a caller asked so recently that pauses of the hunt stay short
_SUBS_RENEW_MIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a session needs to know."""

    identity: Identity
    fsid: UUID | None = None  # refuse any other cluster
    fs: str | None = None  # follow this file system, df of its data pool
    pool: str | None = None  # df of this pool, by name or id
    hostname: str = ""
    late_after_s: float = HEDGE_EVERY_S
    offer: Offer = EVERYTHING


class MonSession:
    """See the module."""

    def __init__(self, config: SessionConfig, random: RandomBytes, now: Stamp) -> None:
        self._config = config
        self._random = random
        self._now = now
        self._hunt = Hunt(self._chance)
        self._report = Report()
        self._report.now = now
        self._events: deque[SessionEvent] = deque()
        self._requests = Requests()
        self._connections = Connections(self._hunt, self._requests, self._report, self._events, config.late_after_s)
        self._tickets = Tickets(self._report)
        self._versions = Versions()
        self._target = Target(config.fs, config.pool)
        self._maps = Maps(config.fsid, self._target, self._report, self._versions)
        self._caps = Caps(config.identity.entity, self._maps, self._requests)
        self._quorum = Quorum(self._requests)
        self._status = SessionStatus(self._connections, self._hunt, self._report)
        self._sender = Sender(self._connections, self._requests, self._maps, self._report, config.hostname)
        self._commands = Commands(
            self._connections, self._requests, self._quorum, self._caps, self._sender, self._report, self._events
        )
        self._statfs = StatfsCalls(
            config.identity.entity,
            self._requests,
            self._sender,
            self._maps,
            self._target,
            self._caps,
            self._versions,
            self._report,
            self._events,
        )
        self._candidates = Candidates(self._hunt, config.identity.addr_type, self._report)
        self._decoding = Decoding()
        self._last_asked = now.mono
        self._closed = False
        self._next_timeout = math.inf

    def _chance(self) -> float:
        return Cursor(self._random(4)).u32() / 2**32

    # ---- in: from the driver

    def _at(self, now: Stamp) -> None:
        """An input comes in at this moment.  Every one ends in `_settle`."""
        self._now = self._report.now = now

    def set_candidates(self, candidates: Iterable[Candidate], now: Stamp) -> None:
        """Give the configured monitors, resolved anew as often as the driver likes."""
        self._at(now)
        self._candidates.configured = tuple(candidates)
        self._refresh_candidates()
        self._settle()

    def connected(self, conn_id: ConnectionId, now: Stamp) -> None:
        """TCP is up."""
        self._at(now)
        conn = self._connections.by_id.get(conn_id)
        if conn is not None:
            try:
                conn.connected(now.mono)
            except CephMonFSError as exc:
                self._drop(conn, exc)
        self._settle()

    def connect_failed(self, conn_id: ConnectionId, reason: str, now: Stamp) -> None:
        """TCP did not come up."""
        self.closed(conn_id, reason, now)

    def closed(self, conn_id: ConnectionId, reason: str, now: Stamp) -> None:
        """The connection ended without our doing."""
        self._at(now)
        conn = self._connections.by_id.get(conn_id)
        if conn is not None:
            self._drop(conn, ProtocolError(conn.why_closed(reason)))
        self._settle()

    def receive_data(self, conn_id: ConnectionId, data: bytes | bytearray | memoryview, now: Stamp) -> None:
        """Take bytes of one connection.  An error in them ends that connection only."""
        self._at(now)
        conn = self._connections.by_id.get(conn_id)
        if conn is None:
            return
        self._report.counters["bytes_in"] += len(data)
        self._status.last_contact = now
        try:
            conn.receive_data(data, now.mono)
            while conn.messages and conn.id in self._connections.by_id:
                self._on_connection(conn, conn.messages.popleft())
        except CephMonFSError as exc:
            self._drop(conn, exc)
        self._settle()

    def decoded(self, now: Stamp) -> None:
        """The job of the last Decode has run."""
        self._at(now)
        for conn_id, payload, outcomes in self._decoding.finished():
            conn = self._connections.by_id.get(conn_id)
            if conn is None or conn is not self._connections.current:
                continue  # the next session's monitor sends its own
            try:
                self._take_map(conn, payload, outcomes)
            except CephMonFSError as exc:
                self._drop(conn, exc)
        self._decode_next()
        self._settle()

    def handle_timeout(self, now: Stamp) -> None:
        """Do what is due."""
        self._at(now)
        for conn in tuple(self._connections.by_id.values()):
            reason = self._connections.check(conn, now)
            if reason is not None:
                self._drop(conn, reason)
        self._statfs.handle_timeout()
        self._judge_caps()
        self._commands.judge_quorum()
        self._renew()
        self._renew_subs()
        self._settle()

    def shut_down(self, now: Stamp) -> None:
        """End the session: close every connection, fail every waiter."""
        self._at(now)
        self._closed = True
        for conn in tuple(self._connections.by_id.values()):
            self._connections.close(conn)
        self._settle()

    # ---- in: requests

    def request_statfs(self, now: Stamp, patience: Patience | None = None, *, may_wait: bool = True) -> WaiterId:
        """Ask for the space; concurrent callers share.  The answer comes as Answered or Failed.

        A caller with a patience is answered by the rule of statfs.py, in bounded time: at once if it may not wait.
        Without a patience it waits until there is an answer, across sessions if need be.
        """
        self._at(now)
        if patience is not None and not may_wait:
            waiter = self._statfs.take_held(patience)
        else:
            self._asked()
            if self._caps.statfs_denied:
                self._try_caps_again()
            waiter = self._statfs.request(patience)
        self._settle()
        return waiter

    def request_command(self, command: Mapping[str, object], now: Stamp) -> WaiterId:
        """Run one read-only monitor command."""
        self._at(now)
        self._asked()
        waiter = self._requests.waiter()
        request = self._requests.add(Kind.COMMAND, lambda fsid: mon.MMonCommand.of(fsid, command), now.mono)
        request.waiters[waiter] = math.inf
        self._commands.send()
        self._settle()
        return waiter

    @property
    def statfs_gathering(self) -> int:
        """How many callers wait for a statfs that leaves as soon as the driver says that nobody else comes."""
        return self._requests.statfs_gathering

    def statfs_gathered(self, now: Stamp) -> None:
        """No other caller is about to ask: send the statfs.  Without this call it leaves 5 ms later."""
        self._at(now)
        self._statfs.gathered()
        self._settle()

    def give_up(self, waiter: WaiterId) -> None:
        """The waiter left."""
        self._requests.give_up(waiter)
        self._statfs.give_up(waiter)
        self._quorum.forget_unwanted()
        self._settle()

    def _asked(self) -> None:
        self._last_asked = self._now.mono
        if self._connections.current is None:
            self._hunt.asked(self._now.mono)

    def _try_caps_again(self) -> None:
        """A caller asks, and the refusal is old: begin a new session."""
        conn = self._connections.current
        if conn is not None and self._caps.try_again(self._now.mono):
            self._connections.close(conn)

    # ---- out

    def next_event(self) -> SessionEvent | None:
        """Return what the driver has to do or pass on next, None when nothing."""
        if self._events:
            return self._events.popleft()
        changed = self._report.take_changes()
        return Changed(changed) if changed else None

    def data_to_send(self) -> list[tuple[ConnectionId, bytes]]:
        """Return and forget the bytes that wait to be sent."""
        out = []
        for conn in self._connections.by_id.values():
            if data := conn.data_to_send():
                self._report.counters["bytes_out"] += len(data)
                out.append((conn.id, data))
        return out

    def next_timeout(self) -> float | None:
        """Return when (monotonic) `handle_timeout` wants to be called, None for never."""
        return self._next_timeout if self._next_timeout < math.inf else None

    # ---- after each input

    def _settle(self) -> None:
        """Make connections, state and the next timeout agree with what has come in."""
        if self._closed:
            self._next_timeout = math.inf
            return
        now = self._now.mono
        connections = self._connections
        current = connections.current
        late_at = connections.late_at()
        is_late = late_at <= now
        if current is not None and not is_late:
            connections.only_current()
        elif connections.may_open(now):
            self._open_another(now)
        self._status.update(is_late)
        due = min(connections.next_timeout(now, late_at), self._statfs.next_timeout())
        if current is not None:
            due = min(
                due,
                current.renew_subs_at,
                self._tickets.renew_after,
                self._caps.next_timeout(),
                self._versions.next_timeout(),
            )
        self._next_timeout = due

    # ---- connections

    def _open_another(self, now: float) -> None:
        """Connect to one more monitor, if one may be tried now."""
        connections = self._connections
        asked = now - self._last_asked < _ASKED_WITHIN_S or self._requests.awaited
        candidate = self._hunt.pick(now, connections.addrs(), asked=asked)
        if candidate is None:
            return
        conn = MonConnection(
            connections.new_id(),
            candidate,
            self._config.identity,
            self._tickets.credentials,
            self._random,
            now,
            offer=self._config.offer,
            ciphers=self._maps.monmap.auth_ciphers.allowed if self._maps.monmap is not None else (),
        )
        connections.add(conn, now, after_loss=connections.current is None and self._status.sessions > 0)

    def _drop(self, conn: MonConnection, reason: CephMonFSError) -> None:
        """A connection failed: remember why, close it, hunt on."""
        if conn.id not in self._connections.by_id:
            return
        was_current = conn is self._connections.current
        sentence = self._connections.drop(conn, reason, self._now.mono)
        self._tickets.connection_failed(conn, reason)
        if was_current:
            self._status.lost(sentence, self._now)
            successor = self._connections.successor()
            if successor is not None:
                self._promote(successor)
        elif self._connections.current is not None:
            self._tell_if_unlisted(conn)

    def _tell_if_unlisted(self, conn: MonConnection) -> None:
        """A failed connect to an address outside the monmap means that the configured list is out of date."""
        monmap = self._maps.monmap
        if monmap is not None and monmap.by_addr(conn.candidate.addr) is None:
            self._candidates.warn(monmap)

    def _promote(self, conn: MonConnection) -> None:
        """Make this connection the session's."""
        if conn is self._connections.current:
            return
        self._connections.current = conn
        self._status.opened(conn, self._now)
        self._hunt.succeeded(conn.candidate.addr)
        if conn.result is not None:
            self._tickets.take(conn.result.credentials, self._now)
        self._sender.subscribe(self._maps.session_began(), (conn,))
        self._caps.session_began()
        self._commands.ask_probe(conn, FIRST_PROBE)
        self._candidates.warn(self._maps.monmap)

    # ---- what connections tell

    def _on_connection(self, conn: MonConnection, item: Message | Happened) -> None:
        if isinstance(item, Message):
            self._report.counters["messages_in"] += 1
            payload = from_monitor(item)
            if payload is None:
                self._report.counters["messages_unknown"] += 1
            elif isinstance(payload, mon.MStatfsReply):
                self._on_statfs(conn, item.tid, payload)
            else:
                self._on_payload(conn, item, payload)
        elif item is Happened.READY:
            self._on_ready(conn)
        elif item is Happened.ALIVE:
            self._status.alive(conn, self._now)

    def _on_statfs(self, conn: MonConnection, tid: int, payload: mon.MStatfsReply) -> None:
        request = self._statfs.on_reply(conn, tid, payload)
        if request is not None:
            self._commands.proven(request, conn)
            if conn is not self._connections.current:
                self._answered_by(conn, request)

    def _on_ready(self, conn: MonConnection) -> None:
        conn.monmap_due = self._now.mono
        self._sender.subscribe(self._maps.connection_began(), (conn,))
        if self._maps.monmap is not None:
            self._sender.everything(conn, self._now)

    def _opened(self, conn: MonConnection) -> None:
        """The first monmap came: this is our cluster, and the monitor answers."""
        conn.phase = Phase.OPEN
        conn.monmap_due = None
        if self._connections.current is None:
            self._promote(conn)
        if self._caps.statfs_denied:
            self._statfs.ask_without_caller()
        self._sender.everything(conn, self._now)
        self._commands.send()

    # ---- receiving

    def _on_payload(self, conn: MonConnection, message: Message, payload: FromMonitor) -> None:
        match payload:
            case mon.MMonMap():
                self._on_monmap(conn, payload)
            case mon.MMonCommandAck():
                self._answered_by(conn, self._commands.on_reply(conn, message, payload))
            case mon.MMonGetVersionReply():
                self._answered_by(conn, self._commands.on_version(conn, message, payload))
                self._commands.send()
            case mon.MMDSMap() | mon.MFSMap() | mon.MOSDMap() | mon.MMgrMap() if conn is self._connections.current:
                self._on_map(conn, payload)
            case auth.MAuthReply():
                self._tickets.on_reply(conn, payload, self._now)
            case mon.MMonSubscribeAck(interval_s):
                conn.renew_subs_at = self._now.mono + max(interval_s / 2, _SUBS_RENEW_MIN_S)
            case _:
                self._report.counters["messages_unasked"] += 1

    def _on_map(self, conn: MonConnection, payload: MapPayload) -> None:
        """Take a map, or have it decoded first if it is large."""
        if self._decoding.defer(conn.id, payload):
            self._maps.comes(payload)
            self._decode_next()
        else:
            self._take_map(conn, payload, {})

    def _decode_next(self) -> None:
        job = self._decoding.next_job(self._maps.osdmap)
        if job is not None:
            self._events.append(Decode(job))

    def _take_map(self, conn: MonConnection, payload: MapPayload, outcomes: Outcomes) -> None:
        self._sender.subscribe(self._maps.on_map(conn, payload, self._now, outcomes), (conn,))
        self._statfs.maps_changed()

    def _on_monmap(self, conn: MonConnection, payload: mon.MMonMap) -> None:
        monmap = self._maps.on_monmap(payload, self._now)
        if monmap is not None:
            self._refresh_candidates()
            self._warn_of_key_type(monmap)
            self._match_connections(monmap)
            if conn.id not in self._connections.by_id:
                return
        if conn.phase is Phase.MAPS:
            self._opened(conn)

    def _warn_of_key_type(self, monmap: MonMap) -> None:
        """Warn when the cluster stops taking keys like ours: this session goes on, the next one will be refused."""
        who = self._config.identity
        if sentence := key_type_refused(who, monmap.auth_ciphers.allowed):
            self._report.error(f"{who.entity}: {sentence} before it connects again")

    def _refresh_candidates(self) -> None:
        self._candidates.refresh(self._maps.monmap)

    def _match_connections(self, monmap: MonMap) -> None:
        """Name connections as the new monmap does; drop one whose monitor was removed from it."""
        for conn in tuple(self._connections.by_id.values()):
            if not self._connections.rename(conn, monmap):
                self._drop(conn, ProtocolError("is no longer in the monmap"))
            elif conn is self._connections.current:
                self._status.mon = conn.candidate.name
        self._status.forget({info.name for info in monmap.mons} | {c.name for c in self._candidates.configured})

    def _renew_subs(self) -> None:
        """A monitor that acknowledges subscriptions forgets them after the interval it named."""
        conn = self._connections.current
        if conn is None:
            return
        self._sender.subscribe(self._maps.ask_again(self._now.mono), (conn,))
        if self._now.mono >= conn.renew_subs_at:
            conn.renew_subs_at = math.inf  # until the next acknowledgement
            self._report.counters["subs_renewed"] += 1
            self._sender.subscribe(self._maps.renewed(), (conn,))

    def _answered_by(self, conn: MonConnection, request: Request | None) -> None:
        """If the current monitor left this request unanswered, the monitor that answered becomes current."""
        old = self._connections.current
        if request is None or conn is old or conn.phase is not Phase.OPEN:
            return
        if old is not None:
            if old.id not in request.sent:
                return
            self._connections.leave(old)
        self._promote(conn)

    # ---- caps

    def _judge_caps(self) -> None:
        """Deny what was asked before the probe and is still unanswered."""
        conn = self._connections.current
        if conn is None:
            return
        probe = self._caps.take_probe(self._now.mono)
        if probe is not None and probe.conn_id == conn.id:
            self._maps.deny_awaited(self._config.identity.entity)
            self._statfs.maps_changed()
            if self._caps.deny_statfs(probe, self._now.mono):
                self._statfs.deny()
                self._quorum.statfs_denied()
        if self._caps.in_doubt(self._now.mono):
            self._commands.ask_probe(conn, SECOND_PROBE)

    # ---- tickets

    def _renew(self) -> None:
        conn = self._connections.current
        if conn is None:
            return
        epoch = self._maps.monmap.epoch if self._maps.monmap is not None else 0
        renewal = self._tickets.renewal(conn, epoch, self._now.mono)
        if renewal is not None:
            self._sender.send(conn, renewal)

    # ---- the view

    def snapshot(self, now: Stamp) -> Snapshot:
        """Return the present view."""
        current = self._connections.current
        return Snapshot(
            now=now,
            entity=str(self._config.identity.entity),
            state=self._status.state,
            mon=self._status.mon,
            addr=self._status.addr,
            mode=self._status.mode,
            global_id=self._tickets.global_id,
            since=self._status.since if current is not None else None,
            last_contact=self._status.last_contact,
            sessions=self._status.sessions,
            failovers=self._status.failovers,
            last_error=self._report.last_error,
            fsid=str(self._maps.monmap.fsid) if self._maps.monmap is not None else "",
            errors=dict(self._report.errors),
            monmap=self._maps.monmap,
            maps=self._maps.records(),
            denied=self._caps.denied(),
            fscid=self._target.fscid,
            fs_missing=self._target.fs_missing,
            mons=self._status.mons(self._maps.monmap),
            statfs=self._statfs.record(),
            statfs_tally=self._statfs.tally(),
            tickets=self._tickets.views(),
            requests=self._connections.request_views(now.mono),
            counters=dict(self._report.counters),
            history=tuple(self._report.history),
            my_addr=current.my_addr if current is not None else None,
            quorum_at=self._quorum.proven,
            told=tuple(self._report.told),
            problem=self._report.problem,
        )
