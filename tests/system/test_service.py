"""The unit files, and what the service does, with this process as the systemd.

Quick, and on any machine: the units are checked offline by systemd-analyze, and their Exec lines run as systemd would
run them: the notify socket, the store of file descriptors, credentials, and, as far as setpriv and prctl go, the
restrictions; strace tells whether the system call filter would let it live.  The device rules and the file system views
of a real service are for tests/packaging/test_systemd.py, which boots one.
"""

from __future__ import annotations

import array
import configparser
import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.helper import CEPHMONFS, HELPER, ROOT, is_mounted, remembered, run

pytestmark = [pytest.mark.fuse, pytest.mark.cluster]

UNITS = ROOT / "contrib" / "systemd"
SERVICE = UNITS / "cephmonfs@.service"
BEST = 1.5
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# No memory that is written and run, as MemoryDenyWriteExecute= has it (Linux 6.3), and LISTEN_PID, then exec.
BECOME = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
if os.environ.get("LISTEN_FDS"):
    os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[1], sys.argv[1:])
"""
LOCKED_UP = (
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
    "--inh-caps=-all", "--ambient-caps=-all",
)  # fmt: skip


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with programs that exist: those of the package are not installed here."""
    for unit in UNITS.iterdir():
        text = unit.read_text()
        text = re.sub(
            r"(?m)^(Exec\w+=[-+]*(?:nsenter [^=\n]*=1 --mount )?)(mount\.cephmon|cephmonfs)\b", r"\1/bin/true", text
        )
        (tmp_path / unit.name).write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
    return tmp_path


@pytest.mark.parametrize("name", [unit.name for unit in UNITS.iterdir() if unit.suffix != ".example"])
def test_the_units_are_valid(analyze: str, installed: Path, name: str) -> None:
    done = run([analyze, "verify", installed / name])
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_locked_up(analyze: str, installed: Path) -> None:
    done = run([analyze, "security", "--offline=yes", installed / SERVICE.name])
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert score is not None, done.stdout + done.stderr
    assert float(score[1]) <= BEST
    done = run([analyze, "security", "--offline=yes", f"--threshold={int(BEST * 10)}", installed / SERVICE.name])
    assert done.returncode == 0


def test_the_mount_and_its_automount_fit(analyze: str) -> None:
    where = {unit.suffix: re.search(r"(?m)^Where=(.*)$", unit.read_text()) for unit in UNITS.glob("mnt-ceph.*")}
    assert {match[1] for match in where.values() if match} == {"/mnt/ceph"}
    escaped = run(["systemd-escape", "-p", "--suffix=mount", "/mnt/ceph"]).stdout.strip()
    assert (UNITS / escaped).exists()


# ---- the service


