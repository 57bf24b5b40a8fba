"""One daemon of a cluster: a child of this process, its signals, its admin socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.cluster import Cluster

Json = Any  # what `ceph -f json` prints; tests know its shape better than a type could say


class Daemon:
    """One foreground daemon, a direct child of this process."""

    def __init__(self, cluster: Cluster, kind: str, name: str, extra_args: Sequence[str] = ()) -> None:
        self.cluster = cluster
        self.kind = kind
        self.name = name
        self.extra_args = tuple(extra_args)
        self.process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.kind}.{self.name} pid={self.pid}>"

    @property
    def asok(self) -> Path:
        return self.cluster.run_dir / f"{self.kind}.{self.name}.asok"

    @property
    def log_path(self) -> Path:
        return self.cluster.log_dir / f"{self.kind}.{self.name}.log"

    @property
    def data_path(self) -> Path:
        return self.cluster.directory / "data" / f"{self.kind}.{self.name}"

    @property
    def pid_path(self) -> Path:
        return self.cluster.run_dir / f"{self.kind}.{self.name}.pid"

    @property
    def pid(self) -> int | None:
        """The pid while it runs, else None."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def start(self, *once: str) -> None:
        """Start it (again), with arguments for this time.  Returns at once; see `Cluster.wait_quorum`, `wait_until`."""
        if self.pid is not None:
            raise RuntimeError(f"{self!r} runs already")
        self.asok.unlink(missing_ok=True)
        argv = [f"ceph-{self.kind}", "-f", "-i", self.name, "-c", str(self.cluster.conf_path), *self.extra_args, *once]
        with (self.cluster.log_dir / f"{self.kind}.{self.name}.out").open("ab") as out:
            # A session of its own: Ctrl-C in the terminal is for the tests, which then end the daemons in order.
            self.process = subprocess.Popen(
                [*self.cluster.places.get(f"{self.kind}.{self.name}", ()), *self.cluster.runner.argv(argv)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.pid_path.write_text(f"{self.process.pid} {start_time(self.process.pid)}\n")

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is None:
            raise RuntimeError(f"{self.kind}.{self.name} does not run")
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 20) -> None:
        """SIGTERM and wait; SIGKILL when that takes too long.  Fine if it does not run."""
        if self.process is None:
            return
        if self.pid is not None:
            self.process.terminate()
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.pid_path.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL and wait: no goodbye to anyone; the kernel closes its sockets."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.pid_path.unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP: its TCP connections live on and nothing answers."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + 2
        while self.pid is not None and not _all_stopped(self.pid) and time.monotonic() < deadline:
            time.sleep(0.001)  # each thread stops when it next looks

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def admin_socket(self, *words: str, timeout_s: float = 10, **arguments: object) -> Json:
        """One admin socket command, without starting a program: `admin_socket("config", "set", name, value)`.

        For other commands the words are the prefix and keywords are its arguments.  Returns the parsed JSON reply,
        or the text where it is none.
        """
        command: dict[str, object]
        match words:
            case ("config", "set", name, *values):
                command = {"prefix": "config set", "var": name, "val": list(values)}
            case ("config", "get", name):
                command = {"prefix": "config get", "var": name}
            case _:
                command = {"prefix": " ".join(words)}
        command |= {"format": "json", **arguments}
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(self.asok))
            sock.sendall(json.dumps(command).encode() + b"\0")
            (length,) = struct.unpack(">I", _read_exactly(sock, 4))
            reply = _read_exactly(sock, length).decode(errors="replace")
        try:
            return json.loads(reply)
        except ValueError:
            return reply


def _read_exactly(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise ConnectionError("admin socket closed early")
        data += more
    return data


def _stat_fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat: with the pid it names a process for good.  Survives exec."""
    try:
        return _stat_fields(pid)[19]
    except OSError:
        return "0"


def _all_stopped(pid: int) -> bool:
    try:
        return all(is_stopped(int(task)) for task in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return False


def is_stopped(pid: int) -> bool:
    try:
        return _stat_fields(pid)[0] in "Tt"
    except OSError:
        return False


def last_words(daemon: Daemon) -> str:
    texts = []
    for path in (daemon.log_path.with_suffix(".out"), daemon.log_path):
        with contextlib.suppress(OSError):
            texts += path.read_text(errors="replace").splitlines()[-10:]
    return "\n".join(texts)
