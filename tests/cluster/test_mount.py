"""The main job, on real clusters: mounted by the helper and by mount(8), compared with what `ceph` says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cephmonfs.host.accounts import ACCOUNT, look_up
from tests.support.cluster import Cluster
from tests.support.helper import HELPER, Mounted, helper, is_mounted, processes, run, wait_gone
from tests.support.release import new_key

pytestmark = pytest.mark.fuse

BLOCK = 4 << 20
SBIN = Path("/sbin/mount.cephmon")


@pytest.fixture(scope="module", params=["pacific", "tentacle"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module", params=["secure", "crc"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def secret(cluster: Cluster) -> Path:
    return cluster.write_secret("client.df")


@pytest.fixture(scope="module")
def mount(cluster: Cluster, mode: str, secret: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """One mount for all that only look."""
    directory = tmp_path_factory.mktemp(f"{cluster.release}-{mode}")
    with Mounted(cluster.source(), directory, "name=df", f"secretfile={secret}", f"ms_mode={mode}") as mounted:
        yield mounted


def floor(number: int) -> int:
    return number // BLOCK * BLOCK


# ---- looking


def test_it_is_mounted_soon(mount: Mounted) -> None:
    assert mount.seconds < 5  # 0.3 where nothing else runs; docs/benchmarks.md has the figure
    assert mount.stderr == ""
    df = run(["df", "--output=fstype,source", mount.path]).stdout.splitlines()[1].split()
    assert df == ["fuse.cephmon", f"df@{mount.fsid}"]


def test_df_is_what_ceph_df_says(mount: Mounted, cluster: Cluster) -> None:
    # The cluster's numbers move by a few KiB; take a moment in which they stood still.
    for _ in range(20):
        before = cluster.command("df")["stats"]
        seen = mount.df()
        if before == cluster.command("df")["stats"]:
            break
    else:
        pytest.fail("the cluster's numbers never stood still")
    total, used, avail = seen
    assert total == floor(before["total_bytes"])
    assert avail == floor(before["total_avail_bytes"])
    assert used == total - avail
    exact = {name: int(mount.value(f"capacity/{name}_bytes")) for name in ("total", "used", "avail")}
    assert exact["total"] == before["total_bytes"]
    assert abs(exact["used"] - before["total_used_raw_bytes"]) < BLOCK
    assert abs(exact["avail"] - before["total_avail_bytes"]) < BLOCK
    assert mount.value("fsid") == cluster.fsid


def test_statfs_has_the_fields_that_tools_read(mount: Mounted) -> None:
    info = os.statvfs(mount.path)
    assert (info.f_bsize, info.f_frsize, info.f_namemax) == (BLOCK, BLOCK, 255)
    assert 0 < info.f_bavail == info.f_bfree <= info.f_blocks
    assert info.f_files == int(mount.value("capacity/objects"))


def test_the_monmap_is_what_mon_dump_prints(mount: Mounted, cluster: Cluster) -> None:
    assert mount.text("monmap") == cluster.ceph("mon", "dump").lstrip("\n")
    assert mount.json("monmap.json") == cluster.ceph("mon", "dump", fmt="json")
    assert list(mount.json("monmap.json")) == list(cluster.ceph("mon", "dump", fmt="json"))


def test_the_mdsmap_is_its_part_of_fs_dump(mount: Mounted, cluster: Cluster) -> None:
    filesystem = cluster.command("fs dump")["filesystems"][0]
    mdsmap = mount.json("mdsmap.json")
    assert mdsmap == filesystem["mdsmap"]
    assert mount.text("mdsmap").splitlines()[0].split() == ["epoch", str(filesystem["mdsmap"]["epoch"])]


def test_the_epochs_are_those_of_the_command_line(mount: Mounted, cluster: Cluster) -> None:
    def epochs() -> dict[str, int]:
        prefixes = ("mon dump", "fs dump", "osd dump", "mgr dump")
        replies = cluster.commands(*({"prefix": prefix, "format": "json"} for prefix in prefixes))
        mons, filesystems, osds, mgrs = (json.loads(text) for _, text, _ in replies)
        return {
            "monmap": mons["epoch"],
            "mdsmap": filesystems["filesystems"][0]["mdsmap"]["epoch"],
            "fsmap": filesystems["epoch"],
            "osdmap": osds["epoch"],
            "mgrmap": mgrs["epoch"],
        }

    for name, epoch in epochs().items():
        mount.wait_for(f"epoch/{name}", str(epoch))


def test_the_session_is_open_in_the_mode_asked_for(mount: Mounted, mode: str, cluster: Cluster) -> None:
    assert mount.value("session/state") == "open"
    assert mount.value("session/mode") == mode
    assert mount.value("session/mon") in cluster.mon_addrs()
    assert mount.value("session/fresh") == "1"
    assert int(mount.value("session/global_id")) > 0
    assert mount.json("session.json")["state"] == "open"
    assert mount.value("mon/count") == "3"
    mount.wait_for("mon/quorum_count", "3")  # somebody may just be called to an election
    assert sorted(path.name for path in (mount.path / "mon").iterdir() if path.is_dir()) == ["a", "b", "c"]


def test_health_is_what_ceph_health_says(mount: Mounted, cluster: Cluster) -> None:
    mount.wait_for("health", str(cluster.command("health")["status"]), timeout_s=20)


def test_no_secret_shows_anywhere(mount: Mounted, cluster: Cluster) -> None:
    key = cluster.keys["client.df"].encode()
    assert key not in Path("/proc/mounts").read_bytes()
    for pid in processes(mount.path):
        assert key not in Path(f"/proc/{pid}/cmdline").read_bytes()
    for file in _files(mount.path):
        assert key not in file.read_bytes(), file


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            if path.name != "ceph":  # as many commands as the cluster has
                yield from _files(path)
        elif path.name != "events_pipe":
            try:
                path.open("rb").close()
            except OSError:
                continue  # no data
            yield path


def test_every_file_can_be_read_and_is_as_long_as_it_says(mount: Mounted) -> None:
    for path in _files(mount.path):
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            assert size == len(file.read()), path


def test_the_daemon_has_an_account_of_its_own_and_may_nothing(mount: Mounted) -> None:
    status = Path(f"/proc/{mount.daemon}/status").read_text()
    uid = look_up(ACCOUNT).uid
    assert uid not in (0, 65534)
    assert re.search(rf"^Uid:\t{uid}\t{uid}\t{uid}\t{uid}$", status, re.MULTILINE)
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert re.search(rf"^{name}:\t0+$", status, re.MULTILINE), status
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


# ---- which space df shows


@contextmanager
def mounted(cluster: Cluster, directory: Path, *options: str) -> Iterator[Mounted]:
    secret = cluster.write_secret("client.df")
    with Mounted(cluster.source(), directory, "name=df", f"secretfile={secret}", *options) as mount:
        yield mount


def pool_stats(cluster: Cluster, name: str) -> dict[str, int]:
    (pool,) = [pool for pool in cluster.command("df")["pools"] if pool["name"] == name]
    stats: dict[str, int] = pool["stats"]
    return stats


def test_df_of_a_file_system_with_one_data_pool_is_its_pool(cluster: Cluster, tmp_path: Path) -> None:
    with mounted(cluster, tmp_path / "m", "fs=cephfs") as mount:
        mount.wait_for("mdsmap", ".*cephfs.*")
        total, _, avail = mount.df()
        wanted = pool_stats(cluster, "cephfs_data")
        # A pool may grow to what is available; that is less than the raw space by the full ratio.
        assert abs(avail - wanted["max_avail"]) <= 2 * BLOCK
        assert abs(total - (wanted["max_avail"] + wanted["stored"])) <= 2 * BLOCK
        assert total < cluster.command("df")["stats"]["total_bytes"]


@pytest.mark.parametrize("by", ["name", "id"])
def test_df_of_a_pool(cluster: Cluster, tmp_path: Path, by: str) -> None:
    (pool,) = [pool for pool in cluster.command("df")["pools"] if pool["name"] == "cephfs_metadata"]
    with mounted(cluster, tmp_path / "m", f"pool={pool[by]}") as mount:
        mount.wait_for("capacity/objects", str(pool_stats(cluster, "cephfs_metadata")["objects"]))
        _, _, avail = mount.df()
        assert abs(avail - pool_stats(cluster, "cephfs_metadata")["max_avail"]) <= 2 * BLOCK


def test_df_of_a_file_system_with_two_data_pools_is_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """And that changes while it is mounted, as a mount of CephFS would."""
    pool = {"pool": "cephfs_more"}
    with mounted(cluster, tmp_path / "m", "fs=cephfs") as mount:
        whole = floor(cluster.command("df")["stats"]["total_bytes"])
        assert mount.df()[0] < whole
        cluster.commands(
            {"prefix": "osd pool create", "pg_num": 8, **pool},
            {"prefix": "fs add_data_pool", "fs_name": "cephfs", **pool},
        )
        try:
            mount.wait_for("mdsmap", r".*data_pools\s+\[\d+,\d+\].*")
            assert mount.df()[0] == whole
        finally:
            cluster.commands({"prefix": "fs rm_data_pool", "fs_name": "cephfs", **pool})
            sure = {"pool2": "cephfs_more", "yes_i_really_really_mean_it": True}
            cluster.commands({"prefix": "osd pool delete", **pool, **sure})
        mount.wait_for("mdsmap", r".*data_pools\s+\[\d+\].*")
        cluster.wait_until(lambda: mount.df()[0] < whole, "df of the one pool", 5)


# ---- coming and going


@pytest.fixture
def mount8() -> Iterator[None]:
    """/sbin/mount.cephmon for mount(8), ours for the length of a test where none is installed."""
    ours = not SBIN.exists()
    if ours:
        SBIN.unlink(missing_ok=True)  # a link to nowhere
        SBIN.symlink_to(HELPER)
    yield
    if ours and SBIN.is_symlink() and os.readlink(SBIN) == str(HELPER):
        SBIN.unlink()


@pytest.mark.usefixtures("mount8")
def test_mount8_mounts_and_umount_leaves_no_process(pacific: Cluster, tmp_path: Path) -> None:
    secret = pacific.write_secret("client.df")
    directory = tmp_path / "m"
    options = f"name=df,secretfile={secret},_netdev,nofail,noatime,x-systemd.automount"
    argv = ["mount", "-t", "cephmon", pacific.source(), str(directory), "-o", options]
    with Mounted("", directory, argv=argv) as mount:
        assert mount.value("session/state") == "open"
        began = time.monotonic()
        assert run(["umount", directory]).returncode == 0
        wait_gone(directory, 2)
        assert time.monotonic() - began < 2


@pytest.mark.usefixtures("mount8")
def test_a_line_of_fstab_as_it_was_for_cephfs(pacific: Cluster, tmp_path: Path) -> None:
    """Only the type is another one; mount(8) takes it by its mount point."""
    directory = tmp_path / "m"
    secret = pacific.write_secret("client.df")
    fstab = tmp_path / "fstab"
    first = next(iter(pacific.mon_addrs().values())).v2
    fstab.write_text(
        f"{pacific.source()} {directory} cephmon name=df,secretfile={secret},noatime,rsize=1048576,"
        f"recover_session=clean,_netdev,nofail 0 0\n"
        f"df@{pacific.fsid}.cephfs=/ {directory}2 cephmon mon_addr={first},secretfile={secret},ms_mode=secure,"
        f"_netdev,noauto 0 0\n"
    )
    with Mounted("", directory, argv=["mount", "-T", str(fstab), str(directory)]) as mount:
        assert mount.value("session/state") == "open"
    second = Path(f"{directory}2")
    with Mounted("", second, argv=["mount", "-T", str(fstab), str(second)]) as mount:
        assert mount.value("session/mode") == "secure"
        mount.wait_for("mdsmap", ".*cephfs.*")


def test_sigterm_ends_it(pacific: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "m"
    with mounted(pacific, directory) as mount:
        mount.signal(signal.SIGTERM)
        wait_gone(directory, 4)


def test_the_session_is_closed_at_the_end(pacific: Cluster, tmp_path: Path) -> None:
    """The monitors do not keep it until it times out."""

    def sessions(global_id: str) -> int:
        found = 0
        for name in pacific.mon_addrs():
            # a list of objects, or of lines, by release
            text = json.dumps(pacific.mon(name).admin_socket("sessions"))
            found += len(re.findall(rf"\b{global_id}\b", text))
        return found

    with mounted(pacific, tmp_path / "m") as mount:
        global_id = mount.value("session/global_id")
        assert sessions(global_id) > 0
    pacific.wait_until(lambda: sessions(global_id) == 0, "end of the session", 5)


def test_a_secret_on_the_command_line_is_wiped(pacific: Cluster, tmp_path: Path) -> None:
    key = pacific.keys["client.df"]
    directory = tmp_path / "m"
    with Mounted(pacific.source(), directory, "name=df", f"secret={key}") as mount:
        assert mount.value("session/state") == "open"
        for pid in processes(directory):
            assert key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        for file in _files(directory):
            assert key.encode() not in file.read_bytes(), file


def test_in_the_foreground_it_logs_and_ends_by_umount(pacific: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    secret = pacific.write_secret("client.df")
    argv = [str(HELPER), pacific.source(), str(directory), "-o", f"name=df,secretfile={secret},foreground"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 10
        while not is_mounted(directory) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert os.statvfs(directory).f_blocks > 0
        assert run(["umount", directory]).returncode == 0
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert "mounted on" in process.stderr.read()
    wait_gone(directory)


# ---- what cannot be mounted: one line, the right status, nothing left


def refused(status: int, sentence: str, source: str, directory: Path, *options: str) -> None:
    done = helper(source, directory, *options)
    assert done.returncode == status, done.stderr
    assert re.search(sentence, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("mount.cephmon: ")
    assert not is_mounted(directory)
    assert not processes(directory)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    directory = tmp_path / "m"
    directory.mkdir()
    return directory


def test_a_wrong_key(cluster: Cluster, empty: Path, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(new_key(cluster.default_key_type))
    file.chmod(0o600)
    said = r"monitor \S+ at \S+: auth: refused client\.df: unknown user, wrong key.*ceph auth get client\.df"
    refused(32, said, cluster.source(), empty, "name=df", f"secretfile={file}")


def test_a_wrong_user(cluster: Cluster, secret: Path, empty: Path) -> None:
    refused(32, r"client\.stranger: unknown user", cluster.source(), empty, "name=stranger", f"secretfile={secret}")


def test_a_wrong_fsid(cluster: Cluster, secret: Path, empty: Path) -> None:
    other = "11111111-2222-3333-4444-555555555555"
    said = rf"{cluster.fsid}.*{other}"
    refused(32, said, cluster.source(), empty, "name=df", f"secretfile={secret}", f"fsid={other}")


def test_nothing_listens(pacific: Cluster, empty: Path) -> None:
    secret = pacific.write_secret("client.df")
    options = ("name=df", f"secretfile={secret}", "mount_timeout=1")
    refused(32, r"127\.0\.0\.1:9.*connection refused", "127.0.0.1:9:/", empty, *options)


def test_the_port_of_v1_for_v2(pacific: Cluster, empty: Path) -> None:
    secret = pacific.write_secret("client.df")
    options = ("name=df", f"secretfile={secret}", "mount_timeout=2")
    refused(32, r"v1", pacific.source("v1"), empty, *options)


def test_the_port_of_v1_when_v2_was_asked_for_is_told_at_once(pacific: Cluster, empty: Path) -> None:
    secret = pacific.write_secret("client.df")
    options = ("name=df", f"secretfile={secret}", "ms_mode=secure")
    began = time.monotonic()
    refused(1, r"speaks the v1 protocol.*ms_mode=legacy", "127.0.0.1:6789:/", empty, *options)
    assert time.monotonic() - began < 5


def test_an_unknown_option_names_the_nearest(pacific: Cluster, empty: Path) -> None:
    refused(1, r'"secretflie": did you mean "secretfile"', pacific.source(), empty, "name=df", "secretflie=/x")


def test_contradictions_and_damage(pacific: Cluster, empty: Path, tmp_path: Path) -> None:
    source = pacific.source()
    secret = pacific.write_secret("client.df")
    key = pacific.keys["client.df"]
    refused(1, "secret and secretfile together", source, empty, "name=df", f"secret={key}", f"secretfile={secret}")
    refused(1, "/nowhere", source, empty, "name=df", "secretfile=/nowhere")
    refused(1, "name=USER", source, empty, f"secretfile={secret}")
    for name, text, sentence in (
        ("short", key[:20], "key"),
        ("long", key[:-2] + "AAAAAAAA" + key[-2:], "key"),
        ("damaged", key[:10] + "*" + key[11:], "base64"),
        ("type", "BwAAAAAAAAAAABAA" + key[16:], "type"),
        ("empty", "", "empty|no key|key"),
        ("keyring", f"[client.df]\n key = {key}\n", "is a keyring"),
    ):
        file = tmp_path / name
        file.write_text(text)
        file.chmod(0o600)
        refused(1, sentence, source, empty, "name=df", f"secretfile={file}")
        shown = helper(source, empty, "name=df", f"secretfile={file}").stderr
        assert not text or text[:16] not in shown


def test_mount_points_that_are_none(pacific: Cluster, tmp_path: Path) -> None:
    secret = pacific.write_secret("client.df")
    options = ("name=df", f"secretfile={secret}")
    refused(32, "does not exist: mkdir", pacific.source(), tmp_path / "nothing", *options)
    file = tmp_path / "file"
    file.touch()
    refused(32, "not a directory", pacific.source(), file, *options)
    with mounted(pacific, tmp_path / "m") as mount:
        done = helper(pacific.source(), mount.path, *options)
        assert done.returncode == 32
        assert "is already a mount point (fuse.cephmon" in done.stderr
        assert mount.value("session/state") == "open"


def test_too_few_caps(cluster: Cluster, empty: Path) -> None:
    """Such a key may connect; a monitor itself only keeps silent."""
    cluster.make_key("client.blind", mon="allow service osd r")
    secret = cluster.write_secret("client.blind")
    said = r"client\.blind may connect but .* needs mon 'allow r'"
    refused(32, said, cluster.source(), empty, "name=blind", f"secretfile={secret}")


def test_a_pool_or_file_system_that_is_not_there(cluster: Cluster, secret: Path, empty: Path) -> None:
    options = ("name=df", f"secretfile={secret}")
    refused(32, "no file system nowhere", cluster.source(), empty, *options, "fs=nowhere")
    refused(32, "no pool nowhere", cluster.source(), empty, *options, "pool=nowhere")
