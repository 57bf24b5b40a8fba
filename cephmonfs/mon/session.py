"""MonSession: the client's whole life with a monitor quorum; no socket, no clock.

Theory of operation.  The session owns a few links (connections with their authentication).  One of them is
`current`: the open session.  When the current monitor leaves something unanswered for longer than a moment, links
to other monitors are opened *beside* it, the unanswered requests go out there too, and the first link that answers
becomes current; the rest are closed.  A reset is the same without the waiting.  While there is no session, links
are opened one after the other, each without waiting long for the one before.

The parts, each of which knows nothing of the session: `links` (who is late, when another is wanted), `hunt` and
`roster` (which monitor next), `requests` and `outbox` (what is unanswered, and where it went), `commands` and `quorum`
(who answers from old state), `following` (the maps) and `target` (what df is about), `versions` (which of two counts),
`caps` (what silence says about the key), `tickets`, `space` (the last statfs), `standing` and `journal` (what is
shown).  The session passes between them what comes in.

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
from typing import Final
from uuid import UUID

from cephmonfs.auth.envelope import RandomBytes
from cephmonfs.errors import CephMonFSError, ProtocolError, RequestTimeout
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message
from cephmonfs.messages.registry import FromMonitor, ToMonitor, from_monitor
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.caps import FIRST_PROBE, SECOND_PROBE, Caps
from cephmonfs.mon.commands import Commands
from cephmonfs.mon.decoding import Decoding, MapPayload, Outcomes
from cephmonfs.mon.due import Due
from cephmonfs.mon.events import Answered, Changed, Close, Connect, Decode, Failed, SessionEvent
from cephmonfs.mon.following import Following
from cephmonfs.mon.hunt import Candidate, Hunt
from cephmonfs.mon.journal import Journal
from cephmonfs.mon.link import EVERYTHING, Happened, Identity, Link, Offer, Phase, key_type_refused
from cephmonfs.mon.links import HEDGE_EVERY_S, Links
from cephmonfs.mon.outbox import Outbox
from cephmonfs.mon.quorum import Quorum
from cephmonfs.mon.requests import Kind, LinkId, Request, Requests, WaiterId
from cephmonfs.mon.roster import Roster
from cephmonfs.mon.snapshot import Snapshot, Stamp, State
from cephmonfs.mon.space import Space
from cephmonfs.mon.standing import Standing
from cephmonfs.mon.target import Target
from cephmonfs.mon.tickets import Tickets
from cephmonfs.mon.versions import Versions
from cephmonfs.wire.cursor import Cursor

# a driver needs no other module for what goes in and comes out
__all__ = ["Answered", "Changed", "Close", "Connect", "Decode", "Failed", "MonSession", "SessionConfig", "SessionEvent"]

_GATHER_S: Final = 0.005  # longest that a shared statfs waits for more callers
_ASKED_WITHIN_S: Final = 15.0  # somebody asked so recently that the hunt stays brisk
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
        self._journal = Journal()
        self._journal.now = now
        self._events: deque[SessionEvent] = deque()
        self._requests = Requests()
        self._links = Links(self._hunt, self._requests, self._journal, self._events, config.late_after_s)
        self._tickets = Tickets(self._journal)
        self._versions = Versions()
        self._target = Target(config.fs, config.pool)
        self._following = Following(config.fsid, self._target, self._journal, self._versions)
        self._space = Space(self._journal, self._versions)
        self._caps = Caps(config.identity.entity, self._following, self._requests)
        self._quorum = Quorum(self._requests)
        self._standing = Standing(self._links, self._hunt, self._journal)
        self._outbox = Outbox(self._links, self._requests, self._following, self._journal, config.hostname)
        self._commands = Commands(
            self._links, self._requests, self._quorum, self._caps, self._outbox, self._journal, self._events
        )
        self._roster = Roster(self._hunt, config.identity.addr_type, self._journal)
        self._decoding = Decoding()
        self._gathered_by = 0.0
        self._last_asked = now.mono
        self._closed = False
        self._due = Due(self._next_timeout)

    def _chance(self) -> float:
        return Cursor(self._random(4)).u32() / 2**32

    # ---- in: from the driver

    def _at(self, now: Stamp) -> None:
        """Something comes in at this moment."""
        self._now = self._journal.now = now
        self._due.is_known = False

    def set_candidates(self, candidates: Iterable[Candidate], now: Stamp) -> None:
        """Give the configured monitors, resolved anew as often as the driver likes."""
        self._at(now)
        self._roster.configured = tuple(candidates)
        self._refresh_candidates()
        self._drive()

    def connected(self, link_id: LinkId, now: Stamp) -> None:
        """TCP is up."""
        self._at(now)
        link = self._links.by_id.get(link_id)
        if link is None:
            return
        try:
            link.connected(now.mono)
        except CephMonFSError as exc:
            self._drop(link, exc)
        self._standing.update(self._now.mono)
        self._drive()

    def connect_failed(self, link_id: LinkId, reason: str, now: Stamp) -> None:
        """TCP did not come up."""
        self.closed(link_id, reason, now)

    def closed(self, link_id: LinkId, reason: str, now: Stamp) -> None:
        """The connection ended without our doing."""
        self._at(now)
        link = self._links.by_id.get(link_id)
        if link is not None:
            self._drop(link, ProtocolError(link.why_closed(reason)))
        self._drive()

    def receive_data(self, link_id: LinkId, data: bytes | bytearray | memoryview, now: Stamp) -> None:
        """Take bytes of one link.  Whatever is wrong with them costs that link only."""
        self._now = self._journal.now = now
        link = self._links.by_id.get(link_id)
        if link is None:
            return
        if link.phase is not Phase.OPEN:
            self._due.is_known = False
        self._journal.counters["bytes_in"] += len(data)
        self._standing.last_contact = now
        try:
            link.receive_data(data, now.mono)
            while link.messages and link.id in self._links.by_id:
                self._on_link(link, link.messages.popleft())
        except CephMonFSError as exc:
            self._drop(link, exc)
        if self._due.is_known and self._standing.state is State.OPEN and len(self._links.by_id) == 1:
            return  # it was but an answer, and all was well before
        self._standing.update(self._now.mono)
        self._drive()

    def decoded(self, now: Stamp) -> None:
        """The job of the last Decode has run."""
        self._at(now)
        for link_id, payload, outcomes in self._decoding.finished():
            link = self._links.by_id.get(link_id)
            if link is None or link is not self._links.current:
                continue  # the next session's monitor sends its own
            try:
                self._take_map(link, payload, outcomes)
            except CephMonFSError as exc:
                self._drop(link, exc)
        self._decode_next()
        self._drive()

    def handle_timeout(self, now: Stamp) -> None:
        """Do what is due."""
        self._at(now)
        for link in tuple(self._links.by_id.values()):
            reason = self._links.check(link, now)
            if reason is not None:
                self._drop(link, reason)
        if expired := self._requests.take_expired(now.mono):
            self._events.append(Failed(expired, RequestTimeout("no answer in time")))
        if self._requests.statfs_gathering and now.mono >= self._gathered_by:
            self.statfs_gathered(now)
        self._judge_caps()
        self._commands.judge_quorum()
        self._renew()
        self._renew_subs()
        self._drive()

    def shut_down(self, now: Stamp) -> None:
        """End the session: close every link, fail every waiter."""
        self._at(now)
        self._closed = True
        for link in tuple(self._links.by_id.values()):
            self._links.close(link)

    # ---- in: requests

    def request_statfs(self, now: Stamp, until: float = math.inf) -> WaiterId:
        """Ask for the space; concurrent callers share.  The answer comes as Answered or Failed.

        At `until` (monotonic) the caller is told RequestTimeout; the question stays out, and its late answer still
        freshens the numbers.
        """
        self._now = self._journal.now = now
        self._asked()
        problem = self._statfs_problem()
        if problem is not None:
            waiter = self._requests.waiter()
            self._events.append(Failed((waiter,), problem))
            return waiter
        waiter, request = self._requests.join_statfs(self._make_statfs, now.mono, until)
        if request is not None:
            self._outbox.everywhere(request, now)
            self._due.sooner(self._links.late_when_asked(request.kind, now.mono))
            self._due.sooner(self._caps.weighed_at())
        elif self._requests.statfs_gathering:
            self._due.sooner(self._gathered_by)
        self._due.sooner(until)
        return waiter

    def request_command(self, command: Mapping[str, object], now: Stamp) -> WaiterId:
        """Run one read-only monitor command."""
        self._at(now)
        self._asked()
        waiter = self._requests.waiter()
        request = self._requests.add(Kind.COMMAND, lambda fsid: mon.MMonCommand.of(fsid, command), now.mono)
        request.waiters[waiter] = math.inf
        self._commands.send()
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
            self._outbox.everywhere(following, now)

    def give_up(self, waiter: WaiterId) -> None:
        """The waiter left."""
        self._requests.give_up(waiter)
        self._quorum.forget_unwanted()

    def _asked(self) -> None:
        self._last_asked = self._now.mono
        if self._links.current is None:
            self._due.is_known = False
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
        for link in self._links.by_id.values():
            if data := link.data_to_send():
                self._journal.counters["bytes_out"] += len(data)
                out.append((link.id, data))
        return out

    def next_timeout(self) -> float | None:
        """Return when (monotonic) `handle_timeout` wants to be called, None for never."""
        return self._due.at()

    def _next_timeout(self) -> float:
        if self._closed:
            return math.inf
        link = self._links.current
        due = min(self._links.next_timeout(self._now.mono), self._requests.waits_until())
        if self._requests.statfs_gathering:
            due = min(due, self._gathered_by)
        if link is not None:
            due = min(due, self._versions.next_timeout())
            if self._caps.probe is not None:
                due = min(due, self._caps.next_timeout())
            if self._tickets.renew_after is not None:
                due = min(due, self._tickets.renew_after)
            if link.renew_subs_at is not None:
                due = min(due, link.renew_subs_at)
        return due

    # ---- links

    def _drive(self) -> None:
        """Open the links that are wanted now."""
        if self._closed:
            return
        now = self._now.mono
        links = self._links
        if links.current is not None and links.late_at() > now:
            links.only_current()
            return
        self._due.is_known = False
        if not links.may_open(now):
            return
        asked = now - self._last_asked < _ASKED_WITHIN_S or self._requests.awaited
        candidate = self._hunt.pick(now, links.addrs(), asked=asked)
        if candidate is None:
            return
        link = Link(
            links.new_id(),
            candidate,
            self._config.identity,
            self._tickets.credentials,
            self._random,
            now,
            offer=self._config.offer,
            ciphers=self._following.monmap.auth_ciphers.allowed if self._following.monmap is not None else (),
        )
        links.add(link, now, after_loss=links.current is None and self._standing.sessions > 0)
        self._standing.update(self._now.mono)

    def _drop(self, link: Link, reason: CephMonFSError) -> None:
        """A link failed: remember why, close it, hunt on."""
        if link.id not in self._links.by_id:
            return
        self._due.is_known = False
        was_current = link is self._links.current
        sentence = self._links.drop(link, reason, self._now.mono)
        self._tickets.link_failed(link, reason)
        if was_current:
            self._standing.lost(sentence, self._now)
            successor = self._links.successor()
            if successor is not None:
                self._promote(successor)
        elif self._links.current is not None:
            self._tell_if_unlisted(link)
        self._standing.update(self._now.mono)

    def _tell_if_unlisted(self, link: Link) -> None:
        """That nobody is where the cluster has no monitor is no news; that somebody was sent there is."""
        monmap = self._following.monmap
        if monmap is not None and monmap.by_addr(link.candidate.addr) is None:
            self._roster.warn(monmap)

    def _promote(self, link: Link) -> None:
        """This link is the session now."""
        if link is self._links.current:
            return
        self._due.is_known = False
        self._links.current = link
        self._standing.opened(link, self._now)
        self._hunt.succeeded(link.candidate.addr)
        if link.result is not None:
            self._tickets.take(link.result.credentials, self._now)
        self._outbox.subscribe(self._following.session_began(), (link,))
        self._caps.session_began()
        self._commands.ask_probe(link, FIRST_PROBE)
        self._roster.warn(self._following.monmap)
        self._standing.update(self._now.mono)

    # ---- what links tell

    def _on_link(self, link: Link, item: Message | Happened) -> None:
        if isinstance(item, Message):
            self._journal.counters["messages_in"] += 1
            payload = from_monitor(item)
            if payload is None:
                self._journal.counters["messages_unknown"] += 1
            elif isinstance(payload, mon.MStatfsReply):
                self._on_statfs(link, item.tid, payload)
            else:
                self._due.is_known = False
                self._on_payload(link, item, payload)
        elif item is Happened.READY:
            self._due.is_known = False
            self._on_ready(link)
        elif item is Happened.ALIVE:
            self._due.is_known = False
            self._standing.alive(link, self._now)

    def _on_ready(self, link: Link) -> None:
        self._standing.update(self._now.mono)
        link.monmap_due = self._now.mono
        self._outbox.subscribe(self._following.link_began(), (link,))
        if self._following.monmap is not None:
            self._outbox.everything(link, self._now)

    def _opened(self, link: Link) -> None:
        """The first monmap came: this is our cluster, and the monitor answers."""
        link.phase = Phase.OPEN
        link.monmap_due = None
        if self._links.current is None:
            self._promote(link)
        if self._caps.statfs_denied:
            self._requests.ask_statfs(self._make_statfs, self._now.mono)
        self._outbox.everything(link, self._now)
        self._commands.send()

    # ---- receiving

    def _on_payload(self, link: Link, message: Message, payload: FromMonitor) -> None:
        match payload:
            case mon.MMonMap():
                self._on_monmap(link, payload)
            case mon.MMonCommandAck():
                self._answered_by(link, self._commands.on_reply(link, message, payload))
            case mon.MMonGetVersionReply():
                self._answered_by(link, self._commands.on_version(link, message, payload))
                self._commands.send()
            case mon.MMDSMap() | mon.MFSMap() | mon.MOSDMap() | mon.MMgrMap() if link is self._links.current:
                self._on_map(link, payload)
            case auth.MAuthReply():
                self._tickets.on_reply(link, payload, self._now)
            case mon.MMonSubscribeAck(interval_s):
                link.renew_subs_at = self._now.mono + max(interval_s / 2, _SUBS_RENEW_MIN_S)
            case _:
                self._journal.counters["messages_unasked"] += 1

    def _on_map(self, link: Link, payload: MapPayload) -> None:
        """Take a map, or let it be decoded first."""
        if self._decoding.defer(link.id, payload):
            self._following.comes(payload)
            self._decode_next()
        else:
            self._take_map(link, payload, {})

    def _decode_next(self) -> None:
        job = self._decoding.next_job(self._following.osdmap)
        if job is not None:
            self._events.append(Decode(job))

    def _take_map(self, link: Link, payload: MapPayload, outcomes: Outcomes) -> None:
        self._outbox.subscribe(self._following.on_map(link, payload, self._now, outcomes), (link,))
        self._settle_statfs()

    def _on_monmap(self, link: Link, payload: mon.MMonMap) -> None:
        monmap = self._following.on_monmap(payload, self._now)
        if monmap is not None:
            self._refresh_candidates()
            self._warn_of_key_type(monmap)
            self._match_links(monmap)
            if link.id not in self._links.by_id:
                return
        if link.phase is Phase.MAPS:
            self._opened(link)

    def _warn_of_key_type(self, monmap: MonMap) -> None:
        """The cluster stopped taking keys like ours: nothing happens to this session, and the next will be refused."""
        who = self._config.identity
        if sentence := key_type_refused(who, monmap.auth_ciphers.allowed):
            self._journal.error(f"{who.entity}: {sentence} before it connects again")

    def _refresh_candidates(self) -> None:
        self._roster.refresh(self._following.monmap)

    def _match_links(self, monmap: MonMap) -> None:
        """Links get the names of the new monmap; one whose monitor was removed from it is left."""
        for link in tuple(self._links.by_id.values()):
            if not self._links.rename(link, monmap):
                self._drop(link, ProtocolError("is no longer in the monmap"))
            elif link is self._links.current:
                self._standing.mon = link.candidate.name
        self._standing.forget({info.name for info in monmap.mons} | {c.name for c in self._roster.configured})

    def _renew_subs(self) -> None:
        """A monitor that acknowledges subscriptions forgets them after the interval it named."""
        link = self._links.current
        if link is None:
            return
        self._outbox.subscribe(self._following.ask_again(self._now.mono), (link,))
        if link.renew_subs_at is not None and self._now.mono >= link.renew_subs_at:
            link.renew_subs_at = None  # until the next acknowledgement
            self._journal.counters["subs_renewed"] += 1
            self._outbox.subscribe(self._following.renewed(), (link,))

    def _answered_by(self, link: Link, request: Request | None) -> None:
        """Who answers what the current monitor left unanswered is the session now."""
        old = self._links.current
        if request is None or link is old or link.phase is not Phase.OPEN:
            return
        if old is not None:
            if old.id not in request.sent:
                return
            self._links.leave(old)
        self._promote(link)

    # ---- statfs

    def _statfs_problem(self) -> CephMonFSError | None:
        """Why a statfs cannot be asked at all, None if it can."""
        if self._caps.statfs_denied:
            self._try_caps_again()
            return self._caps.denial()
        return self._target.problem(self._following.denied, self._following.unread, self._config.identity.entity)

    def _settle_statfs(self) -> None:
        """A map came, or will not: a statfs that waited for it leaves now, or is told why it cannot."""
        # after a refusal for caps each new session asks on nobody's behalf
        problem = None if self._caps.statfs_denied else self._statfs_problem()
        self._journal.tell_problem(str(problem or ""))
        if problem is not None:
            self._space.record = None
            if waiters := self._requests.fail_statfs():
                self._events.append(Failed(waiters, problem))
            return
        for request in self._requests.pending():
            if request.kind is Kind.STATFS:
                self._outbox.everywhere(request, self._now)

    def _make_statfs(self, fsid: bytes) -> ToMonitor:
        return mon.MStatfs(fsid, self._target.pool_id())

    def _on_statfs(self, link: Link, tid: int, payload: mon.MStatfsReply) -> None:
        request = self._requests.answered(tid, Kind.STATFS, link.id)
        if request is None:
            self._journal.counters["replies_unasked"] += 1
            return
        self._following.check_fsid_bytes(payload.fsid)
        self._journal.counters["statfs"] += 1
        self._caps.statfs_answered()
        self._commands.proven(request, link)
        if link is not self._links.current:
            self._answered_by(link, request)
        record = self._space.take(payload, self._target.pool_id(), request.asked or self._now, self._now)
        if request.waiters:
            self._events.append(Answered(tuple(request.waiters), record))
        self._journal.changed("statfs")
        self._gathered_by = self._now.mono + _GATHER_S
        if self._requests.statfs_gathering:
            self._due.sooner(self._gathered_by)

    # ---- caps

    def _judge_caps(self) -> None:
        """What was asked before the probe and is still unanswered, our caps forbid."""
        link = self._links.current
        if link is None:
            return
        probe = self._caps.take_probe(self._now.mono)
        if probe is not None and probe.link == link.id:
            self._following.deny_awaited(self._config.identity.entity)
            self._settle_statfs()
            if self._caps.deny_statfs(probe, self._now.mono):
                self._fail_denied_statfs()
        if self._caps.in_doubt(self._now.mono):
            self._commands.ask_probe(link, SECOND_PROBE)

    def _fail_denied_statfs(self) -> None:
        """From now on callers are told at once; each new session asks anew, on nobody's behalf."""
        error = self._caps.denial()
        self._journal.error(str(error))
        if waiters := self._requests.fail_statfs():
            self._events.append(Failed(waiters, error))
        self._quorum.statfs_denied()
        self._standing.update(self._now.mono)  # nobody is late any more

    def _try_caps_again(self) -> None:
        """Somebody asks, and the refusal is old."""
        link = self._links.current
        if link is not None and self._caps.try_again(self._now.mono):
            self._links.close(link)
            self._standing.update(self._now.mono)
            self._drive()

    # ---- tickets

    def _renew(self) -> None:
        link = self._links.current
        if link is None:
            return
        epoch = self._following.monmap.epoch if self._following.monmap is not None else 0
        renewal = self._tickets.renewal(link, epoch, self._now.mono)
        if renewal is not None:
            self._outbox.send(link, renewal)

    # ---- the view

    def snapshot(self, now: Stamp) -> Snapshot:
        """Return the present view."""
        current = self._links.current
        return Snapshot(
            now=now,
            entity=str(self._config.identity.entity),
            state=self._standing.state,
            mon=self._standing.mon,
            addr=self._standing.addr,
            mode=self._standing.mode,
            global_id=self._tickets.global_id,
            since=self._standing.since if current is not None else None,
            last_contact=self._standing.last_contact,
            sessions=self._standing.sessions,
            failovers=self._standing.failovers,
            last_error=self._journal.last_error,
            fsid=str(self._following.monmap.fsid) if self._following.monmap is not None else "",
            errors=dict(self._journal.errors),
            monmap=self._following.monmap,
            maps=self._following.records(),
            denied=self._caps.denied(),
            fscid=self._target.fscid,
            fs_missing=self._target.fs_missing,
            mons=self._standing.mons(self._following.monmap),
            statfs=self._space.record_of(self._target.pool_id()),
            tickets=self._tickets.views(),
            requests=self._links.request_views(now.mono),
            counters=dict(self._journal.counters),
            history=tuple(self._journal.history),
            my_addr=current.my_addr if current is not None else None,
            quorum_at=self._quorum.proven,
            told=tuple(self._journal.told),
            problem=self._journal.problem,
        )
