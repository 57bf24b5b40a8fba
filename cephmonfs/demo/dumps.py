"""What the commands print with `-f json`: plain values, keys in Ceph's order and spelling (Pacific)."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cephmonfs.demo import osdmap
from cephmonfs.demo.cluster import (
    DATA_POOL,
    FS_NAME,
    FSCID,
    HOSTS,
    METADATA_POOL,
    OSDS_PER_HOST,
    POOLS,
    RELEASE,
    VERSION,
    DemoCluster,
    Mds,
    Pool,
    State,
)
from cephmonfs.demo.maps import COMPAT, MGR_ACTIVE_GID, MGR_MODULES, MGR_STANDBY_GID
from cephmonfs.model.mdsmap import CompatSet, state_name

if TYPE_CHECKING:
    from cephmonfs.demo.request import Request
    from cephmonfs.model.entity import AddrVec
    from cephmonfs.model.monmap import MonMap

Json = dict[str, Any]

RELEASE_NAME: Final = "pacific"
_FEATURE_NAMES: Final = (
    "kraken",
    "luminous",
    "mimic",
    "osdmap-prune",
    "nautilus",
    "octopus",
    "pacific",
    "elector-pinging",
)
_FLAGS: Final = ("sortbitwise", "recovery_deletes", "purged_snapdirs", "pglog_hardlimit")
_MDS_FEATURES: Final = 0x3F01CFBDFFFDFFFF
_OSD_WEIGHT: Final = 4.0


def stamp(seconds: float, zone: str = "+0000") -> str:
    """utime_t as Pacific prints it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + zone


def addrvec(addrs: AddrVec) -> Json:
    """entity_addrvec_t."""
    return {"addrvec": [{"type": a.type_name, "addr": a.hostport, "nonce": a.nonce} for a in addrs.addrs]}


# monitors


def mon_dump(cluster: DemoCluster, monmap: MonMap) -> Json:
    """`mon dump`, "disallowed_leaders: " and "removed_ranks: " being what Pacific calls them."""
    created = stamp(cluster.created, "Z")
    mons = [
        {
            "rank": rank,
            "name": info.name,
            "public_addrs": addrvec(info.addrs),
            "addr": info.addrs.legacy_or_front.legacy_str,
            "public_addr": info.addrs.legacy_or_front.legacy_str,
            "priority": info.priority,
            "weight": info.weight,
            "crush_location": "{}",
        }
        for rank, info in enumerate(monmap.mons)
    ]
    return {
        "epoch": monmap.epoch,
        "fsid": str(cluster.fsid),
        "modified": created,
        "created": created,
        "min_mon_release": RELEASE,
        "min_mon_release_name": RELEASE_NAME,
        "election_strategy": monmap.strategy,
        "disallowed_leaders: ": "",
        "stretch_mode": False,
        "tiebreaker_mon": "",
        "removed_ranks: ": "",
        "features": {"persistent": list(_FEATURE_NAMES), "optional": []},
        "mons": mons,
    }


def mon_dump_of(request: Request) -> Json:
    """`mon dump` with the quorum."""
    dump = mon_dump(request.cluster, request.monmap)
    return dump | {"quorum": list(range(len(request.cluster.names)))}


def quorum_status_of(request: Request) -> Json:
    """`quorum_status`."""
    cluster = request.cluster
    return {
        "election_epoch": cluster.election_epoch,
        "quorum": list(range(len(cluster.names))),
        "quorum_names": list(cluster.names),
        "quorum_leader_name": cluster.names[0],
        "quorum_age": int(request.state.now - cluster.created),
        "features": {"quorum_con": str(_MDS_FEATURES), "quorum_mon": list(_FEATURE_NAMES)},
        "monmap": mon_dump(cluster, request.monmap),
    }


def mon_stat_of(request: Request) -> Json:
    """`mon stat`."""
    cluster = request.cluster
    quorum = [{"rank": rank, "name": name} for rank, name in enumerate(cluster.names)]
    return {
        "epoch": request.monmap.epoch,
        "min_mon_release": RELEASE,
        "min_mon_release_name": RELEASE_NAME,
        "num_mons": len(cluster.names),
        "leader": cluster.names[0],
        "quorum": quorum,
    }


