"""`ceph quorum_status -f json`."""

from __future__ import annotations

from dataclasses import dataclass

from cephmonfs.errors import NoData
from cephmonfs.model.answer import parse_object


@dataclass(frozen=True, slots=True)
class Quorum:
    """Which monitors are in quorum."""

    names: tuple[str, ...]  # in the order of their ranks
    ranks: tuple[int, ...] | None  # None where the answer has none
    leader: str  # empty where the answer names none

    @classmethod
    def parse(cls, data: bytes) -> Quorum:
        """Read the answer.  Raises NoData."""
        report = parse_object(data, "quorum_status")
        names = report.names("quorum_names")
        if names is None:
            raise NoData("quorum_status names no quorum")
        return cls(names, report.integers("quorum"), report.name("quorum_leader_name"))
