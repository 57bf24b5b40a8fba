"""Ports for monitors, where several test runs share the machine."""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Iterable

_PORTS = range(20000, 32000)  # below what the kernel gives to outgoing connections

_given: dict[int, float] = {}  # port -> when; between this and its daemon's bind others must not get it
_GIVEN_FOR_S = 60.0


def free_port(ip: str, used: Iterable[int | None]) -> int:
    """A port that nobody has: not bound, not given to another cluster of this process, and first of all from this
    process's own part of the range, as several test runs may share the machine.
    """
    now = time.monotonic()
    taken = {*used, *(port for port, at in list(_given.items()) if now - at < _GIVEN_FOR_S)}
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    part = len(_PORTS) // 40
    first = _PORTS.start + os.getpid() % 40 * part
    for port in [*random.sample(range(first, first + part), part), *random.sample(_PORTS, 200)]:
        if port in taken:
            continue
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((ip, port))
            except OSError:
                continue
        _given[port] = now
        return port
    raise OSError(errno.EADDRINUSE, f"no free port on {ip}")
