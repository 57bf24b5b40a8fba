"""A network of our own: one namespace for each monitor and one for the clients, with a router in between.

The router is a process that carries packets from one TUN device to another.  It can lose, delay or drop what it
carries, packet by packet, so TCP suffers as it would on a real network; nothing of the machine's own network is
touched, and all of it goes away with the process.  Needs root and /dev/net/tun.

    python -m tests.reliability.net NAME=IP...     one JSON line with the namespaces' pids, then commands on stdin
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN_NO_PI = 0x1001
_SMALL = 65536

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter(pid: int) -> None:
    """Move this thread (call it before there are others) into the network namespace of a process."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as file:
        _check(_libc.setns(file.fileno(), _CLONE_NEWNET))


class Net:
    """The network, from outside.  `pids[name]` is a process in the namespace of a node."""

    def __init__(self, nodes: dict[str, str]) -> None:
        self.nodes = nodes
        argv = [sys.executable, "-m", "tests.reliability.net", *(f"{name}={ip}" for name, ip in nodes.items())]
        self._router = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._router.stdout is not None
        line = self._router.stdout.readline()
        if not line:
            raise RuntimeError("no TUN devices or network namespaces here")
        self.pids: dict[str, int] = json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._router.stdin is not None
        self._router.stdin.close()
        self._router.wait()

    def prefix(self, name: str) -> list[str]:
        """What to put before a command that is to run in a node."""
        return ["nsenter", f"--net=/proc/{self.pids[name]}/ns/net"]

    def shape(self, *, drop: list[tuple[str, str]] | None = None, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """What happens to packets from now on.  `drop`: pairs of nodes, "*" for all; delay and loss are one-way, and
        only between the clients and the monitors, not among these."""
        pairs = [[self.nodes.get(a, a), self.nodes.get(b, b)] for a, b in drop or []]
        assert self._router.stdin is not None
        command = {"drop": pairs, "delay": delay_s, "loss": loss, "of": self.nodes["clients"]}
        self._router.stdin.write(json.dumps(command) + "\n")
        self._router.stdin.flush()


def _make_node(ip: str) -> tuple[int, int]:
    """Put this process into a new namespace with one TUN device; returns (its fd, pid of a process that stays)."""
    _check(_libc.unshare(_CLONE_NEWNET))
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _TUN_NO_PI))
    for words in (
        "link set lo up",
        f"addr add {ip}/24 dev tun0",
        "link set tun0 up txqueuelen 5000",
        "route add default dev tun0",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_nonlocal_bind").write_text("1")  # whoever looks for free ports does so from here
    holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "sleep", "infinity"])
    return fd, holder.pid


class _Router:
    def __init__(self, fds: dict[bytes, int]) -> None:
        self._fds = fds
        self._drop: list[list[bytes | None]] = []
        self._delay = 0.0
        self._loss = 0.0
        self._of = b""
        self._later: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def command(self, command: dict[str, Any]) -> None:
        self._drop = [[None if ip == "*" else socket.inet_aton(ip) for ip in pair] for pair in command["drop"]]
        self._delay, self._loss = command["delay"], command["loss"]
        self._of = socket.inet_aton(command["of"])

    def _dropped(self, a: bytes, b: bytes) -> bool:
        return any((x in (None, a) and y in (None, b)) or (x in (None, b) and y in (None, a)) for x, y in self._drop)

    def packet(self, data: bytes) -> None:
        if data[0] >> 4 != 4:
            return
        source, target = data[12:16], data[16:20]
        fd = self._fds.get(target)
        if fd is None or (self._drop and self._dropped(source, target)):
            return
        if self._of in (source, target):
            if self._loss and random.random() < self._loss:
                return
            if self._delay:
                self._count += 1
                heapq.heappush(self._later, (time.monotonic() + self._delay, self._count, fd, data))
                return
        self._write(fd, data)

    @staticmethod
    def _write(fd: int, data: bytes) -> None:
        try:
            os.write(fd, data)
        except OSError:
            pass  # its queue is full, or the node is gone: a lost packet

    def run(self) -> None:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        for fd in self._fds.values():
            poll.register(fd, select.POLLIN)
        pending = b""
        while True:
            wait_ms = None
            if self._later:
                wait_ms = max(0.0, (self._later[0][0] - time.monotonic()) * 1000)
            for fd, _ in poll.poll(wait_ms):
                if fd == 0:
                    more = os.read(0, _SMALL)
                    if not more:
                        return
                    *lines, pending = (pending + more).split(b"\n")
                    for line in lines:
                        self.command(json.loads(line))
                    continue
                try:
                    for _ in range(64):
                        self.packet(os.read(fd, _SMALL))
                except BlockingIOError:
                    pass
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                _, _, fd, data = heapq.heappop(self._later)
                self._write(fd, data)


def main() -> None:
    fds: dict[bytes, int] = {}
    pids: dict[str, int] = {}
    for word in sys.argv[1:]:
        name, ip = word.split("=")
        fds[socket.inet_aton(ip)], pids[name] = _make_node(ip)
    print(json.dumps(pids), flush=True)
    try:
        _Router(fds).run()
    finally:
        for pid in pids.values():
            os.kill(pid, 9)


if __name__ == "__main__":
    main()
