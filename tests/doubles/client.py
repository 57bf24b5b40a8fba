"""A client of a few lines over `ConnectionV2` and `CephxHandshake`: bytes in, bytes out, no hunting, no timers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.auth.credentials import AuthHandshake, Credentials
from cephmonfs.auth.none import NoneHandshake
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.registry import FromMonitor, from_monitor
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import EntityAddr, EntityName, EntityType
from cephmonfs.msgr import events
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.v2 import ConnectionV2

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload


class Driver:
    """One connection of a client.  After `feed`, look at `ready`, `refused`, `messages`, `credentials`."""

    def __init__(
        self,
        target: EntityAddr,
        entity: EntityName,
        key: CryptoKey | None,
        *,
        modes: tuple[Mode, ...] = (Mode.SECURE, Mode.CRC),
        prior: Credentials | None = None,
        revision: int = 1,
        services: int = EntityType.MON | EntityType.MGR,
    ) -> None:
        self.conn = ConnectionV2(target, int.from_bytes(os.urandom(4), "little"), revision=revision)
        self.auth: AuthHandshake
        if key is None:
            self.auth = NoneHandshake(entity, prior)
        else:
            self.auth = CephxHandshake(entity, key, prior, os.urandom, services)
        self.modes = modes
        self.ready: events.Ready | None = None
        self.refused: events.AuthRefused | None = None
        self.credentials: Credentials | None = None
        self.raw: list[Message] = []
        self.messages: list[FromMonitor | None] = []
        self.acked = 0

    def feed(self, data: bytes) -> bytes:
        """Take what the monitor sent, return what goes to it."""
        if data:
            self.conn.receive_data(data, 0.0)
        while (event := self.conn.next_event()) is not None:
            match event:
                case events.AuthNeeded():
                    self.conn.start_auth(self.auth.entity, self.auth.global_id, self.auth.method, self.modes)
                case events.AuthMore(payload):
                    self.conn.auth_more(self.auth.more(payload))
                case events.AuthDone(global_id, _, payload):
                    result = self.auth.done(payload, global_id)
                    self.credentials = result.credentials
                    self.conn.auth_done(result.session_key, result.connection_secret)
                case events.AuthRefused():
                    self.refused = event
                case events.Ready():
                    self.ready = event
                case Message():
                    self.raw.append(event)
                    self.messages.append(from_monitor(event))
                case events.KeepaliveAcked():
                    self.acked += 1
        return self.conn.data_to_send()

    def say(self, payload: Payload, tid: int = 0) -> bytes:
        """Return the wire bytes of one message."""
        self.conn.send_message(to_message(payload, tid))
        return self.conn.data_to_send()
