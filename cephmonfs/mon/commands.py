"""Commands: sends monitor commands behind a proof of the quorum, and takes their replies once that is answered.

Also sends the probes that tell about caps.  A method that takes a reply returns the request that it answers: if the
current monitor left that request unanswered, the monitor that did answer becomes current.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.mon.caps import FIRST_PROBE, Probe
from cephmonfs.mon.connection import EACCES, MonConnection
from cephmonfs.mon.events import Answered, SessionEvent
from cephmonfs.mon.report import Cause, Report
from cephmonfs.mon.requests import Kind, Request, Requests
from cephmonfs.mon.snapshot import CommandReply, Stamp

if TYPE_CHECKING:
    from collections import deque

    from cephmonfs.messages.message import Message
    from cephmonfs.messages.mon import MMonCommandAck, MMonGetVersionReply
    from cephmonfs.mon.caps import Caps
    from cephmonfs.mon.connections import Connections
    from cephmonfs.mon.quorum import Quorum
    from cephmonfs.mon.sending import Sender


class Commands:
    """Joins the requests with what is known of quorum and caps."""

    def __init__(
        self,
        connections: Connections,
        requests: Requests,
        quorum: Quorum,
        caps: Caps,
        sender: Sender,
        report: Report,
        events: deque[SessionEvent],
    ) -> None:
        self._connections = connections
        self._requests = requests
        self._quorum = quorum
        self._caps = caps
        self._sender = sender
        self._report = report
        self._events = events

    def send(self) -> None:
        """Send what waits for the next proof, and what a monitor without quorum answered."""
        connections = [conn.id for conn in self._sender.open_connections()]
        proof = self._quorum.ask(connections, self._report.now.mono)
        self._sender.commands(proof, self._quorum.commands(), self._report.now)

    def ask_probe(self, conn: MonConnection, command: str) -> None:
        """Ask a command of this monitor whose answer tells about caps, unless one is unanswered."""
        request = self._caps.ask(command, self._report.now.mono)
        if request is not None:
            self._sender.request(conn, request, self._report.now)

    def on_reply(self, conn: MonConnection, message: Message, payload: MMonCommandAck) -> Request | None:
        """Take the reply to a command, unless it is old state."""
        request = self._requests.get(message.tid, Kind.COMMAND, conn.id)
        if request is None:
            self._report.counters["replies_unasked"] += 1
            return None
        if request.optional:
            self._requests.forget(request)
            self._on_probe(conn, payload.result)
            return None
        if payload.result != EACCES and self._quorum.doubts(conn.id, request):
            self._report.counters["replies_without_quorum"] += 1
            del request.sent[conn.id]
            self._quorum.skipped = conn.id
            return None
        self._requests.forget(request)
        when = self._when_sent(request, conn)
        reply = CommandReply(payload.result, payload.text, message.data, self._report.now, when)
        self._events.append(Answered(tuple(request.waiters), reply))
        return request

    def _on_probe(self, conn: MonConnection, result: int) -> None:
        self._quorum.command_answered(conn.id, self._requests.statfs if self._caps.statfs_covered else None)
        if self._caps.probed == FIRST_PROBE:
            self._caps.first_probe_answered(result)
            self._quorum.probed(denied=result == EACCES)
            self.send()
        current = self._connections.current
        probe = Probe(conn.id, self._report.now.mono, result)
        self._caps.probe_answered(probe, current.id if current is not None else None)

    def on_version(self, conn: MonConnection, message: Message, payload: MMonGetVersionReply) -> Request | None:
        """Take the answer to a proof."""
        request = self._requests.answered(message.tid or payload.handle, Kind.VERSION, conn.id)
        if request is None:
            self._report.counters["replies_unasked"] += 1
        else:
            self.proven(request, conn)
        return request

    def proven(self, request: Request, conn: MonConnection) -> None:
        """A question that only a quorum answers was answered."""
        self._quorum.answered(self._when_sent(request, conn))
        self._report.over(Cause.NO_QUORUM)

    def _when_sent(self, request: Request, conn: MonConnection) -> Stamp:
        """Return when this request left for this monitor."""
        now = self._report.now
        ago = now.mono - request.sent[conn.id]
        return Stamp(now.mono - ago, now.wall - ago)

    def judge_quorum(self) -> None:
        """A monitor that answers commands, and not what only a quorum answers, has none."""
        conn = self._connections.current
        if conn is None or not self._requests.quorum_is_late(conn.id, self._report.now.mono):
            return
        if self._quorum.skipped != conn.id:
            if self._caps.statfs_covered:
                self.ask_probe(conn, FIRST_PROBE)
        elif not self._quorum.lost:
            self._quorum.lost = True
            why = "has no quorum: it answers commands, and nothing that needs a quorum"
            self._report.blame(Cause.NO_QUORUM, conn.describe(why))
