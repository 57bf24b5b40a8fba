"""The truth beside the clients: which monitor answers a statfs, and since when.

One thread asks one monitor over and over on a connection of its own, with nothing in between but the protocol.  A
request stays open until it is answered, so the moment of the answer is the moment from which that monitor is readable.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Final, Self

from cephmonfs.errors import CephMonFSError
from cephmonfs.messages import mon
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from tests.doubles.client import Driver
from tests.support.cluster import Cluster

_EVERY_S: Final = 0.03
_PATIENCE_S: Final = 2.0  # then the connection is made anew: it may be dead without our knowing


class Control:
    """Watches every monitor of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._key = CryptoKey.from_base64(cluster.keys["client.df"])
        self._end = threading.Event()
        self.answers: dict[str, list[tuple[float, float]]] = {}
        self._threads: list[threading.Thread] = []
        for name, addrs in cluster.mon_addrs().items():
            self.answers[name] = []
            assert addrs.v2_port is not None
            thread = threading.Thread(target=self._watch, args=(name, addrs.ip, addrs.v2_port), daemon=True)
            self._threads.append(thread)
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(5)

    def _watch(self, name: str, ip: str, port: int) -> None:
        while not self._end.is_set():
            try:
                with socket.create_connection((ip, port), 1) as sock:
                    self._ask(name, sock, EntityAddr.of(ip, port, AddrType.MSGR2))
            except (OSError, CephMonFSError):
                time.sleep(0.1)

    def _ask(self, name: str, sock: socket.socket, addr: EntityAddr) -> None:
        driver = Driver(addr, EntityName(EntityType.CLIENT, "df"), self._key)
        sock.settimeout(_PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(driver.feed(b""))
        while driver.ready is None:
            sock.sendall(driver.feed(_receive(sock)))
        fsid = bytes.fromhex(self._cluster.fsid.replace("-", ""))
        tid = 0
        while not self._end.is_set():
            tid += 1
            begin = time.monotonic()
            sock.sendall(driver.say(mon.MStatfs(fsid), tid))
            while not any(isinstance(one, mon.MStatfsReply) for one in driver.messages):
                sock.sendall(driver.feed(_receive(sock)))
            driver.messages.clear()
            driver.raw.clear()
            self.answers[name].append((begin, time.monotonic()))
            time.sleep(_EVERY_S)

    def gap(self, since: float) -> tuple[float, float]:
        """The longest time since then in which no monitor answered anything: begin and end."""
        ends = sorted(end for answers in self.answers.values() for _, end in answers if end >= since)
        begin, best = since, (since, since)
        for end in ends:
            if end - begin > best[1] - best[0]:
                best = (begin, end)
            begin = end
        return best


def _receive(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ConnectionResetError
    return data
