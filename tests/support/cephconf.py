"""The ceph.conf of a throw-away cluster: small, quick to start, everything below its own directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.cluster import Cluster


def default_conf(cluster: Cluster, auth: str) -> dict[str, dict[str, str]]:
    directory = cluster.directory
    families = {":" in addrs.ip for addrs in cluster.mon_addrs().values()}
    return {
        "global": {
            "fsid": cluster.fsid,
            "mon_host": cluster.mon_host,
            "auth_cluster_required": auth,
            "auth_service_required": auth,
            "auth_client_required": auth,
            "auth_allow_insecure_global_id_reclaim": "false",
            "ms_bind_ipv4": str(False in families).lower(),
            "ms_bind_ipv6": str(True in families).lower(),
            "run_dir": str(cluster.run_dir),
            "crash_dir": str(directory / "log"),
            "log_to_stderr": "false",
            "err_to_stderr": "true",
            "log_to_file": "true",
            "mon_cluster_log_to_file": "false",
            "log_max_recent": "500",
            "mon_allow_pool_size_one": "true",
            "mon_allow_pool_delete": "true",
            "osd_pool_default_size": "1",
            "osd_pool_default_min_size": "1",
            "osd_pool_default_pg_autoscale_mode": "off",
            "osd_crush_chooseleaf_type": "0",
            "osd_crush_update_on_start": "true",
        },
        "client": {
            # A program that a test runs must not drop sockets and logs into the system's folders.
            "keyring": str(cluster.admin_keyring),
            "log_file": "",
            "admin_socket": "",
        },
        "mon": _daemon_conf(cluster, "mon")
        | {
            "mon_data_avail_warn": "1",
            "mon_data_avail_crit": "0",
            "mon_warn_on_pool_no_redundancy": "false",
            "mon_warn_on_legacy_crush_tunables": "false",
            "mon_initial_members": "",
            "mon_osd_initial_require_min_compat_client": "luminous",
            "mon_election_timeout": "5",
            "ms_bind_msgr1": str(cluster._msgr1).lower(),
            "ms_bind_msgr2": str(cluster._msgr2).lower(),
        },
        "mgr": _daemon_conf(cluster, "mgr")
        | {"mgr_stats_period": "1", "mgr_tick_period": "1", "mgr_initial_modules": ""},
        "osd": _daemon_conf(cluster, "osd")
        | {
            "osd_objectstore": "memstore",
            "memstore_device_bytes": str(4 << 30),
            "osd_class_load_list": "*",
            "osd_op_num_shards": "1",
            "osd_mclock_skip_benchmark": "true",
            "mgr_stats_period": "1",
        },
        "mds": _daemon_conf(cluster, "mds"),
    }


def _daemon_conf(cluster: Cluster, kind: str) -> dict[str, str]:
    data = cluster.directory / "data" / f"{kind}.$id"
    return {
        f"{kind}_data": str(data),
        "keyring": str(data / "keyring"),
        "admin_socket": str(cluster.run_dir / "$type.$id.asok"),
        "log_file": str(cluster.log_dir / "$type.$id.log"),
    }
