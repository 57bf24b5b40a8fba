"""What the commands print for people (Pacific)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.demo import dumps, osdmap
from cephmonfs.demo.cluster import FS_NAME, FSCID, HOSTS, OSDS_PER_HOST, POOLS, RELEASE
from cephmonfs.demo.maps import COMPAT
from cephmonfs.model.mdsmap import state_name

if TYPE_CHECKING:
    from cephmonfs.demo.cluster import Mds, Pool
    from cephmonfs.demo.request import Request

_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")
_YEAR_S: Final = 365 * 86400
_WIDTH: Final = 7


def _scaled(value: float, base: int, units: tuple[str, ...], gap: str) -> str:
    """Ceph's way: as many of two decimals as seven characters hold, none for whole multiples."""
    unit = 0
    while value >= base and unit < len(units) - 1:
        value /= base
        unit += 1
    texts = [f"{value:.{digits}f}{gap}{units[unit]}" for digits in (2, 1, 0)]
    if unit == 0 or value == int(value):
        return texts[-1]
    return next((text for text in texts if len(text) <= _WIDTH), texts[-1])


def size(value: float) -> str:
    """byte_u_t: "6.7 TiB", "18 TiB"."""
    return _scaled(value, 1024, _BINARY, " ")


def number(value: float) -> str:
    """si_u_t: "3.21M", "836.12k"."""
    return _scaled(value, 1000, _DECIMAL, "")


def age(seconds: float) -> str:
    """timespan_str(): "42s", "7m", "3h", "12d", "5w"."""
    for unit, length, upto in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172800), ("d", 86400, 14 * 86400)):
        if seconds < upto:
            return f"{int(seconds / length)}{unit}"
    return f"{int(seconds / (7 * 86400))}w" if seconds < 2 * _YEAR_S else f"{int(seconds / _YEAR_S)}y"