class Manager:
    """What systemd does for one instance."""

    def __init__(self, directory: Path, mountpoint: Path, environment: dict[str, str], credentials: Path) -> None:
        unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read(SERVICE)
        self.service = unit["Service"]
        self.mountpoint = mountpoint
        self.variables = environment
        self.credentials = credentials
        self.state = directory / "state"
        self.state.mkdir()
        self.state.chmod(0o777)
        self.path = directory / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.path.chmod(0o666)
        self.store: dict[str, int] = {}
        self.said: list[str] = []
        self.main: subprocess.Popen[str] | None = None

    def argv(self, key: str) -> list[str]:
        """An Exec line, with its variables filled in and our programs in place of the installed ones."""
        words = self.service[key].lstrip("-+").split()
        words = [re.sub(r"\$\{(\w+)\}", lambda match: self.variables[match[1]], word) for word in words]
        if words[:3] == ["nsenter", "--target=1", "--mount"]:  # we are where PID 1 would be
            words = words[3:]
        programs = {"cephmonfs": CEPHMONFS, "mount.cephmon": (str(HELPER),)}
        return [*programs.get(words[0], (words[0],)), *words[1:]]

    def env(self, **more: str) -> dict[str, str]:
        return {
            "PATH": PATH, "NOTIFY_SOCKET": str(self.path), "CREDENTIALS_DIRECTORY": str(self.credentials),
            "STATE_DIRECTORY": str(self.state), "PYTHONPATH": str(ROOT), **more,
        }  # fmt: skip

    def receive(self, timeout_s: float = 10) -> list[str]:
        """One message; descriptors go to the store, those of a barrier are closed."""
        ready, _, _ = select.select([self.sock], [], [], timeout_s)
        assert ready, f"nothing said within {timeout_s:g} s after {self.said}"
        data, ancillary, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(64))
        fds = array.array("i")
        for _, _, raw in ancillary:
            fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
        lines = data.decode().splitlines()
        fields = dict(line.split("=", 1) for line in lines)
        if "FDSTORE" in fields:
            (self.store[fields["FDNAME"]],) = fds
        else:
            for fd in fds:
                os.close(fd)
        if "FDSTOREREMOVE" in fields:
            os.close(self.store.pop(fields["FDNAME"]))
        self.said += lines
        return lines

    def premount(self) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            self.argv("ExecStartPre"), env=self.env(), stderr=subprocess.PIPE, text=True, cwd="/"
        )
        while process.poll() is None:
            with contextlib.suppress(AssertionError):
                self.receive(0.05)
        assert process.stderr is not None
        with process.stderr:
            return subprocess.CompletedProcess([], process.returncode, "", process.stderr.read())

    def start(self, *tracer: str, **env: str) -> subprocess.Popen[str]:
        """ExecStart=, with the stored descriptors from 3 on."""
        names = list(self.store)
        copies = [os.dup(self.store[name]) for name in names]
        listen = {"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)} if names else {}

        def place() -> None:
            for index, fd in enumerate(copies):
                os.dup2(fd, 3 + index)

        argv = [sys.executable, "-c", BECOME, *LOCKED_UP, *tracer, *self.argv("ExecStart")]
        self.main = subprocess.Popen(
            argv, env=self.env(**listen, **env), stderr=subprocess.PIPE, text=True, cwd="/", preexec_fn=place,
            close_fds=False,
        )  # fmt: skip
        for fd in copies:
            os.close(fd)
        return self.main

    def until(self, line: str, timeout_s: float = 15) -> None:
        deadline = time.monotonic() + timeout_s
        while not any(re.fullmatch(line, said) for said in self.said):
            self.receive(max(0.1, deadline - time.monotonic()))

    def stop_post(self) -> None:
        run(self.argv("ExecStopPost"), env={"PATH": PATH})

    def close(self) -> None:
        if self.main is not None:
            if self.main.poll() is None:
                self.main.kill()
            self.main.wait()
            if self.main.stderr is not None:
                self.main.stderr.close()
        self.stop_post()
        self.sock.close()
        for fd in self.store.values():
            os.close(fd)


@pytest.fixture
def manager(pacific: Cluster, tmp_path: Path) -> Iterator[Manager]:
    # the service may not reach into pytest's own directories
    directory = Path("/run") / f"cephmonfs-test-{os.getpid()}"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "credentials").mkdir(parents=True)
    secret = directory / "credentials" / "cephmon.secret"
    secret.write_text(pacific.keys["client.df"])
    os.chown(secret, 65534, 65534)
    secret.chmod(0o400)
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    options = f"mon_addr={pacific.source().removesuffix(':/').replace(',', '/')}"
    environment = {"SOURCE": "df@", "DIR": str(mountpoint), "OPTIONS": options}
    made = Manager(directory, mountpoint, environment, directory / "credentials")
    yield made
    made.close()
    shutil.rmtree(directory, ignore_errors=True)


def test_the_service_serves_what_was_mounted_for_it(manager: Manager, pacific: Cluster) -> None:
    done = manager.premount()
    assert (done.returncode, done.stderr) == (0, "")
    assert list(manager.store) == ["cephmonfs-fuse"]
    assert is_mounted(manager.mountpoint)
    main = manager.start(WATCHDOG_USEC="400000")
    manager.until("FDSTOREREMOVE=1")
    assert manager.store == {}
    manager.until("READY=1")
    manager.until(r"STATUS=open with [abc] \(v2:127\.0\.0\.1:\d+/\d+, secure\)")
    assert (manager.mountpoint / "fsid").read_text().strip() == pacific.fsid
    assert os.statvfs(manager.mountpoint).f_blocks > 0
    (line,) = (
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {manager.mountpoint} " in line
    )
    for word in ("ro,nosuid,nodev,noexec", " fuse.cephmon df@ ", "default_permissions", "allow_other"):
        assert word in line
    status = Path(f"/proc/{main.pid}/status").read_text()
    for field in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Uid:\t65534"):
        assert field in status
    began, before = time.monotonic(), manager.said.count("WATCHDOG=1")
    while manager.said.count("WATCHDOG=1") < before + 3:
        manager.receive()
    assert time.monotonic() - began < 3
    main.send_signal(signal.SIGTERM)
    assert main.wait(10) == 0, main.stderr.read() if main.stderr else ""
    manager.until("STOPPING=1")
    manager.stop_post()
    assert not is_mounted(manager.mountpoint)
    assert len(remembered(pacific.fsid, manager.state)) == 1


