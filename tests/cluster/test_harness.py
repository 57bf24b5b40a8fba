"""The harness itself: what other tests lean on."""

from __future__ import annotations

import base64
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory
from tests.support import chroot
from tests.support.cluster import FAST_ELECTIONS, Cluster
from tests.support.release import RELEASES, new_key


def test_whole_cluster(any_release: Cluster) -> None:
    """Every release: up, with a file system, and its own CLI agrees with the quick way."""
    cluster = any_release
    assert cluster.quorum() == ["a", "b", "c"]
    dump = cluster.ceph("mon", "dump", fmt="json")
    assert dump == cluster.command("mon dump")
    assert dump["fsid"] == cluster.fsid
    assert [one["name"] for one in dump["mons"]] == ["a", "b", "c"]
    assert cluster.ceph("df", fmt="json")["stats"]["total_bytes"] == 4 << 30
    filesystems = cluster.command("fs dump")["filesystems"]
    assert [one["mdsmap"]["fs_name"] for one in filesystems] == ["cephfs"]
    cluster.wait_health()


def test_keys(any_release: Cluster) -> None:
    cluster = any_release
    key = cluster.make_key("client.keys", mon="allow r")
    expected = {"aes": (1, 16), "aes256k": (2, 32)}[cluster.default_key_type]
    for one in (key, cluster.keys["client.df"]):
        number, _, _, length = struct.unpack_from("<HIIH", base64.b64decode(one))
        assert (number, length) == expected
    secret = cluster.write_secret("client.keys")
    assert secret.read_text() == key + "\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert cluster.command("auth get", entity="client.df")[0]["caps"] == {"mon": "allow r"}


@pytest.mark.parametrize("release", ["pacific", "tentacle"])
def test_kill_pause_restart(cluster_factory: ClusterFactory, release: str) -> None:
    cluster = cluster_factory(release=release, conf=FAST_ELECTIONS)
    mon = cluster.mon("c")
    pid = mon.pid
    assert pid is not None
    assert Path(f"/proc/{pid}/comm").read_text() == "ceph-mon\n"
    mon.kill()
    assert mon.pid is None
    assert not Path(f"/proc/{pid}").exists()
    cluster.wait_quorum({"a", "b"})
    mon.start()
    cluster.wait_quorum(3)
    mon.pause()
    with pytest.raises(TimeoutError):
        mon.admin_socket("version", timeout_s=0.3)
    mon.resume()
    assert "version" in mon.admin_socket("version")
    mon.stop()
    assert mon.pid is None


@pytest.mark.parametrize("release", RELEASES)
def test_admin_socket_sets_options(cluster_factory: ClusterFactory, release: str) -> None:
    cluster = cluster_factory(release=release, mons=1)
    mon = cluster.mon("a")
    mon.admin_socket("config", "set", "ms_inject_socket_failures", "5000")
    assert mon.admin_socket("config", "get", "ms_inject_socket_failures") == {"ms_inject_socket_failures": "5000"}


def test_mons_come_and_go(cluster_factory: ClusterFactory) -> None:
    cluster = cluster_factory(conf=FAST_ELECTIONS)
    added = cluster.add_mon("d")
    assert added.v2 is not None
    assert added.v2 in cluster.ceph("mon", "dump")
    assert added.v2 in cluster.conf_path.read_text()
    cluster.remove_mon("a")
    cluster.wait_quorum({"b", "c", "d"})
    assert "a" not in cluster.mon_addrs()


def test_key_types_of_tentacle(cluster_factory: ClusterFactory) -> None:
    cluster = cluster_factory(release="tentacle", mons=1)
    cluster.allow_ciphers("aes", "aes256k")
    old = cluster.make_key("client.old", key_type="aes", mon="allow r")
    new = cluster.make_key("client.new", key_type="aes256k", mon="allow r")
    assert (old[:2], len(old)) == ("AQ", 40)
    assert (new[:2], len(new)) == ("Ag", 60)


