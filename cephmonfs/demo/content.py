"""The pretended cluster as its monitors describe it: maps, space, commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.demo import maps, osdmap
from cephmonfs.demo.cluster import FS_NAME, FSCID
from cephmonfs.demo.commands import run_command
from cephmonfs.messages import mon

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from cephmonfs.demo.cluster import DemoCluster, State
    from cephmonfs.messages.message import Payload
    from cephmonfs.model.cryptokey import KeyType
    from cephmonfs.model.entity import EntityAddr
    from cephmonfs.model.statfs import Statfs

_MDSMAPS: Final = ("mdsmap", f"mdsmap.{FSCID}")


class DemoContent:
    """The `Content` of a DemoCluster whose keys are of a type."""

    def __init__(self, cluster: DemoCluster, kind: KeyType) -> None:
        self.cluster = cluster
        self.monmap = maps.monmap(cluster, kind)

    @property
    def fsid(self) -> UUID:
        """The cluster's id."""
        return self.cluster.fsid

    @property
    def addrs(self) -> tuple[EntityAddr, ...]:
        """The monitors' addresses, by rank."""
        return self.cluster.addrs

    def epochs(self, now: float) -> Mapping[str, int]:
        """Return the newest epochs."""
        state = self.cluster.at(now)
        return dict.fromkeys(_MDSMAPS, state.mdsmap_epoch) | {
            "osdmap": state.osdmap.epoch,
            "fsmap": state.fsmap.epoch,
            "fsmap.user": state.fsmap.epoch,
            "mgrmap": state.mgrmap.epoch,
        }

    def map_payload(self, name: str, start: int, now: float) -> Payload:
        """Return the message that brings a map."""
        cluster, state = self.cluster, self.cluster.at(now)
        match name:
            case "osdmap":
                return self._osdmap_payload(start, state)
            case "fsmap":
                return mon.MFSMap(state.fsmap.epoch, maps.encoded(maps.fsmap(cluster, state)))
            case "fsmap.user":
                return mon.MFSMapUser(state.fsmap.epoch, maps.encoded(maps.fsmap(cluster, state).for_user()))
            case "mgrmap":
                return mon.MMgrMap(state.mgrmap.epoch, maps.encoded(maps.mgrmap(cluster, state)))
            case _:
                blob = maps.encoded(maps.mdsmap(cluster, state))
                return mon.MMDSMap(cluster.fsid.bytes, state.mdsmap_epoch, blob, FS_NAME)

    def _osdmap_payload(self, start: int, state: State) -> mon.MOSDMap:
        """Start 0: the newest full map.  Start n: the incremental to the newest, which brings all in between."""
        incrementals, full = {}, {}
        epoch = state.osdmap.epoch
        if start == epoch:
            incrementals[epoch] = osdmap.encode_incremental(self.cluster, state)
        else:
            full[epoch] = osdmap.encode_osdmap(self.cluster, state)
        return mon.MOSDMap(self.cluster.fsid.bytes, incrementals, full, epoch, epoch)

    def version(self, name: str, now: float) -> int | None:
        """Return the newest epoch of a map; that of "mdsmap" is the fsmap's."""
        state = self.cluster.at(now)
        return {
            "monmap": self.monmap.epoch,
            "osdmap": state.osdmap.epoch,
            "mdsmap": state.fsmap.epoch,
            "fsmap": state.fsmap.epoch,
        }.get(name)

    def statfs(self, pool: int | None, now: float) -> tuple[int, Statfs] | None:
        """Return the osdmap's epoch and the numbers."""
        state = self.cluster.at(now)
        stats = state.statfs(pool)
        return None if stats is None else (state.osdmap.epoch, stats)

    def command(self, words: tuple[str, ...], now: float) -> tuple[int, str, bytes]:
        """Run one command."""
        return run_command(self.cluster, self.monmap, self.cluster.at(now), words)
