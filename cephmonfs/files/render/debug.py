"""`debug/`: the files that the kernel client has in debugfs, letter for letter, so that scripts for those work.

The kernel takes one address of each daemon, that of the protocol it speaks; so do we.  What it has and we do not (an
osdmap barrier, a CRUSH location) has the value it has there until something sets it.
Linux v6.12: net/ceph/debugfs.c, net/ceph/messenger.c (ceph_pr_addr), fs/ceph/debugfs.c.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import NoData
from cephmonfs.model.entity import BLANK_ADDR, AddrType, AddrVec, EntityAddr
from cephmonfs.model.mdsmap import state_name
from cephmonfs.model.osdmap import OSD_EXISTS, OSD_UP
from cephmonfs.mon.requests import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cephmonfs.files.view import View
    from cephmonfs.model.mdsmap import MdsInfo
    from cephmonfs.model.osdmap import Pool

_NO_FS: Final = -1
_NO_LOCALITY: Final = -1
_RANKS_MAX: Final = 256  # MAX_MDS of Ceph; what a map claims beyond it is not worth the lines
_SUBS: Final = (("monmap", "monmap"), ("osdmap", "osdmap"), ("fsmap.user", "fsmap"), ("mdsmap", "mdsmap"))
_OSD_STATES: Final = {0: "doesn't exist", OSD_EXISTS: "exists", OSD_UP: "up", OSD_EXISTS | OSD_UP: "exists, up"}


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def pr_addr(addr: EntityAddr) -> str:
    """ "(2)10.0.0.1:3300", "(1)[fe80::1]:6789"."""
    match addr.family:
        case 4:
            return f"({addr.type}){addr.host}:{addr.port}"
        case 6:
            ip = ipaddress.IPv6Address(addr.host)
            host = str(ip) if ip.ipv4_mapped is None else f"::ffff:{ip.ipv4_mapped}"
            return f"({addr.type})[{host}]:{addr.port}"
        case _:
            return f"(unknown sockaddr family {int.from_bytes(addr.sockaddr[:2], 'little')})"


def _addr(view: View, addrs: AddrVec) -> str:
    kind = AddrType.LEGACY if view.snapshot.mode == "legacy" else AddrType.MSGR2
    return pr_addr(addrs.of_type(kind) or (addrs.addrs[0] if addrs.addrs else BLANK_ADDR))


# ---- maps


def monmap(view: View) -> str:
    """Epoch, and rank and address of each monitor."""

    def lines() -> Iterator[str]:
        m = view.monmap
        yield f"epoch {m.epoch}"
        for rank, mon in enumerate(m.mons):
            yield f"\tmon{rank}\t{_addr(view, mon.addrs)}"

    return _lines(lines())


def mdsmap(view: View) -> str:
    """A line for each rank that there may be; one without a daemon is down:dne."""

    def lines() -> Iterator[str]:
        m = view.mdsmap
        yield f"epoch {m.epoch}"
        yield f"root {m.root}"
        yield f"max_mds {m.max_mds}"
        yield f"session_timeout {m.session_timeout}"
        yield f"session_autoclose {m.session_autoclose}"
        ranks = max(len(m.infos), min(m.max_mds, _RANKS_MAX))
        holders: dict[int, MdsInfo] = {info.rank: info for info in m.infos if info.state > 0}
        for rank in range(ranks):
            info = holders.get(rank)
            addr = _addr(view, info.addrs) if info else pr_addr(BLANK_ADDR)
            yield f"\tmds{rank}\t{addr}\t({state_name(info.state if info else 0)})"

    return _lines(lines())


def osdmap(view: View) -> str:
    """Flags, pools, OSDs, and the exceptions of placement."""

    def lines() -> Iterator[str]:
        m, placement = view.osdmap, view.placement
        yield f"epoch {m.epoch} barrier 0 flags 0x{m.flags:x}"
        for id, pool in sorted(m.pools.items()):
            yield _pool(id, m.pool_names.get(id, ""), pool)
        for osd, (state, weight) in enumerate(zip(m.states, m.weights, strict=False)):
            words = _OSD_STATES[state & (OSD_EXISTS | OSD_UP)]
            affinity = placement.affinity_of(osd) * 100 >> 16
            yield (
                f"osd{osd}\t{_addr(view, placement.addr_of(osd))}\t{weight * 100 >> 16:3}%\t({words})\t"
                f"{affinity:3}%\t{_NO_LOCALITY:2}"
            )
        for pg, osds in sorted(placement.pg_temp.items()):
            yield f"pg_temp {pg} [{','.join(map(str, osds))}]"
        for pg, osd in sorted(placement.primary_temp.items()):
            yield f"primary_temp {pg} {osd}"
        for pg, osds in sorted(placement.pg_upmap.items()):
            yield f"pg_upmap {pg} [{','.join(map(str, osds))}]"
        for pg, pairs in sorted(placement.pg_upmap_items.items()):
            yield f"pg_upmap_items {pg} [{','.join(f'{a}->{b}' for a, b in pairs)}]"

    return _lines(lines())


def _pool(id: int, name: str, pool: Pool) -> str:
    mask = (1 << max(0, pool.pg_num - 1).bit_length()) - 1
    return (
        f"pool {id} '{name}' type {pool.type} size {pool.size} min_size {pool.min_size} pg_num {pool.pg_num} "
        f"pg_num_mask {mask} flags 0x{pool.flags:x} lfor {pool.last_force_op_resend} "
        f"read_tier {pool.read_tier} write_tier {pool.write_tier}"
    )


# ---- the client


def monc(view: View) -> str:
    """Subscriptions and requests without an answer.

    The form is the kernel's, the subscriptions are ours: all of them go on, and the next epoch is wanted.  The kernel
    asks once for the osdmap, and for the fsmap only where a file system is named.  mon_get_version has no newline, as
    there.
    """
    snap = view.snapshot
    text = ""
    for shown, name in _SUBS:
        record = snap.maps.get(name)
        have = 0 if record is None else record.epoch
        wanted = name != "mdsmap" or not snap.fs_missing
        text += f"have {shown} {have}" + (f" want {have + 1 if have else 0}+" if wanted else "") + "\n"
    text += f"fs_cluster_id {_NO_FS if snap.fscid is None else snap.fscid}\n"
    for request in sorted(snap.requests, key=lambda r: r.tid):
        match request.kind:
            case Kind.STATFS:
                text += f"{request.tid} statfs\n"
            case Kind.VERSION:
                text += f"{request.tid} mon_get_version"
            case _:
                text += f"{request.tid} unknown\n"
    return text


def client_options(view: View) -> str:
    """The options that are not the kernel's defaults."""
    return f"{view.settings.client_options}\n"


def status(view: View) -> str:
    """Our name and address in the cluster.  A blocklist concerns OSDs and MDSs only, and we talk to neither."""
    addr = view.snapshot.my_addr
    if addr is None:
        raise NoData("no session is open")
    shown = EntityAddr.of(addr.host, 0, AddrType.ANY) if addr.family else addr  # clients have type ANY and no port
    return f"instance: client.{view.snapshot.global_id} {pr_addr(shown)}/{addr.nonce}\nblocklisted: false\n"
