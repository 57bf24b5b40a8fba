"""FSMap and FSMapUser: the file systems of a cluster.

Ceph v20.2.4: src/mds/FSMap.h and .cc, src/mds/FSMapUser.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import UnknownEncoding
from cephmonfs.model.entity import Epoch
from cephmonfs.model.mdsmap import NO_FSCID, CompatSet, MdsInfo, MDSMap
from cephmonfs.wire.cursor import Cursor, Utime

if TYPE_CHECKING:
    from cephmonfs.wire.encoder import Encoder

_NEWEST: Final = 8
_OLDEST: Final = 6
_NEVER: Final = Utime(0, 0)


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Filesystem.  Wire: ENCODE_START v2 { les32 fscid, bytes MDSMap, v2 mirror info (skipped) }."""

    fscid: int
    mdsmap: MDSMap

    @classmethod
    def decode(cls, cur: Cursor) -> Filesystem:
        """Read one."""
        _, body = cur.struct("Filesystem", v=2)
        return cls(body.s32(), MDSMap.decode(body.sub_blob("MDSMap")))

    def encode(self, enc: Encoder) -> None:
        """Append version 1: without mirroring."""
        with enc.struct(1, 1):
            enc.s32(self.fscid)
            with enc.length():
                self.mdsmap.encode(enc)


@dataclass(frozen=True, slots=True)
class FSMap:
    """All file systems and the metadata servers that stand by.

    Wire: ENCODE_START v8 { le32 epoch, le64 next id, les32 legacy_client_fscid, compat set, bool enable_multiple,
    list<Filesystem>, map<le64 gid, les32 fscid> mds_roles, map<le64, mds_info_t> standby,
    map<le64, le32> standby_epochs, v7 bool ever_enabled_multiple, v8 utime birth }.
    """

    epoch: Epoch
    next_fscid: int
    legacy_client_fscid: int  # of the default file system; -1: none
    compat: CompatSet
    enable_multiple: bool
    filesystems: tuple[Filesystem, ...]
    mds_roles: tuple[tuple[int, int], ...] = ()
    standbys: tuple[MdsInfo, ...] = ()
    standby_epochs: tuple[tuple[int, int], ...] = ()
    ever_enabled_multiple: bool = False
    birth: Utime = _NEVER

    @classmethod
    def decode(cls, cur: Cursor) -> FSMap:
        """Read a map of any release since Nautilus."""
        v, body = cur.struct("FSMap", _NEWEST)
        if v < _OLDEST:
            raise UnknownEncoding(body.what, 0, f"version {v}, older than Nautilus")
        return cls(
            epoch=Epoch(body.u32()),
            next_fscid=body.u64(),
            legacy_client_fscid=body.s32(),
            compat=CompatSet.decode(body),
            enable_multiple=body.boolean(),
            filesystems=body.items(Filesystem.decode, each=6 + 8),
            mds_roles=tuple(body.mapping(Cursor.u64, Cursor.s32, each=12).items()),
            standbys=tuple(body.mapping(Cursor.u64, MdsInfo.decode, each=8 + 6).values()),
            standby_epochs=tuple(body.mapping(Cursor.u64, Cursor.u32, each=12).items()),
            ever_enabled_multiple=body.boolean() if v >= 7 else False,
            birth=body.utime() if v >= 8 else _NEVER,
        )

    def encode(self, enc: Encoder) -> None:
        """Append version 8, or 7 where there is no time of birth."""
        with enc.struct(7 if self.birth == _NEVER else 8, 6):
            enc.u32(self.epoch).u64(self.next_fscid).s32(self.legacy_client_fscid)
            self.compat.encode(enc)
            enc.boolean(self.enable_multiple).items(self.filesystems, lambda e, fs: fs.encode(e))
            enc.u32(len(self.mds_roles))
            for gid, fscid in self.mds_roles:
                enc.u64(gid).s32(fscid)
            enc.u32(len(self.standbys))
            for info in self.standbys:
                enc.u64(info.gid)
                info.encode(enc)
            enc.u32(len(self.standby_epochs))
            for gid, epoch in self.standby_epochs:
                enc.u64(gid).u32(epoch)
            enc.boolean(self.ever_enabled_multiple)
            if self.birth != _NEVER:
                enc.utime(self.birth)

    def for_user(self) -> FSMapUser:
        """Return the short form."""
        names = tuple((fs.fscid, fs.mdsmap.fs_name) for fs in self.filesystems)
        return FSMapUser(self.epoch, self.legacy_client_fscid, names)


@dataclass(frozen=True, slots=True)
class FSMapUser:
    """The names of the file systems: what a client needs to find its own.

    Wire: ENCODE_START v1 { le32 epoch, les32 legacy_client_fscid, list<ENCODE_START v1 { les32 fscid, string name }> }.
    """

    epoch: Epoch
    legacy_client_fscid: int
    filesystems: tuple[tuple[int, str], ...]  # fscid, name

    @classmethod
    def decode(cls, cur: Cursor) -> FSMapUser:
        """Read one."""
        _, body = cur.struct("FSMapUser", v=1)
        return cls(Epoch(body.u32()), body.s32(), body.items(_decode_fs_info, each=6 + 8))

    def encode(self, enc: Encoder) -> None:
        """Append one."""
        with enc.struct(1, 1):
            enc.u32(self.epoch).s32(self.legacy_client_fscid).items(self.filesystems, _encode_fs_info)

    def fscid_of(self, name: str) -> int | None:
        """Return the id of a file system; of the default one (or the first) for an empty name."""
        if not name:
            if self.legacy_client_fscid != NO_FSCID:
                return self.legacy_client_fscid
            return min((fscid for fscid, _ in self.filesystems), default=None)
        for fscid, own in self.filesystems:
            if own == name:
                return fscid
        return None


def _decode_fs_info(cur: Cursor) -> tuple[int, str]:
    _, body = cur.struct("fs_info_t", v=1)
    return body.s32(), body.text()


def _encode_fs_info(enc: Encoder, info: tuple[int, str]) -> None:
    with enc.struct(1, 1):
        enc.s32(info[0]).text(info[1])
