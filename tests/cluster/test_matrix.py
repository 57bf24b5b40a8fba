"""Release x protocol x key type: what each cell shows, compared with the `ceph` of that release.

`make compatibility` runs this with CEPHMONFS_COMPATIBILITY=docs/compatibility.md, and the table goes there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory
from tests.support.cluster import RELEASES, SUITES, Cluster, KeyType
from tests.support.helper import Mounted, helper, is_mounted, processes

pytestmark = pytest.mark.fuse

BLOCK = 4 << 20
MODES = ("secure", "crc", "legacy")
KEY_TYPES: dict[str, tuple[KeyType, ...]] = {"tentacle": ("aes256k", "aes")}
ROWS = [(release, key_type) for release in RELEASES for key_type in KEY_TYPES.get(release, ("aes",))]

Checks = dict[str, bool]


class Table:
    """What the cells of this run showed."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.cells: dict[tuple[str, KeyType, str], Checks] = {}

    def complete(self) -> bool:
        return len(self.cells) == len(ROWS) * len(MODES)

    def text(self) -> str:
        lines = [
            "# Compatibility",
            "",
            "Made by `make compatibility`: real clusters of each release (three monitors, mgr, OSD, MDS) on loopback,",
            "a real mount in each mode, and what it showed compared with the `ceph` program of that same release.",
            "",
            "| release | version | key | " + " | ".join(f"`ms_mode={mode}`" for mode in MODES) + " |",
            "| --- | --- | --- |" + " --- |" * len(MODES),
        ]
        for release, key_type in ROWS:
            cells = [self._cell(release, key_type, mode) for mode in MODES]
            where = f"{release.capitalize()} (Debian {SUITES[release]})"
            lines.append(f"| {where} | {self.versions[release]} | {key_type} | {' | '.join(cells)} |")
        names = ", ".join(f"`{name}`" for name in next(iter(self.cells.values())))
        return "\n".join([*lines, "", f"*all* stands for: {names}.", "", _NOTES])

    def _cell(self, release: str, key_type: KeyType, mode: str) -> str:
        checks = self.cells[release, key_type, mode]
        failed = [name for name, good in checks.items() if not good]
        return f"not {', '.join(failed)}" if failed else "all"


_NOTES = """\
`df` is compared with `ceph df`, `monmap` with `ceph mon dump`, `monmap.json` with `ceph mon dump -f json`,
`mdsmap.json` with its part of `ceph fs dump -f json`, `epochs` with the epochs of the same commands; `session` means
that it is open, in the mode asked for.

- `secure` is encrypted and authenticated, `crc` has checksums only, `legacy` is the v1 protocol, of which nothing is
  protected towards a monitor. `prefer-secure` and `prefer-crc` choose among the first two and never use v1.
- Key type `aes256k` exists since Tentacle, and a new Tentacle cluster takes nothing else.
- Clusters without authentication (`auth_client_required = none`), with IPv6 and with both IP versions are tested on
  Pacific and Tentacle.
- A newer release is no error: unknown fields of maps are skipped, unknown bits are shown as numbers.
"""


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    found = Table()
    yield found
    target = os.environ.get("CEPHMONFS_COMPATIBILITY")
    if target and found.complete():
        Path(target).write_text(found.text())


@pytest.fixture(scope="module", params=ROWS, ids=["-".join(row) for row in ROWS])
def row(
    request: pytest.FixtureRequest, clusters: Callable[[str], Cluster], table: Table
) -> Iterator[tuple[Cluster, KeyType]]:
    release, key_type = request.param
    cluster = clusters(release)
    table.versions.setdefault(release, re.split(r"[ +~-]", cluster.ceph("--version").split()[2])[0])
    if key_type == cluster.default_key_type:
        cluster.make_key("client.matrix", mon="allow r")
        yield cluster, key_type
        return
    cluster.allow_ciphers("aes", "aes256k")
    cluster.make_key("client.matrix", key_type=key_type, mon="allow r")
    yield cluster, key_type
    cluster.commands({"prefix": "auth rm", "entity": "client.matrix"})
    cluster.ceph("mon", "set", "auth_allowed_ciphers", cluster.default_key_type)