def time_sync(cluster: DemoCluster) -> Json:
    """`time-sync-status`."""
    skew = {
        name: {"skew": 0.0, "latency": 0.0004 * rank, "health": "HEALTH_OK"} for rank, name in enumerate(cluster.names)
    }
    return {"time_skew_status": skew, "timechecks": {"epoch": 2, "round": 2, "round_status": "finished"}}


def versions(cluster: DemoCluster) -> Json:
    """`versions`."""
    mons, osds = len(cluster.names), HOSTS * OSDS_PER_HOST
    each = {"mon": mons, "mgr": 2, "osd": osds, "mds": 2}
    return {kind: {VERSION: count} for kind, count in each.items()} | {"overall": {VERSION: sum(each.values())}}


# health and capacity


def health(state: State, *, detail: bool = False) -> Json:
    """`health` and `health detail`."""
    checks: Json = {}
    for check in state.checks:
        one: Json = {"severity": "HEALTH_WARN", "summary": {"message": check.message, "count": check.count}}
        if detail:
            one["detail"] = [{"message": line} for line in check.detail]
        checks[check.code] = one | {"muted": False}
    return {"status": state.health, "checks": checks, "mutes": []}


def health_of(request: Request) -> Json:
    """`health`."""
    return health(request.state, detail=request.has("detail"))


def pgs_by_state(state: State) -> list[tuple[str, int]]:
    """Placement groups by state, the most frequent first."""
    degraded = state.degraded_pgs
    counts = [("active+clean", state.pg_num - degraded), ("active+undersized+degraded", degraded)]
    return [(name, count) for name, count in counts if count]


def io_rates(state: State) -> tuple[int, int, int, int]:
    """Bytes a second read and written, operations a second read and written."""
    wave = 1 + math.sin(state.now / 11) / 3
    return int(180e6 * wave), int(95e6 * wave), int(1400 * wave), int(620 * wave)


def status(cluster: DemoCluster, state: State) -> Json:
    """`status`."""
    active, osds = state.mds_active, len(state.osd_up)
    rd, wr, rd_ops, wr_ops = io_rates(state)
    by_rank = [
        {
            "filesystem_id": FSCID,
            "rank": 0,
            "name": active.name,
            "status": state_name(active.state),
            "gid": active.gid,
        }
    ]
    return {
        "fsid": str(cluster.fsid),
        "health": health(state),
        "election_epoch": cluster.election_epoch,
        "quorum": list(range(len(cluster.names))),
        "quorum_names": list(cluster.names),
        "quorum_age": int(state.now - cluster.created),
        "monmap": {"epoch": 1, "min_mon_release_name": RELEASE_NAME, "num_mons": len(cluster.names)},
        "osdmap": {
            "epoch": state.osdmap.epoch,
            "num_osds": osds,
            "num_up_osds": sum(state.osd_up),
            "osd_up_since": int(state.osd_modified),
            "num_in_osds": osds,
            "osd_in_since": int(cluster.created),
            "num_remapped_pgs": 0,
        },
        "pgmap": {
            "pgs_by_state": [{"state_name": name, "count": count} for name, count in pgs_by_state(state)],
            "num_pgs": state.pg_num,
            "num_pools": len(state.pools),
            "num_objects": state.objects,
            "data_bytes": state.stored,
            "bytes_used": state.used_kb << 10,
            "bytes_avail": state.avail_kb << 10,
            "bytes_total": state.total_kb << 10,
            "read_bytes_sec": rd,
            "write_bytes_sec": wr,
            "read_op_per_sec": rd_ops,
            "write_op_per_sec": wr_ops,
        },
        "fsmap": {
            "epoch": state.fsmap.epoch,
            "id": FSCID,
            "up": 1,
            "in": 1,
            "max": 1,
            "by_rank": by_rank,
            "up:standby": 1 if state.mds_standby else 0,
        },
        "mgrmap": {
            "available": True,
            "num_standbys": 1 if state.mgr_standby else 0,
            "modules": list(MGR_MODULES),
            "services": {},
        },
        "servicemap": {"epoch": 3, "modified": stamp(cluster.created + 400), "services": {}},
        "progress_events": {},
    }