def allowed_calls(analyze: str) -> set[str]:
    """What SystemCallFilter= lets through, by systemd's own lists."""
    groups: dict[str, set[str]] = {}
    group: set[str] = set()
    for line in run([analyze, "syscall-filter", "--no-pager"]).stdout.splitlines():
        if line.startswith("@"):
            group = groups.setdefault(line.strip(), set())
        elif line.startswith("    ") and not line.strip().startswith("#"):
            group.add(line.strip())

    def expand(name: str) -> set[str]:
        return {call for one in groups[name] for call in (expand(one) if one.startswith("@") else {one})}

    filters = re.findall(r"(?m)^SystemCallFilter=(.*)$", SERVICE.read_text())
    names: set[str] = set()
    for text in filters:
        listed = {call for name in text.lstrip("~").split() for call in expand(name)}
        names = names - listed if text.startswith("~") else names | listed
    return names


def test_the_system_call_filter_lets_it_live(manager: Manager, analyze: str) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = manager.state / "trace"
    manager.premount()
    main = manager.start(strace, "-D", "-f", "-qq", "-o", str(trace), WATCHDOG_USEC="400000")
    manager.until("READY=1", 60)
    for path in ("status", "monmap.json", "ceph/status.json", "metrics"):
        assert (manager.mountpoint / path).read_text()
    assert os.statvfs(manager.mountpoint).f_blocks > 0
    main.send_signal(signal.SIGTERM)
    assert main.wait(20) == 0
    called = set(re.findall(r"(?m)^\d+ +(\w+)\(", trace.read_text(errors="replace")))
    assert {"openat", "connect", "readv"} & called
    # setrlimit is tried, and not missed: LimitCORE=0
    assert called - allowed_calls(analyze) <= {"setrlimit"}


def test_umount_ends_the_service(manager: Manager) -> None:
    manager.premount()
    main = manager.start()
    manager.until("READY=1")
    assert run(["umount", manager.mountpoint]).returncode == 0
    assert main.wait(10) == 0


def test_a_service_that_is_killed_leaves_nothing_that_waits(manager: Manager) -> None:
    """A descriptor that stayed in the store would let every df wait for ever."""
    manager.premount()
    main = manager.start()
    manager.until("READY=1")
    main.kill()
    main.wait()
    with pytest.raises(OSError, match="not connected"):
        os.statvfs(manager.mountpoint)
    manager.stop_post()
    assert not is_mounted(manager.mountpoint)
    assert manager.premount().returncode == 0  # and systemd's Restart= begins anew
    manager.said.clear()
    assert manager.main is not None
    if manager.main.stderr is not None:
        manager.main.stderr.close()
    manager.start()
    manager.until("READY=1")
    assert os.statvfs(manager.mountpoint).f_blocks > 0


def test_without_a_session_there_is_no_ready_and_df_does_not_wait(manager: Manager) -> None:
    manager.variables["OPTIONS"] = "mon_addr=127.0.0.1:9,mount_timeout=4"
    manager.premount()
    main = manager.start()
    manager.until("FDSTOREREMOVE=1")
    began = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        os.statvfs(manager.mountpoint)
    assert time.monotonic() - began < 3.5
    assert main.wait(10) == 32
    assert main.stderr is not None
    assert "connect: connection refused" in main.stderr.read()
    assert "READY=1" not in manager.said


def test_premount_without_systemd(tmp_path: Path) -> None:
    done = run([*CEPHMONFS, "premount", "df@", str(tmp_path)], env={"PATH": PATH, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert done.stderr == "cephmonfs premount: premount is for systemd: NOTIFY_SOCKET is not set; use mount.cephmon\n"
    assert not is_mounted(tmp_path)


def test_premount_with_a_systemd_that_keeps_nothing(manager: Manager) -> None:
    manager.sock.close()
    manager.path.unlink()
    done = run(manager.argv("ExecStartPre"), env=manager.env())
    assert done.returncode == 2
    assert "systemd does not take the file descriptor" in done.stderr
    assert not is_mounted(manager.mountpoint)
    manager.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
