"""The wiring: real mounts of a one-directory file system over a session that is only pretended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from cephmonfs.config.monaddr import MsMode
from cephmonfs.config.mountconfig import MountConfig, resolve
from cephmonfs.daemon import connect as session
from cephmonfs.daemon import serve
from cephmonfs.files.logring import LogRing
from cephmonfs.fuse import mount
from cephmonfs.host.mountpoint import mounts, set_path, top_mount
from cephmonfs.model.cryptokey import SECRET_BYTES, CryptoKey, KeyType
from cephmonfs.mon.snapshot import State
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Utime
from tests.doubles.machine import KEY, FakeMachine
from tests.doubles.mount_cephmon import FSID, parts, snapshot
from tests.support.helper import running

PROGRAM = [sys.executable, "-m", "tests.doubles.mount_cephmon"]
ROOT = Path(__file__).parents[3]


def config(*options: str, source: str = "df@", **changes: object) -> MountConfig:
    made = resolve(source, "/mnt", [f"secret={KEY},mon_addr=a", *options], FakeMachine())
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_libfuse_is_told() -> None:
    always = {"subtype=cephmon", "ro", "nosuid", "nodev", "noexec", "default_permissions"}
    assert mount.fuse_options(config(), snapshot()) == always | {f"fsname=df@{FSID}", "allow_other", "auto_unmount"}
    plain = config("noallow_other,noauto_unmount,run_as=root")
    assert mount.fuse_options(plain, replace(snapshot(), fsid="")) == always | {"fsname=df@"}
    # a daemon without privileges cannot unmount: fusermount3 stays for it
    assert "auto_unmount" in mount.fuse_options(config("noauto_unmount"), snapshot())
    odd = config(entity=replace(config().entity, id="a:b,c d"))
    assert f"fsname=a%3Ab%2Cc%20d@{FSID}" in mount.fuse_options(odd, snapshot())
    assert f"fsname=df@{FSID}.my.fs=" in mount.fuse_options(config("fs=my.fs"), snapshot())
    assert f"fsname=df@{FSID}.a%20b" in mount.fuse_options(config("fs=my.fs,pool=a b"), snapshot())
    flagged = mount.fuse_options(config("show_as_rw"), snapshot())
    assert "rw" in flagged
    assert "ro" not in flagged
    assert "ro" in mount.fuse_options(config("rw"), snapshot())  # mount(8) passes it always


def test_timeout_sentences() -> None:
    asked = config("mount_timeout=3")
    waiting = replace(snapshot(), state=State.CONNECTING, errors={"a:3300": "monitor a: connect: connection refused"})
    tell = session.timeout_sentence
    assert tell(waiting, asked).startswith("none of 3 monitors answered in 3 s: monitor a: connect: connection refused")
    one = replace(waiting, mons=())
    assert tell(one, asked) == "the monitor did not answer in 3 s: monitor a: connect: connection refused"
    assert tell(replace(one, errors={}), asked) == "the monitor did not answer in 3 s: a: no answer"
    many = replace(one, errors={str(n): f"monitor a{n}: resolve: no" for n in range(9)})
    assert tell(many, asked).endswith("monitor a4: resolve: no; and 4 more")
    broke_off = replace(one, errors={"a": "monitor a: auth: the monitor closed the connection"})
    assert tell(broke_off, asked).endswith("have no quorum: ceph daemon mon.NAME mon_status, on their hosts")
    old = replace(asked, notices=("moved",))
    assert tell(one, old).endswith("speak only the v1 protocol, at port 6789, want ms_mode=legacy")
    spelled = replace(old, ms_mode=MsMode.LEGACY)
    assert "want ms_mode" not in tell(one, spelled)
    refused = replace(one, state=State.REFUSED, last_error="refused client.df")
    assert tell(refused, asked) == "refused client.df"


def test_status_line() -> None:
    assert serve.session_status(snapshot()) == "open with a (v2:127.0.0.1:3300/0, secure)"
    assert serve.session_status(replace(snapshot(), state=State.HUNTING)) == "hunting"
    assert serve.session_status(replace(snapshot(), state=State.HUNTING, last_error="x")) == "hunting: x"


def test_exceptions_in_groups() -> None:
    group = BaseExceptionGroup("g", [ExceptionGroup("h", [ValueError("v")]), KeyboardInterrupt()])
    assert isinstance(session.first_of(ValueError, group), ValueError)
    assert session.first_of(OSError, group) is None
    assert session.describe(group) == "ValueError: v, KeyboardInterrupt: "


def test_c_code_that_prints_to_stderr_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    with mount.captured_output() as said:
        os.write(2, b"fusermount3: no\n")
        assert said() == "fusermount3: no\n"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", list(KeyType), ids=lambda kind: kind.name.lower())
async def test_the_log_says_once_what_an_aes_key_does_not_do(
    kind: KeyType, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log of every mount, the demo included: its key is known only when its monitors are."""
    monkeypatch.setenv("PRETEND", "config")  # it ends at once
    key = CryptoKey(kind, Utime(1, 0), Secret(bytes(SECRET_BYTES[kind])))
    with caplog.at_level("INFO", "cephmonfs"), pytest.raises(BaseExceptionGroup):
        await serve.serve(config(key=key), lambda *_: None, parts(), LogRing())  # type: ignore[arg-type]
    said = [record.message for record in caplog.records if "CVE-2025-30156" in record.message]
    assert said == ([key.weakness] if kind is KeyType.AES else [])


# ---- real mounts ----------------------------------------------------------------------------------------------------


