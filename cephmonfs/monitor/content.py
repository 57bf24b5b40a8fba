"""What the server half needs to know of the cluster that its monitors speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from cephmonfs.messages.message import Payload
    from cephmonfs.model.entity import EntityAddr
    from cephmonfs.model.monmap import MonMap
    from cephmonfs.model.statfs import Statfs


class Content(Protocol):
    """One cluster, as all its monitors describe it.  `now` is in seconds since 1970."""

    @property
    def fsid(self) -> UUID:
        """The cluster's id."""

    @property
    def addrs(self) -> tuple[EntityAddr, ...]:
        """The monitors' addresses, by rank."""

    @property
    def monmap(self) -> MonMap:
        """The monitors; it does not change."""

    def epochs(self, now: float) -> Mapping[str, int]:
        """Return the newest epoch of each map, by the name that a client subscribes to; not of the monmap."""

    def map_payload(self, name: str, start: int, now: float) -> Payload:
        """Return the message that brings a client from the epoch before `start` to the newest of a map."""

    def version(self, name: str, now: float) -> int | None:
        """Return the newest epoch of a map, by the name that GET_VERSION uses; None for one that is not there."""

    def statfs(self, pool: int | None, now: float) -> tuple[int, Statfs] | None:
        """Return the version and the numbers of the cluster or a pool; None for a pool that is not there."""

    def command(self, words: tuple[str, ...], now: float) -> tuple[int, str, bytes]:
        """Run one command: (result, status text, output)."""
