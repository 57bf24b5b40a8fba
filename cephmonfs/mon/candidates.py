"""Candidates: the addresses that may be tried, from the configuration and from the monmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.mon.hunt import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cephmonfs.model.entity import AddrType
    from cephmonfs.model.monmap import MonMap
    from cephmonfs.mon.hunt import Hunt
    from cephmonfs.mon.report import Report


class Candidates:
    """Keeps the hunt's list up to date, and reports when the configured list is out of date."""

    def __init__(self, hunt: Hunt, kind: AddrType, report: Report) -> None:
        self.configured: tuple[Candidate, ...] = ()
        self._gone: tuple[str, ...] = ()  # of these, names that the monmap does not have
        self._hunt = hunt
        self._kind = kind
        self._report = report

    def refresh(self, monmap: MonMap | None) -> None:
        """Set the hunt's list anew, after a change of the monmap or of `configured`."""
        self._hunt.set_candidates(candidates(self.configured, monmap, self._kind))
        gone = unlisted(self.configured, monmap) if monmap is not None else self._gone
        if gone != self._gone:
            self._gone = gone
            self.warn(monmap)

    def warn(self, monmap: MonMap | None) -> None:
        """Report that the configured list is out of date, if it is."""
        if monmap is not None and self._gone:
            self._report.error(out_of_date(self._gone, monmap))


def candidates(configured: Iterable[Candidate], monmap: MonMap | None, kind: AddrType) -> list[Candidate]:
    """Return the monmap's monitors first; configured addresses that it does not have come last.

    A configured address that is a monitor's other one (v1 where we speak v2, or the reverse) is that monitor:
    it is tried where it speaks our protocol, and there alone.
    """
    known = []
    elsewhere: set[str] = set()
    for info in monmap.mons if monmap is not None else ():
        addr = info.addrs.of_type(kind)
        if addr is not None and not addr.blank:
            known.append(Candidate(info.name, addr, info.priority, info.weight))
            elsewhere.update(other.hostport for other in info.addrs.addrs if other.type != kind)
    have = {c.addr for c in known}
    extra = [c for c in configured if c.addr not in have and c.addr.hostport not in elsewhere]
    if known:
        last = max(c.priority for c in known) + 1
        extra = [Candidate(c.name, c.addr, last, c.weight) for c in extra]
    return [*known, *extra]


def unlisted(configured: Iterable[Candidate], monmap: MonMap) -> tuple[str, ...]:
    """Return the names that were given and none of whose addresses the monmap has."""
    there = {addr.hostport for info in monmap.mons for addr in info.addrs.addrs}
    given: dict[str, bool] = {}
    for candidate in configured:
        if not candidate.remembered:
            given[candidate.name] = given.get(candidate.name, False) or candidate.addr.hostport in there
    return tuple(name for name, known in given.items() if not known)


def out_of_date(gone: tuple[str, ...], monmap: MonMap) -> str:
    """Describe the difference."""
    mons = ", ".join(f"{info.name} {info.addrs}" for info in monmap.mons)
    verb = "is no monitor" if len(gone) == 1 else "are no monitors"
    return f"the list of monitors is out of date: {', '.join(gone)} {verb} of this cluster, which has {mons}"
