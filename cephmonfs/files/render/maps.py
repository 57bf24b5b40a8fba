"""The cluster's maps as the `ceph` program prints them: text and `-f json`.

Releases differ in keys, misspelt keys and forms of time; each map says by its version (or by what it
requires of the monitors) which release made it.  Times are UTC, where Ceph takes the zone of the monitor's host.
JSON is one line, in the order of keys that the program has.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cephmonfs.model.mdsmap import (
    FLAG_ALLOW_MULTIMDS_SNAPS,
    FLAG_ALLOW_SNAPS,
    FLAG_ALLOW_STANDBY_REPLAY,
    FLAG_BALANCE_AUTOMATE,
    FLAG_NOT_JOINABLE,
    FLAG_REFUSE_CLIENT_SESSION,
    FLAG_REFUSE_STANDBY_FOR_ANOTHER_FS,
    NO_FSCID,
    MdsMapTail,
    state_name,
)
from cephmonfs.model.osdmap import POOL_ERASURE, POOL_REPLICATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cephmonfs.model.entity import AddrVec, EntityAddr
    from cephmonfs.model.mdsmap import CompatSet, MdsInfo, MDSMap
    from cephmonfs.model.monmap import MonMap
    from cephmonfs.model.osdmap import OSDMap, Pool
    from cephmonfs.wire.cursor import Utime

    Json = dict[str, object]


class Release(IntEnum):
    """Ceph's releases by number."""

    UNKNOWN = 0
    ARGONAUT = 1
    BOBTAIL = 2
    CUTTLEFISH = 3
    DUMPLING = 4
    EMPEROR = 5
    FIREFLY = 6
    GIANT = 7
    HAMMER = 8
    INFERNALIS = 9
    JEWEL = 10
    KRAKEN = 11
    LUMINOUS = 12
    MIMIC = 13
    NAUTILUS = 14
    OCTOPUS = 15
    PACIFIC = 16
    QUINCY = 17
    REEF = 18
    SQUID = 19
    TENTACLE = 20


def release_name(number: int) -> str:
    """ "pacific"; "unknown" for a release that we do not know."""
    try:
        return Release(number).name.lower()
    except ValueError:
        return "unknown"


_MON_FEATURES: Final = {  # bit: the first release that has a name for it, the name
    0: (Release.KRAKEN, "kraken"),
    1: (Release.LUMINOUS, "luminous"),
    2: (Release.MIMIC, "mimic"),
    3: (Release.MIMIC, "osdmap-prune"),
    4: (Release.NAUTILUS, "nautilus"),
    5: (Release.OCTOPUS, "octopus"),
    6: (Release.PACIFIC, "pacific"),
    7: (Release.PACIFIC, "elector-pinging"),
    8: (Release.QUINCY, "quincy"),
    9: (Release.REEF, "reef"),
    10: (Release.SQUID, "squid"),
    11: (Release.TENTACLE, "tentacle"),
    31: (Release.TENTACLE, "cephx_auth_aes256k"),
    32: (Release.TENTACLE, "nvmeof_beacon_diff"),
    63: (Release.KRAKEN, "reserved"),
}

_CIPHERS: Final = {0: "none", 1: "aes", 2: "aes256k"}

_CLIENT_FEATURES: Final = (
    *("reserved",) * 5,
    "jewel",
    "kraken",
    "luminous",
    "mimic",
    "reply_encoding",
    "reclaim_client",
    "lazy_caps_wanted",
    "multi_reconnect",
    "deleg_ino",
    "metric_collect",
    "alternate_name",
    "notify_session_state",
    "op_getvxattr",
    "32bits_retry_fwd",
    "new_snaprealm_info",
    "has_owner_uidgid",
    "client_mds_auth_caps",
    "charmap",
    "blockdiff",
)

