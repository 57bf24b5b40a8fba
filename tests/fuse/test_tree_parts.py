"""ceph/, events and events_pipe on a real mount."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from cephmonfs.fuse.poll import HAVE_POLL
from tests.doubles.mount import Mount
from tests.doubles.source import WALL, map_record


def publish_epoch(mount: Mount, epoch: int) -> None:
    record = mount.source.snap.maps["osdmap"]
    maps = dict(mount.source.snap.maps) | {"osdmap": map_record("osdmap", epoch, record.blob, record.at)}
    mount.do(lambda: mount.source.publish(maps=maps))


def events(mount: Mount) -> list[dict[str, object]]:
    return [json.loads(line) for line in mount.text("events").splitlines()]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settled(mount: Mount) -> None:
    """Wait until all of the beginning is told: session, maps, capacity, and (asked for by us) health and quorum."""
    until(lambda: {"health", "quorum", "capacity", "osdmap"} <= {str(event["event"]) for event in events(mount)})


# ---- ceph/


def test_commands_are_files(mount: Mount) -> None:
    assert sorted(os.listdir(mount.path / "ceph")) == [
        "health", "health.json", "osd", "quorum_status", "quorum_status.json", "slow", "slow.json",
    ]  # fmt: skip
    assert mount.text("ceph/osd/tree") == "ID  CLASS\n"
    assert (mount.path / "ceph/osd/getmap").read_bytes() == bytes(range(256))
    assert mount.text("ceph/osd/crush/rule/ls.json") == "\n[]"
    assert mount.source.asked["get_command_descriptions"] == 1
    assert mount.sh("wc -c < ceph/osd/getmap").strip() == "256"
    assert mount.sh("find ceph -type f -exec cat {} + | wc -c")


@pytest.mark.parametrize("result", [-1, -13, -16, -22, -95])
def test_a_command_that_the_monitors_refuse_is_not_listed(mount: Mount, result: int) -> None:
    mount.source.answers["slow"] = mount.source.answers["osd tree"] = result
    assert not [name for name in os.listdir(mount.path / "ceph") if name.startswith("slow")]
    assert sorted(os.listdir(mount.path / "ceph/osd")) == ["crush", "getmap"]
    for name in ("slow", "slow.json"):
        with pytest.raises(OSError) as caught:
            mount.text(f"ceph/{name}")
        assert caught.value.errno == (errno.EACCES if result in (-1, -13) else errno.ENODATA)
    assert "ceph slow" in mount.text("log")


def test_a_list_of_commands_comes_though_no_monitor_answers(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(cmd_timeout=1.0)
    mount.text("ceph/health")
    mount.do(lambda: mount.source.hush())
    begin = time.monotonic()
    assert "slow" in os.listdir(mount.path / "ceph")
    assert time.monotonic() - begin < 5


def test_without_the_right_to_the_list_the_directory_says_so(mount: Mount) -> None:
    mount.source.answers["get_command_descriptions"] = -13
    with pytest.raises(PermissionError):
        os.listdir(mount.path / "ceph")
    assert mount.text("fsid")


def test_one_slow_command_delays_nobody_and_is_asked_once(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(cmd_timeout=1.0)
    mount.text("ceph/health")
    mount.do(lambda: mount.source.hush())
    found: list[int | None] = []

    def reader() -> None:
        try:
            mount.text("ceph/slow")
        except OSError as exc:
            found.append(exc.errno)

    threads = [threading.Thread(target=reader) for _ in range(20)]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    mount.text("session/state")
    assert time.monotonic() - begin < 0.5
    for thread in threads:
        thread.join()
    assert found == [errno.ENODATA] * 20
    assert mount.source.asked["slow"] == 1
    mount.do(lambda: mount.source.hush(False))
    assert mount.text("ceph/slow") == "at last"


# ---- events


def test_events_are_json_lines_without_holes(mount: Mount) -> None:
    settled(mount)
    publish_epoch(mount, 18)
    until(lambda: any(event["event"] == "osdmap" and event["epoch"] == 18 for event in events(mount)))
    found = events(mount)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    assert found[0]["time"] == "2027-01-15T07:59:40.000Z"
    assert mount.sh("wc -c < events").strip() == str((mount.path / "events").stat().st_size)


def test_who_reads_events_makes_the_health_known(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(refresh=0.2)
    with open(mount.path / "events", "rb"):
        until(lambda: any(event["event"] == "health" for event in events(mount)))
        mount.source.answers["health"] = b'{"status": "HEALTH_OK", "checks": {}}'
        until(lambda: any(event.get("new") == "HEALTH_OK" for event in events(mount)))
    assert events(mount)[-1] == {
        "time": events(mount)[-1]["time"],
        "seq": len(events(mount)),
        "event": "health",
        "old": "HEALTH_WARN",
        "new": "HEALTH_OK",
        "checks": [],
    }


def test_tail_follows_events(mount: Mount) -> None:
    settled(mount)
    with subprocess.Popen(["tail", "-n", "0", "-f", mount.path / "events"], stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        try:
            time.sleep(0.3)  # until it has found the end
            publish_epoch(mount, 99)
            assert select.select([tail.stdout], [], [], 10)[0]
            assert json.loads(tail.stdout.readline())["epoch"] == 99
        finally:
            tail.kill()


def test_events_pipe_gives_what_comes_and_a_heartbeat(mount: Mount) -> None:
    settled(mount)
    with open(mount.path / "events_pipe", "rb", buffering=0) as pipe:
        begin = time.monotonic()
        assert pipe.read(4096) == b"\n"
        assert 0.9 < time.monotonic() - begin < 2
        threading.Timer(0.1, publish_epoch, (mount, 18)).start()
        assert json.loads(pipe.read(4096))["epoch"] == 18
        with pytest.raises(OSError):
            pipe.seek(0)
    assert (mount.path / "events_pipe").stat().st_mode & 0o7777 == 0o440


def test_a_reader_of_the_pipe_that_does_not_want_to_wait(mount: Mount) -> None:
    settled(mount)
    fd = os.open(mount.path / "events_pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            os.read(fd, 100)
        publish_epoch(mount, 18)
        until(lambda: any(event.get("epoch") == 18 for event in events(mount)))
        assert json.loads(os.read(fd, 4096))["epoch"] == 18
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    finally:
        os.close(fd)


@pytest.mark.skipif(not HAVE_POLL, reason="this pyfuse3 has no poll handler")
def test_the_pipe_is_readable_when_there_is_something(mount: Mount) -> None:
    settled(mount)
    with open(mount.path / "events_pipe", "rb", buffering=0) as pipe:
        assert select.select([pipe], [], [], 0.1)[0] == []
        threading.Timer(0.1, publish_epoch, (mount, 18)).start()
        begin = time.monotonic()
        assert select.select([pipe], [], [], 5)[0] == [pipe]
        assert time.monotonic() - begin < 1
        assert json.loads(pipe.read(4096))["epoch"] == 18


@pytest.mark.skipif(not HAVE_POLL, reason="this pyfuse3 has no poll handler")
def test_poll_tells_of_new_events(mount: Mount) -> None:
    settled(mount)
    with open(mount.path / "events", "rb", buffering=0) as file:
        file.read()
        poll = select.poll()
        poll.register(file, select.POLLPRI)
        assert poll.poll(100) == []
        threading.Timer(0.1, publish_epoch, (mount, 18)).start()
        assert poll.poll(5000)
        assert json.loads(file.read())["epoch"] == 18


def test_umount_ends_a_waiting_reader_of_the_pipe(mount: Mount) -> None:
    with subprocess.Popen(["cat", mount.path / "events_pipe"], stdout=subprocess.DEVNULL) as cat:
        time.sleep(0.3)
        assert cat.poll() is None
        cat.terminate()
        assert cat.wait(3) != 0  # within a heartbeat


def test_mtime_of_events_is_that_of_the_newest(mount: Mount) -> None:
    settled(mount)
    assert abs((mount.path / "events").stat().st_mtime - WALL) < 1e7