@pytest.mark.parametrize("mode", MODES)
def test_cell(row: tuple[Cluster, KeyType], mode: str, table: Table, tmp_path: Path) -> None:
    cluster, key_type = row
    checks = table.cells[cluster.release, key_type, mode] = {}
    secret = cluster.write_secret("client.matrix")
    source = cluster.source("v1" if mode == "legacy" else "v2")
    with Mounted(source, tmp_path / "m", "name=matrix", f"secretfile={secret}", f"ms_mode={mode}") as mount:
        checks["session"] = mount.value("session/state") == "open" and mount.value("session/mode") == mode
        found: Checks = {}
        for _ in range(5):  # a moment in which the cluster's numbers stand still
            total, _, avail = mount.df()
            mons, filesystems, osds, df = (
                cluster.command(words) for words in ("mon dump", "fs dump", "osd dump", "df")
            )
            stats = df["stats"]
            found |= {
                "df": (total, avail)
                == tuple(stats[f"total_{what}"] // BLOCK * BLOCK for what in ("bytes", "avail_bytes")),
                "monmap": mount.text("monmap") == cluster.ceph("mon", "dump").lstrip("\n"),
                "monmap.json": mount.json("monmap.json") == mons,
                "mdsmap.json": mount.json("mdsmap.json") == filesystems["filesystems"][0]["mdsmap"],
                "epochs": [mount.value(f"epoch/{name}") for name in ("monmap", "fsmap", "osdmap")]
                == [str(one["epoch"]) for one in (mons, filesystems, osds)],
            }
            if all(found.values()):
                break
        checks.update(found)
    assert all(checks.values()), checks


# ---- what the monitors' settings leave to choose


@pytest.mark.parametrize(
    ("monitors", "asked", "got"),
    [
        ("crc", "prefer-secure", "crc"),
        ("secure", "prefer-crc", "secure"),
        ("crc secure", "prefer-crc", "crc"),
        ("crc secure", "prefer-secure", "secure"),
        ("crc", "secure", None),
        ("secure", "crc", None),
    ],
)
def test_the_mode_is_settled_with_the_monitor(
    choosy: Callable[[str], Cluster], tmp_path: Path, monitors: str, asked: str, got: str | None
) -> None:
    cluster = choosy(monitors)
    options = ("name=df", f"secretfile={cluster.write_secret('client.df')}", f"ms_mode={asked}", "mount_timeout=3")
    if got is not None:
        with Mounted(cluster.source(), tmp_path / "m", *options) as mount:
            assert mount.value("session/mode") == got
        return
    (tmp_path / "m").mkdir()
    done = helper(cluster.source(), tmp_path / "m", *options)
    assert done.returncode == 32
    assert re.search(rf"\b{asked}\b", done.stderr), done.stderr
    assert not is_mounted(tmp_path / "m")


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """One monitor that speaks these modes to clients; they can be changed while it runs."""
    factory = ClusterFactory(keep=False)
    cluster = factory(mons=1)

    def change(modes: str) -> Cluster:
        cluster.mon("a").admin_socket("config", "set", "ms_mon_client_mode", modes)
        cluster.mon("a").admin_socket("config", "set", "ms_mon_service_mode", modes)
        return cluster

    yield change
    factory.close()


@pytest.mark.parametrize("release", ["pacific", "tentacle"])
@pytest.mark.parametrize("mode", ["crc", "legacy"])
def test_a_cluster_without_authentication(
    cluster_factory: ClusterFactory, tmp_path: Path, release: str, mode: str
) -> None:
    cluster = cluster_factory(release=release, mons=1, auth="none")
    options = [f"conf={cluster.conf_path}", f"ms_mode={mode}", "name=df"]
    with Mounted(cluster.source("v1" if mode == "legacy" else "v2"), tmp_path / "m", *options) as mount:
        assert mount.value("session/state") == "open"
        assert mount.value("fsid") == cluster.fsid
        assert mount.text("monmap") == cluster.ceph("mon", "dump").lstrip("\n")


# ---- key types that the cluster takes no more


def test_a_key_type_that_the_cluster_does_not_allow(cluster_factory: ClusterFactory, tmp_path: Path) -> None:
    cluster = cluster_factory(release="tentacle", mons=1)
    cluster.allow_ciphers("aes", "aes256k")
    cluster.make_key("client.old", key_type="aes", mon="allow r")
    options = ("name=old", f"secretfile={cluster.write_secret('client.old')}", "mount_timeout=10")
    with Mounted(cluster.source(), tmp_path / "m", *options) as mount:
        assert mount.value("session/state") == "open"
        # Refused while it is mounted: told at the next session, and the mount stays.
        cluster.ceph("mon", "set", "auth_allowed_ciphers", "aes256k")
        cluster.mon("a").kill()
        cluster.mon("a").start()
        cluster.wait_quorum(1)
        mount.wait_for("session/state", "refused", timeout_s=20)
        assert "its key is of type aes" in mount.value("session/last_error")
        before = mount.cpu_seconds()
        time.sleep(1)
        assert mount.cpu_seconds() - before < 0.3, "being refused is no reason to spin"
    empty = tmp_path / "n"
    empty.mkdir()
    done = helper(cluster.source(), empty, *options)
    assert done.returncode == 32
    assert re.search(r"a key type that the cluster no longer allows \(ours is aes", done.stderr), done.stderr
    assert not is_mounted(empty)
    assert not processes(empty)


def test_caps_that_change_while_it_is_mounted(cluster_factory: ClusterFactory, tmp_path: Path) -> None:
    cluster = cluster_factory(mons=3)
    cluster.make_key("client.changing", mon="allow r")
    options = ("name=changing", f"secretfile={cluster.write_secret('client.changing')}")
    with Mounted(cluster.source(), tmp_path / "m", *options) as mount:
        assert os.statvfs(mount.path).f_namemax == 255
        caps = {"prefix": "auth caps", "entity": "client.changing"}
        cluster.commands({**caps, "caps": ["mon", "allow service pg r"]})
        assert mount.value("fsid") == cluster.fsid
        cluster.commands({**caps, "caps": ["mon", "allow r"]})
        mount.wait_for("session/state", "open")
        assert os.statvfs(mount.path).f_namemax == 255
