"""Records how a release prints maps that a small cluster never has: `python -m tests.support.record_printed`.

MonMaps and FSMaps are made here from recorded ones, in the release's own encoding, and put into a monitor's store as
epochs that never were: `ceph-kvstore-tool rocksdb STORE set mdsmap 9001 in FILE`.  Then that release's `ceph` is asked
for them: `ceph mon dump 9001`, `ceph fs dump 9001`, each as text and with `-f json`.  OSDMaps are made by commands:
`ceph osd getmap`, `ceph osd dump -f json`.
Writes tests/vectors/RELEASE/printed/MAP-NAME.bin, .txt and .json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from cephmonfs.model.entity import BLANK_ADDR, AddrType, AddrVec, EntityAddr, Epoch
from cephmonfs.model.features import DEFAULT_FEATURES
from cephmonfs.model.fsmap import Filesystem, FSMap
from cephmonfs.model.mdsmap import CompatSet, FeatureSet, MdsInfo, MDSMap, MdsMapTail
from cephmonfs.model.monmap import AuthCiphers, MonInfo, MonMap
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.support.cluster import Cluster
from tests.support.release import NUMBERS, RELEASES
from tests.vectors import DIRECTORY, load
from tests.vectors import RELEASES as VECTORS

_FIRST: Final = 9001  # an epoch that no throw-away cluster reaches
_ODD: Final = 'q"u\\o/t\u00e9 x'  # what wire/text.py lets through


def _addr(kind: AddrType, host: str, port: int, nonce: int = 0) -> EntityAddr:
    return replace(EntityAddr.of(host, port, kind), nonce=nonce)


V1, V2, ANY = AddrType.LEGACY, AddrType.MSGR2, AddrType.ANY
_PAIR: Final = AddrVec((_addr(V2, "10.0.0.1", 3300), _addr(V1, "10.0.0.1", 6789)))
_SHAPES: Final = (
    _PAIR,
    AddrVec((_addr(V1, "10.0.0.2", 6789),)),
    AddrVec((_addr(V2, "fe80::1", 3300, 7),)),
    AddrVec((_addr(V1, "::1", 6789, 4294967295), _addr(V2, "::ffff:10.0.0.3", 3300))),
    AddrVec((_addr(ANY, "10.0.0.4", 0, 3),)),
    AddrVec(()),
    AddrVec((BLANK_ADDR,)),
    AddrVec((_addr(V2, "10.0.0.5", 1), _addr(V2, "10.0.0.6", 2), _addr(V1, "10.0.0.7", 3))),
)
_STAMPS: Final = (Utime(0, 0), Utime(1, 999_999_999), Utime(315_359_999, 1), Utime(1 << 31, 0))


# ---- monmaps


def monmaps(release: str) -> Mapping[str, MonMap]:
    """Every optional part there and not there, odd names, addresses, numbers."""
    base = MonMap.decode(Cursor(load(release, "cli-monmap.bin")))
    added = Utime(1_700_000_000, 123_456_789) if base.version >= 10 else None
    mons = tuple(
        MonInfo(f"m{n}", addrs, n, 65535 - n, (("host", f"h{n}"), ("rack", "r"))[: n % 3], added)
        for n, addrs in enumerate(_SHAPES)
    )
    ciphers = AuthCiphers(7, 2, (1, 2, 9), 1)
    bare = replace(
        base, mons=mons[:1], persistent_features=0, optional_features=0, removed_ranks=(), strategy=1,
        disallowed_leaders=(), stretch_mode=False, tiebreaker="", stretch_marked_down=(), auth_ciphers=AuthCiphers(),
    )  # fmt: skip
    return {
        "bare": bare,
        "odd-addresses": replace(bare, mons=mons),
        "stretch": replace(
            bare, mons=mons[:5], strategy=3, stretch_mode=True, tiebreaker="m4", stretch_marked_down=("m1", "m2"),
            removed_ranks=(0, 3, 7), disallowed_leaders=("m1", "m4"), auth_ciphers=ciphers,
        ),
        "tiebreaker-alone": replace(bare, mons=mons[:3], tiebreaker="m1", disallowed_leaders=("m2",), strategy=2),
        "stretch-nobody-disallowed": replace(bare, mons=mons[:3], stretch_mode=True, tiebreaker="m0"),
        "newer": replace(
            bare, persistent_features=(1 << 63) | (1 << 40) | 0xFFF, optional_features=(1 << 31) | (1 << 32),
            min_mon_release=33 if base.version >= 10 else base.min_mon_release, strategy=9,
            auth_ciphers=replace(ciphers, service=77, allowed=(), preferred=-1),
        ),
        "no-release": replace(bare, min_mon_release=0),
        "times": replace(
            bare, last_changed=Utime(0, 0), created=Utime(0xFFFFFFFF, 999_999_999),
            mons=tuple(
                replace(mons[n], time_added=stamp if added else None)
                for n, stamp in enumerate(_STAMPS)
            ),
        ),
        "odd-names": replace(
            bare, mons=(replace(mons[0], name=_ODD, crush_location=((_ODD, _ODD),)),), tiebreaker=_ODD,
            disallowed_leaders=(_ODD,),
        ),
    }  # fmt: skip


# ---- FSMaps


def fsmaps(release: str) -> Mapping[str, FSMap]:
    """Several file systems a map: ranks in every state, every flag, numbers at their ends."""
    base = FSMap.decode(Cursor(load(release, "cli-fsmap.bin")))
    first = base.filesystems[0].mdsmap
    assert first.tail is None or first.ev >= 17
    quiet = replace(
        first, infos=(), in_ranks=(), inc=(), up=(), failed=(), damaged=(), stopped=(), flags=0, balancer="",
        data_pools=(), required_client_features=0, min_compat_client=0,
    )  # fmt: skip
    return {
        "one": _fsmap(base, quiet),
        "ranks": _fsmap(base, _ranks(quiet, _infos(first)), _numbers(quiet)),
        "flags": _fsmap(base, *(replace(quiet, flags=1 << bit) for bit in range(10)), replace(quiet, flags=0xFFFFFFFF)),
        "tails": _fsmap(base, *(replace(quiet, tail=tail) for tail in _tails(quiet))),
        "features": _fsmap(base, *_features(quiet)),
        "odd-names": _fsmap(base, replace(quiet, balancer=_ODD, infos=_infos(first)[:1]), names=(_ODD,)),
    }


def _fsmap(base: FSMap, *mdsmaps: MDSMap, names: tuple[str, ...] = ()) -> FSMap:
    systems = tuple(
        Filesystem(n, replace(mdsmap, epoch=Epoch(10 + n), fs_name=names[n - 1] if names else f"fs{n}"))
        for n, mdsmap in enumerate(mdsmaps, 1)
    )
    return replace(
        base, filesystems=systems, next_fscid=99, legacy_client_fscid=1, standbys=(), mds_roles=(), standby_epochs=(),
        enable_multiple=True, ever_enabled_multiple=True,
    )  # fmt: skip


def _infos(mdsmap: MDSMap) -> tuple[MdsInfo, ...]:
    (info, *_) = mdsmap.infos
    inline = FeatureSet(1 << 7, ((7, "mds uses inline data"),))  # a monitor adds it to every daemon's
    wide = CompatSet(FeatureSet(6, ((1, "one"), (2, _ODD))), FeatureSet(8, ((3, "three"),)), inline)
    made = (
        replace(info, gid=10, name="a", rank=0, incarnation=5, state=13, state_seq=1, join_fscid=1),
        replace(info, gid=11, name="b", rank=0, incarnation=0, state=-8, flags=1, join_fscid=-1),
        replace(info, gid=4, name="c", rank=1, incarnation=9, state=8, laggy_since=Utime(1_700_000_000, 1)),
        replace(info, gid=1 << 63, name=_ODD, rank=5, incarnation=-3, state=99, export_targets=(0, 1), flags=255),
        replace(info, gid=77, name="e", rank=300, state=14, laggy_since=Utime(0, 5000), addrs=_SHAPES[2]),
        replace(info, gid=78, name="f", rank=6, state=-1, addrs=AddrVec(()), features=(1 << 64) - 1),
        replace(info, gid=79, name="g", rank=7, state=15, addrs=_SHAPES[3], join_fscid=1 << 30),
    )
    if info.compat is not None:
        made = (replace(made[0], compat=wide), *made[1:])
    return made


def _ranks(quiet: MDSMap, infos: tuple[MdsInfo, ...]) -> MDSMap:
    ranks = tuple(sorted({info.rank for info in infos}))
    return replace(
        quiet,
        infos=tuple(sorted(infos, key=lambda info: info.gid)),
        in_ranks=(*ranks[:3], 8, 9),
        inc=tuple((rank, rank + 1) for rank in ranks),
        up=tuple((info.rank, info.gid) for info in sorted(infos, key=lambda i: i.rank) if info.state > 0),
        failed=(2, 3),
        damaged=(4,),
        stopped=(8, 9),
        data_pools=(2, 5, 77),
        max_mds=6,
        inline_data=True,
    )


def _numbers(quiet: MDSMap) -> MDSMap:
    return replace(
        quiet, last_failure=0xFFFFFFFF, root=-1, session_timeout=0xFFFFFFFF, session_autoclose=1 << 31,
        max_file_size=1 << 63, max_mds=-1, metadata_pool=-1, tableserver=-1, created=Utime(0, 0),
        modified=Utime(5, 6_000), last_failure_osd_epoch=0xFFFFFFFF, ever_allowed_features=255,
        explicitly_allowed_features=255, enabled=False, standby_count_wanted=7, data_pools=(-1, 1 << 40),
    )  # fmt: skip


def _tails(quiet: MDSMap) -> tuple[MdsMapTail | None, ...]:
    if quiet.ev < 17:
        return (None,)
    tails = (MdsMapTail("", 0), MdsMapTail("0xff", 1 << 63), MdsMapTail("all", 65536, 10, (10,)))
    return tails if quiet.ev >= 19 else tuple(replace(tail, qdb_leader=0, qdb_members=()) for tail in tails)


def _features(quiet: MDSMap) -> tuple[MDSMap, ...]:
    if quiet.ev < 16:
        return tuple(replace(quiet, min_compat_client=release) for release in (0, 5, 12, 14, 33, 127, 255))
    return tuple(replace(quiet, required_client_features=mask) for mask in (1, 0x20, (1 << 30) - 1, (1 << 63) | 1 << 8))


# ---- OSDMaps: made by commands, for their encoding has more than this project reads

_OSD: Final = {
    "empty": (),
    "pools": (
        *(("osd", "create"),) * 4,
        ("osd", "erasure-code-profile", "set", "p", "k=2", "m=1", "crush-failure-domain=osd"),
        ("osd", "pool", "create", "one", "8", "4"),
        ("osd", "pool", "create", "ec", "8", "8", "erasure", "p"),
        ("osd", "pool", "set", "ec", "allow_ec_overwrites", "true"),
        ("osd", "pool", "create", "base", "1"),
        ("osd", "pool", "create", "cache", "1"),
        ("osd", "tier", "add", "base", "cache"),
        ("osd", "tier", "cache-mode", "cache", "writeback"),
        ("osd", "tier", "set-overlay", "base", "cache"),
        ("osd", "pool", "set-quota", "one", "max_bytes", "18446744073709551615"),
        ("osd", "pool", "set-quota", "one", "max_objects", "9223372036854775808"),
        ("osd", "pool", "application", "enable", "one", "rbd"),
        ("osd", "pool", "application", "enable", "one", "x", "--yes-i-really-mean-it"),
        *(("osd", "pool", "set", "one", flag, "1") for flag in ("nodelete", "nopgchange", "nosizechange", "bulk")),
        *(("osd", "pool", "set", "one", flag, "1") for flag in ("noscrub", "nodeep-scrub", "eio", "hashpspool")),
        ("osd", "pool", "set", "ec", "pg_autoscale_mode", "off"),
        ("osd", "pool", "set", "base", "pg_autoscale_mode", "warn"),
        ("osd", "pool", "mksnap", "base", "s1"),
        ("osd", "pool", "rename", "base", 'b/a "s\\e\u00e9'),
    ),
    "flags": tuple(
        ("osd", "set", flag, "--yes-i-really-mean-it")
        for flag in (
            *("full", "pause", "noup", "nodown", "noout", "noin", "nobackfill", "norebalance", "norecover", "noscrub"),
            *("nodeep-scrub", "notieragent", "nosnaptrim", "pglog_hardlimit", "noautoscale"),
        )
    ),
}  # a release refuses what it does not know


# ---- recording


def _encoded(value: MonMap | FSMap) -> bytes:
    enc = Encoder()
    if isinstance(value, MonMap):
        value.encode(enc, DEFAULT_FEATURES)
    else:
        value.encode(enc)
    return bytes(enc)


_STORE: Final = {"mon": "monmap", "fs": "mdsmap"}


def record(release: str, directory: Path, out: Path) -> None:
    """Put the maps of one release into a store, and write down what its `ceph` prints of them."""
    vectors = next(name for name in VECTORS if name.startswith(release))
    made = [
        *(("mon", name, _encoded(value)) for name, value in monmaps(vectors).items()),
        *(("fs", name, _encoded(value)) for name, value in fsmaps(vectors).items()),
    ]
    out.mkdir(parents=True, exist_ok=True)
    file = directory / "map"
    with Cluster.create(release=release, directory=directory, mons=1) as cluster:
        mon = cluster.mon("a")
        mon.stop()
        store = ["ceph-kvstore-tool", "rocksdb", str(mon.data_path / "store.db")]
        for epoch, (kind, _, data) in enumerate(made, _FIRST):
            file.write_bytes(data)
            cluster.runner.run([*store, "set", _STORE[kind], str(epoch), "in", str(file)])
        mon.start()
        cluster.wait_quorum(1)
        ceph = ["ceph", "-c", str(cluster.conf_path), "--keyring", str(cluster.admin_keyring)]
        for epoch, (kind, name, data) in enumerate(made, _FIRST):
            (out / f"{kind}-{name}.bin").write_bytes(data)
            for end, style in (("txt", "plain"), ("json", "json")):
                printed = _printed(cluster, [*ceph, kind, "dump", str(epoch), "-f", style])
                (out / f"{kind}-{name}.{end}").write_bytes(printed)
        for name, commands in _OSD.items():
            for words in commands:
                cluster.ceph(*words, check=False)
            cluster.ceph("osd", "getmap", "-o", str(file))
            (out / f"osd-{name}.bin").write_bytes(file.read_bytes())
            (out / f"osd-{name}.json").write_bytes(_printed(cluster, [*ceph, "osd", "dump", "-f", "json"]))


def _printed(cluster: Cluster, words: list[str]) -> bytes:
    return subprocess.run(cluster.runner.argv(words), capture_output=True, timeout=60, check=True).stdout


def main() -> None:
    """Record the releases named in argv, or all."""
    for release in sys.argv[1:] or RELEASES:
        assert release in NUMBERS
        vectors = next(name for name in VECTORS if name.startswith(release))
        with tempfile.TemporaryDirectory(prefix="printed-", dir="/tmp") as directory:
            record(release, Path(directory), DIRECTORY / vectors / "printed")


if __name__ == "__main__":
    main()
