"""Outbox: what goes to the monitors, each request once on each link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.messages.mon import MMonSubscribe
from cephmonfs.mon.link import Phase
from cephmonfs.mon.requests import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cephmonfs.messages.message import Payload
    from cephmonfs.messages.mon import SubscribeItem
    from cephmonfs.mon.following import Following
    from cephmonfs.mon.journal import Journal
    from cephmonfs.mon.link import Link
    from cephmonfs.mon.links import Links
    from cephmonfs.mon.requests import Request, Requests
    from cephmonfs.mon.snapshot import Stamp


class Outbox:
    """Hands messages to links.  Nothing that names the cluster leaves before the first monmap."""

    def __init__(
        self, links: Links, requests: Requests, following: Following, journal: Journal, hostname: str = ""
    ) -> None:
        self._links = links
        self._requests = requests
        self._following = following
        self._journal = journal
        self._hostname = hostname

    def send(self, link: Link, payload: Payload, tid: int = 0) -> None:
        """Send one message."""
        link.send(payload, tid)
        self._journal.counters["messages_out"] += 1

    def subscribe(self, items: Mapping[str, SubscribeItem], links: Iterable[Link]) -> None:
        """Ask these links for maps, if there is anything to ask for."""
        for link in links:
            if items and link.ready:
                self.send(link, MMonSubscribe(items, self._hostname))

    def request(self, link: Link, request: Request, now: Stamp) -> None:
        """Send a request, unless it is out there already or has to wait for a map."""
        following = self._following
        if following.monmap is None or link.id in request.sent:
            return
        if request.kind is Kind.STATFS and not following.statfs_meant():
            return
        link.send(request.make(following.monmap.fsid.bytes), request.tid)
        self._journal.counters["messages_out"] += 1
        request.sent[link.id] = now.mono
        request.sends += 1
        if request.asked is None:
            request.asked = now
        else:
            self._journal.counters["resends"] += 1

    def everywhere(self, request: Request, now: Stamp) -> None:
        """On the session; while it is late also on those that may take over."""
        for link in self.open_links():
            self.request(link, request, now)

    def commands(self, proof: Request | None, commands: Iterable[Request], now: Stamp) -> None:
        """Send commands, each behind the proof that a monitor has to answer first."""
        for link in self.open_links():
            if proof is not None:
                self.request(link, proof, now)
            for command in commands:
                if link.id not in command.sent:
                    command.proofs[link.id] = proof.tid if proof is not None else 0
                    self.request(link, command, now)

    def open_links(self) -> list[Link]:
        """Return the session's link and those that may take over."""
        current = self._links.current
        links = self._links.by_id.values()
        return [link for link in links if link.ready and (link is current or link.phase is Phase.OPEN)]

    def everything(self, link: Link, now: Stamp) -> None:
        """Send everything that is unanswered, but commands: those leave behind a proof."""
        for request in self._requests.pending():
            if request.kind is not Kind.COMMAND or request.optional:
                self.request(link, request, now)
