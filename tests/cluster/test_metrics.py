"""`metrics` of a real cluster: beside what `ceph` says, beside Ceph's own mgr module, and through node_exporter."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.cluster import Cluster
from tests.support.helper import Mounted

pytestmark = pytest.mark.fuse

EXPORTER = shutil.which("prometheus-node-exporter")


@pytest.fixture(scope="module")
def mount(any_release: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with mounted(any_release, tmp_path_factory.mktemp("metrics")) as found:
        yield found


@contextlib.contextmanager
def mounted(cluster: Cluster, directory: Path) -> Iterator[Mounted]:
    cluster.make_key("client.monitor", mon="allow r")
    secret = cluster.write_secret("client.monitor", directory / "secret")
    with Mounted(cluster.source(), directory / "mnt", "name=monitor", f"secretfile={secret}") as found:
        yield found


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def fetch(url: str, timeout_s: float = 30) -> str:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=timeout_s) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError) as exc:
            if time.monotonic() > deadline:
                raise AssertionError(f"{url}: {exc}") from exc
        time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_what_ceph_says(any_release: Cluster, mount: Mounted) -> None:
    found = samples(mount.text("metrics"))
    names = {name for name, _ in found}
    df = any_release.command("df", detail="detail")
    assert found["ceph_cluster_total_bytes", frozenset()] == df["stats"]["total_bytes"]
    for pool in df["pools"]:
        label = frozenset({("pool_id", str(pool["id"]))})
        assert found["ceph_pool_objects", label] == pool["stats"]["objects"]
        assert ("ceph_pool_rd", label) in found
    dump = any_release.command("osd dump")
    for osd in dump["osds"]:
        label = frozenset({("ceph_daemon", f"osd.{osd['osd']}")})
        assert [found[f"ceph_osd_{name}", label] for name in ("up", "in")] == [osd["up"], osd["in"]]
    metadata = {row["name"]: row for row in any_release.command("mon metadata")}
    seen = [dict(labels) for name, labels in found if name == "ceph_mon_metadata"]
    for row in seen:
        shown = metadata[row["ceph_daemon"].removeprefix("mon.")]
        assert (row["hostname"], row["ceph_version"]) == (shown["hostname"], shown["ceph_version"])
    assert len(seen) == 3
    quorum = [value for (name, _), value in found.items() if name == "ceph_mon_quorum_status"]
    assert quorum == [1, 1, 1]
    assert found["cephmonfs_up", frozenset()] == 1
    assert {"ceph_health_status", "ceph_num_objects_unfound", "ceph_fs_metadata", "ceph_mds_metadata"} <= names


# ---- beside the mgr module

_ALIKE = (
    *("ceph_health_status", "ceph_mon_quorum_status", "ceph_cluster_total_bytes", "ceph_osd_up", "ceph_osd_in"),
    *("ceph_osd_weight", "ceph_osd_flag_noout", "ceph_pool_metadata", "ceph_fs_metadata", "ceph_pool_objects"),
    *("ceph_pool_stored", "ceph_pool_percent_used", "ceph_num_objects_degraded", "ceph_pg_total"),
)


def test_the_same_names_labels_and_help_as_the_mgr_module(pacific: Cluster, tmp_path: Path) -> None:
    port = free_port()
    pacific.ceph("config", "set", "mgr", "mgr/prometheus/server_addr", "127.0.0.1")
    pacific.ceph("config", "set", "mgr", "mgr/prometheus/server_port", str(port))
    pacific.ceph("config", "set", "mgr", "mgr/prometheus/scrape_interval", "1")
    try:
        pacific.ceph("mgr", "module", "enable", "prometheus", "--force")
        theirs = fetch(f"http://127.0.0.1:{port}/metrics", 60)
        with mounted(pacific, tmp_path) as mount:
            ours = families(mount.text("metrics"))
    except AssertionError as exc:
        pytest.skip(f"the mgr module does not answer here: {exc}")
    finally:
        pacific.ceph("mgr", "module", "disable", "prometheus")
    others = families(theirs)
    for name, family in ours.items():
        if not name.startswith("ceph_") or name not in others:
            continue
        other = others[name]
        assert family.documentation == other.documentation
        if other.samples and family.samples:
            assert set(family.samples[0].labels) == set(other.samples[0].labels), name
        if family.type != other.type:  # without the ending that prometheus_client gives to counters
            assert (family.type, other.type) == ("unknown", "counter"), name
    assert set(_ALIKE) <= ours.keys() & others.keys()
    assert not {name for name in ours if name.startswith("ceph_") and name not in others}
    for name in (
        "ceph_pool_metadata",
        "ceph_mon_quorum_status",
        "ceph_osd_weight",
        "ceph_mon_metadata",
        "ceph_pg_total",
    ):
        assert {frozenset(s.labels.items()): s.value for s in ours[name].samples} == {
            frozenset(s.labels.items()): s.value for s in others[name].samples
        }, name


# ---- node_exporter


@pytest.fixture
def exporter(mount: Mounted, tmp_path: Path) -> Iterator[str]:
    """Debian's node_exporter with a symlink in its textfile directory; the address of its metrics."""
    if EXPORTER is None:
        pytest.skip("prometheus-node-exporter is not installed")
    (tmp_path / "ceph.prom").symlink_to(mount.path / "metrics")
    # Its filesystem collector asks every mount there is, and waits for a mount of other tests that is made to hang.
    alone = """
        awk '$3 == "fuse.cephmon" { print $2 }' /proc/self/mounts | while read -r other; do
            [ "$other" = "$0" ] || umount -l "$other"
        done
        exec "$@"
    """
    port = free_port()
    argv = [
        "unshare", "--mount", "--propagation", "slave", "sh", "-c", alone, str(mount.path), EXPORTER,
        f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--collector.textfile",
        f"--collector.textfile.directory={tmp_path}", "--collector.filesystem",
        "--collector.filesystem.fs-types-exclude=^(autofs|proc|sysfs|tmpfs|overlay)$",
    ]  # fmt: skip
    log = tmp_path / "exporter.log"
    with log.open("w") as said, subprocess.Popen(argv, stdout=said, stderr=said) as process:
        try:
            yield f"http://127.0.0.1:{port}/metrics"
        finally:
            process.terminate()


