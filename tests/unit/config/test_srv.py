"""DNS SRV against a small real name server on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from cephmonfs.config import srv
from cephmonfs.config.monaddr import MonTarget
from cephmonfs.errors import ConfigError

NAME = "_ceph-mon._tcp.example.net"
Answer = Callable[[dns.message.Message], bytes | None]


class NameServer:
    """Answers each UDP question with what `answer` makes of it."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.answer: Answer = lambda _: None
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            data, peer = self.sock.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            self.asked.append(query.question[0].name.to_text())
            reply = self.answer(query)
            if reply is not None:
                self.sock.sendto(reply, peer)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.sock.getsockname())
        self.thread.join()
        self.sock.close()

    def resolver(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.sock.getsockname()[1]
        resolver.search = []
        return resolver


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


def _records(*records: str) -> Answer:
    def answer(query: dns.message.Message) -> bytes:
        reply = dns.message.make_response(query)
        if records:
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "SRV", *records))
        return reply.to_wire()

    return answer


def _rcode(code: dns.rcode.Rcode) -> Answer:
    def answer(query: dns.message.Message) -> bytes:
        reply = dns.message.make_response(query)
        reply.set_rcode(code)
        return reply.to_wire()

    return answer


async def test_records_by_priority_and_weight(server: NameServer) -> None:
    server.answer = _records(
        "20 10 6789 old.example.net.",
        "10 5 3300 b.example.net.",
        "10 60 3300 a.example.net.",
        "30 0 40001 c.example.net.",
    )
    found = await srv.lookup("ceph-mon_example.net", server.resolver())
    assert [(one.target, one.priority, one.weight) for one in found] == [
        (MonTarget("a.example.net", 3300, "v2"), 10, 60),
        (MonTarget("b.example.net", 3300, "v2"), 10, 5),
        (MonTarget("old.example.net", 6789, "v1"), 20, 10),
        (MonTarget("c.example.net", 40001, None), 30, 0),
    ]
    assert server.asked == [f"{NAME}."]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_rcode(dns.rcode.NXDOMAIN), "no such name (NXDOMAIN)"),
        (_rcode(dns.rcode.SERVFAIL), "every name server failed (SERVFAIL or REFUSED)"),
        (_records(), "the name has no SRV record"),
        (_records("0 0 0 ."), "its records name no host"),
    ],
)
async def test_failures(server: NameServer, answer: Answer, reason: str) -> None:
    server.answer = answer
    with pytest.raises(ConfigError) as caught:
        await srv.lookup("ceph-mon_example.net", server.resolver())
    assert str(caught.value) == (
        "no monitor address: none in the source, mon_addr, /etc/ceph/ceph.conf (mon_host missing); "
        f"DNS SRV {NAME}: {reason}"
    )


@pytest.mark.parametrize("nonsense", [b"", b"\0", b"nonsense that is no DNS at all", b"\0" * 64])
async def test_nonsense_is_an_answer_that_never_came(
    server: NameServer, nonsense: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(srv, "LIFETIME", 0.2)
    server.answer = lambda query: query.to_wire()[:2] + nonsense
    with pytest.raises(ConfigError, match="no monitor address: "):
        await srv.lookup("ceph-mon_example.net", server.resolver())


async def test_a_name_without_a_domain_is_searched(server: NameServer) -> None:
    there, not_there = _records("0 0 3300 a.example.net."), _rcode(dns.rcode.NXDOMAIN)
    server.answer = lambda query: (there if "example" in query.question[0].name.to_text() else not_there)(query)
    resolver = server.resolver()
    resolver.search = [dns.name.from_text("example.net")]
    assert len(await srv.lookup("ceph-mon", resolver)) == 1
    assert server.asked[-1] == f"{NAME}."


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("ceph-mon", "_ceph-mon._tcp"),
        ("ceph-mon_example.net", NAME),
        ("ceph-mon_example.net.", NAME),
        ("ceph-mon_", "_ceph-mon._tcp"),
    ],
)
def test_names(service: str, name: str) -> None:
    assert srv.srv_name(service) == name


def test_no_service() -> None:
    with pytest.raises(ConfigError, match="has no service"):
        srv.srv_name("_example.net")


_LATER = """
import sys

from cephmonfs.config import srv

srv.load()
import dns.asyncresolver
import trio

from cephmonfs.errors import ConfigError


class Unreadable:
    def find_spec(self, name, path=None, target=None):
        raise PermissionError(f"{name} is not read in time")


async def main():
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.search = ["127.0.0.1"], int(sys.argv[1]), []
    sys.meta_path.insert(0, Unreadable())
    print((await srv.lookup("ceph-mon_example.net", resolver))[0].target.host)
    try:
        await srv.lookup("ceph-mon_elsewhere.net", resolver)
    except ConfigError as exc:
        print(exc)


trio.run(main)
"""


def test_nothing_is_loaded_after_privileges_are_given_up(server: NameServer) -> None:
    def answer(query: dns.message.Message) -> bytes:
        name = query.question[0].name
        reply = dns.message.make_response(query)
        if "example" in str(name):
            alias = dns.name.from_text("other.example.net.")
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", str(alias)))
            reply.answer.append(dns.rrset.from_text(alias, 60, "IN", "SRV", "0 0 3300 a.example.net."))
        else:
            soa = "ns.elsewhere.net. me.elsewhere.net. 1 2 3 4 5"
            reply.authority.append(dns.rrset.from_text("elsewhere.net.", 60, "IN", "SOA", soa))
        return reply.to_wire()

    server.answer = answer
    port = str(server.sock.getsockname()[1])
    done = subprocess.run([sys.executable, "-c", _LATER, port], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    host, sentence = done.stdout.splitlines()
    assert host == "a.example.net"
    assert "the name has no SRV record" in sentence
