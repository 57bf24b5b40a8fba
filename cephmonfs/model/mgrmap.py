"""MgrMap: the manager daemons.

Ceph v20.2.4: src/mon/MgrMap.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.model.entity import AddrVec, Epoch
from cephmonfs.wire.cursor import Cursor, Utime

if TYPE_CHECKING:
    from cephmonfs.wire.encoder import Encoder

_NEWEST: Final = 14
_NEWEST_STANDBY: Final = 4
_NEVER: Final = Utime(0, 0)


def _decode_standby(cur: Cursor) -> str:
    _, body = cur.struct("MgrMap::StandbyInfo", _NEWEST_STANDBY)
    body.u64()
    return body.text()


@dataclass(frozen=True, slots=True)
class MgrMap:
    """Which manager is active, and which stand by.

    Wire: ENCODE_START v14 { le32 epoch, addresses, le64 gid, bool available, string name,
    map<le64 gid, standby>, v2 set<string> modules, v6 map<string, string> services, ... }.
    The rest is lists of modules with all their options, tens of KiB that are not used here.
    """

    epoch: Epoch
    active_addrs: AddrVec
    active_gid: int
    available: bool
    active_name: str  # empty: none is active
    standbys: tuple[tuple[int, str], ...] = ()  # gid, name
    modules: tuple[str, ...] = ()
    services: tuple[tuple[str, str], ...] = ()  # name, URL

    @classmethod
    def decode(cls, cur: Cursor) -> MgrMap:
        """Read what we know and skip the rest."""
        v, body = cur.struct("MgrMap", _NEWEST)
        return cls(
            epoch=Epoch(body.u32()),
            active_addrs=AddrVec.decode(body),
            active_gid=body.u64(),
            available=body.boolean(),
            active_name=body.text(),
            standbys=tuple(body.mapping(Cursor.u64, _decode_standby, each=8 + 6).items()),
            modules=body.items(Cursor.text, each=4) if v >= 2 else (),
            services=tuple(body.mapping(Cursor.text, Cursor.text, each=8).items()) if v >= 6 else (),
        )

    def encode(self, enc: Encoder) -> None:
        """Append version 8 with no module described."""
        with enc.struct(8, 6):
            enc.u32(self.epoch)
            self.active_addrs.encode(enc)
            enc.u64(self.active_gid).boolean(self.available).text(self.active_name)
            enc.u32(len(self.standbys))
            for gid, name in self.standbys:
                enc.u64(gid)
                with enc.struct(3, 1):
                    enc.u64(gid).text(name).u32(0).u32(0)
            enc.items(self.modules, lambda e, name: e.text(name)).u32(len(self.services))
            for name, url in self.services:
                enc.text(name).text(url)
            enc.u32(0).utime(_NEVER).u32(0)
