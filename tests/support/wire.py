"""One link to a real monitor over a blocking socket: for tests of what goes over the wire, without a session."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeVar

from cephmonfs.auth.credentials import Credentials
from cephmonfs.messages.message import Message
from cephmonfs.messages.registry import FromMonitor, from_monitor
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName
from cephmonfs.mon.connection import EVERYTHING, Happened, Identity, MonConnection, Offer
from cephmonfs.mon.hunt import Candidate
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.cursor import Utime

if TYPE_CHECKING:
    from cephmonfs.auth.envelope import RandomBytes
    from cephmonfs.messages.message import Payload

PING = Utime(1_700_000_000, 7)

P = TypeVar("P", bound=FromMonitor)


def endpoint(hostport: str, type: AddrType) -> EntityAddr:
    """The address of `MonAddrs.v1` or `.v2`."""
    host, _, port = hostport.rpartition(":")
    return EntityAddr.of(host.strip("[]"), int(port), type)


def identity(entity: str, key: str | None, *modes: Mode) -> Identity:
    return Identity(EntityName.parse(entity), CryptoKey.from_base64(key) if key else None, modes)


class Wire:
    """A link that is open, or the error that it ended with, raised from the constructor."""

    def __init__(
        self,
        hostport: str,
        who: Identity,
        *,
        prior: Credentials | None = None,
        offer: Offer = EVERYTHING,
        ciphers: tuple[int, ...] = (),
        random: RandomBytes = os.urandom,
        timeout_s: float = 10,
    ) -> None:
        self.received: list[Message] = []
        self.sent = bytearray()
        self.got = bytearray()
        addr = endpoint(hostport, who.addr_type)
        self.link = MonConnection(1, Candidate(hostport, addr), who, prior, random, 0.0, offer=offer, ciphers=ciphers)
        self.sock = socket.create_connection((addr.host, addr.port), timeout_s)
        self.alive = 0
        try:
            self.link.connected(0.0)
            self.until(lambda: self.link.ready or None, timeout_s, "session")
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def until(self, wanted: Callable[[], P | bool | None], timeout_s: float, what: str) -> P | bool:
        """Exchange bytes until `wanted` returns something."""
        deadline = time.monotonic() + timeout_s
        while True:
            if data := self.link.data_to_send():
                self.sent += data
                self.sock.sendall(data)
            if (found := wanted()) is not None:
                return found
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                raise TimeoutError(f"no {what} within {timeout_s:g} s") from None
            if not data:
                raise ConnectionError("the monitor closed the connection")
            self.got += data
            self.link.receive_data(data, 0.0)
            while self.link.messages:
                item = self.link.messages.popleft()
                if isinstance(item, Message):
                    self.received.append(item)
                elif item is Happened.ALIVE:
                    self.alive += 1

    def send(self, payload: Payload, tid: int = 0) -> None:
        self.link.send(payload, tid)

    def expect(self, kind: type[P], timeout_s: float = 5) -> P:
        """The next message of this class; those before it are forgotten."""

        def look() -> P | None:
            while self.received:
                payload = from_monitor(self.received.pop(0))
                if isinstance(payload, kind):
                    return payload
            return None

        found = self.until(look, timeout_s, kind.__name__)
        assert not isinstance(found, bool)
        return found

    def silent(self, seconds: float) -> list[FromMonitor | None]:
        """What came in this time."""
        try:
            self.until(lambda: None, seconds, "end")
        except TimeoutError:
            pass
        came, self.received = [from_monitor(m) for m in self.received], []
        return came

    def ping(self, timeout_s: float = 5) -> None:
        """A keepalive and its acknowledgement."""
        before = self.alive
        self.link.send_keepalive(0.0, PING)
        self.until(lambda: self.alive > before or None, timeout_s, "keepalive ack")