class Mounted:
    """A mount point and whoever serves it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def start(self, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Mount as mount(8) would, without PATH and HOME."""
        argv = [*PROGRAM, "demo:", self.path, *(word for option in options for word in ("-o", option))]
        return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=env, timeout=60, check=False)

    def foreground(self, *options: str, **env: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Serve in the foreground."""
        argv = [*PROGRAM, "demo:", self.path, "-o", ",".join(("foreground", *options))]
        return running(argv, stderr=subprocess.PIPE, cwd=ROOT, env=env)

    @property
    def live(self) -> bool:
        return top_mount(mounts(), self.path) is not None

    def wait_until(self, live: bool) -> None:
        deadline = time.monotonic() + 20
        while self.live != live:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def daemon(self) -> int:
        return int(os.getxattr(self.path, "user.pid"))


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[Mounted]:
    set_path()
    mounted = Mounted(tmp_path.resolve())
    yield mounted
    if mounted.live:
        subprocess.run(["fusermount3", "-uz", mounted.path], check=False)


pretended = pytest.mark.fuse
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts as root")


@pretended
@as_root
def test_mount_look_and_umount(mnt: Mounted) -> None:
    done = mnt.start("log_level=debug,noatime")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mount = top_mount(mounts(), mnt.path)
    assert mount is not None
    assert (mount.fstype, mount.source) == ("fuse.cephmon", f"demo@{FSID}")
    assert os.statvfs(mnt.path).f_blocks == 100
    pid = mnt.daemon()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [status["Uid"].split()[0]] * 4 != ["0"] * 4
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    again = mnt.start()
    assert again.returncode == 32
    assert (
        again.stderr
        == f"mount.cephmon: {mnt.path} is already a mount point (fuse.cephmon, demo@{FSID}): umount it first\n"
    )
    subprocess.run(["umount", mnt.path], check=True)
    assert not mnt.live


@pretended
@as_root
@pytest.mark.parametrize("options", ["run_as=nobody", "run_as=root", "noauto_unmount", "noauto_unmount,run_as=root"])
@pytest.mark.parametrize("end", ["umount", "SIGTERM", "SIGINT", "SIGHUP"])
def test_every_end_is_clean(mnt: Mounted, options: str, end: str) -> None:
    with mnt.foreground(options) as process:
        mnt.wait_until(live=True)
        assert os.statvfs(mnt.path).f_blocks == 100
        os.listdir(mnt.path)
        if end == "umount":
            subprocess.run(["umount", mnt.path], check=True)
        else:
            process.send_signal(signal.Signals[end])
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "session closed" in err
    assert not mnt.live


@pretended
@as_root
def test_kill_9_leaves_no_dead_mount(mnt: Mounted) -> None:
    with mnt.foreground() as process:
        mnt.wait_until(live=True)
        os.listdir(mnt.path)
        process.kill()
    mnt.wait_until(live=False)


@pretended
@as_root
def test_a_dead_mount_is_replaced(mnt: Mounted) -> None:
    with mnt.foreground("noauto_unmount,run_as=root") as process:
        mnt.wait_until(live=True)
        os.listdir(mnt.path)
        process.kill()
    assert mnt.live
    done = mnt.start()
    assert done.returncode == 0
    assert done.stderr == f"mount.cephmon: {mnt.path} was a dead cephmon mount; it is detached and mounted again\n"
    assert os.statvfs(mnt.path).f_blocks == 100


@pretended
@pytest.mark.parametrize(
    ("case", "status", "message"),
    [
        ("refuse", 32, "monitor a refused client.df"),
        ("config", 1, "no monitor address"),
        ("timeout", 32, "none of 3 monitors answered in 0.05 s: "),
        ("caps", 32, "client.df may connect but not read"),
        ("pool", 32, "the cluster has no pool x"),
        ("bug", 32, "internal error: ZeroDivisionError: division by zero"),
    ],
)
def test_a_session_that_does_not_come(mnt: Mounted, case: str, status: int, message: str) -> None:
    done = mnt.start("mount_timeout=0.05" if case == "timeout" else "mount_timeout=60", PRETEND=case)
    assert done.returncode == status
    assert done.stderr.startswith(f"mount.cephmon: {message}")
    assert done.stderr.count("\n") == 1
    assert not mnt.live


@pretended
@as_root
def test_bg_mounts_at_once(mnt: Mounted) -> None:
    assert mnt.start("bg", PRETEND="timeout").returncode == 0
    assert mnt.live


@pretended
def test_interrupted_while_connecting(mnt: Mounted) -> None:
    with mnt.foreground(PRETEND="timeout") as process:
        assert process.stderr is not None
        assert "connecting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 8
    assert "mount.cephmon: interrupted" in err
    assert not mnt.live


@pretended
@as_root
def test_systemd_is_told(mnt: Mounted) -> None:
    # not below tmp_path, which may be root's alone: the daemon is not root by then
    with (
        tempfile.TemporaryDirectory(prefix="cmfs-run-") as run,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        name = f"{run}/notify"
        sock.bind(name)
        os.chmod(run, 0o755)
        os.chmod(name, 0o777)
        sock.settimeout(20)
        with mnt.foreground(NOTIFY_SOCKET=name, WATCHDOG_USEC="50000") as process:
            assert sock.recv(4096) == b"READY=1\nSTATUS=open with a (v2:127.0.0.1:3300/0, secure)"
            assert mnt.live
            assert {sock.recv(4096) for _ in range(4)} == {
                b"WATCHDOG=1",
                b"STATUS=open with a (v2:127.0.0.1:3300/0, secure)",
            }
            process.send_signal(signal.SIGTERM)
            while sock.recv(4096) != b"STOPPING=1":
                pass


@pretended
def test_fake_mounts_nothing(mnt: Mounted) -> None:
    done = subprocess.run([*PROGRAM, "demo:", mnt.path, "-f"], cwd=ROOT, env={}, check=False)
    assert done.returncode == 0
    assert not mnt.live
