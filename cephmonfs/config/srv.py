"""Monitors from DNS: SRV records of `_ceph-mon._tcp`, as Ceph's `mon_dns_srv_name` has them.

`mon_dns_srv_name` is "SERVICE" or "SERVICE_DOMAIN"; without a domain the search list of this machine is used.
dnspython is loaded on the first use only.  Ceph v20.2.4: src/mon/MonMap.cc, init_with_dns_srv.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.config.monaddr import MonTarget, protocol_of_port
from cephmonfs.errors import ConfigError

if TYPE_CHECKING:
    import dns.asyncresolver

LIFETIME: Final = 10.0  # seconds for all tries together
_MAX_RECORDS: Final = 64


@dataclass(frozen=True, slots=True)
class SrvTarget:
    """One record: a lower `priority` goes first, among equals a higher `weight` is chosen more often."""

    target: MonTarget
    priority: int
    weight: int


def srv_name(service: str) -> str:
    """Return the DNS name of a `mon_dns_srv_name`."""
    name, _, domain = service.partition("_")
    if not name:
        raise ConfigError(f'mon_dns_srv_name "{service}" has no service in front of its "_"')
    return f"_{name}._tcp" + (f".{domain.strip('.')}" if domain.strip(".") else "")


def load() -> None:
    """Load what `lookup` needs.  dnspython loads parts of itself when it meets them, and a daemon that has given up its
    privileges may not be able to read them any more.
    """
    import dns.asyncbackend
    import dns.asyncresolver
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype

    dns.asyncbackend.get_backend("trio")
    for kind in ("SRV", "CNAME", "DNAME", "SOA", "OPT"):
        dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(kind))  # type: ignore[no-untyped-call]


async def lookup(
    service: str, resolver: dns.asyncresolver.Resolver | None = None, conf: str = "/etc/ceph/ceph.conf"
) -> tuple[SrvTarget, ...]:
    """Return the monitors in DNS, by priority.

    Raises ConfigError; its text also lists the other places without monitors, since DNS is the last one.  Its
    status is 1 when DNS knows of none, 32 when DNS did not answer.
    """
    import dns.asyncresolver
    import dns.exception
    import dns.name
    import dns.resolver

    name = srv_name(service)

    def none(reason: str, *, for_now: bool = False) -> ConfigError:
        return ConfigError(
            f"no monitor address: none in the source, mon_addr, {conf} (mon_host missing); DNS SRV {name}: {reason}",
            32 if for_now else 1,
        )

    try:
        if resolver is None:
            resolver = dns.asyncresolver.Resolver()
        answer = await resolver.resolve(name, "SRV", search="." not in name.removesuffix("._tcp"), lifetime=LIFETIME)
    except dns.resolver.NXDOMAIN:
        raise none("no such name (NXDOMAIN)") from None
    except dns.resolver.NoAnswer:
        raise none("the name has no SRV record") from None
    except dns.resolver.NoResolverConfiguration:
        raise none("this machine has no name server") from None
    except dns.resolver.NoNameservers:
        raise none("every name server failed (SERVFAIL or REFUSED)", for_now=True) from None
    except dns.exception.Timeout:
        raise none("no name server answered", for_now=True) from None
    except (dns.exception.DNSException, OSError) as exc:
        raise none(f"{type(exc).__name__}: {exc}", for_now=True) from exc
    found: list[SrvTarget] = []
    for record in list(answer)[:_MAX_RECORDS]:
        host = record.target.to_text(omit_final_dot=True)
        if host in ("", ".") or not record.port:  # RFC 2782: "." is "decidedly not here"
            continue
        found.append(
            SrvTarget(MonTarget(host, record.port, protocol_of_port(record.port)), record.priority, record.weight)
        )
    if not found:
        raise none("its records name no host")
    return tuple(sorted(found, key=lambda item: (item.priority, -item.weight)))
