"""Faults of real monitors under a real mount.  The long ones, with figures, are in `make soak`.

What decides is the contract (no failed df, no call without an end), with bounds wide enough for a busy machine; how
quick it is in fact, docs/reliability.md tells.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory
from tests.reliability.clients import Mount
from tests.support.cluster import FAST_ELECTIONS, Cluster
from tests.support.helper import HELPER

pytestmark = pytest.mark.fuse

BOUND_S = 4.0  # of any one call; it is statfs_timeout (1 s) on a machine that is not busy


@pytest.fixture
def cluster(cluster_factory: ClusterFactory) -> Cluster:
    return cluster_factory(release="pacific", conf=FAST_ELECTIONS)


@pytest.fixture
def mount_of(tmp_path: Path) -> Iterator[Callable[..., Mount]]:
    """`mount_of(cluster, "stale_after=1")`: mounted, with one answer had."""
    made: list[Mount] = []

    def make(cluster: Cluster, options: str = "", mon: str = "") -> Mount:
        source = f"{cluster.mon_addrs()[mon].v2}:/" if mon else cluster.source()
        mount = Mount(cluster, tmp_path / f"mnt{len(made)}", source, options)
        made.append(mount)
        os.statvfs(mount.path)
        return mount

    yield make
    for mount in made:
        mount.close()


def df(mount: Mount) -> float:
    """One df that succeeds in time; how long it took."""
    begin = time.monotonic()
    os.statvfs(mount.path)
    took = time.monotonic() - begin
    assert took < BOUND_S
    return took


def keep_asking(mount: Mount, until: Callable[[], bool], timeout_s: float = 30) -> None:
    """df in a loop, none of which may fail, until something is true."""
    deadline = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline, mount.log_path.read_text()[-2000:]
        df(mount)
        time.sleep(0.01)


def is_fresh(mount: Mount) -> bool:
    return float(mount.read("capacity/age_seconds")) < 0.2


def mon_of(mount: Mount) -> str:
    return mount.read("session/mon").strip()


def test_its_monitor_is_killed(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster)
    first = mon_of(mount)
    cluster.mon(first).kill()
    keep_asking(mount, lambda: mon_of(mount) != first and is_fresh(mount))
    assert int(mount.read("session/failovers")) >= 1
    assert first in mount.read("log")


def test_its_monitor_is_mute(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    """librados never comes back from this one."""
    mount = mount_of(cluster)
    first = mon_of(mount)
    cluster.mon(first).admin_socket("config", "set", "ms_blackhole_client", "true")
    keep_asking(mount, lambda: mon_of(mount) != first and is_fresh(mount))
    assert "did not answer" in mount.read(f"mon/{first}/last_error")


def test_its_monitor_is_stopped(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster)
    first = mon_of(mount)
    cluster.mon(first).pause()
    keep_asking(mount, lambda: mon_of(mount) != first and is_fresh(mount))
    cluster.mon(first).resume()
    keep_asking(mount, lambda: is_fresh(mount))


def test_no_quorum_then_no_monitor_then_all_back(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster)
    cluster.mon("b").kill()
    cluster.mon("c").kill()
    keep_asking(mount, lambda: not is_fresh(mount))
    cluster.mon("a").kill()
    for _ in range(5):
        df(mount)
    for name in "abc":
        cluster.mon(name).start()
    keep_asking(mount, lambda: is_fresh(mount) and mount.read("session/state") == "open\n")


def test_an_answer_that_is_too_old_is_none(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster, "stale_after=1,statfs_timeout=0.5")
    for name in "abc":
        cluster.mon(name).pause()
    time.sleep(1.1)
    for _ in range(3):
        begin = time.monotonic()
        with pytest.raises(OSError) as caught:
            os.statvfs(mount.path)
        assert caught.value.errno == errno.ETIMEDOUT
        assert time.monotonic() - begin < BOUND_S
    for name in "abc":
        cluster.mon(name).resume()
    deadline = time.monotonic() + 30
    while True:
        try:
            os.statvfs(mount.path)
            break
        except OSError:
            assert time.monotonic() < deadline


@contextmanager
def crowd(path: Path, size: int) -> Iterator[list[float]]:
    """Many threads that call statvfs; the list is of how long their calls took."""
    took: list[float] = []
    end = threading.Event()

    def caller() -> None:
        while not end.is_set():
            begin = time.monotonic()
            try:
                os.statvfs(path)
            except OSError:
                pass
            took.append(time.monotonic() - begin)
            time.sleep(0.05)

    threads = [threading.Thread(target=caller, daemon=True) for _ in range(size)]
    for thread in threads:
        thread.start()
    try:
        yield took
    finally:
        end.set()
        for thread in threads:
            thread.join(2 * BOUND_S)
        assert not any(thread.is_alive() for thread in threads)


def test_a_thousand_callers_while_nothing_answers(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster, "stale_after=0")
    for name in "abc":
        cluster.mon(name).pause()
    with crowd(mount.path, 1000) as took:
        time.sleep(1)
        begin = time.monotonic()
        assert mount.read("fsid") == f"{cluster.fsid}\n"
        assert time.monotonic() - begin < BOUND_S
        caller = subprocess.Popen(["stat", "-f", str(mount.path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.1)
        caller.kill()
        caller.wait(BOUND_S)  # not for ever, as with ceph-fuse
    assert max(took) < 2 * BOUND_S
    subprocess.run(["umount", str(mount.path)], check=True, timeout=2 * BOUND_S)
    mount.process.wait(BOUND_S)


def test_sigterm_under_load(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster)
    for name in "abc":
        cluster.mon(name).pause()
    with crowd(mount.path, 50):
        time.sleep(0.3)
        mount.process.terminate()
        assert mount.process.wait(2 * BOUND_S) == 0
    assert not os.path.ismount(mount.path)


def test_kill_9_of_the_daemon_leaves_no_dead_mount(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster)
    mount.process.kill()
    mount.process.wait()
    deadline = time.monotonic() + BOUND_S
    while str(mount.path) in Path("/proc/self/mountinfo").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(mount.path.iterdir()) == []


def test_fusermount3_hears_of_the_end_after_the_file_system_has_ended(
    cluster: Cluster, mount_of: Callable[..., Mount]
) -> None:
    """The kernel closes the files of a killed process from the last to the first; the other way leaves dead mounts."""
    mount = mount_of(cluster)
    folder = Path(f"/proc/{mount.process.pid}/fd")
    held = {int(entry.name): os.readlink(entry) for entry in folder.iterdir()}
    unix = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    (fuse,) = (fd for fd, target in held.items() if target == "/dev/fuse")
    ends = [fd for fd, target in held.items() if target in unix]
    assert ends
    assert max(ends) < fuse


def test_no_descriptors_left_is_survived(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    """Sessions cannot be opened for want of descriptors; when there are some again, all is well."""
    mount = mount_of(cluster, "run_as=root")  # so that we may set its limits
    first = mon_of(mount)
    limits = resource.prlimit(mount.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    cluster.mon(first).kill()
    for _ in range(20):
        df(mount)
        time.sleep(0.05)
    assert mount.process.poll() is None
    resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, limits)
    keep_asking(mount, lambda: is_fresh(mount))
    assert mon_of(mount) != first


def test_the_daemon_sleeps_and_wakes(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster)
    os.kill(mount.pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(mount.pid, signal.SIGCONT)
    df(mount)
    assert is_fresh(mount)


def test_a_key_without_caps_is_told(cluster: Cluster, tmp_path: Path) -> None:
    """The monitors answer such a key with silence."""
    cluster.make_key("client.nobody", mon="allow command nothing")
    secret = cluster.write_secret("client.nobody")
    directory = tmp_path / "mnt"
    directory.mkdir()
    helper = Path(__file__).parents[2] / "mount.cephmon"
    options = f"name=nobody,secretfile={secret},bg"
    subprocess.run([str(helper), cluster.source(), str(directory), "-o", options], check=True, timeout=30)
    try:
        deadline = time.monotonic() + 10
        while True:
            with pytest.raises(OSError) as caught:
                os.statvfs(directory)
            if caught.value.errno == errno.EACCES:
                break
            assert time.monotonic() < deadline
    finally:
        subprocess.run(["umount", str(directory)], check=True, timeout=10)


def test_a_full_disk_is_survived(cluster: Cluster, tmp_path: Path) -> None:
    """No room for the monmap that is to be remembered: a line in the log, and the mount is as any other."""
    directory = tmp_path / "m"
    directory.mkdir()
    options = f"name=df,secretfile={cluster.write_secret('client.df')}"
    script = """
        set -e
        mkdir -p /var/lib/cephmonfs
        mount -t tmpfs -o size=16k,mode=755 none /var/lib/cephmonfs
        dd if=/dev/zero of=/var/lib/cephmonfs/full bs=4k 2>/dev/null || :
        "$0" "$1" "$2" -o "$3"
        df "$2"
        cat "$2/session/state" "$2/log"
        umount "$2"
    """
    argv = ["unshare", "--mount", "sh", "-c", script, str(HELPER), cluster.source(), str(directory), options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nopen\n" in done.stdout
    assert "the monmap is not remembered: [Errno 28] No space left on device" in done.stdout