def test_node_exporter_takes_it(mount: Mounted, exporter: str, tmp_path: Path) -> None:
    found = samples(fetch(exporter))
    assert found["node_textfile_scrape_error", frozenset()] == 0, (tmp_path / "exporter.log").read_text()
    (mtime,) = [value for (name, _), value in found.items() if name == "node_textfile_mtime_seconds"]
    assert abs(time.time() - mtime) < 60
    ours = samples(mount.text("metrics"))
    assert found["ceph_cluster_total_bytes", frozenset()] == ours["ceph_cluster_total_bytes", frozenset()]
    assert {key for key in ours if key[0].startswith("ceph_")} <= found.keys()
    sizes = [
        value
        for (name, labels), value in found.items()
        if name == "node_filesystem_size_bytes" and ("mountpoint", str(mount.path)) in labels
    ]
    assert sizes == [mount.df()[0]]


def test_at_mnt_as_the_cookbook_says(pacific: Cluster, tmp_path: Path) -> None:
    """Debian's package leaves out /mnt, where most people mount: hidden without the line of the cookbook."""
    if EXPORTER is None:
        pytest.skip("prometheus-node-exporter is not installed")
    cookbook = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
    (told,) = re.findall(r"^ARGS='(\S+)'$", cookbook, re.MULTILINE)
    with mounted(pacific, tmp_path) as mount:
        assert _sizes_at_mnt(mount, tmp_path, told) == [mount.df()[0]]
        assert mount.df()[0] > 0
        if "mnt" in subprocess.run([EXPORTER, "--help"], capture_output=True, text=True, check=False).stderr:
            assert _sizes_at_mnt(mount, tmp_path) == []


def _sizes_at_mnt(mount: Mounted, directory: Path, *arguments: str) -> list[float]:
    """Return the sizes that node_exporter tells of a mount at /mnt/ceph, in a namespace of its own."""
    placed = """
        set -e
        mkdir -p "$1/mnt/ceph"
        mount --bind "$0" "$1/mnt/ceph"
        mount --rbind "$1/mnt" /mnt
        shift
        exec "$@"
    """
    port = free_port()
    argv = [  # it reads the mounts of process 1, which it is here
        "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "slave",
        "sh", "-c", placed, str(mount.path), str(directory),
        str(EXPORTER), f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults",
        "--collector.filesystem", *arguments,
    ]  # fmt: skip
    with (directory / "mnt.log").open("w") as said, subprocess.Popen(argv, stdout=said, stderr=said) as process:
        try:
            found = samples(fetch(f"http://127.0.0.1:{port}/metrics"))
        finally:
            process.kill()  # unshare heeds nothing else, and its child goes with it
    at_mnt = ("mountpoint", "/mnt/ceph")
    return [
        value for (name, labels), value in found.items() if name == "node_filesystem_size_bytes" and at_mnt in labels
    ]


def test_muted_checks_as_the_programs_have_them(any_release: Cluster, mount: Mounted) -> None:
    """`ceph health` beside health, status and metrics: before a mute, with it, and after it."""
    if any_release.release == "nautilus":
        pytest.skip("Nautilus has no mutes")

    def shown() -> str:
        word, _, rest = any_release.ceph("health").strip().partition(" ")
        any_release.wait_until(lambda: mount.value("health") == word, f"health says {word}")
        text = mount.text("status")
        if rest.startswith("(muted"):
            assert rest in text
        return text

    any_release.ceph("osd", "set", "noout")
    try:
        assert "OSDMAP_FLAGS: noout flag(s) set" in shown()
        any_release.ceph("health", "mute", "OSDMAP_FLAGS", "3d")
        text = shown()
        assert "OSDMAP_FLAGS:" not in text
        assert "OSDMAP_FLAGS(2d)" in text
        found = samples(mount.text("metrics"))
        label = frozenset({("name", "OSDMAP_FLAGS")})
        assert found["cephmonfs_health_check_muted", label] == 1
        assert found["ceph_health_detail", label | {("severity", "HEALTH_WARN")}] == 1
        any_release.ceph("health", "unmute", "OSDMAP_FLAGS")
        assert "OSDMAP_FLAGS: noout flag(s) set" in shown()
    finally:
        any_release.ceph("osd", "unset", "noout")
