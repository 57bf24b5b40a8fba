"""The maps of the embedded cluster, as values and as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.demo.cluster import DATA_POOL, FS_NAME, FSCID, METADATA_POOL, RELEASE, DemoCluster, Mds, State
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import AddrVec, Epoch
from cephmonfs.model.fsmap import Filesystem, FSMap
from cephmonfs.model.mdsmap import CompatSet, FeatureSet, MdsInfo, MDSMap
from cephmonfs.model.mgrmap import MgrMap
from cephmonfs.model.monmap import AuthCiphers, MonInfo, MonMap
from cephmonfs.wire.cursor import Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from typing import Protocol

    class Encodable(Protocol):
        """A model class that needs no features to encode."""

        def encode(self, enc: Encoder) -> None:
            """Append it."""


_FEATURES: Final = 0x3F01CFBDFFFDFFFF
_PERSISTENT: Final = 0xFF  # kraken ... elector-pinging
MGR_ACTIVE_GID: Final = 4105
MGR_STANDBY_GID: Final = 4127
MGR_MODULES: Final = ("iostat", "nfs", "restful")
_INCOMPAT: Final = {
    1: "base v0.20",
    2: "client writeable ranges",
    3: "default file layouts on dirs",
    4: "dir inode in separate object",
    5: "mds uses versioned encoding",
    6: "dirfrag is stored in omap",
    8: "no anchor table",
    9: "file layout v2",
    10: "snaprealm v2",
}
COMPAT: Final = CompatSet(incompat=FeatureSet(1 | sum(1 << n for n in _INCOMPAT), tuple(_INCOMPAT.items())))


def monmap(cluster: DemoCluster, kind: KeyType) -> MonMap:
    """The monitors: version 9 as Pacific has it, version 10 where keys are of type 2."""
    stamp = Utime.of(cluster.created)
    aes256k = kind is KeyType.AES256K
    ciphers = AuthCiphers(1, KeyType.AES256K, (KeyType.AES256K,), KeyType.AES256K) if aes256k else AuthCiphers()
    mons = zip(cluster.names, cluster.addrs, strict=True)
    added = stamp if aes256k else None  # the map's version has it or not
    return MonMap(
        version=10 if aes256k else 9,
        fsid=cluster.fsid,
        epoch=Epoch(1),
        last_changed=stamp,
        created=stamp,
        mons=tuple(MonInfo(name, AddrVec((addr,)), time_added=added) for name, addr in mons),
        persistent_features=_PERSISTENT,
        min_mon_release=RELEASE,
        auth_ciphers=ciphers,
    )


def _mds_info(cluster: DemoCluster, mds: Mds, rank: int) -> MdsInfo:
    slot = "ab".index(mds.name) + 4
    addrs = cluster.daemon_addrs(slot)
    return MdsInfo(
        mds.gid, mds.name, rank, mds.incarnation, mds.state, mds.seq, addrs, features=_FEATURES, compat=COMPAT
    )


def mdsmap(cluster: DemoCluster, state: State) -> MDSMap:
    """The one file system."""
    active = state.mds_active
    return MDSMap(
        ev=16,
        epoch=Epoch(state.mdsmap_epoch),
        flags=0x12,
        last_failure=0,
        root=0,
        session_timeout=60,
        session_autoclose=300,
        max_file_size=1 << 40,
        max_mds=1,
        infos=(_mds_info(cluster, active, 0),),
        data_pools=(DATA_POOL,),
        cas_pool=-1,
        compat=COMPAT,
        metadata_pool=METADATA_POOL,
        created=Utime.of(cluster.created + 300),
        modified=Utime.of(state.fs_modified),
        tableserver=0,
        in_ranks=(0,),
        inc=((0, active.incarnation),),
        up=((0, active.gid),),
        failed=(),
        stopped=(),
        last_failure_osd_epoch=0,
        ever_allowed_features=0,
        explicitly_allowed_features=0,
        inline_data=False,
        enabled=True,
        fs_name=FS_NAME,
        damaged=(),
        balancer="",
        standby_count_wanted=-1,
    )


def fsmap(cluster: DemoCluster, state: State) -> FSMap:
    """All file systems, and the standby MDSs."""
    standby = state.mds_standby
    roles = [(state.mds_active.gid, FSCID)] + ([(standby.gid, -1)] if standby else [])
    return FSMap(
        epoch=Epoch(state.fsmap.epoch),
        next_fscid=FSCID + 1,
        legacy_client_fscid=FSCID,
        compat=COMPAT,
        enable_multiple=True,
        filesystems=(Filesystem(FSCID, mdsmap(cluster, state)),),
        mds_roles=tuple(sorted(roles)),
        standbys=(_mds_info(cluster, standby, -1),) if standby else (),
        standby_epochs=((standby.gid, state.fsmap.epoch),) if standby else (),
        ever_enabled_multiple=True,
    )


def mgrmap(cluster: DemoCluster, state: State) -> MgrMap:
    """The managers."""
    standbys = ((MGR_STANDBY_GID, "y"),) if state.mgr_standby else ()
    return MgrMap(Epoch(state.mgrmap.epoch), cluster.daemon_addrs(2), MGR_ACTIVE_GID, True, "x", standbys, MGR_MODULES)


def encoded(value: Encodable) -> bytes:
    """Return the bytes of a map."""
    enc = Encoder()
    value.encode(enc)
    return bytes(enc)