_MDSMAP_FLAGS: Final = (
    (FLAG_ALLOW_SNAPS, "allow_snaps"),
    (FLAG_ALLOW_MULTIMDS_SNAPS, "allow_multimds_snaps"),
    (FLAG_ALLOW_STANDBY_REPLAY, "allow_standby_replay"),
    (FLAG_REFUSE_CLIENT_SESSION, "refuse_client_session"),
    (FLAG_REFUSE_STANDBY_FOR_ANOTHER_FS, "refuse_standby_for_another_fs"),
    (FLAG_BALANCE_AUTOMATE, "balance_automate"),
)
_MDS_FROZEN: Final = 1 << 0

# versions of the MonMap, by what they brought
_V_STRATEGY: Final = 8
_V_STRETCH: Final = 9
_V_CIPHERS: Final = 10

# versions of the MDSMap's second half, by the first release that sends them
_EV_OCTOPUS: Final = 15
_EV_PACIFIC: Final = 16
_EV_REEF: Final = 17
_EV_XATTR: Final = 18
_EV_TENTACLE: Final = 19

_TEN_YEARS_S: Final = 10 * 365 * 24 * 3600


def _time(stamp: Utime, *, old: bool = False, zone: str = "+0000", dot: str = ".", always: bool = False) -> str:
    """utime_t as Ceph prints it: before Octopus without a zone, and what is no date as seconds unless `always`."""
    micros = f"{stamp.nsec // 1000:06}"
    if stamp.sec < _TEN_YEARS_S and not always:
        return f"{stamp.sec}.{micros}"
    when = datetime.fromtimestamp(stamp.sec, UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{micros}" if old else f"{when:%Y-%m-%dT%H:%M:%S}{dot}{micros}{zone}"


def _commas(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


def _pairs(pairs: Iterable[tuple[object, object]]) -> str:
    """Return a std::map as Ceph prints one."""
    return "{" + ",".join(f"{key}={value}" for key, value in pairs) + "}"


def _dump(tree: Json) -> str:
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False) + "\n"


def _signed(number: int) -> int:
    """An le64 that Ceph prints as a signed number."""
    return number - (1 << 64) if number >> 63 else number


def _hostport(addr: EntityAddr, *, old: bool) -> str:
    """Address and port; Nautilus has no words for a blank address."""
    return ":" if old and not addr.family else addr.hostport


def _addrvec(addrs: AddrVec, *, old: bool) -> Json:
    return {
        "addrvec": [
            {"type": addr.type_name, "addr": _hostport(addr, old=old), "nonce": addr.nonce} for addr in addrs.addrs
        ],
    }


def _legacy(addrs: AddrVec, *, old: bool) -> str:
    """The one address that fields of before Nautilus have."""
    addr = addrs.legacy_or_front
    return f"{_hostport(addr, old=old)}/{addr.nonce}"


# --- monmap ----------------------------------------------------------------------------------------------------------


def monmap_release(m: MonMap) -> int:
    """Return the release whose monitors made this map, as far as the map shows it."""
    if m.version >= _V_CIPHERS:
        return max(m.min_mon_release, Release.TENTACLE)
    if m.version >= _V_STRATEGY:
        return max(m.min_mon_release, Release.PACIFIC)
    return m.min_mon_release or Release.NAUTILUS


def monmap_text(m: MonMap) -> str:
    """What `ceph mon dump` prints."""
    old = monmap_release(m) < Release.OCTOPUS
    lines = [
        f"epoch {m.epoch}",
        f"fsid {m.fsid}",
        f"last_changed {_time(m.last_changed, old=old)}",
        f"created {_time(m.created, old=old)}",
        f"min_mon_release {m.min_mon_release} ({release_name(m.min_mon_release)})",
    ]
    if m.version >= _V_STRATEGY:
        lines.append(f"election_strategy: {m.strategy}")
        if m.stretch_mode:
            lines += ["stretch_mode_enabled 1", f"tiebreaker_mon {m.tiebreaker}"]
        if m.stretch_mode or m.disallowed_leaders:
            lines.append(f"disallowed_leaders {_commas(m.disallowed_leaders)}")
    for rank, mon in enumerate(m.mons):
        where = f"; crush_location {_pairs(mon.crush_location)}" if mon.crush_location else ""
        lines.append(f"{rank}: {mon.addrs} mon.{mon.name}{where}")
    if m.version >= _V_CIPHERS:
        auth = m.auth_ciphers
        lines += [
            f"auth_epoch {auth.epoch}",
            f"auth_service_cipher {_cipher(auth.service)}",
            f"auth_allowed_ciphers {', '.join(map(_cipher, auth.allowed))}",
            f"auth_preferred_cipher {_cipher(auth.preferred)}",
        ]
    return "\n".join(lines) + "\n"


def monmap_json(m: MonMap, quorum: Sequence[int] | None = None) -> str:
    """What `ceph mon dump -f json` prints; without `quorum` where that is not known."""
    release = monmap_release(m)
    old = release < Release.OCTOPUS
    colon = "" if release >= Release.SQUID else ": "  # before, two of the keys end with it
    tree: Json = {"epoch": m.epoch}
    if m.version >= _V_CIPHERS:
        auth = m.auth_ciphers
        tree["auth_epoch"] = auth.epoch
        tree["auth_service_cipher"] = _cipher_json(auth.service)
        tree["auth_allowed_ciphers"] = [_cipher_json(cipher) for cipher in auth.allowed]
        tree["auth_preferred_cipher"] = _cipher_json(auth.preferred)
    tree["fsid"] = str(m.fsid)
    tree["modified"] = _time(m.last_changed, old=old, zone="Z")
    tree["created"] = _time(m.created, old=old, zone="Z")
    tree["min_mon_release"] = m.min_mon_release
    tree["min_mon_release_name"] = release_name(m.min_mon_release)
    if m.version >= _V_STRATEGY:
        tree["election_strategy"] = m.strategy
        tree[f"disallowed_leaders{colon}"] = _commas(m.disallowed_leaders)
        if m.version >= _V_STRETCH:
            tree["stretch_mode"] = m.stretch_mode
            tree["tiebreaker_mon"] = m.tiebreaker
        tree[f"removed_ranks{colon}"] = _commas(m.removed_ranks)
    tree["features"] = {
        "persistent": _mon_features(m.persistent_features, release),
        "optional": _mon_features(m.optional_features, release),
    }
    tree["mons"] = [_mon_json(m, rank, release) for rank in range(len(m.mons))]
    if quorum is not None:
        tree["quorum"] = list(quorum)
    return _dump(tree)


def _mon_json(m: MonMap, rank: int, release: int) -> Json:
    mon, old = m.mons[rank], release < Release.OCTOPUS
    legacy = _legacy(mon.addrs, old=old)
    tree: Json = {
        "rank": rank,
        "name": mon.name,
        "public_addrs": _addrvec(mon.addrs, old=old),
        "addr": legacy,
        "public_addr": legacy,
    }
    if old:
        return tree
    tree |= {"priority": mon.priority, "weight": mon.weight}
    if mon.time_added is not None:
        tree["time_added"] = _time(mon.time_added, dot=":", always=True)
        tree["crush_location"] = [{"key": key, "val": value} for key, value in mon.crush_location]
    elif m.version >= _V_STRATEGY:
        tree["crush_location"] = _pairs(mon.crush_location)
    return tree


def _mon_features(mask: int, release: int) -> list[str]:
    """Names of the features, "unknown" for what came after that release."""
    bits = [_MON_FEATURES.get(bit, (0, "unknown")) for bit in range(mask.bit_length()) if mask >> bit & 1]
    return [name if first <= release else "unknown" for first, name in bits]


def _cipher(number: int) -> str:
    return _CIPHERS.get(number, "???")


def _cipher_json(number: int) -> Json:
    return {"name": _cipher(number), "value": number}


# --- mdsmap ----------------------------------------------------------------------------------------------------------


def mdsmap_text(m: MDSMap) -> str:
    """A line `epoch N`, then what `ceph fs dump` prints of a file system."""
    old = m.ev < _EV_OCTOPUS
    tail = m.tail or MdsMapTail()
    rows: list[tuple[str, object]] = [
        ("fs_name", m.fs_name),
        ("epoch", m.epoch),
        ("flags", f"{m.flags:x}" + (_flag_words(m.flags) if m.ev >= _EV_REEF else "")),
        ("created", _time(m.created, old=old)),
        ("modified", _time(m.modified, old=old)),
        ("tableserver", m.tableserver),
        ("root", m.root),
        ("session_timeout", m.session_timeout),
        ("session_autoclose", m.session_autoclose),
        ("max_file_size", m.max_file_size),
    ]
    if m.ev >= _EV_XATTR:
        rows.append(("max_xattr_size", tail.max_xattr_size))
    if m.ev < _EV_PACIFIC:
        rows.append(("min_compat_client", _min_compat_client(m)))
    else:
        rows.append(("required_client_features", _pairs(_client_features(m))))
    rows += [
        ("last_failure", m.last_failure),
        ("last_failure_osd_epoch", m.last_failure_osd_epoch),
        ("compat", m.compat),
        ("max_mds", m.max_mds),
        ("in", _commas(m.in_ranks)),
        ("up", _pairs(m.up)),
        ("failed", _commas(m.failed)),
        ("damaged", _commas(m.damaged)),
        ("stopped", _commas(m.stopped)),
        ("data_pools", f"[{_commas(m.data_pools)}]"),
        ("metadata_pool", m.metadata_pool),
        ("inline_data", "enabled" if m.inline_data else "disabled"),
        ("balancer", m.balancer),
    ]
    if m.ev >= _EV_REEF:
        rows.append(("bal_rank_mask", tail.bal_rank_mask))
    rows.append(("standby_count_wanted", max(0, m.standby_count_wanted)))
    if m.ev >= _EV_TENTACLE:
        rows.append(("qdb_cluster", f"leader: {tail.qdb_leader} members: {_commas(tail.qdb_members)}"))
    lines = [f"epoch {m.epoch}", *(f"{key}\t{value}" for key, value in rows)]
    # by rank; a daemon without an incarnation (one that replays for another) comes last
    infos = sorted(m.infos, key=lambda info: (info.rank, info.incarnation == 0, info.incarnation, info.gid))
    lines += [_mds_text(info, old=old) for info in infos]
    return "\n".join(lines) + "\n"


def _mds_text(info: MdsInfo, *, old: bool) -> str:
    text = f"[mds.{info.name}{{{info.rank}:{info.gid}}} state {state_name(info.state)} seq {info.state_seq}"
    if info.laggy_since.sec or info.laggy_since.nsec:
        text += f" laggy since {_time(info.laggy_since, old=old)}"
    if info.export_targets:
        text += f" export targets {_commas(info.export_targets)}"
    if info.flags & _MDS_FROZEN:
        text += " frozen"
    if not old and info.join_fscid != NO_FSCID:
        text += f" join_fscid={info.join_fscid}"
    text += f" addr {info.addrs}"
    return f"{text}]" if info.compat is None else f"{text} compat {info.compat.brief}]"


def mdsmap_json(m: MDSMap) -> str:
    """What `ceph fs dump -f json` has under `mdsmap`; the map's own version tells the release."""
    return _dump(_mdsmap_tree(m))


def _mdsmap_tree(m: MDSMap) -> Json:
    old = m.ev < _EV_OCTOPUS
    tail = m.tail or MdsMapTail()
    tree: Json = {"epoch": m.epoch, "flags": m.flags}
    if m.ev >= _EV_REEF:
        tree["flags_state"] = {
            "joinable": not m.flags & FLAG_NOT_JOINABLE,
            **{name: bool(m.flags & flag) for flag, name in _MDSMAP_FLAGS},
        }
    tree |= {
        "ever_allowed_features": m.ever_allowed_features,
        "explicitly_allowed_features": m.explicitly_allowed_features,
        "created": _time(m.created, old=old),
        "modified": _time(m.modified, old=old),
        "tableserver": m.tableserver,
        "root": m.root,
        "session_timeout": m.session_timeout,
        "session_autoclose": m.session_autoclose,
    }
    if m.ev < _EV_PACIFIC:
        tree["min_compat_client"] = _min_compat_client(m)
    else:
        tree["required_client_features"] = {f"feature_{bit}": name for bit, name in _client_features(m)}
    tree["max_file_size"] = _signed(m.max_file_size)
    if m.ev >= _EV_XATTR:
        tree["max_xattr_size"] = _signed(tail.max_xattr_size)
    tree |= {
        "last_failure": m.last_failure,
        "last_failure_osd_epoch": m.last_failure_osd_epoch,
        "compat": _compat_json(m.compat),
        "max_mds": m.max_mds,
        "in": list(m.in_ranks),
        "up": {f"mds_{rank}": _signed(gid) for rank, gid in m.up},
        "failed": list(m.failed),
        "damaged": list(m.damaged),
        "stopped": list(m.stopped),
        "info": {f"gid_{info.gid}": _mds_json(info, old=old) for info in m.infos},
        "data_pools": list(m.data_pools),
        "metadata_pool": m.metadata_pool,
        "enabled": m.enabled,
        "fs_name": m.fs_name,
        "balancer": m.balancer,
    }
    if m.ev >= _EV_REEF:
        tree["bal_rank_mask"] = tail.bal_rank_mask
    tree["standby_count_wanted"] = max(0, m.standby_count_wanted)
    if m.ev >= _EV_TENTACLE:
        tree |= {"qdb_leader": tail.qdb_leader, "qdb_cluster": list(tail.qdb_members)}
    return tree


def _mds_json(info: MdsInfo, *, old: bool) -> Json:
    tree: Json = {
        "gid": info.gid,
        "name": info.name,
        "rank": info.rank,
        "incarnation": info.incarnation,
        "state": state_name(info.state),
        "state_seq": info.state_seq,
        "addr": _legacy(info.addrs, old=old),
        "addrs": _addrvec(info.addrs, old=old),
    }
    if not old:
        tree["join_fscid"] = info.join_fscid
    if info.laggy_since.sec or info.laggy_since.nsec:
        tree["laggy_since"] = _time(info.laggy_since, old=old)
    tree |= {"export_targets": list(info.export_targets), "features": info.features, "flags": info.flags}
    if info.compat is not None:
        tree["compat"] = _compat_json(info.compat)
    return tree


def _compat_json(compat: CompatSet) -> Json:
    sets = {"compat": compat.compat, "ro_compat": compat.ro_compat, "incompat": compat.incompat}
    return {key: {f"feature_{number}": name for number, name in value.names} for key, value in sets.items()}


def _flag_words(flags: int) -> str:
    words = ["joinable"] if not flags & FLAG_NOT_JOINABLE else []
    words += [name for flag, name in _MDSMAP_FLAGS if flags & flag]
    return "".join(f" {word}" for word in words)


def _client_features(m: MDSMap) -> list[tuple[int, str]]:
    """Those that have a name in that release; Ceph, too, is silent about others."""
    known = 19 if m.ev < _EV_REEF else 22 if m.ev < _EV_TENTACLE else len(_CLIENT_FEATURES)
    return [(bit, name) for bit, name in enumerate(_CLIENT_FEATURES[:known]) if m.required_client_features >> bit & 1]


def _min_compat_client(m: MDSMap) -> str:
    if m.min_compat_client >= 0x80:  # a signed byte: not set
        return "-1 (unspecified)" if m.ev < _EV_OCTOPUS else "0 (unknown)"
    return f"{m.min_compat_client} ({release_name(m.min_compat_client)})"


# --- osdmap: a summary -----------------------------------------------------------------------------------------------

_POOL_TYPES: Final = {POOL_REPLICATED: "replicated", POOL_ERASURE: "erasure"}
_NO_NAME: Final = "<unknown>"  # of a pool that the map does not name
_AUTOSCALE_MODES: Final = {0: "off", 1: "warn", 2: "on"}


def _is_old(release: int | None) -> bool:
    """An OSDMap does not hold the release that made it; unknown counts as new."""
    return Release.UNKNOWN < (release or Release.UNKNOWN) < Release.OCTOPUS


def osdmap_text(m: OSDMap, release: int | None = None) -> str:
    """A line `epoch N`; what `ceph osd dump` has of the map as a whole, `ceph osd stat` in numbers, the pools."""
    old = _is_old(release)
    lines = [
        f"epoch {m.epoch}",
        f"fsid {m.fsid}",
        f"created {_time(m.created, old=old)}",
        f"modified {_time(m.modified, old=old)}",
        f"flags {_commas(m.flag_names)}",
        f"max_osd {m.max_osd}",
        f"num_osds {m.num_osds}",
        f"num_up_osds {m.num_up_osds}",
        f"num_in_osds {m.num_in_osds}",
        f"num_pools {len(m.pools)}",
    ]
    lines += [_pool_text(id, m.pool_names.get(id, _NO_NAME), pool) for id, pool in m.pools.items()]
    return "\n".join(lines) + "\n"


def _pool_text(id: int, name: str, pool: Pool) -> str:
    profile = f" profile {pool.erasure_code_profile}" if pool.type == POOL_ERASURE else ""
    text = f"pool {id} '{name}' {_POOL_TYPES.get(pool.type, '???')}{profile} size {pool.size}"
    text += f" min_size {pool.min_size} crush_rule {pool.crush_rule} pg_num {pool.pg_num} pgp_num {pool.pgp_num}"
    text += f" autoscale_mode {_AUTOSCALE_MODES.get(pool.pg_autoscale_mode, '???')} last_change {pool.last_change}"
    if pool.flags:
        text += f" flags {_commas(pool.flag_names)}"
    if pool.quota_max_bytes:
        text += f" max_bytes {pool.quota_max_bytes}"
    if pool.quota_max_objects:
        text += f" max_objects {pool.quota_max_objects}"
    text += f" stripe_width {pool.stripe_width}"
    return f"{text} application {_commas(pool.applications)}" if pool.applications else text


def osdmap_json(m: OSDMap, release: int | None = None) -> str:
    """The same facts under the keys of `ceph osd dump -f json` and `ceph osd stat -f json`."""
    old = _is_old(release)
    return _dump(
        {
            "epoch": m.epoch,
            "fsid": str(m.fsid),
            "created": _time(m.created, old=old),
            "modified": _time(m.modified, old=old),
            "flags": _commas(m.flag_names),
            "flags_num": m.flags,
            "flags_set": sorted(m.flag_names),
            "pool_max": m.pool_max,
            "max_osd": m.max_osd,
            "num_osds": m.num_osds,
            "num_up_osds": m.num_up_osds,
            "num_in_osds": m.num_in_osds,
            "pools": [_pool_json(id, m.pool_names.get(id, _NO_NAME), pool, old=old) for id, pool in m.pools.items()],
        }
    )


def _pool_json(id: int, name: str, pool: Pool, *, old: bool) -> Json:
    return {
        "pool": id,
        "pool_name": name,
        "create_time": _time(pool.create_time, old=old),
        "flags": pool.flags,
        "flags_names": _commas(pool.flag_names),
        "type": pool.type,
        "size": pool.size,
        "min_size": pool.min_size,
        "crush_rule": pool.crush_rule,
        "pg_autoscale_mode": _AUTOSCALE_MODES.get(pool.pg_autoscale_mode, "???"),
        "pg_num": pool.pg_num,
        "pg_placement_num": pool.pgp_num,
        "last_change": str(pool.last_change),
        "quota_max_bytes": pool.quota_max_bytes,
        "quota_max_objects": pool.quota_max_objects,
        "erasure_code_profile": pool.erasure_code_profile,
        "stripe_width": pool.stripe_width,
        "application_metadata": list(pool.applications),
    }
