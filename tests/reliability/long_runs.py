"""Runs of another shape than "fault, wait, look": many calls or callers, a stopped daemon, short tickets, idleness."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.reliability import clients, exact, faults
from tests.reliability.clients import Client, Mount, Prober
from tests.reliability.measure import figures, quantile
from tests.support.cluster import Cluster
from tests.support.release import ClusterUnavailable


@contextlib.contextmanager
def plain(release: str, **options: Any) -> Iterator[Cluster]:
    """A cluster on loopback."""
    directory = Path(tempfile.mkdtemp(prefix="cmfs-rel-"))
    try:
        with Cluster.create(release=release, directory=directory, **options) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _counter(mount: Mount, name: str) -> int:
    for line in mount.read("session/stats").splitlines():
        key, value = line.split()
        if key == name:
            return int(value)
    return 0


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def _fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


_CALLERS = 8


def failures_50(release: str, calls: int) -> dict[str, Any]:
    """1 socket failure in 50 on all monitors; everybody calls without a pause, eight callers of ours `calls` times."""
    with plain(release, mds=1) as cluster, ExitStack() as stack:
        work = cluster.directory / "work"
        mount = stack.enter_context(Mount(cluster, work / "ours", cluster.source()))
        fuse = stack.enter_context(clients.ceph_fuse(cluster, cluster.mon_host, work))
        peers = [fuse]
        for other in ("pacific", "tentacle"):
            with contextlib.suppress(ClusterUnavailable):
                peers.append(stack.enter_context(clients.librados(cluster, cluster.mon_host, other)))
        rss, fds = _rss_kb(mount.pid), _fds(mount.pid)
        for client in peers:
            client.prober.calls.clear()
        faults.set_all(cluster, ms_inject_socket_failures="50")
        began = time.monotonic()
        crowd = [_many(mount.path, calls // _CALLERS) for _ in range(_CALLERS)]
        ours = Client("cephmonfs", crowd[0], mount.pid)
        while any(prober.running for prober in crowd) and time.monotonic() < began + 1500:
            time.sleep(0.2)
        ended = time.monotonic()
        for prober in crowd[1:]:
            ours.prober.calls += prober.calls
        faults.set_all(cluster, ms_inject_socket_failures="0")
        time.sleep(2)
        everybody = [figures(client, began, ended).as_json() for client in (ours, *peers)]
        facts = {
            "sessions": _counter_of(mount, "sessions"),
            "connects": _counter(mount, "connects"),
            "statfs held": _counter(mount, "statfs_held"),
            "memory before, after (KiB)": [rss, _rss_kb(mount.pid)],
            "descriptors before, after": [fds, _fds(mount.pid)],
            "seconds": round(ended - began),
        }
        broken = []
        if everybody[0]["errors"] or everybody[0]["slowest"] > 1.1:
            broken.append(f"a call failed or took {everybody[0]['slowest']:.2f} s")
        return {
            "name": "failures-50",
            "title": f"1 socket failure in 50 on all monitors, {calls} calls by {_CALLERS} callers",
            "clients": everybody,
            "facts": facts,
            "broken": broken,
        }


def _many(path: Path, calls: int) -> Prober:
    prober = Prober([sys.executable], "statvfs", str(path), pause_s=0, count=calls)
    prober.wait_ready()
    return prober


def _counter_of(mount: Mount, name: str) -> int:
    return int(mount.read(f"session/{name}"))


def thousand(release: str, calls: int) -> dict[str, Any]:
    """1000 callers while nothing answers: files, umount, and kills of callers."""
    del calls
    with plain(release) as cluster:
        mount = Mount(cluster, cluster.directory / "ours", cluster.source(), "stale_after=0")
        for name in cluster.mon_addrs():
            cluster.mon(name).pause()
        took: list[float] = []
        errors: Counter[int] = Counter()
        end = threading.Event()

        def caller() -> None:
            while not end.is_set():
                begin = time.monotonic()
                try:
                    os.statvfs(mount.path)
                except OSError as exc:
                    errors[exc.errno or 0] += 1
                took.append(time.monotonic() - begin)
                time.sleep(0.05)

        threads = [threading.Thread(target=caller, daemon=True) for _ in range(1000)]
        for thread in threads:
            thread.start()
        reader = Prober([sys.executable], "read", f"{mount.path}/session/state")  # not among our own 1000 threads
        reader.wait_ready()
        time.sleep(6)
        reader.stop()
        files = [call.took for call in reader.calls]
        victim = subprocess.Popen(["stat", "-f", str(mount.path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.02)
        begin = time.monotonic()
        victim.kill()
        victim.wait()
        killed = time.monotonic() - begin
        end.set()
        begin = time.monotonic()
        done = subprocess.run(["umount", str(mount.path)], capture_output=True, check=False)
        while done.returncode and time.monotonic() < begin + 5:
            time.sleep(0.05)
            done = subprocess.run(["umount", str(mount.path)], capture_output=True, check=False)
        unmounted = time.monotonic() - begin
        mount.process.wait(5)
        gone = time.monotonic() - begin
        mount.close()
        facts = {
            "calls": len(took),
            "errors": {errno.errorcode.get(number, str(number)): n for number, n in errors.items()},
            "slowest call": round(max(took), 3),
            "file: reads, median, p99, slowest": [
                len(files),
                *(round(x, 4) for x in (statistics.median(files), quantile(files, 0.99), max(files))),
            ],
            "killed caller gone after": round(killed, 3),
            "umount took": round(unmounted, 3),
            "daemon gone after": round(gone, 3),
        }
        broken = [] if max(took) <= 1.5 and unmounted < 2.5 else ["a bound was not kept"]
        return {"name": "thousand", "title": "1000 callers while nothing answers", "facts": facts, "broken": broken}


def suspended(release: str, calls: int) -> dict[str, Any]:
    """The daemon is SIGSTOPped for 35 s, longer than any time limit in it, and goes on."""
    del calls
    with plain(release) as cluster, clients.ours(cluster, cluster.source(), cluster.directory) as ours:
        assert ours.mount is not None
        time.sleep(1)
        os.kill(ours.mount.pid, signal.SIGSTOP)
        time.sleep(35)
        woken = time.monotonic()
        os.kill(ours.mount.pid, signal.SIGCONT)
        time.sleep(3)
        after = [call for call in ours.prober.calls if call.end > woken]
        fresh = [call for call in ours.others["age"].calls if call.begin > woken and float(call.value) < 0.1]
        facts = {
            "the call that was under way ended after": round(after[0].end - woken, 3),
            "slowest of the next": round(max(call.took for call in after[1:]), 3),
            "errors": sum(call.error != 0 for call in after),
            "fresh after": round(fresh[0].end - woken, 3) if fresh else None,
        }
        return {"name": "suspended", "title": "the daemon stopped for 35 s", "facts": facts}


def tickets(release: str, calls: int) -> dict[str, Any]:
    """Tickets that live for 12 s."""
    del calls
    conf = {"auth_mon_ticket_ttl": "12", "auth_service_ticket_ttl": "12"}
    with plain(release, conf=conf) as cluster, clients.ours(cluster, cluster.source(), cluster.directory) as ours:
        assert ours.mount is not None
        began = time.monotonic()
        time.sleep(60)
        renewals, connects = _counter(ours.mount, "renewals"), _counter(ours.mount, "connects")
        for name in cluster.mon_addrs():
            cluster.mon(name).kill()
        time.sleep(50)  # every ticket and the keys behind it are gone now
        for name in cluster.mon_addrs():
            cluster.mon(name).start()
        cluster.wait_quorum(3)
        quorum = time.monotonic()
        time.sleep(4)
        fresh = [c for c in ours.others["age"].calls if c.end > quorum - 1 and not c.error and float(c.value) < 0.1]
        one = figures(ours, began, time.monotonic())
        facts = {
            "renewals in 60 s": renewals,
            "connects in 60 s": connects,
            "tickets found stale after 50 s without monitors": _counter(ours.mount, "tickets_stale"),
            "fresh after the quorum": round(fresh[0].end - quorum, 2) if fresh else None,
            "slowest": round(one.slowest, 3),
            "errors": one.errors,
        }
        return {"name": "tickets", "title": "tickets of 12 s; then 50 s without monitors", "facts": facts}


def clock(release: str, calls: int) -> dict[str, Any]:
    """The wall clock jumps an hour to and fro under the daemon, with tickets of 12 s."""
    del calls
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if library is None:
        raise RuntimeError("no libfaketime: apt-get install faketime")
    conf = {"auth_mon_ticket_ttl": "12", "auth_service_ticket_ttl": "12"}
    with plain(release, conf=conf) as cluster, tempfile.NamedTemporaryFile(prefix="cmfs-offset-") as file:
        offset = Path(file.name)  # not in the cluster's directory: the daemon is nobody
        offset.write_text("+0")
        offset.chmod(0o644)
        env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with Mount(cluster, cluster.directory / "ours", cluster.source(), env=env) as mount:
            prober = Prober([sys.executable], "statvfs", str(mount.path))
            prober.wait_ready()
            seen, oldest = [], 0.0
            for jump in ("+3600", "+0", "-3600", "+0"):
                offset.write_text(jump)
                time.sleep(15)
                seen.append(round((mount.path / "capacity/total_bytes").stat().st_mtime - time.time()))
                oldest = max(oldest, float(mount.read("capacity/age_seconds")))
            prober.stop()
            failed = sum(call.error != 0 for call in prober.calls)
            slowest = max(call.took for call in prober.calls)
            facts = {
                "calls": len(prober.calls),
                "calls that failed": failed,
                "slowest call (s)": round(slowest, 3),
                "time of the files after +1 h, back, -1 h, back, against a clock that did not jump (s)": seen,
                "oldest answer seen after a jump (s)": oldest,
                "sessions": _counter_of(mount, "sessions"),
                "tickets renewed": _counter(mount, "renewals"),
            }
        broken = [f"{failed} calls failed, the slowest took {slowest:.2f} s"] if failed or slowest > 1.1 else []
        if [round(s / 60) for s in seen] != [60, 0, -60, 0]:
            broken.append("the clock did not jump")
        return {"name": "clock", "title": "the wall clock jumps an hour to and fro", "facts": facts, "broken": broken}


def idle(release: str, calls: int) -> dict[str, Any]:
    """What an idle mount costs itself and its monitor, and what a hunting one costs."""
    del calls
    with plain(release, mgr=True) as cluster:
        with Mount(cluster, cluster.directory / "ours", cluster.source()) as mount:
            time.sleep(5)
            before = _switches(mount.pid), _cpu(mount.pid), _counter(mount, "bytes_in"), _counter(mount, "bytes_out")
            rss, fds = _rss_kb(mount.pid), _fds(mount.pid)
            time.sleep(120)
            wakes, cpu = _switches(mount.pid) - before[0], _cpu(mount.pid) - before[1]
            taken = _counter(mount, "bytes_in") - before[2], _counter(mount, "bytes_out") - before[3]
            facts: dict[str, Any] = {
                "idle: wake-ups a minute": wakes / 2,
                "idle: CPU ms a minute": round(cpu * 1000 / 2, 1),
                "idle: bytes a minute from and to the monitor": [n // 2 for n in taken],
                "idle: memory before, after (KiB)": [rss, _rss_kb(mount.pid)],
                "idle: descriptors before, after": [fds, _fds(mount.pid)],
            }
            for name in cluster.mon_addrs():
                cluster.mon(name).kill()
            what = "connects a second, to all three monitors together"
            facts[f"no monitor, nobody asking: {what}"] = _connects_a_second(mount)
            prober = Prober([sys.executable], "statvfs", str(mount.path))
            facts[f"no monitor, a caller: {what}"] = _connects_a_second(mount)
            prober.stop()
        return {"name": "idle", "title": "an idle mount, and one without monitors", "facts": facts}


def _connects_a_second(mount: Mount) -> float:
    time.sleep(20)
    connects = _counter(mount, "connects")
    time.sleep(20)
    return (_counter(mount, "connects") - connects) / 20


def _switches(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt"):
                total += int(line.split()[1])
    return total


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


RUNS: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "history": exact.run,
    "failures-50": failures_50,
    "thousand": thousand,
    "suspended": suspended,
    "tickets": tickets,
    "clock": clock,
    "idle": idle,
}
