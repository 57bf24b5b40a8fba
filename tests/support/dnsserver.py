"""A tiny real DNS server on loopback: SRV, A and AAAA records from a table, over UDP."""

from __future__ import annotations

import fcntl
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

ADDRESS = "127.0.53.53"  # of no other server, and port 53 is all that resolv.conf can name


class DnsServer:
    """`records` maps "NAME TYPE" to the answers' texts; a name that is not in it does not exist.

    `junk` answers everything with bytes that are no DNS message.
    """

    def __init__(self, records: Mapping[str, Sequence[str]], *, junk: bool = False) -> None:
        self._records = {key.lower(): list(texts) for key, texts in records.items()}
        self._junk = junk
        self.asked: list[str] = []
        # one at a time on this machine, whoever runs tests: there is one such port, and UDP lets two bind it
        self._lock = (Path(tempfile.gettempdir()) / "cephmonfs-tests-dns.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 53))
        self._thread = threading.Thread(target=self._serve, name="dns")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (ADDRESS, 53))
        self._thread.join()
        self._socket.close()
        self._lock.close()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(4096)
            if not data:
                return
            self._socket.sendto(b"\xff" * 30 if self._junk else self._answer(data), peer)

    def _answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind}")
        texts = self._records.get(f"{name} {kind.lower()}")
        if texts:
            response.answer.append(dns.rrset.from_text(question.name, 5, dns.rdataclass.IN, question.rdtype, *texts))
        elif not any(key.startswith(f"{name} ") for key in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()


def resolv_conf(directory: Path, search: str = "example.test") -> Path:
    """A resolv.conf that leads here."""
    path = directory / "resolv.conf"
    path.write_text(f"nameserver {ADDRESS}\nsearch {search}\noptions timeout:1 attempts:1\n")
    return path
