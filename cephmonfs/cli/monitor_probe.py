"""One monitor measured: resolve, connect, banner, auth, maps, statfs, each with its time.

Uses the same connection code as a mount, with one monitor, and times every phase.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.config.monaddr import PORT_V1, PORT_V2
from cephmonfs.errors import CephMonFSError, ProtocolError
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.entity import AddrType, EntityType
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.connection import MonConnection, Phase
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from cephmonfs.model.entity import EntityAddr
    from cephmonfs.mon.connection import Identity
    from cephmonfs.mon.hunt import Candidate

_PATIENCE_S: Final = 8.0  # for one monitor
_STATFS_S: Final = 3.0  # a monitor says nothing to whom it does not like to answer
_OTHER_PORT_S: Final = 1.0
_READ: Final = 65536


@dataclass
class Probe:
    """What one monitor did."""

    candidate: Candidate
    times: dict[str, float] = field(default_factory=dict)  # ms by phase
    error: str = ""
    phase: Phase = Phase.CONNECT  # the last one reached
    other_port: int | None = None  # of the other protocol, if something listens there
    mode: str = ""
    monmap: MonMap | None = None
    skew_s: float | None = None  # its clock less ours
    answered: bool = False  # a statfs

    @property
    def open(self) -> bool:
        """Whether a session could be had."""
        return self.monmap is not None


async def probe(candidate: Candidate, who: Identity, local: str | None = None) -> Probe:
    """Measure one monitor; never raises for what that monitor does."""
    found = Probe(candidate)
    link = MonConnection(1, candidate, who, None, os.urandom, trio.current_time())
    with trio.move_on_after(_PATIENCE_S) as scope:
        try:
            await _Talk(found, link, local).run()
        except CephMonFSError as exc:
            found.error = link.describe(exc)
        except OSError as exc:
            found.error = link.describe(os.strerror(exc.errno).lower() if exc.errno else str(exc))
            found.other_port = await _other_port(candidate.addr)
    if scope.cancelled_caught:
        found.error = link.describe(f"no answer within {_PATIENCE_S:g} s")
    found.phase = link.phase
    return found


async def _other_port(addr: EntityAddr) -> int | None:
    """Return the well-known port of the other protocol if something listens there."""
    other = {PORT_V2: PORT_V1, PORT_V1: PORT_V2}.get(addr.port)
    if other is None:
        return None
    with trio.move_on_after(_OTHER_PORT_S):
        try:
            stream = await trio.open_tcp_stream(addr.host, other)
        except OSError:
            return None
        await trio.aclose_forcefully(stream)
        return other
    return None


class _Talk:
    """The conversation."""

    def __init__(self, found: Probe, link: MonConnection, local: str | None) -> None:
        self._found = found
        self._link = link
        self._local = local
        self._phase_began = trio.current_time()
        self._phase = Phase.CONNECT

    async def run(self) -> None:
        """Connect, and go on until a statfs is answered or will not be."""
        addr = self._link.candidate.addr
        family = socket.AF_INET6 if addr.family == 6 else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._local is not None and (":" in self._local) == (addr.family == 6):
                await sock.bind((self._local, 0))
            await sock.connect((addr.host, addr.port))
            self._link.connected(trio.current_time())
            self._note()
            await self._pump(sock, lambda: self._link.ready)
            self._opened()
            await self._pump(sock, lambda: self._found.monmap is not None)
            self._mark("maps")
            monmap = self._found.monmap
            if monmap is None:
                raise RuntimeError("no monmap after all")
            self._link.send(mon.MStatfs(monmap.fsid.bytes, None), 2)
            with trio.move_on_after(_STATFS_S):
                await self._pump(sock, lambda: self._found.answered)
                self._mark("statfs")

    def _opened(self) -> None:
        link, found = self._link, self._found
        found.mode = str(link.mode or "")
        result = link.result
        ticket = result.credentials.tickets.get(EntityType.AUTH) if result is not None else None
        if ticket is not None:
            # The monitor made this key while we were waiting for it: the one moment whose time on its clock we learn.
            created = ticket.session_key.created
            found.skew_s = created.sec + created.nsec / 1e9 - time.time()
        link.send(mon.MMonSubscribe({"monmap": mon.SubscribeItem(0)}, ""))

    async def _pump(self, sock: trio.socket.SocketType, done: object) -> None:
        while not done():  # type: ignore[operator]
            if data := self._link.data_to_send():
                view = memoryview(data)
                while view:
                    view = view[await sock.send(view) :]
            data = await sock.recv(_READ)
            if not data:
                raise ProtocolError(self._link.why_closed("the monitor closed the connection"))
            self._link.receive_data(data, trio.current_time())
            self._note()
            while self._link.messages:
                item = self._link.messages.popleft()
                if isinstance(item, Message):
                    self._take(from_monitor(item))

    def _take(self, payload: object) -> None:
        if isinstance(payload, mon.MMonMap):
            self._found.monmap = MonMap.decode(Cursor(payload.monmap, "MonMap"))
        elif isinstance(payload, mon.MStatfsReply):
            self._found.answered = True

    def _note(self) -> None:
        """A phase ended when the link is in the next."""
        if self._link.phase is not self._phase:
            self._mark(str(self._phase))
            self._phase = self._link.phase

    def _mark(self, name: str) -> None:
        now = trio.current_time()
        self._found.times[name] = (now - self._phase_began) * 1000
        self._phase_began = now


def other_protocol(kind: AddrType) -> str:
    """Name the other protocol."""
    return "v2" if kind == AddrType.LEGACY else "v1"