def table(rows: list[tuple[str, ...]], left: tuple[int, ...]) -> list[str]:
    """Lay out columns, two spaces apart; those in `left` to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        lines.append("  ".join(cells).rstrip())
    return lines


def fsid(request: Request) -> str:
    """`fsid`."""
    return str(request.cluster.fsid)


def mon_dumped(request: Request) -> str:
    """The status line of `mon dump`."""
    return f"dumped monmap epoch {request.monmap.epoch}"


def mon_dump(request: Request) -> str:
    """`mon dump`."""
    created = dumps.stamp(request.cluster.created)
    lines = [
        f"epoch {request.monmap.epoch}",
        f"fsid {request.cluster.fsid}",
        f"last_changed {created}",
        f"created {created}",
        f"min_mon_release {RELEASE} ({dumps.RELEASE_NAME})",
        f"election_strategy: {request.monmap.strategy}",
    ]
    lines += (f"{rank}: {info.addrs} mon.{info.name}" for rank, info in enumerate(request.monmap.mons))
    return "\n".join(lines)


def mon_stat(request: Request) -> str:
    """`mon stat`."""
    names = request.cluster.names
    mons = ",".join(f"{info.name}={info.addrs}" for info in request.monmap.mons)
    ranks = ",".join(str(rank) for rank in range(len(names)))
    return (
        f"e{request.monmap.epoch}: {len(names)} mons at {{{mons}}}, election epoch {request.cluster.election_epoch}, "
        f"leader 0 {names[0]}, quorum {ranks} {','.join(names)}"
    )


def health(request: Request) -> str:
    """`health` and `health detail`."""
    state = request.state
    if not state.checks:
        return state.health
    head = f"{state.health} " + "; ".join(check.message for check in state.checks)
    if not request.has("detail"):
        return head
    lines = [head]
    for check in state.checks:
        lines.append(f"[WRN] {check.code}: {check.message}")
        lines += (f"    {line}" for line in check.detail)
    return "\n".join(lines)


def _mds_summary(request: Request) -> str:
    state = request.state
    standby = ", 1 standby" if state.mds_standby else ""
    return f"1/1 daemons up{standby}"


def _osd_summary(request: Request) -> str:
    state = request.state
    count, now = len(state.osd_up), state.now
    up = f"{sum(state.osd_up)} up (since {age(now - state.osd_modified)})"
    return f"{count} osds: {up}, {count} in (since {age(now - request.cluster.created)})"


def status(request: Request) -> str:
    """`status`."""
    cluster, state = request.cluster, request.state
    now, names = state.now, ",".join(cluster.names)
    rd, wr, rd_ops, wr_ops = dumps.io_rates(state)
    lines = ["  cluster:", f"    id:     {cluster.fsid}", f"    health: {state.health}"]
    lines += (f"            {check.message}" for check in state.checks)
    standby = ", standbys: y" if state.mgr_standby else ""
    lines += [
        " ",
        "  services:",
        f"    mon: {len(cluster.names)} daemons, quorum {names} (age {age(now - cluster.created)})",
        f"    mgr: x(active, since {age(now - state.mgr_active_since)}){standby}",
        f"    mds: {_mds_summary(request)}",
        f"    osd: {_osd_summary(request)}",
        " ",
        "  data:",
        f"    volumes: {'1/1 healthy' if state.mds_active.state == 13 else '0/1 healthy, 1 recovering'}",
        f"    pools:   {len(state.pools)} pools, {state.pg_num} pgs",
        f"    objects: {number(state.objects)} objects, {size(state.stored)}",
        f"    usage:   {_usage(request)}",
    ]
    pgs = [f"{count} {name}" for name, count in dumps.pgs_by_state(state)]
    lines.append(f"    pgs:     {pgs[0]}")
    lines += (f"             {line}" for line in pgs[1:])
    client = f"{size(rd)}/s rd, {size(wr)}/s wr, {number(rd_ops)} op/s rd, {number(wr_ops)} op/s wr"
    lines += [" ", "  io:", f"    client:   {client}", " "]
    return "\n".join(lines)


def _usage(request: Request) -> str:
    state = request.state
    total, used, avail = (size(kb << 10) for kb in (state.total_kb, state.used_kb, state.avail_kb))
    return f"{used} used, {avail} / {total} avail"


def df(request: Request) -> str:
    """`df`."""
    state = request.state
    total, used, avail = (size(kb << 10) for kb in (state.total_kb, state.used_kb, state.avail_kb))
    raw = (total, avail, used, used, f"{100 * state.used_kb / state.total_kb:.2f}")
    head = ("CLASS", "SIZE", "AVAIL", "USED", "RAW USED", "%RAW USED")
    lines = ["--- RAW STORAGE ---", *table([head, ("hdd", *raw), ("TOTAL", *raw)], (0,)), " ", "--- POOLS ---"]
    rows: list[tuple[str, ...]] = [("POOL", "ID", "PGS", "STORED", "OBJECTS", "USED", "%USED", "MAX AVAIL")]
    for use in state.pools:
        percent = 100 * use.used / (use.used + use.max_avail * use.pool.size)
        head_cells = (use.pool.name, str(use.pool.id), str(use.pool.pg_num), size(use.stored), number(use.objects))
        rows.append((*head_cells, size(use.used), f"{percent:.2f}".removesuffix(".00"), size(use.max_avail)))
    return "\n".join(lines + table(rows, (0,)))


def osd_stat(request: Request) -> str:
    """`osd stat`."""
    return f"{_osd_summary(request)}; epoch: e{request.state.osdmap.epoch}"


def _pool_line(pool: Pool) -> str:
    application = next(iter(osdmap.APPLICATIONS[pool.id]))
    return (
        f"pool {pool.id} '{pool.name}' replicated size {pool.size} min_size 2 crush_rule 0 object_hash rjenkins "
        f"pg_num {pool.pg_num} pgp_num {pool.pg_num} autoscale_mode on last_change {20 + pool.id} flags hashpspool "
        f"stripe_width 0 application {application}"
    )


def osd_dump(request: Request) -> str:
    """`osd dump`."""
    cluster, state = request.cluster, request.state
    lines = [
        f"epoch {state.osdmap.epoch}",
        f"fsid {cluster.fsid}",
        f"created {dumps.stamp(cluster.created)}",
        f"modified {dumps.stamp(state.osd_modified)}",
        "flags sortbitwise,recovery_deletes,purged_snapdirs,pglog_hardlimit",
        "crush_version 3",
        f"full_ratio {osdmap.FULL}",
        f"backfillfull_ratio {osdmap.BACKFILLFULL}",
        f"nearfull_ratio {osdmap.NEARFULL}",
        "require_min_compat_client luminous",
        "min_compat_client jewel",
        f"require_osd_release {dumps.RELEASE_NAME}",
        "stretch_mode_enabled false",
        *map(_pool_line, POOLS),
        f"max_osd {len(state.osd_up)}",
    ]
    for osd, up in enumerate(state.osd_up):
        slot, born = osdmap.osd_slot(osd), state.osdmap.epoch - 900
        addrs = f"{cluster.daemon_addrs(slot)} {cluster.daemon_addrs(slot + 1)}"
        lines.append(
            f"osd.{osd} {'up  ' if up else 'down'} in  weight 1 up_from {born} up_thru {born + 5} "
            f"down_at {0 if up else state.osdmap.epoch} last_clean_interval [0,0) {addrs} "
            f"{'exists,up' if up else 'exists'} {osdmap.osd_uuid(cluster, osd)}"
        )
    return "\n".join(lines)


def osd_tree(request: Request) -> str:
    """`osd tree`."""
    rows: list[tuple[str, ...]] = [("ID", "CLASS", "WEIGHT", "TYPE NAME", "STATUS", "REWEIGHT", "PRI-AFF")]
    rows.append(("-1", "", f"{4.0 * HOSTS * OSDS_PER_HOST:.5f}", "root default", "", "", ""))
    for host in range(HOSTS):
        rows.append((str(-2 - host), "", f"{4.0 * OSDS_PER_HOST:.5f}", f"    host node{host}", "", "", ""))
        for osd in range(host * OSDS_PER_HOST, (host + 1) * OSDS_PER_HOST):
            up = "up" if request.state.osd_up[osd] else "down"
            rows.append((str(osd), "hdd", "4.00000", f"        osd.{osd}", up, "1.00000", "1.00000"))
    return "\n".join(table(rows, (3,)))


def osd_ls(request: Request) -> str:
    """`osd ls`."""
    return "\n".join(str(osd) for osd in range(len(request.state.osd_up)))


def lspools(request: Request) -> str:
    """`osd lspools`."""
    return "\n".join(f"{pool.id} {pool.name}" for pool in POOLS)


def pool_ls(request: Request) -> str:
    """`osd pool ls`."""
    return "\n".join(_pool_line(pool) if request.has("detail") else pool.name for pool in POOLS)


def pg_stat(request: Request) -> str:
    """`pg stat`."""
    state = request.state
    pgs = ", ".join(f"{count} {name}" for name, count in dumps.pgs_by_state(state))
    return f"{state.pg_num} pgs: {pgs}; {size(state.stored)} data, {_usage(request)}"


def fs_ls(request: Request) -> str:
    """`fs ls`."""
    (fs,) = dumps.fs_ls()
    pools = " ".join(fs["data_pools"])
    return f"name: {FS_NAME}, metadata pool: {fs['metadata_pool']}, data pools: [{pools} ]"


def mds_stat(request: Request) -> str:
    """`mds stat`."""
    active, standby = request.state.mds_active, request.state.mds_standby
    return f"{FS_NAME}:1 {{0={active.name}={state_name(active.state)}}}" + (" 1 up:standby" if standby else "")


def fs_dumped(request: Request) -> str:
    """The status line of `fs dump`."""
    return f"dumped fsmap epoch {request.state.fsmap.epoch}"


def _mds_line(request: Request, mds: Mds, rank: int) -> str:
    addrs = request.cluster.daemon_addrs("ab".index(mds.name) + 4)
    return (
        f"[mds.{mds.name}{{{rank}:{mds.gid}}} state {state_name(mds.state)} seq {mds.seq} addr {addrs} "
        f"compat {COMPAT.brief}]"
    )


def fs_dump(request: Request) -> str:
    """`fs dump`."""
    state, active = request.state, request.state.mds_active
    lines = [
        f"e{state.fsmap.epoch}",
        "enable_multiple, ever_enabled_multiple: 1,1",
        f"default compat: {COMPAT}",
        f"legacy client fscid: {FSCID}",
        " ",
        f"Filesystem '{FS_NAME}' ({FSCID})",
        f"fs_name\t{FS_NAME}",
        f"epoch\t{state.mdsmap_epoch}",
        "flags\t12",
        f"created\t{dumps.stamp(request.cluster.created + 300)}",
        f"modified\t{dumps.stamp(state.fs_modified)}",
        "tableserver\t0",
        "root\t0",
        "session_timeout\t60",
        "session_autoclose\t300",
        f"max_file_size\t{1 << 40}",
        "required_client_features\t{}",
        "last_failure\t0",
        "last_failure_osd_epoch\t0",
        f"compat\t{COMPAT}",
        "max_mds\t1",
        "in\t0",
        f"up\t{{0={active.gid}}}",
        "failed\t",
        "damaged\t",
        "stopped\t",
        "data_pools\t[3]",
        "metadata_pool\t2",
        "inline_data\tdisabled",
        "balancer\t",
        "standby_count_wanted\t0",
        _mds_line(request, active, 0),
    ]
    if state.mds_standby:
        lines += [" ", " ", "Standby daemons:", " ", _mds_line(request, state.mds_standby, -1)]
    return "\n".join(lines)
