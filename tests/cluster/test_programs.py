"""The programs beside the mount, on real clusters: get, ceph, watch, collect, umount."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ClusterFactory
from tests.support.cluster import Cluster
from tests.support.helper import CEPHMONFS, ROOT, Mounted, is_mounted, processes, run
from tests.support.release import new_key

pytestmark = pytest.mark.fuse

ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}


def program(*words: str | Path, timeout_s: float = 60, **options: Any) -> subprocess.CompletedProcess[bytes]:
    argv = [*CEPHMONFS, *map(str, words)]
    return subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False, env=ENV, **{"cwd": "/", **options})


@pytest.fixture(scope="module")
def mount(pacific: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    secret = f"secretfile={pacific.write_secret('client.df')}"
    with Mounted(pacific.source(), tmp_path_factory.mktemp("programs"), "name=df", secret) as mounted:
        yield mounted


def where(cluster: Cluster) -> list[str]:
    return [cluster.source(), "-o", f"name=df,secretfile={cluster.write_secret('client.df')}"]


# ---- get


@pytest.mark.parametrize(
    "path",
    [
        "fsid",
        "monmap",
        "monmap.json",
        "mdsmap.json",
        "osdmap",
        "health",
        "maps/monmap.bin",
        "epoch/fsmap",
        "mon/b/rank",
    ],
)
def test_get_prints_what_the_mount_shows(pacific: Cluster, mount: Mounted, path: str) -> None:
    done = program("get", path, *where(pacific))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (mount.path / path).read_bytes()


def test_get_of_a_command_is_its_answer(pacific: Cluster) -> None:
    done = program("get", "ceph/mon/dump.json", *where(pacific))
    assert json.loads(done.stdout) == pacific.ceph("mon", "dump", fmt="json")


def test_get_lists_directories(pacific: Cluster, mount: Mounted) -> None:
    for path in ("/", "mon", "session", "ceph/osd"):
        names = program("get", path, *where(pacific)).stdout.decode().split()
        entries = [entry.name + "/" * entry.is_dir() for entry in (mount.path / path.strip("/")).iterdir()]
        assert sorted(names) == sorted(entries)


def test_get_of_what_is_not_there(pacific: Cluster) -> None:
    done = program("get", "no/such", *where(pacific))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"cephmonfs get: there is no file no/such; `cephmonfs get /` lists what there is\n"
    pacific.make_key("client.small", key_type=None, mon="allow service pg r")
    small = [pacific.source(), "-o", f"name=small,secretfile={pacific.write_secret('client.small')}"]
    done = program("get", "osdmap", *small)
    assert done.returncode == 1
    assert b"the key's caps do not cover the osdmap" in done.stderr
    done = program("get", "fsid", "127.0.0.1:9:/", "-o", f"{where(pacific)[2]},mount_timeout=1")
    assert done.returncode == 32
    assert b"connect: connection refused" in done.stderr
    assert program("get").returncode == 1


def test_get_without_fuse(pacific: Cluster) -> None:
    script = 'mount --make-rprivate / && mount -t tmpfs none /dev && exec "$@"'
    done = run(["unshare", "--mount", "sh", "-c", script, "sh", *CEPHMONFS, "get", "fsid", *where(pacific)], env=ENV)
    assert done.stdout.strip() == pacific.fsid, done.stderr


def test_get_follows_events(pacific: Cluster) -> None:
    # A test run in the background of a script ignores SIGINT, and so would what it starts.
    argv = ["env", "--default-signal=INT", *CEPHMONFS, "get", "events_pipe", *where(pacific)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=ENV, cwd=ROOT) as got:
        try:
            assert got.stdout is not None
            first = json.loads(got.stdout.readline())
            got.send_signal(signal.SIGINT)
            assert got.wait(10) in (8, -signal.SIGINT)
        finally:
            got.kill()
    assert first["event"] == "session"


# ---- ceph

COMMANDS = (
    "health", "health detail", "health -f json", "df -f json-pretty", "df detail", "mon stat", "mon dump",
    "mon dump -f json", "quorum_status", "osd stat", "osd tree", "osd tree -f xml", "osd dump 1", "osd pool ls detail",
    "osd pool get cephfs_data size", "fs dump", "fs ls", "mds stat", "mgr stat -f json", "versions", "time-sync-status",
    "node ls", "fsid", "osd dump 99999 -f json", "osd pool get nosuch size",
)  # fmt: skip
ARGUMENTS = (
    "osd find 0", "osd find osd.0 -f json-pretty", "osd tree --states up -f json", "osd find x --format json",
    "osd metadata 0", "osd find 7", "osd tree up,in", "osd metadata osd.0 -f xml", "osd map cephfs_data obj",
    "osd info osd.0", "fs get cephfs -f yaml", "osd info -f json", "osd pool get cephfs_data all",
    "osd pool ls --detail detail", "pg map 1", "osd getmaxosd --", "pg map 1.0", "osd dump --epoch=1", "osd dump 0x1",
    "osd dump -1", "mon metadata a", "osd crush rule dump replicated_rule", "mds metadata",
)  # fmt: skip
# Some numbers move, and some maps with them, while two programs run after each other.
MOVING = re.compile(rb'"(age|quorum_age|events|uptime|progress_events)[^,]*|\d+ (KiB|MiB|GiB|s|h)\b|[\d.]+ ?(s|m|h)\b')


def real(cluster: Cluster, *words: str) -> tuple[int, bytes]:
    argv = [
        "ceph",
        "-c",
        str(cluster.conf_path),
        "-n",
        "client.df",
        "-k",
        str(cluster.write_keyring("client.df")),
        *words,
    ]
    done = subprocess.run(cluster.runner.argv(argv), capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout


def ours(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[bytes]:
    keyring = cluster.write_keyring("client.df")
    return program("ceph", "--conf", cluster.conf_path, "--name", "client.df", "--keyring", keyring, *words)


@pytest.mark.parametrize("lines", [COMMANDS, ARGUMENTS])
def test_ceph_is_as_the_real_one(any_release: Cluster, lines: tuple[str, ...]) -> None:
    # Each of them on one release or two: what the program does is ours, and the answers are a monitor's.
    first, step = {"pacific": (0, 2), "tentacle": (1, 2)}.get(any_release.release, (0, 4))
    for line in lines[first::step]:
        for attempt in range(3):
            status, stdout = real(any_release, *line.split())
            done = ours(any_release, *line.split())
            assert done.returncode == status, (line, done.stderr)
            # an older one does not begin a line for an answer that is none
            if status or MOVING.sub(b"", done.stdout) == MOVING.sub(b"", stdout):
                break
            assert attempt < 2, f"{line}: {done.stdout!r} is not {stdout!r}"
            time.sleep(0.5)  # a number moved in between


def test_ceph_status(any_release: Cluster) -> None:
    done = ours(any_release, "-s", "--format", "json")
    assert done.stdout.startswith(b"\n{")
    assert json.loads(done.stdout)["fsid"] == any_release.fsid
    assert ours(any_release, "--status").stdout.startswith(b"  cluster:\n")
    assert ours(any_release, "-v").stdout.startswith(b"ceph version ")


@pytest.mark.parametrize("line", ["osd pool stats -f json", "pg stat", "osd df"])
def test_ceph_asks_the_mgr_through_a_monitor(any_release: Cluster, line: str) -> None:
    done = ours(any_release, *line.split())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("osd set noout", "`osd set noout` needs more than to read: this stand-in for ceph never changes anything"),
        ("auth ls", "`auth ls` needs more than to read"),
        ("nonsense", "the monitors know no command `nonsense`"),
        ("osd pool get cephfs_data", "`osd pool get`: var is missing"),
        ("osd pool get cephfs_data nosuch", "`osd pool get`: nosuch: wanted one of "),
        ("osd dump x", "`osd dump`: x is one word too many"),
        ("health detail more", "`health`: more is one word too many"),
        ("", "no command: it has no interactive mode"),
    ],
)
def test_ceph_refuses(pacific: Cluster, line: str, sentence: str) -> None:
    done = ours(pacific, *line.split())
    assert (done.returncode, done.stdout) == (22, b""), done.stderr
    assert sentence in done.stderr.decode()
    assert done.stderr.endswith(b"Error EINVAL: invalid command\n")


def test_ceph_fails_when_the_cluster_does_not_answer(pacific: Cluster, factory: ClusterFactory, tmp_path: Path) -> None:
    keyring = pacific.write_keyring("client.df")
    began = time.monotonic()
    done = program("ceph", "-m", "127.0.0.1:9", "--id", "df", "-k", keyring, "--connect-timeout", "1", "health")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"connect: connection refused" in done.stderr
    assert time.monotonic() - began < 5
    wrong = tmp_path / "keyring"
    wrong.write_text(f"[client.df]\nkey = {new_key()}\n")
    wrong.chmod(0o600)
    done = program("ceph", "-c", pacific.conf_path, "-n", "client.df", "-k", wrong, "health")
    assert (done.returncode, done.stdout) == (13, b"")
    assert program("ceph", "-c", "/nowhere", "-n", "client.df", "-k", keyring, "health").returncode == 1
    assert program("ceph", "-f", "nope", "health").returncode == 2
    alone = factory(mons=3)
    alone.mon("b").kill()
    alone.mon("c").kill()
    alone.wait_until(lambda: alone.mon("a").admin_socket("mon_status")["state"] != "leader", "no quorum")
    done = ours(alone, "--connect-timeout", "2", "health")
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.fixture
def factory(request: pytest.FixtureRequest) -> Iterator[ClusterFactory]:
    made = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    yield made
    made.close()


def test_ceph_is_told_by_the_environment(pacific: Cluster, tmp_path: Path) -> None:
    keyring = pacific.write_keyring("client.df")
    env = ENV | {"CEPH_CONF": str(pacific.conf_path), "CEPH_ARGS": f"--id df --keyring {keyring}"}
    done = subprocess.run([*CEPHMONFS, "ceph", "fsid"], capture_output=True, text=True, env=env, cwd="/", timeout=60)
    assert done.stdout.strip() == pacific.fsid
    file = tmp_path / "out"
    assert ours(pacific, "health", "-o", str(file)).stdout == b""
    assert file.read_text().startswith("HEALTH_")


# ---- watch


def test_watch_is_one_screen(pacific: Cluster, mount: Mounted) -> None:
    argv = [*CEPHMONFS, "watch", str(mount.path), "--count", "1"]
    done = run(argv, env=ENV | {"COLUMNS": "100", "LINES": "40"})
    assert done.returncode == 0, done.stderr
    for word in (pacific.fsid, "HEALTH_", "session open", "monitors", "events", "available", "127.0.0.1"):
        assert word in done.stdout, word
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_watch_without_rich(mount: Mounted) -> None:
    code = "import sys; sys.modules['rich.console'] = None; from cephmonfs.cli.main import main; sys.exit(main())"
    done = run([sys.executable, "-c", code, "watch", str(mount.path)], env=ENV)
    assert done.returncode == 2
    assert (
        done.stderr
        == "cephmonfs watch: watch wants rich: pip install 'cephmonfs[watch]', or apt install python3-rich\n"
    )
    done = run([*CEPHMONFS, "watch", "/"], env=ENV)
    assert (done.returncode, done.stderr) == (1, "cephmonfs watch: / is no cephmon mount\n")


# ---- collect


def test_a_bundle_has_everything_and_no_secret(pacific: Cluster, mount: Mounted, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    done = program("collect", mount.path, "-o", path)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        files = {name.partition("/")[2]: tar.extractfile(name) for name in tar.getnames()}
        content = {name: file.read() for name, file in files.items() if file is not None}
    assert {
        "mount/status",
        "mount/monmap.json",
        "mount/config",
        "mount/log",
        "mount/ceph/status.json",
        "versions",
    } <= set(content)
    assert "mount/events_pipe" not in content
    assert content["mount/monmap.json"] == (mount.path / "monmap.json").read_bytes()
    assert b"pyfuse3 " in content["versions"]
    everything = b"\n".join(content.values())
    for key in pacific.keys.values():
        raw = base64.b64decode(key)[12:]
        for form in (key.encode(), raw, raw.hex().encode(), base64.b64encode(raw)[:20]):
            assert form not in everything
    streamed = program("collect", mount.path, "--output", "-")
    with tarfile.open(fileobj=io.BytesIO(streamed.stdout)) as tar:
        assert tar.getnames()
    done = program("collect", tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is no cephmon mount" in done.stderr


# ---- umount


def test_umount(pacific: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "m"
    secret = f"secretfile={pacific.write_secret('client.df')}"
    with Mounted(pacific.source(), directory, "name=df", secret):
        with (directory / "status").open():
            done = program("umount", directory)
            assert done.returncode == 32
            assert b"busy" in done.stderr
            assert b"--lazy detaches at once" in done.stderr
        assert program("umount", directory).returncode == 0
        assert not is_mounted(directory)
        assert processes(directory) == []
        done = program("umount", directory)
        assert (done.returncode, done.stderr) == (1, f"cephmonfs umount: {directory} is not mounted\n".encode())
        assert b"is no cephmon mount but" in program("umount", "/proc").stderr


def test_umount_lazily(pacific: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "m"
    secret = f"secretfile={pacific.write_secret('client.df')}"
    with Mounted(pacific.source(), directory, "name=df", secret):
        with (directory / "fsid").open() as file:
            assert program("umount", "--lazy", directory).returncode == 0
            assert not is_mounted(directory)
            assert file.read().strip() == pacific.fsid  # who has it open goes on


# ---- the command itself


def test_the_command_tells_what_there_is() -> None:
    done = program("--help")
    for name in ("mount", "umount", "check", "get", "watch", "collect", "ceph"):
        assert f"\n  {name} ".encode() in done.stdout
        assert program(name, "--help").returncode == 0
    done = program("chekc")
    assert (done.returncode, done.stderr) == (1, b'cephmonfs: unknown command "chekc": did you mean "check"?\n')