def df_of(request: Request) -> Json:
    """`df`."""
    state = request.state
    total, used, avail = state.total_kb << 10, state.used_kb << 10, state.avail_kb << 10
    raw = {
        "total_bytes": total,
        "total_avail_bytes": avail,
        "total_used_bytes": used,
        "total_used_raw_bytes": used,
        "total_used_raw_ratio": used / total,
    }
    pools = [
        {
            "name": use.pool.name,
            "id": use.pool.id,
            "stats": {
                "stored": use.stored,
                "objects": use.objects,
                "kb_used": -(-use.used // 1024),
                "bytes_used": use.used,
                "percent_used": use.used / (use.used + use.max_avail * use.pool.size),
                "max_avail": use.max_avail,
            },
        }
        for use in state.pools
    ]
    count = len(state.osd_up)
    stats = raw | {"num_osds": count, "num_per_pool_osds": count, "num_per_pool_omap_osds": count}
    return {"stats": stats, "stats_by_class": {"hdd": raw}, "pools": pools}


# OSDs and pools


def osd_stat(cluster: DemoCluster, state: State) -> Json:
    """`osd stat`."""
    count = len(state.osd_up)
    return {
        "epoch": state.osdmap.epoch,
        "num_osds": count,
        "num_up_osds": sum(state.osd_up),
        "osd_up_since": int(state.osd_modified),
        "num_in_osds": count,
        "osd_in_since": int(cluster.created),
        "num_remapped_pgs": 0,
    }


def pool_detail(cluster: DemoCluster, pool: Pool) -> Json:
    """One pool of `osd dump`."""
    return {
        "pool": pool.id,
        "pool_name": pool.name,
        "create_time": stamp(cluster.created + 100 * pool.id),
        "flags": osdmap.POOL_FLAGS,
        "flags_names": "hashpspool",
        "type": 1,
        "size": pool.size,
        "min_size": 2,
        "crush_rule": 0,
        "object_hash": 2,
        "pg_autoscale_mode": "on",
        "pg_num": pool.pg_num,
        "pg_placement_num": pool.pg_num,
        "pg_placement_num_target": pool.pg_num,
        "pg_num_target": pool.pg_num,
        "pg_num_pending": pool.pg_num,
        "last_change": str(20 + pool.id),
        "auid": 0,
        "snap_mode": "selfmanaged",
        "snap_seq": 0,
        "snap_epoch": 0,
        "pool_snaps": [],
        "removed_snaps": "[]",
        "quota_max_bytes": 0,
        "quota_max_objects": 0,
        "tiers": [],
        "tier_of": -1,
        "read_tier": -1,
        "write_tier": -1,
        "cache_mode": "none",
        "erasure_code_profile": "",
        "stripe_width": 0,
        "expected_num_objects": 0,
        "fast_read": False,
        "options": {},
        "application_metadata": osdmap.APPLICATIONS[pool.id],
    }


def _osd(cluster: DemoCluster, state: State, osd: int) -> Json:
    up, slot = state.osd_up[osd], osdmap.osd_slot(osd)
    born = state.osdmap.epoch - 900
    out: Json = {
        "osd": osd,
        "uuid": str(osdmap.osd_uuid(cluster, osd)),
        "up": int(up),
        "in": 1,
        "weight": 1.0,
        "primary_affinity": 1.0,
        "last_clean_begin": 0,
        "last_clean_end": 0,
        "up_from": born,
        "up_thru": born + 5,
        "down_at": 0 if up else state.osdmap.epoch,
        "lost_at": 0,
    }
    kinds = ("public", "cluster", "heartbeat_back", "heartbeat_front")
    for offset, kind in enumerate(kinds):
        out[f"{kind}_addrs"] = addrvec(cluster.daemon_addrs(slot + offset))
    for offset, kind in enumerate(kinds):
        out[f"{kind}_addr"] = cluster.daemon_addrs(slot + offset).legacy_or_front.legacy_str
    return out | {"state": ["exists", "up"] if up else ["exists"]}


def osd_dump(cluster: DemoCluster, state: State) -> Json:
    """`osd dump`."""
    return {
        "epoch": state.osdmap.epoch,
        "fsid": str(cluster.fsid),
        "created": stamp(cluster.created),
        "modified": stamp(state.osd_modified),
        "last_up_change": stamp(state.osd_modified),
        "last_in_change": stamp(cluster.created),
        "flags": ",".join(_FLAGS),
        "flags_num": osdmap.OSDMAP_FLAGS,
        "flags_set": sorted(_FLAGS),
        "crush_version": 3,
        "full_ratio": osdmap.FULL,
        "backfillfull_ratio": osdmap.BACKFILLFULL,
        "nearfull_ratio": osdmap.NEARFULL,
        "cluster_snapshot": "",
        "pool_max": max(pool.id for pool in POOLS),
        "max_osd": len(state.osd_up),
        "require_min_compat_client": "luminous",
        "min_compat_client": "jewel",
        "require_osd_release": RELEASE_NAME,
        "pools": [pool_detail(cluster, pool) for pool in POOLS],
        "osds": [_osd(cluster, state, osd) for osd in range(len(state.osd_up))],
        "pg_upmap": [],
        "pg_upmap_items": [],
        "pg_temp": [],
        "primary_temp": [],
        "blocklist": {},
        "range_blocklist": {},
        "erasure_code_profiles": {
            "default": {"k": "2", "m": "2", "plugin": "jerasure", "technique": "reed_sol_van"},
        },
        "removed_snaps_queue": [],
        "new_removed_snaps": [],
        "new_purged_snaps": [],
        "crush_node_flags": {},
        "device_class_flags": {},
    }


def osd_tree(state: State) -> Json:
    """`osd tree`."""
    hosts = [-2 - host for host in range(HOSTS)]
    root = {"id": -1, "name": "default", "type": "root", "type_id": 11, "children": hosts[::-1]}
    nodes: list[Json] = [root]
    for host, number in enumerate(hosts):
        osds = list(range(host * OSDS_PER_HOST, (host + 1) * OSDS_PER_HOST))
        nodes.append({"id": number, "name": f"node{host}", "type": "host", "type_id": 1, "pool_weights": {}})
        nodes[-1]["children"] = osds[::-1]
        nodes += (
            {
                "id": osd,
                "device_class": "hdd",
                "name": f"osd.{osd}",
                "type": "osd",
                "type_id": 0,
                "crush_weight": _OSD_WEIGHT,
                "depth": 2,
                "pool_weights": {},
                "exists": 1,
                "status": "up" if state.osd_up[osd] else "down",
                "reweight": 1.0,
                "primary_affinity": 1.0,
            }
            for osd in osds
        )
    return {"nodes": nodes, "stray": []}


def lspools() -> list[Json]:
    """`osd lspools`."""
    return [{"poolnum": pool.id, "poolname": pool.name} for pool in POOLS]


def pool_ls_of(request: Request) -> list[Any]:
    """`osd pool ls`."""
    if request.has("detail"):
        return [pool_detail(request.cluster, pool) for pool in POOLS]
    return [pool.name for pool in POOLS]


def pg_stat(state: State) -> Json:
    """`pg stat`."""
    summary = {
        "num_pg_by_state": [{"name": name, "num": count} for name, count in pgs_by_state(state)],
        "num_pgs": state.pg_num,
        "num_bytes": state.stored,
        "total_bytes": state.total_kb << 10,
        "total_avail_bytes": state.avail_kb << 10,
        "total_used_bytes": state.used_kb << 10,
        "total_used_raw_bytes": state.used_kb << 10,
    }
    return {"pg_ready": True, "pg_summary": summary}


# file systems and managers


def fs_ls() -> list[Json]:
    """`fs ls`."""
    names = {pool.id: pool.name for pool in POOLS}
    return [
        {
            "name": FS_NAME,
            "metadata_pool": names[METADATA_POOL],
            "metadata_pool_id": METADATA_POOL,
            "data_pool_ids": [DATA_POOL],
            "data_pools": [names[DATA_POOL]],
        }
    ]


def _compat(value: CompatSet) -> Json:
    parts = {"compat": value.compat, "ro_compat": value.ro_compat, "incompat": value.incompat}
    return {name: {f"feature_{n}": text for n, text in features.names} for name, features in parts.items()}


def _mds(cluster: DemoCluster, mds: Mds, rank: int) -> Json:
    addrs = cluster.daemon_addrs("ab".index(mds.name) + 4)
    return {
        "gid": mds.gid,
        "name": mds.name,
        "rank": rank,
        "incarnation": mds.incarnation,
        "state": state_name(mds.state),
        "state_seq": mds.seq,
        "addr": addrs.legacy_or_front.legacy_str,
        "addrs": addrvec(addrs),
        "join_fscid": -1,
        "export_targets": [],
        "features": _MDS_FEATURES,
        "flags": 0,
        "compat": _compat(COMPAT),
    }


def _mdsmap(cluster: DemoCluster, state: State) -> Json:
    active = state.mds_active
    return {
        "epoch": state.mdsmap_epoch,
        "flags": 0x12,
        "ever_allowed_features": 0,
        "explicitly_allowed_features": 0,
        "created": stamp(cluster.created + 300),
        "modified": stamp(state.fs_modified),
        "tableserver": 0,
        "root": 0,
        "session_timeout": 60,
        "session_autoclose": 300,
        "required_client_features": {},
        "max_file_size": 1 << 40,
        "last_failure": 0,
        "last_failure_osd_epoch": 0,
        "compat": _compat(COMPAT),
        "max_mds": 1,
        "in": [0],
        "up": {"mds_0": active.gid},
        "failed": [],
        "damaged": [],
        "stopped": [],
        "info": {f"gid_{active.gid}": _mds(cluster, active, 0)},
        "data_pools": [DATA_POOL],
        "metadata_pool": METADATA_POOL,
        "enabled": True,
        "fs_name": FS_NAME,
        "balancer": "",
        "standby_count_wanted": 0,
    }


def fs_dump_of(request: Request) -> Json:
    """`fs dump`."""
    cluster, state = request.cluster, request.state
    standby = state.mds_standby
    standbys = [_mds(cluster, standby, -1) | {"epoch": state.fsmap.epoch}] if standby else []
    return {
        "epoch": state.fsmap.epoch,
        "default_fscid": FSCID,
        "compat": _compat(COMPAT),
        "feature_flags": {"enable_multiple": True, "ever_enabled_multiple": True},
        "standbys": standbys,
        "filesystems": [{"mdsmap": _mdsmap(cluster, state), "id": FSCID}],
    }


def mds_stat_of(request: Request) -> Json:
    """`mds stat`."""
    return {
        "fsmap": fs_dump_of(request),
        "mdsmap_first_committed": 1,
        "mdsmap_last_committed": request.state.fsmap.epoch,
    }


def mgr_dump(cluster: DemoCluster, state: State) -> Json:
    """`mgr dump`."""
    addrs = cluster.daemon_addrs(2)
    standby = {"gid": MGR_STANDBY_GID, "name": "y", "mgr_features": _MDS_FEATURES, "available_modules": []}
    return {
        "epoch": state.mgrmap.epoch,
        "active_gid": MGR_ACTIVE_GID,
        "active_name": "x",
        "active_addrs": addrvec(addrs),
        "active_addr": addrs.legacy_or_front.legacy_str,
        "active_change": stamp(state.mgr_active_since),
        "active_mgr_features": _MDS_FEATURES,
        "available": True,
        "standbys": [standby] if state.mgr_standby else [],
        "modules": list(MGR_MODULES),
        "available_modules": [],
        "services": {},
        "always_on_modules": {},
        "last_failure_osd_epoch": 0,
        "active_clients": [],
    }


def mgr_stat(state: State) -> Json:
    """`mgr stat`."""
    return {"epoch": state.mgrmap.epoch, "available": True, "active_name": "x", "num_standby": int(state.mgr_standby)}
