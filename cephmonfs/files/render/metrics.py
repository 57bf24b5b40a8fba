"""`metrics`: Prometheus text.

`ceph_*` has the names, labels and help texts of Ceph's own mgr module, so that what was made for that works with this:
dashboards, alert rules.  Only values that a monitor has sent are there.  `cephmonfs_*` is about this program.

A stale sample is dropped: when its answer no longer counts, or for values from maps when no quorum has answered for
`stale_after`.  There are no timestamps: node_exporter refuses a file
that has any.

Names of the mgr module: Ceph v16.2.15, src/pybind/mgr/prometheus/module.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from cephmonfs import __version__
from cephmonfs.errors import CephMonFSError
from cephmonfs.files.answers import DF_DETAIL, HEALTH, MON_METADATA, QUORUM, STATUS
from cephmonfs.files.render.sections import reason
from cephmonfs.files.view import STATFS
from cephmonfs.model import df
from cephmonfs.model.metadata import DaemonMetadata, parse_metadata
from cephmonfs.model.osdmap import OSD_EXISTS, OSD_UP, POOL_ERASURE, WEIGHT_IN
from cephmonfs.mon.snapshot import State
from cephmonfs.mon.tally import BUCKETS_S
from cephmonfs.wire.limits import MIB
from cephmonfs.wire.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import Metric

    from cephmonfs.files.view import View
    from cephmonfs.model.osdmap import OSDMap, Pool

_HEALTH_NUMBERS: Final = {"HEALTH_OK": 0, "HEALTH_WARN": 1, "HEALTH_ERR": 2}
_OSD_FLAGS: Final = (
    "noup",
    "nodown",
    "noout",
    "noin",
    "nobackfill",
    "norebalance",
    "norecover",
    "noscrub",
    "nodeep-scrub",
)

_FILLED_MAX: Final = 8 * MIB  # of 7000 pools
_PAGE_MIN: Final = 24 << 10  # a small cluster's page has 12 KiB
_OSD_BYTES: Final = 160  # three lines
_POOL_BYTES: Final = 1200  # eighteen lines

COMMANDS: Final = (HEALTH, QUORUM, DF_DETAIL, STATUS, MON_METADATA)

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]


def load() -> None:
    """Import the library that writes: a daemon that has given up its rights may not reach it any more."""
    import prometheus_client.core
    import prometheus_client.utils  # noqa: F401


def metrics(view: View) -> bytes:
    """Everything that is known and new enough."""
    page = Page()
    parts: Sequence[Callable[[View, Page], None]] = (_ourselves, _health, _quorum, _capacity, _status)
    if view.fresh:
        parts = (*parts, _monitors, _file_systems, _osdmap)
    for part in parts:
        try:
            part(view, page)
        except CephMonFSError:
            continue  # not known; the file of this part says why
        except Exception as exc:
            reason(exc)
    return _filled(page.text(), view)


def _filled(page: bytes, view: View) -> bytes:
    """Add empty lines, which Prometheus passes over.

    Web servers and sshfs look at a file's size, then open it, and send that much.  So the size has to be the same
    before and after the answers that the open asks for: it is made from the maps, which stay, and not from the samples,
    which come and go.
    """
    wanted = _PAGE_MIN
    try:
        osdmap = view.osdmap
        wanted += osdmap.num_osds * _OSD_BYTES + len(osdmap.pools) * _POOL_BYTES
    except Exception:  # its part of the page has said why
        pass
    wanted = max(len(page), min(wanted, _FILLED_MAX))
    size = 1 << (wanted - 1).bit_length() if wanted < MIB else -(-wanted // MIB) * MIB
    return page + b"\n" * (size - len(page))


class Page:
    """The families of samples, in the order of the file.  One without samples is left out."""

    def __init__(self) -> None:
        self._families: list[Metric] = []
        self._written: list[bytes] = []

    def collect(self) -> list[Metric]:
        """What prometheus_client writes."""
        return self._families

    def text(self) -> bytes:
        """Write it."""
        self._write()
        return b"".join(self._written)

    def ready(self, text: bytes) -> None:
        """Add families that are written already."""
        self._write()
        self._written.append(text)

    def _write(self) -> None:
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        self._written.append(generate_latest(registry))
        self._families = []

    def gauge(self, name: str, text: str, labels: Labels, samples: Samples) -> None:
        """Add numbers that go up and down."""
        self._add(name, text, "gauge", "", labels, samples)

    def untyped(self, name: str, text: str, labels: Labels, samples: Samples) -> None:
        """Add what the mgr module calls untyped."""
        self._add(name, text, "untyped", "", labels, samples)

    def counter(self, name: str, text: str, labels: Labels, samples: Samples) -> None:
        """Add numbers that only grow; the samples are called NAME_total."""
        self._add(name, text, "counter", "_total", labels, samples)

    def one(self, name: str, text: str, value: float) -> None:
        """Add one number without labels."""
        self.gauge(name, text, (), [((), value)])

    def histogram(self, name: str, text: str, buckets: Iterable[tuple[str, float]], sum_value: float) -> None:
        """Add one histogram of cumulated buckets."""
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(name, text)
        family.add_metric([], list(buckets), sum_value)
        self._families.append(family)

    def _add(self, name: str, text: str, kind: str, suffix: str, labels: Labels, samples: Samples) -> None:
        from prometheus_client import Metric

        family = Metric(name, text, kind)
        seen: set[Labels] = set()  # the same labels twice, and Prometheus refuses the page
        for values, value in samples:
            shown = tuple(map(printable, values))
            if shown not in seen:
                seen.add(shown)
                family.add_sample(name + suffix, dict(zip(labels, shown, strict=True)), float(value))
        if family.samples:
            self._families.append(family)


def _go(value: float) -> str:
    """Write a number as prometheus_client does."""
    from prometheus_client.utils import floatToGoString

    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


# ---- the cluster


def _health(view: View, page: Page) -> None:
    health = view.health
    if health.status in _HEALTH_NUMBERS:
        page.untyped("ceph_health_status", "Cluster health status", (), [((), _HEALTH_NUMBERS[health.status])])
    page.gauge(
        "ceph_health_detail",
        "healthcheck status by type (0=inactive, 1=active)",
        ("name", "severity"),
        [((check.code, check.severity), 1) for check in health.checks],
    )
    slow_ops = health.slow_ops
    page.one("ceph_healthcheck_slow_ops", "OSD or Monitor requests taking a long time to process", slow_ops)
    page.gauge(  # the mgr module has no such metric: there a muted check is active like any other
        "cephmonfs_health_check_muted",
        "1 for a health check that is muted, 0 for one that is not",
        ("name",),
        [((check.code,), check.muted) for check in health.checks],
    )


def _quorum(view: View, page: Page) -> None:
    names = view.quorum.names
    page.gauge(
        "ceph_mon_quorum_status",
        "Monitors in quorum",
        ("ceph_daemon",),
        [((f"mon.{mon.name}",), mon.name in names) for mon in view.snapshot.mons],
    )


def _capacity(view: View, page: Page) -> None:
    """From `ceph df detail`; without the right to that, the two numbers that a statfs has too."""
    try:
        _df(view, page)
        return
    except CephMonFSError:
        pass
    record = view.statfs
    if record.pool is None:
        page.one("ceph_cluster_total_bytes", "DF total_bytes", record.stats.kb << 10)
        page.one("ceph_cluster_total_used_raw_bytes", "DF total_used_raw_bytes", record.stats.kb_used << 10)


def _df(view: View, page: Page) -> None:
    told = view.parsed(DF_DETAIL, df.Df.parse)
    for name, value in told.cluster.items():
        page.one(f"ceph_cluster_{name}", f"DF {name}", value)
    for name in df.POOL_NUMBERS:
        samples = [((str(id),), numbers[name]) for id, numbers in told.pools.items() if name in numbers]
        # rd and wr only grow, and the mgr module calls them counters, but without the ending that a counter has to have
        add = page.untyped if name.startswith(("rd", "wr")) else page.gauge
        add(f"ceph_pool_{name}", f"DF pool {name}", ("pool_id",), samples)


def _status(view: View, page: Page) -> None:
    """Objects that are not as they should be: `ceph status` leaves out what is 0."""
    for name, count in view.parsed(STATUS, df.parse_odd_objects).items():
        page.one(f"ceph_num_objects_{name}", f"Number of {name} objects", count)


def _monitors(view: View, page: Page) -> None:
    try:
        told = view.parsed(MON_METADATA, parse_metadata)
    except CephMonFSError:
        told = {}
    samples = []
    for mon in view.snapshot.mons:
        row = told.get(mon.name, DaemonMetadata("", ""))
        addr = mon.addrs.legacy_or_front.host
        samples.append(((f"mon.{mon.name}", row.hostname, addr, str(mon.rank), row.ceph_version), 1))
    labels = ("ceph_daemon", "hostname", "public_addr", "rank", "ceph_version")
    page.untyped("ceph_mon_metadata", "MON Metadata", labels, samples)


def _file_systems(view: View, page: Page) -> None:
    fsmap = view.fsmap
    page.untyped(
        "ceph_fs_metadata",
        "FS Metadata",
        ("data_pools", "fs_id", "metadata_pool", "name"),
        [
            ((",".join(map(str, m.data_pools)), str(fs.fscid), str(m.metadata_pool), m.fs_name), 1)
            for fs in fsmap.filesystems
            for m in (fs.mdsmap,)
        ],
    )
    page.untyped(
        "ceph_mds_metadata",
        "MDS Metadata",
        ("ceph_daemon", "fs_id", "hostname", "public_addr", "rank", "ceph_version"),
        [
            ((f"mds.{i.name}", str(fs.fscid), "", i.addrs.legacy_or_front.legacy_str, str(i.rank), ""), 1)
            for fs in fsmap.filesystems
            for i in fs.mdsmap.infos
        ],
    )


def _osdmap(view: View, page: Page) -> None:
    osdmap = view.osdmap
    for flag in _OSD_FLAGS:
        name = f"ceph_osd_flag_{flag.replace('-', '_')}"
        page.untyped(name, f"OSD Flag {flag}", (), [((), flag in osdmap.flag_names)])
    page.ready(view.memo.get("metrics of osds", osdmap, lambda: _osds(osdmap)))
    pools = osdmap.pools.items()
    page.untyped(
        "ceph_pool_metadata",
        "POOL Metadata",
        ("pool_id", "name", "type", "description", "compression_mode"),
        [
            ((str(id), osdmap.pool_names.get(id, ""), *_pool_type(view, pool), pool.compression_mode or "none"), 1)
            for id, pool in pools
        ],
    )
    page.gauge("ceph_pg_total", "PG Total Count per Pool", ("pool_id",), [((str(id),), p.pg_num) for id, p in pools])


def _osds(osdmap: OSDMap) -> bytes:
    """Write what there is of each OSD.

    Ten thousand take prometheus_client 300 ms, in a thread too, which takes the loop's turn for 20 ms and more at a
    time; this takes 15, once per map.
    """
    rows = [(i, s, w) for i, (s, w) in enumerate(zip(osdmap.states, osdmap.weights, strict=False)) if s & OSD_EXISTS]
    weights = {weight: _go(weight / WEIGHT_IN) for _, _, weight in rows}
    of_osd: Sequence[tuple[str, Sequence[str]]] = (
        ("weight", [f'ceph_osd_weight{{ceph_daemon="osd.{i}"}} {weights[weight]}\n' for i, _, weight in rows]),
        ("up", [f'ceph_osd_up{{ceph_daemon="osd.{i}"}} {1.0 if s & OSD_UP else 0.0}\n' for i, s, _ in rows]),
        ("in", [f'ceph_osd_in{{ceph_daemon="osd.{i}"}} {1.0 if weight else 0.0}\n' for i, _, weight in rows]),
    )
    written: list[str] = []
    for name, lines in of_osd if rows else ():
        written.append(f"# HELP ceph_osd_{name} OSD status {name}\n# TYPE ceph_osd_{name} untyped\n")
        written += lines
    return "".join(written).encode()


def _pool_type(view: View, pool: Pool) -> tuple[str, str]:
    if pool.type != POOL_ERASURE:
        return "replicated", f"replica:{pool.size}"
    profile = view.placement.erasure_profiles.get(pool.erasure_code_profile, {})
    return "erasure", f"ec:{profile['k']}+{profile['m']}" if {"k", "m"} <= profile.keys() else "ec:unknown"


# ---- this program


def _ourselves(view: View, page: Page) -> None:
    snap = view.snapshot
    answers_df = not snap.problem and STATFS not in snap.denied
    up = snap.state is State.OPEN and view.fresh and answers_df
    text = "1 with an open session whose quorum was heard within stale_after and a df that can be answered, else 0"
    page.one("cephmonfs_up", text, up)
    page.gauge(
        "cephmonfs_info",
        "Version of this program, and with whom it speaks and how",
        ("version", "fsid", "name", "mode"),
        [((__version__, snap.fsid, snap.entity, snap.mode), 1)],
    )
    page.gauge(
        "cephmonfs_session_state",
        "1 for the state that the session is in, 0 for the others",
        ("state",),
        [((state,), state is snap.state) for state in State],
    )
    if snap.last_contact is not None:
        page.one(
            "cephmonfs_last_contact_timestamp_seconds", "When a monitor last sent anything", snap.last_contact.wall
        )
    maps = snap.maps.items()
    page.gauge("cephmonfs_map_epoch", "Epoch of the map that is held", ("map",), [((n,), r.epoch) for n, r in maps])
    page.gauge(
        "cephmonfs_map_received_timestamp_seconds",
        "When that map arrived",
        ("map",),
        [((name,), record.at.wall) for name, record in maps],
    )
    page.gauge(
        "cephmonfs_mon_rtt_seconds",
        "The last keepalive or handshake with a monitor",
        ("ceph_daemon",),
        [((f"mon.{mon.name}",), mon.rtt_s) for mon in snap.mons if mon.rtt_s is not None],
    )
    _counts(view, page)


def _counts(view: View, page: Page) -> None:
    snap, statfs, counters = view.snapshot, view.statfs_tally, view.snapshot.counters
    counts: Sequence[tuple[str, str, float]] = (
        ("sessions", "Sessions opened", snap.sessions),
        ("failovers", "Sessions opened with another monitor than the one before", snap.failovers),
        ("hunts", "Times that the session was lost or too slow and another was looked for", counters.get("hunts", 0)),
        ("connects", "Connections begun", counters.get("connects", 0)),
        ("received_bytes", "Bytes from monitors", counters.get("bytes_in", 0)),
        ("sent_bytes", "Bytes to monitors", counters.get("bytes_out", 0)),
    )  # fmt: skip
    for name, text, value in counts:
        page.counter(f"cephmonfs_{name}", text, (), [((), value)])
    errors = {"message": counters.get("decode_errors", 0), "map": counters.get("maps_bad", 0)}
    page.counter(
        "cephmonfs_decode_errors",
        "What monitors sent and we could not read",
        ("type",),
        [((kind,), count) for kind, count in errors.items()],
    )
    requests = {"statfs": statfs.results, "command": view.command_tally}
    page.counter(
        "cephmonfs_requests",
        "Requests by what came out: statfs fresh, held (the last answer had to do) or error; "
        "commands answered, refused or timeout",
        ("kind", "result"),
        [((kind, result), count) for kind, results in requests.items() for result, count in results.items()],
    )
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    buckets = list(zip(bounds, accumulate(statfs.durations), strict=True))
    page.histogram("cephmonfs_statfs_duration_seconds", "How long a statfs took", buckets, statfs.duration_sum_s)
