"""Sender: gives messages to connections, each request once on each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.messages.mon import MMonSubscribe
from cephmonfs.mon.connection import Phase
from cephmonfs.mon.requests import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cephmonfs.messages.message import Payload
    from cephmonfs.messages.mon import SubscribeItem
    from cephmonfs.mon.connection import MonConnection
    from cephmonfs.mon.connections import Connections
    from cephmonfs.mon.maps import Maps
    from cephmonfs.mon.report import Report
    from cephmonfs.mon.requests import Request, Requests
    from cephmonfs.mon.snapshot import Stamp


class Sender:
    """Sends messages.  No request leaves before the first monmap, because it names the cluster's fsid."""

    def __init__(
        self, connections: Connections, requests: Requests, maps: Maps, report: Report, hostname: str = ""
    ) -> None:
        self._connections = connections
        self._requests = requests
        self._maps = maps
        self._report = report
        self._hostname = hostname

    def send(self, conn: MonConnection, payload: Payload, tid: int = 0) -> None:
        """Send one message."""
        conn.send(payload, tid)
        self._report.counters["messages_out"] += 1

    def subscribe(self, items: Mapping[str, SubscribeItem], connections: Iterable[MonConnection]) -> None:
        """Ask these connections for maps, if there is anything to ask for."""
        for conn in connections:
            if items and conn.ready:
                self.send(conn, MMonSubscribe(items, self._hostname))

    def request(self, conn: MonConnection, request: Request, now: Stamp) -> None:
        """Send a request, unless it is out there already or has to wait for a map."""
        maps = self._maps
        if maps.monmap is None or conn.id in request.sent:
            return
        if request.kind is Kind.STATFS and not maps.statfs_meant():
            return
        conn.send(request.make(maps.monmap.fsid.bytes), request.tid)
        self._report.counters["messages_out"] += 1
        request.sent[conn.id] = now.mono
        request.sends += 1
        if request.asked is None:
            request.asked = now
        else:
            self._report.counters["resends"] += 1

    def everywhere(self, request: Request, now: Stamp) -> None:
        """Send a request to the current monitor, and to the hedges beside it."""
        for conn in self.open_connections():
            self.request(conn, request, now)

    def commands(self, proof: Request | None, commands: Iterable[Request], now: Stamp) -> None:
        """Send commands, each behind the proof that a monitor has to answer first."""
        for conn in self.open_connections():
            if proof is not None:
                self.request(conn, proof, now)
            for command in commands:
                if conn.id not in command.sent:
                    command.proofs[conn.id] = proof.tid if proof is not None else 0
                    self.request(conn, command, now)

    def open_connections(self) -> list[MonConnection]:
        """Return the session's connection and those that may take over."""
        current = self._connections.current
        connections = self._connections.by_id.values()
        return [conn for conn in connections if conn.ready and (conn is current or conn.phase is Phase.OPEN)]

    def everything(self, conn: MonConnection, now: Stamp) -> None:
        """Send everything that is unanswered, but commands: those leave behind a proof."""
        for request in self._requests.pending():
            if request.kind is not Kind.COMMAND or request.optional:
                self.request(conn, request, now)
