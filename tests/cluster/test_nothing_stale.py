"""Nothing stale passes for true: what every file shows while real monitors are mute, dead, out of quorum, and back.

Each test looks through several mounts at once, because what a file shows must not depend on who else reads what.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cephmonfs.model.osdmap import OSDMap
from cephmonfs.wire.cursor import Cursor
from tests.conftest import ClusterFactory
from tests.reliability.clients import Mount
from tests.support.cluster import FAST_ELECTIONS, Cluster
from tests.truth.reading import RINGS, Poller, Reading, look, names

pytestmark = pytest.mark.fuse

STALE_AFTER_S = 12
REFRESH_S = 2
OPTIONS = f"stale_after={STALE_AFTER_S},refresh={REFRESH_S}"
LEASE_S = 1.5  # of FAST_ELECTIONS: so long a monitor that has lost its quorum may think that it has one
SLACK_S = 1.5  # of anything on a busy machine
CALL_S = 2 + 3.0  # cmd_timeout, on a busy machine
BACK_S = 40.0  # an election, and a session

# What an answer of the monitors is needed for.  Everything else is known without them: maps, our own session.
FROM_ANSWERS = re.compile(r"capacity/.*|mon/(quorum_count|leader|[^/]+/in_quorum)|ceph/.*")
# Of a session: while there is none, they have nothing to say.
OF_A_SESSION = ("session/since", "debug/status")
ALSO_MARKED = ("health", "status", "metrics", "dashboard.html", "session/fresh")
POLLED = ("health", "mon/quorum_count", "mon/a/in_quorum", "capacity/avail_bytes", "ceph/health", "session/fresh")


@pytest.fixture(scope="module")
def factory(request: pytest.FixtureRequest) -> Iterator[ClusterFactory]:
    made = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="module")
def the_cluster(factory: ClusterFactory) -> Cluster:
    return factory(release="pacific", conf=FAST_ELECTIONS, osds=1)


@pytest.fixture
def cluster(the_cluster: Cluster) -> Iterator[Cluster]:
    """One for all tests here, whole again after each."""
    yield the_cluster
    for name in "abc":
        daemon = the_cluster.mon(name)
        if daemon.pid is None:
            daemon.start()
        else:
            daemon.resume()
    the_cluster.wait_quorum(3, BACK_S)
    the_cluster.wait_health(timeout_s=BACK_S)


@pytest.fixture
def mount_of(tmp_path: Path) -> Iterator[Callable[..., Mount]]:
    with contextlib.ExitStack() as stack:
        count = iter(range(100))

        def make(cluster: Cluster, options: str = OPTIONS) -> Mount:
            return stack.enter_context(Mount(cluster, tmp_path / f"mnt{next(count)}", cluster.source(), options))

        yield make


def until(condition: Callable[[], bool], what: str, timeout_s: float = BACK_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def files(mount: Mount) -> list[str]:
    return [name for name in names(mount.path) if name not in RINGS]


def events(mount: Mount, kind: str) -> list[dict[str, object]]:
    lines = map(json.loads, mount.read("events").splitlines())
    return [line for line in lines if line["event"] == kind]


def in_time(reading: Reading) -> Reading:
    assert reading.took < CALL_S, f"{reading} took {reading.took:.1f} s"
    return reading


def look_at_all(mount: Mount, wanted: Sequence[str]) -> dict[str, Reading]:
    """Some at a time, for each waits a moment while the monitors are silent."""
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda name: look(mount.path, name), (*wanted, *ALSO_MARKED)))
    return {reading.name: in_time(reading) for reading in seen}


def assert_all_stale(mount: Mount, wanted: Sequence[str]) -> None:
    """Every file: an answer that is too old is an error, and what is made of several things says so."""
    seen = look_at_all(mount, wanted)
    shown = [str(one) for name, one in seen.items() if FROM_ANSWERS.fullmatch(name) and one.error != errno.ETIMEDOUT]
    assert not shown
    known = {name: one for name, one in seen.items() if not FROM_ANSWERS.fullmatch(name)}
    failed = [str(one) for name, one in known.items() if one.error and name not in OF_A_SESSION]
    assert not failed
    assert seen["health"].value == "HEALTH_UNKNOWN"
    assert seen["session/fresh"].value == "0"
    assert re.search(r"^  STALE     no (quorum|monitor) heard for [1-9]\d s", seen["status"].text, re.MULTILINE)
    assert "HEALTH_UNKNOWN" in seen["status"].text
    assert "quorum unknown" in seen["status"].text
    samples = [line for line in seen["metrics"].text.splitlines() if not line.startswith("#")]
    assert [line for line in samples if line.startswith("ceph_")] == []
    assert "cephmonfs_up 0.0" in samples
    assert "HEALTH_UNKNOWN" in seen["dashboard.html"].text
    assert "Stale: no " in seen["dashboard.html"].text
    with pytest.raises(OSError) as caught:
        os.statvfs(mount.path)
    assert caught.value.errno == errno.ETIMEDOUT


def assert_all_fresh(mount: Mount, wanted: Sequence[str], since: float) -> None:
    """Every file is there, and what comes from an answer is newer than this (wall clock)."""
    seen = look_at_all(mount, wanted)
    assert [str(one) for one in seen.values() if one.error] == []
    old = [name for name, one in seen.items() if FROM_ANSWERS.fullmatch(name) and one.mtime < since]
    assert not old
    assert seen["health"].value != "HEALTH_UNKNOWN"
    assert seen["session/fresh"].value == "1"
    assert "STALE" not in seen["status"].text
    assert "ceph_health_status" in seen["metrics"].text
    assert "Stale: " not in seen["dashboard.html"].text
    os.statvfs(mount.path)


def test_all_monitors_fall_silent(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    busy, idle, unread = mount_of(cluster), mount_of(cluster), mount_of(cluster)
    wanted = files(busy)
    assert len(wanted) > 150
    for mount in (busy, idle):
        assert [str(one) for name in wanted if (one := look(mount.path, name)).error] == []
    with contextlib.ExitStack() as stack:
        pollers = [stack.enter_context(Poller(busy.path, name)) for name in POLLED]
        until(lambda: all(poller.holds for poller in pollers), "all pollers have read")
        for name in "abc":
            cluster.mon(name).pause()
        stopped = time.monotonic()
        while time.monotonic() < stopped + STALE_AFTER_S + SLACK_S:
            for name in (*POLLED, "status"):
                in_time(look(busy.path, name))
            time.sleep(0.3)
        for mount in (unread, busy, idle):
            assert_all_stale(mount, wanted)
            assert mount.read("session/state") == "hunting\n"
            assert events(mount, "stale")
            assert events(mount, "health")[-1]["new"] == "HEALTH_UNKNOWN"
            assert events(mount, "session")[-1]["state"] == "hunting"
        for poller in pollers:
            assert poller.holds in {"health": (b"HEALTH_UNKNOWN\n",), "session/fresh": (b"0\n",)}.get(
                poller.name, (None,)
            )
            assert [wake for wake in poller.wakes if wake.in_vain and wake.at > stopped] == []
        began, wall = time.monotonic(), time.time()
        for name in "abc":
            cluster.mon(name).resume()
        for mount in (unread, busy, idle):
            until(lambda mount=mount: look(mount.path, "session/fresh").value == "1", "fresh again")  # type: ignore[misc]
            until(lambda mount=mount: look(mount.path, "health").value != "HEALTH_UNKNOWN", "health again")  # type: ignore[misc]
            time.sleep(REFRESH_S)
            assert_all_fresh(mount, wanted, wall)
            assert events(mount, "fresh")
            assert events(mount, "health")[-1]["new"] != "HEALTH_UNKNOWN"
            assert events(mount, "session")[-1]["state"] == "open"
        until(lambda: all(poller.holds and poller.wakes[-1].at > began for poller in pollers), "all pollers woke", 5)


def test_the_quorum_is_lost(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    busy, unread = mount_of(cluster), mount_of(cluster)
    wanted = files(busy)
    for name in wanted:
        look(busy.path, name)
    mine = busy.read("session/mon").strip()
    with contextlib.ExitStack() as stack:
        pollers = [stack.enter_context(Poller(busy.path, name)) for name in POLLED]
        until(lambda: all(poller.holds for poller in pollers), "all pollers have read")
        for name in sorted(set("abc") - {mine}):
            cluster.mon(name).kill()
        killed, wall = time.monotonic(), time.time()
        newest: dict[str, float] = {}
        sampled = (*POLLED, "ceph/status", "ceph/df", "ceph/quorum_status.json")
        while time.monotonic() < killed + LEASE_S + STALE_AFTER_S + SLACK_S:
            for name in sampled:
                reading = in_time(look(busy.path, name))
                if not reading.error and reading.value not in ("HEALTH_UNKNOWN", "0"):
                    newest[name] = max(reading.mtime - wall, newest.get(name, reading.mtime - wall))
            if time.monotonic() > killed + LEASE_S + 5:
                assert "HEALTH_OK\n" not in busy.read("status")  # its age stands beside it, or it is unknown
            time.sleep(0.3)
        # session/fresh is about the present, whatever it says; all others are as old as what they say
        late = {name: age for name, age in newest.items() if age > LEASE_S + SLACK_S and name != "session/fresh"}
        assert not late
        for mount in (unread, busy):
            assert_all_stale(mount, wanted)
        assert "no quorum heard" in busy.read("status")
        assert len(events(busy, "error")) < 20
        for poller in pollers:
            assert poller.holds in {"health": (b"HEALTH_UNKNOWN\n",), "session/fresh": (b"0\n",)}.get(
                poller.name, (None,)
            )
        wall = time.time()
        for name in sorted(set("abc") - {mine}):
            cluster.mon(name).start()
        for mount in (unread, busy):
            until(lambda mount=mount: look(mount.path, "health").value == "HEALTH_OK", "health again")  # type: ignore[misc]
            time.sleep(REFRESH_S)
            assert_all_fresh(mount, wanted, wall)


# The bounds are what is set; the second is what everybody has, and takes as long as it says.
LENGTHS = [
    pytest.param("stale_after=6,refresh=3", 8, id="short"),
    pytest.param("", 65, id="as by default", marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("options", "pause_s"), LENGTHS)
def test_who_comes_back_to_a_healthy_cluster_hears_the_truth(
    cluster: Cluster, mount_of: Callable[..., Mount], options: str, pause_s: float
) -> None:
    mounts = [mount_of(cluster, options) for _ in range(3)]
    look(mounts[0].path, "status")
    for name in files(mounts[1]):
        look(mounts[1].path, name)
    time.sleep(pause_s)
    for mount in mounts:
        first = in_time(look(mount.path, "health"))
        assert first.value == "HEALTH_OK"
        assert "HEALTH_OK\n" in mount.read("status")
        assert [event["new"] for event in events(mount, "health")] == ["HEALTH_OK"]


@pytest.mark.parametrize(
    ("options", "dead_s"),
    [
        pytest.param("refresh=3", 9, id="short"),
        pytest.param("", 25, id="as by default", marks=pytest.mark.soak),
    ],
)
def test_a_monitor_dies_and_nobody_reads(
    cluster: Cluster, mount_of: Callable[..., Mount], options: str, dead_s: float
) -> None:
    """`events` tells it all the same, and a command that fails because of it fails here, too."""
    mount, reader = mount_of(cluster, options), mount_of(cluster)
    assert look(reader.path, "ceph/mon/ok-to-add-offline").error == 0
    mine = {m.read("session/mon").strip() for m in (mount, reader)}
    victim = min(set("abc") - mine)
    cluster.mon(victim).kill()
    sleep_until(time.monotonic() + dead_s)
    failed = in_time(look(reader.path, "ceph/mon/ok-to-add-offline"))
    assert failed.error == errno.ENODATA, failed
    assert "ceph/mon/ok-to-add-offline" not in names(reader.path, "ceph/mon")
    cluster.mon(victim).start()
    cluster.wait_quorum(3, BACK_S)
    cluster.wait_health(timeout_s=BACK_S)
    until(lambda: look(reader.path, "ceph/mon/ok-to-add-offline").error == 0, "the command works again", 10)
    until(lambda: "ceph/mon/ok-to-add-offline" in names(reader.path, "ceph/mon"), "it is listed again", 15)
    until(lambda: events(mount, "health")[-1]["new"] == "HEALTH_OK", "the end of it in events", 30)
    quorums = events(mount, "quorum")
    assert [event["left"] for event in quorums[1:]] == [[victim], []], quorums
    assert quorums[-1]["joined"] == [victim]
    healths = events(mount, "health")
    assert [event["new"] for event in healths] == ["HEALTH_OK", "HEALTH_WARN", "HEALTH_OK"], healths
    assert healths[1]["checks"] == ["MON_DOWN"]


def test_poll_wakes_after_a_change_and_not_without_one(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster, "refresh=1")
    still = [name for name in files(mount) if is_still(name)]
    with contextlib.ExitStack() as stack:
        pollers = {name: stack.enter_context(Poller(mount.path, name)) for name in still}
        until(lambda: all(poller.holds is not None for poller in pollers.values()), "all pollers have read")
        began = time.monotonic()
        time.sleep(8)
        assert {name: poller.wakes for name, poller in pollers.items() if poller.since_then(began)} == {}
        began = time.monotonic()
        cluster.ceph("osd", "set", "noout")
        try:
            told = ("osdmap", "osdmap.json", "epoch/osdmap", "maps/osdmap.bin", "health", "debug/osdmap", "ceph/health")
            until(lambda: all(pollers[name].since_then(began) for name in told), "all were told", 10)
        finally:
            cluster.ceph("osd", "unset", "noout")
        kept = ("monmap", "monmap.json", "fsid", "epoch/monmap", "mon/a/rank", "mon/quorum_count", "debug/monmap")
        assert {name: pollers[name].wakes for name in kept if pollers[name].since_then(began)} == {}


def is_still(name: str) -> bool:
    """Whether a file stays the same while nothing happens: it shows no age and no counter of requests."""
    if name.startswith("ceph/"):
        return name in ("ceph/health", "ceph/fsid", "ceph/osd/dump", "ceph/mon/dump")
    if name.startswith("session"):
        return name in ("session/state", "session/mon", "session/fresh", "session/global_id", "session/since")
    moving = r"status|metrics|dashboard\.html|log|debug/monc|capacity/.*|mon/.*/rtt_ms|epoch/mgrmap|ceph/.*"
    return not re.fullmatch(moving, name)


def test_the_encoded_osdmap_is_as_new_as_its_epoch(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    mount = mount_of(cluster, "refresh=10")
    look(mount.path, "maps/osdmap.bin")
    for number in range(8):
        before = int(mount.read("epoch/osdmap"))
        cluster.commands({"prefix": "osd set" if number % 2 == 0 else "osd unset", "key": "noscrub"})
        until(lambda before=before: int(mount.read("epoch/osdmap")) > before, "a new epoch", 10)  # type: ignore[misc]
        wanted = int(mount.read("epoch/osdmap"))
        reading = in_time(look(mount.path, "maps/osdmap.bin"))
        assert reading.error == 0
        assert reading.size == len(reading.data)
        assert OSDMap.decode(Cursor(reading.data, "osdmap")).epoch >= wanted
        assert json.loads(mount.read("osdmap.json"))["epoch"] >= wanted


def test_caps_are_narrowed_and_the_session_starts_anew(cluster: Cluster, mount_of: Callable[..., Mount]) -> None:
    """What is not ours to see any more is EACCES, and told once in log and events; nothing old stays there."""
    mount = mount_of(cluster)
    covered = ("monmap", "epoch/monmap", "mon/count", "capacity/avail_bytes", "session/fresh")
    not_covered = ("epoch/osdmap", "osdmap.json", "maps/osdmap.bin", "epoch/fsmap")
    assert [str(one) for name in (*covered, *not_covered, "health") if (one := look(mount.path, name)).error] == []

    def reconnect(caps: str) -> None:
        cluster.commands({"prefix": "auth caps", "entity": "client.df", "caps": ["mon", caps]})
        mine = mount.read("session/mon").strip()
        sessions = int(mount.read("session/sessions"))
        cluster.mon(mine).kill()
        until(lambda: int(mount.read("session/sessions")) > sessions, "another session")
        cluster.mon(mine).start()
        cluster.wait_quorum(3, BACK_S)

    try:
        reconnect("allow service pg r, allow service mon r")
        for name in not_covered:
            until(lambda name=name: look(mount.path, name).error == errno.EACCES, f"{name} is denied", 15)  # type: ignore[misc]
        for name in covered:
            until(lambda name=name: look(mount.path, name).error == 0, f"{name} is there", 15)  # type: ignore[misc]
        told = [line for line in mount.read("log").splitlines() if "caps" in line and "osdmap" in line]
        assert len(told) == 1, told
    finally:
        reconnect("allow r")
    for name in (*covered, *not_covered, "health"):
        until(lambda name=name: look(mount.path, name).error == 0, f"{name} is there again", 30)  # type: ignore[misc]
