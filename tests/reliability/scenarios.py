"""What is measured, one scenario after the other; results go to a JSON file as they come."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.reliability import clients, faults, long_runs, net
from tests.reliability.clients import Client
from tests.reliability.control import Control
from tests.reliability.faults import FAULTS, Fault, Place
from tests.reliability.measure import during, figures
from tests.support.cluster import Cluster
from tests.support.release import ClusterUnavailable

_NODES = {"clients": "10.9.0.1", "a": "10.9.0.11", "b": "10.9.0.12", "c": "10.9.0.13"}
_BEFORE_S = 2.0
_TRIES = 6
_SETTLE_S = 2.0
_TARGET = "b"  # never the leader, so that its loss is no more than that


@contextlib.contextmanager
def world(release: str) -> Iterator[tuple[Cluster, net.Net]]:
    """A whole cluster, each monitor in a network namespace of its own; we are in the clients'."""
    directory = Path(tempfile.mkdtemp(prefix="cmfs-rel-"))
    with net.Net(_NODES) as network:
        net.enter(network.pids["clients"])
        places = {f"mon.{name}": network.prefix(name) for name in "abc"}
        ips = [_NODES[name] for name in "abc"]
        try:
            with Cluster.create(release=release, directory=directory, ip=ips, mds=1, places=places) as cluster:
                yield cluster, network
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def measure(fault: Fault, cluster: Cluster, network: net.Net) -> dict[str, Any]:
    """One fault, all clients on the same monitor at its beginning."""
    cluster.wait_quorum(3, 60)
    time.sleep(_SETTLE_S)
    target = cluster.mon_addrs()[_TARGET]
    place = Place(cluster, network, _TARGET)
    work = cluster.directory / "work"
    with ExitStack() as stack:
        make_ours = partial(clients.ours, cluster, f"{target.v2}:/", work, fault.options)
        everybody = _on_target(stack, make_ours, target.ip)
        ours, mount = everybody[0], everybody[0].mount
        assert mount is not None
        if not fault.ours_only:
            fuse = partial(clients.ceph_fuse, cluster, target.addrvec, work)
            everybody += _on_target(stack, fuse, target.ip)
            for release in ("pacific", "tentacle"):
                make = partial(clients.librados, cluster, target.addrvec, release)
                with contextlib.suppress(ClusterUnavailable):
                    everybody += _on_target(stack, make, target.ip)
        control = stack.enter_context(Control(cluster))
        time.sleep(_BEFORE_S)
        began = time.monotonic()
        with faults.acted(fault, place) as undo:
            time.sleep(fault.hold_s)
            undo()
        undone = time.monotonic()
        while time.monotonic() < undone + fault.after_s and not all(client.answers() for client in everybody):
            time.sleep(0.1)
        time.sleep(2.0)
        ended = undone if fault.only_while else time.monotonic()
        gap = control.gap(began)
        unreadable = gap[1] - gap[0] > 0.5
        result: dict[str, Any] = {
            "name": fault.name,
            "title": fault.title,
            "lasted": undone - began,
            "readable_until": gap[0] - began if unreadable else None,
            "readable_after": gap[1] - began if unreadable else 0.0,
            "clients": [figures(client, began, ended).as_json() for client in everybody],
            "before": {c.name: figures(c, began - _BEFORE_S, began).p50 for c in everybody},
            "log": mount.log_path.read_text()[-3000:],
            "stats": mount.read("session/stats"),
        }
        result["clients"][0]["more"] |= late_calls(ours, began, ended)
        return result


def _on_target(stack: ExitStack, make: Callable[[], AbstractContextManager[Client]], ip: str) -> list[Client]:
    """Somebody who has its session with the monitor in question; not all take the one that they are given."""
    for _ in range(_TRIES):
        attempt = ExitStack()
        client = attempt.enter_context(make())
        time.sleep(0.5)
        if clients.connected_to(client.pid) & set(_NODES.values()) - {_NODES["clients"]} == {ip}:
            stack.enter_context(attempt)
            return [client]
        attempt.close()
    return []


def late_calls(ours: Client, began: float, ended: float) -> dict[str, Any]:
    """How many of our calls took longer than a call may."""
    calls = during(ours.prober.calls, began, ended)
    return {"over_0.2": sum(c.took > 0.2 for c in calls), "over_1.1": sum(c.took > 1.1 for c in calls)}


def run_all(out: str, only: set[str], release: str, calls: int) -> int:
    """Run what is wanted; returns the exit status: 1 when a scenario could not be run or a promise was broken."""
    path = Path(out)
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    wanted = [fault for fault in FAULTS if not only or fault.name in only]
    failed = 0

    def note(name: str, result: Callable[[], dict[str, Any]]) -> None:
        nonlocal failed
        began = time.monotonic()
        try:
            results[name] = result()
        except Exception as exc:
            failed += 1
            print(f"{name}: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
            return
        path.write_text(json.dumps(results, indent=1))
        print(f"--- {name} ({time.monotonic() - began:.0f} s)", flush=True)
        for line in lines(results[name]):
            print(line, flush=True)
        failed += len(results[name].get("broken", []))

    for name, run in long_runs.RUNS.items():
        if not only or name in only:
            note(name, lambda run=run: run(release, calls))  # type: ignore[misc]
    if wanted:
        with world(release) as (cluster, network):
            for fault in wanted:
                note(fault.name, lambda fault=fault: measure(fault, cluster, network))  # type: ignore[misc]
    return 1 if failed else 0


def lines(result: dict[str, Any]) -> Iterator[str]:
    """For people who watch."""
    if "readable_after" in result:
        yield f"    readable again after {result['readable_after']:.2f} s"
    for one in result.get("clients", []):
        fresh = "never" if one["fresh_after"] is None else f"{one['fresh_after']:.2f}"
        yield (
            f"    {one['client']:15} {one['calls']:6} calls  slowest {one['slowest']:7.3f}"
            f"  p50 {one['p50'] * 1e3:7.2f} ms  p99 {one['p99'] * 1e3:8.1f} ms  errors {one['errors'] or 0}"
            f"  fresh after {fresh}  {one['more'] or ''}"
        )
    for key, value in result.get("facts", {}).items():
        yield f"    {key}: {value}"
    for one in result.get("broken", []):
        yield f"    BROKEN: {one}"