@pytest.mark.parametrize("ip", ["::1", ("127.0.0.1", "::1")])
def test_ipv6(cluster_factory: ClusterFactory, ip: str | tuple[str, ...]) -> None:
    cluster = cluster_factory(ip=ip)
    assert any(addrs.v2 is not None and addrs.v2.startswith("[::1]:") for addrs in cluster.mon_addrs().values())
    assert cluster.ceph("fsid").strip() == cluster.fsid


@pytest.mark.parametrize(("msgr1", "msgr2"), [(True, False), (False, True)])
def test_one_protocol_only(cluster_factory: ClusterFactory, msgr1: bool, msgr2: bool) -> None:
    cluster = cluster_factory(msgr1=msgr1, msgr2=msgr2)
    addrs = cluster.mon_addrs()["a"]
    assert (addrs.v1 is not None, addrs.v2 is not None) == (msgr1, msgr2)
    assert cluster.ceph("fsid").strip() == cluster.fsid


def test_auth_none(cluster_factory: ClusterFactory) -> None:
    cluster = cluster_factory(auth="none")
    assert cluster.ceph("fsid").strip() == cluster.fsid


def test_seeded_keys_and_conf(cluster_factory: ClusterFactory) -> None:
    caps = {"client.narrow": {"mon": "allow service pg r"}}
    cluster = cluster_factory(mons=1, keys=caps, conf={"mon": {"auth_mon_ticket_ttl": "20"}})
    assert cluster.command("auth get", entity="client.narrow")[0]["caps"] == {"mon": "allow service pg r"}
    assert cluster.mon("a").admin_socket("config", "get", "auth_mon_ticket_ttl") == {"auth_mon_ticket_ttl": "20.000000"}


def test_daemons_die_with_their_owner(tmp_path: Path) -> None:
    """Also when it is killed with -9 and so cannot clean up."""
    script = (
        "import sys, time\n"
        "from tests.support.cluster import Cluster\n"
        "cluster = Cluster.create(directory=sys.argv[1], mons=1)\n"
        "print(cluster.mon('a').pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True, cwd=root
    )
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        os.kill(pid, 0)
        owner.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_command_line(tmp_path: Path) -> None:
    """`make cluster` and `make cluster-down`."""
    tool = [str(Path(__file__).parents[2] / "tools" / "cluster")]
    where = ["--dir", str(tmp_path / "c")]
    up = subprocess.run([*tool, "up", "--mons-only", *where], capture_output=True, text=True, check=True)
    assert "mount -t cephmon 127.0.0.1:" in up.stdout
    run = tmp_path / "c" / "run"
    pids = [int(file.read_text().split()[0]) for file in run.glob("*.pid")]
    assert len(pids) == 3
    again = subprocess.run([*tool, "up", *where], capture_output=True, text=True)
    assert again.returncode != 0
    assert "already" in again.stderr
    down = subprocess.run([*tool, "down", *where], capture_output=True, text=True, check=True)
    assert down.stdout == "cluster: 3 daemons ended\n"
    assert not list(run.glob("*.pid"))


def test_no_mounts_are_left(cluster_factory: ClusterFactory) -> None:
    cluster = cluster_factory(release="reef", mons=1)
    cluster.ceph("fsid")
    assert str(chroot.cache_dir()) not in Path("/proc/self/mountinfo").read_text()


def test_mirror_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    assert chroot.mirror(tmp_path) == "http://deb.debian.org/debian"
    (tmp_path / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n"
    )
    assert chroot.mirror(tmp_path) == "http://mirror.example/debian"
    (tmp_path / "sources.list").write_text("deb [arch=amd64] https://other.example/debian bookworm main\n")
    assert chroot.mirror(tmp_path) == "https://other.example/debian"


def test_new_key_layout() -> None:
    data = base64.b64decode(new_key("aes256k"))
    assert struct.unpack_from("<H", data) == (2,)
    assert len(data) == 12 + 32


def test_ports_are_free_for_us(cluster_factory: ClusterFactory) -> None:
    one, two = cluster_factory(mons=1), cluster_factory(mons=1)
    ports = [one.mon_addrs()["a"].v2_port, two.mon_addrs()["a"].v2_port]
    assert ports[0] != ports[1]
    for port in ports:
        assert port is not None
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
