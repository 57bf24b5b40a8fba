"""Commands: sent behind a proof of the quorum, taken when the proof was answered; and the probes that tell about caps.

A method that takes a reply returns the request that it answers, for whoever answers what the session's monitor left
unanswered is the session then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.mon.caps import FIRST_PROBE, Probe
from cephmonfs.mon.events import Answered, SessionEvent
from cephmonfs.mon.journal import Cause, Journal
from cephmonfs.mon.link import EACCES, Link
from cephmonfs.mon.requests import Kind, Request, Requests
from cephmonfs.mon.snapshot import CommandReply, Stamp

if TYPE_CHECKING:
    from collections import deque

    from cephmonfs.messages.message import Message
    from cephmonfs.messages.mon import MMonCommandAck, MMonGetVersionReply
    from cephmonfs.mon.caps import Caps
    from cephmonfs.mon.links import Links
    from cephmonfs.mon.outbox import Outbox
    from cephmonfs.mon.quorum import Quorum


class Commands:
    """Joins the requests with what is known of quorum and caps."""

    def __init__(
        self,
        links: Links,
        requests: Requests,
        quorum: Quorum,
        caps: Caps,
        outbox: Outbox,
        journal: Journal,
        events: deque[SessionEvent],
    ) -> None:
        self._links = links
        self._requests = requests
        self._quorum = quorum
        self._caps = caps
        self._outbox = outbox
        self._journal = journal
        self._events = events

    def send(self) -> None:
        """Send what waits for the next proof, and what a monitor without quorum answered."""
        links = [link.id for link in self._outbox.open_links()]
        proof = self._quorum.ask(links, self._journal.now.mono)
        self._outbox.commands(proof, self._quorum.commands(), self._journal.now)

    def ask_probe(self, link: Link, command: str) -> None:
        """Ask a command of this monitor whose answer tells about caps, unless one is unanswered."""
        request = self._caps.ask(command, self._journal.now.mono)
        if request is not None:
            self._outbox.request(link, request, self._journal.now)

    def on_reply(self, link: Link, message: Message, payload: MMonCommandAck) -> Request | None:
        """Take the reply to a command, unless it is old state."""
        request = self._requests.get(message.tid, Kind.COMMAND, link.id)
        if request is None:
            self._journal.counters["replies_unasked"] += 1
            return None
        if request.optional:
            self._requests.forget(request)
            self._on_probe(link, payload.result)
            return None
        if payload.result != EACCES and self._quorum.doubts(link.id, request):
            self._journal.counters["replies_without_quorum"] += 1
            del request.sent[link.id]
            self._quorum.skipped = link.id
            return None
        self._requests.forget(request)
        when = self._when_sent(request, link)
        reply = CommandReply(payload.result, payload.text, message.data, self._journal.now, when)
        self._events.append(Answered(tuple(request.waiters), reply))
        return request

    def _on_probe(self, link: Link, result: int) -> None:
        self._quorum.command_answered(link.id, self._requests.statfs if self._caps.statfs_covered else None)
        if self._caps.probed == FIRST_PROBE:
            self._caps.first_probe_answered(result)
            self._quorum.probed(denied=result == EACCES)
            self.send()
        current = self._links.current
        probe = Probe(link.id, self._journal.now.mono, result)
        self._caps.probe_answered(probe, current.id if current is not None else None)

    def on_version(self, link: Link, message: Message, payload: MMonGetVersionReply) -> Request | None:
        """Take the answer to a proof."""
        request = self._requests.answered(message.tid or payload.handle, Kind.VERSION, link.id)
        if request is None:
            self._journal.counters["replies_unasked"] += 1
        else:
            self.proven(request, link)
        return request

    def proven(self, request: Request, link: Link) -> None:
        """A question that only a quorum answers was answered."""
        self._quorum.answered(self._when_sent(request, link))
        self._journal.over(Cause.NO_QUORUM)

    def _when_sent(self, request: Request, link: Link) -> Stamp:
        """Return when this request left for this monitor."""
        now = self._journal.now
        ago = now.mono - request.sent[link.id]
        return Stamp(now.mono - ago, now.wall - ago)

    def judge_quorum(self) -> None:
        """A monitor that answers commands, and not what only a quorum answers, has none."""
        link = self._links.current
        if link is None or not self._requests.quorum_is_late(link.id, self._journal.now.mono):
            return
        if self._quorum.skipped != link.id:
            if self._caps.statfs_covered:
                self.ask_probe(link, FIRST_PROBE)
        elif not self._quorum.lost:
            self._quorum.lost = True
            why = "has no quorum: it answers commands, and nothing that needs a quorum"
            self._journal.blame(Cause.NO_QUORUM, link.describe(why))
