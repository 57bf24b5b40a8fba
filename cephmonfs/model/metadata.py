"""`ceph mon metadata -f json`: the machines that monitors run on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cephmonfs.model.answer import parse_rows


@dataclass(frozen=True, slots=True)
class DaemonMetadata:
    """One daemon."""

    hostname: str
    ceph_version: str


def parse_metadata(data: bytes) -> Mapping[str, DaemonMetadata]:
    """Read the answer, by the name of the daemon.  Raises NoData."""
    rows = parse_rows(data, "mon metadata")
    return {row.name("name"): DaemonMetadata(row.name("hostname"), row.name("ceph_version")) for row in rows}
