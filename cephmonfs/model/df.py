"""`ceph df detail -f json`, and the objects of `ceph status -f json` that are not as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cephmonfs.errors import NoData
from cephmonfs.model.answer import Fields, parse_object
from cephmonfs.wire import limits

CLUSTER_NUMBERS: Final = ("total_bytes", "total_used_bytes", "total_used_raw_bytes")
POOL_NUMBERS: Final = (
    "max_avail",
    "avail_raw",
    "stored",
    "stored_raw",
    "objects",
    "dirty",
    "quota_bytes",
    "quota_objects",
    "rd",
    "rd_bytes",
    "wr",
    "wr_bytes",
    "compress_bytes_used",
    "compress_under_bytes",
    "bytes_used",
    "percent_used",
)
ODD_OBJECTS: Final = ("degraded", "misplaced", "unfound")


@dataclass(frozen=True, slots=True)
class Df:
    """The space of the cluster and of each pool; a number that the release does not report is missing."""

    cluster: Mapping[str, float]  # by CLUSTER_NUMBERS
    pools: Mapping[int, Mapping[str, float]]  # by id, then by POOL_NUMBERS

    @classmethod
    def parse(cls, data: bytes) -> Df:
        """Read the answer.  Raises NoData."""
        report = parse_object(data, "df")
        pools: dict[int, Mapping[str, float]] = {}
        for row in report.rows("pools")[: limits.MAX_POOLS_TOLD]:
            id = row.integer("id")
            if id is not None:
                pools.setdefault(id, _numbers(row.fields("stats"), POOL_NUMBERS))
        return cls(_numbers(report.fields("stats"), CLUSTER_NUMBERS), pools)


def parse_odd_objects(data: bytes) -> Mapping[str, float]:
    """Read the answer to `ceph status`: by ODD_OBJECTS, 0 for what it leaves out.  Raises NoData."""
    pgmap = parse_object(data, "status").fields("pgmap")
    if pgmap.number("num_pgs") is None:
        raise NoData("status tells nothing of the PGs")
    return {name: pgmap.number(f"{name}_objects") or 0 for name in ODD_OBJECTS}


def _numbers(fields: Fields, names: tuple[str, ...]) -> Mapping[str, float]:
    return {name: number for name in names if (number := fields.number(name)) is not None}
