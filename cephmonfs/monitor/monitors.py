"""All monitors of one cluster: what they share, and how one connection and one session are made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.auth.credentials import AuthMethod
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.monitor.authserver import NoneAuth, ServerAuth
from cephmonfs.monitor.cephx_server import CephxAuth, CephxServer
from cephmonfs.monitor.server_v2 import ClientReady, ServerConnectionV2
from cephmonfs.monitor.service import ClientSession
from cephmonfs.msgr.events import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cephmonfs.model.entity import EntityAddr
    from cephmonfs.monitor.content import Content

    Clock = Callable[[], float]

_ADMIN: Final = EntityName(EntityType.CLIENT, "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """How many monitors there are, and whom they let in how."""

    mons: int = 3
    key_type: KeyType = KeyType.AES
    entity: EntityName = _ADMIN
    modes: tuple[Mode, ...] = (Mode.SECURE, Mode.CRC)
    revision: int = 1
    auth_none: bool = False
    auth_validity_s: float = 72 * 3600.0
    ports: tuple[int, ...] = ()  # empty: any that is free


class Monitors:
    """All monitors of one cluster.  They know one client, `settings.entity`, whose key is `key`."""

    def __init__(self, settings: MonitorSettings, content: Content, clock: Clock, created: float) -> None:
        self.settings = settings
        self.content = content
        self.clock = clock
        self._keys: dict[str, CryptoKey] = {}
        self.cephx = CephxServer(self._keys, os.urandom, auth_validity_s=settings.auth_validity_s)
        self.key = self.cephx.new_key(settings.key_type, created)
        self._keys[str(settings.entity)] = self.key

    def methods(self) -> Mapping[int, Callable[[], ServerAuth]]:
        """The authentication methods that the cluster allows."""
        if self.settings.auth_none:
            return {AuthMethod.NONE: lambda: NoneAuth(self.cephx.new_global_id)}
        return {AuthMethod.CEPHX: lambda: CephxAuth(self.cephx)}

    def connection(self, rank: int, peer: EntityAddr) -> ServerConnectionV2:
        """Make the machine for one new connection to a monitor."""
        own = self.content.addrs[rank]
        settings = self.settings
        return ServerConnectionV2(
            own, peer, self.methods(), modes=settings.modes, revision=settings.revision, rank=rank
        )

    def session(self, ready: ClientReady, conn: ServerConnectionV2) -> ClientSession:
        """Make the session of one client that came in."""
        return ClientSession(self.content, ready.features, ready.global_id, conn.renew)
