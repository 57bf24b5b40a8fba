"""A SessionConfig and the monitors' addresses from a MountConfig.

Host names and DNS SRV are resolved anew at each hunt.  A name that does not resolve is left out.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from uuid import UUID

import trio

from cephmonfs.config import srv
from cephmonfs.config.monaddr import Endpoint, MonTarget, MsMode, on_v2, targets_for_mode
from cephmonfs.errors import ConfigError
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import EntityAddr
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.msgr.events import Mode

if TYPE_CHECKING:
    from cephmonfs.config.mountconfig import MountConfig

_RESOLVE_S: Final = 5.0  # for all names together; the others are used meanwhile

MODES: Final[dict[MsMode, tuple[Mode, ...]]] = {
    MsMode.LEGACY: (Mode.LEGACY,),
    MsMode.CRC: (Mode.CRC,),
    MsMode.SECURE: (Mode.SECURE,),
    MsMode.PREFER_CRC: (Mode.CRC, Mode.SECURE),
    MsMode.PREFER_SECURE: (Mode.SECURE, Mode.CRC),
}


def session_config(config: MountConfig) -> SessionConfig:
    """Return what the session needs of it."""
    return SessionConfig(
        identity=Identity(config.entity, config.key, MODES[config.ms_mode], KeyType[config.key_type.upper()]),
        fsid=UUID(config.fsid) if config.fsid else None,
        fs=config.fs,
        pool=config.pool,
        hostname=socket.gethostname(),
    )


class ConfiguredMonitors:
    """The monitors that SOURCE, options, ceph.conf or DNS name; call it for their present addresses.

    `remembered` are those of an earlier mount; they are tried last.
    """

    def __init__(self, config: MountConfig, remembered: tuple[Candidate, ...] = ()) -> None:
        self._remembered = remembered
        self._targets = config.targets
        self._srv = config.dns_srv
        if self._srv is not None:
            srv.load()
        self._mode = config.ms_mode
        self._any_protocol = config.any_protocol
        self._conf_path = config.conf_path

    async def __call__(self) -> tuple[Candidate, ...]:
        """Return every address that resolves now.  Raises ConfigError when none does."""
        ranked: list[tuple[MonTarget, int, int]] = [(target, 0, 0) for target in self._targets]
        if not ranked and self._srv is not None:
            ranked = await self._from_dns(self._srv)
        found: list[Candidate] = []
        failures: list[str] = []
        with trio.move_on_after(_RESOLVE_S):
            async with trio.open_nursery() as nursery:
                for target, priority, weight in ranked:
                    for endpoint in self._endpoints(target, failures):
                        nursery.start_soon(_resolve, endpoint, priority, weight, found, failures)
        if not found and not self._remembered:
            raise ConfigError("; ".join(failures) or f"no monitor's name was resolved within {_RESOLVE_S:g} s", 32)
        return (*sorted(found, key=lambda c: (c.priority, c.name)), *self._remembered)

    async def _from_dns(self, service: str) -> list[tuple[MonTarget, int, int]]:
        """What is remembered goes on without DNS."""
        try:
            records = await srv.lookup(service, conf=self._conf_path)
        except ConfigError:
            if self._remembered:
                return []
            raise
        return [(self._meant(record.target), record.priority, record.weight) for record in records]

    def _meant(self, target: MonTarget) -> MonTarget:
        return on_v2((target,))[0] if self._any_protocol else target

    def _endpoints(self, target: MonTarget, failures: list[str]) -> Iterable[Endpoint]:
        """One of several that speaks the other protocol is left out; alone, it is the error."""
        try:
            return targets_for_mode((target,), self._mode)
        except ConfigError as exc:
            failures.append(str(exc))
            return ()


async def _resolve(endpoint: Endpoint, priority: int, weight: int, found: list[Candidate], failures: list[str]) -> None:
    try:
        infos = await trio.socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        failures.append(f"monitor {endpoint}: resolve: {(exc.strerror or str(exc)).lower()}")
        return
    for _, _, _, _, address in infos:
        addr = EntityAddr.of(str(address[0]), int(address[1]), endpoint.type)
        found.append(Candidate(str(endpoint), addr, priority, weight))
