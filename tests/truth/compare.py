"""What each file has to say when the real client says something: a table, one row for each question.

A row asks the monitors once and says of any number of files what has to be in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.wire.cursor import Cursor
from tests.truth.reference import Told, command

Json = Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """`read` of the file's content has to be `value`; of a file that must not be there, `read` is None."""

    file: str
    read: Callable[[bytes], object] | None
    value: object


@dataclass(frozen=True, slots=True)
class Row:
    """One question and what follows from its answer."""

    name: str
    command: Mapping[str, object]
    follows: Callable[[Told], Iterator[Wanted]]


# ---- what is read from a file


def value(data: bytes) -> str:
    """Of a value file."""
    text = data.decode()
    return text.removesuffix("\n") if text.endswith("\n") else f"no newline: {text!r}"


def number(data: bytes) -> int:
    return int(data)


def stripped(data: bytes) -> str:
    """Programs end their output with a newline or not."""
    return data.decode().strip("\n")


def as_json(data: bytes) -> Json:
    return json.loads(data)


def key(*path: str) -> Callable[[bytes], object]:
    """A part of a JSON file."""

    def read(data: bytes) -> object:
        found: Json = json.loads(data)
        for name in path:
            found = found[name]
        return found

    return read


def holds(word: str) -> Callable[[bytes], object]:
    """Whether a page has this text in it."""
    return lambda data: word in data.decode()


def sample(name: str) -> Callable[[bytes], object]:
    """A sample of `metrics` without labels; None when it is not there."""

    def read(data: bytes) -> object:
        match = re.search(rf"^{name} (\S+)$", data.decode(), re.MULTILINE)
        return None if match is None else float(match[1])

    return read


def samples(name: str, label: str) -> Callable[[bytes], object]:
    """The samples of `metrics` of that name, by one label."""

    def read(data: bytes) -> object:
        found = re.findall(rf'^{name}\{{[^}}]*\b{label}="([^"]*)"[^}}]*\}} (\S+)$', data.decode(), re.MULTILINE)
        return {labelled: float(number) for labelled, number in found}

    return read


def health_in_status(data: bytes) -> object:
    match = re.search(r"^  health +(HEALTH_\w+)", data.decode(), re.MULTILINE)
    return match and match[1]


def quorum_in_status(data: bytes) -> object:
    match = re.search(r"^  monitors +\d+; quorum ([^ ,]+(?:,[^ ,]+)*), leader (\S+)", data.decode(), re.MULTILINE)
    return match and (match[1].split(","), match[2])


def without_ages(data: bytes) -> bytes:
    """Each monitor counts the age of the quorum from when it heard of it."""
    return re.sub(rb'("quorum_age": ?)\d+', rb"\g<1>0", data)


# ---- the rows


def _health(told: Told) -> Iterator[Wanted]:
    status = told.json["status"]
    yield Wanted("health", value, status)
    yield Wanted("status", health_in_status, status)
    yield Wanted("dashboard.html", holds(status), True)
    yield Wanted("metrics", sample("ceph_health_status"), {"HEALTH_OK": 0, "HEALTH_WARN": 1, "HEALTH_ERR": 2}[status])
    checks = set(told.json["checks"])  # muted or not, as in the mgr module
    yield Wanted("metrics", lambda data: set(samples("ceph_health_detail", "name")(data)), checks)  # type: ignore[call-overload]


def _quorum(told: Told) -> Iterator[Wanted]:
    names, leader = told.json["quorum_names"], told.json["quorum_leader_name"]
    yield Wanted("mon/quorum_count", number, len(names))
    yield Wanted("mon/leader", value, leader)
    yield Wanted("monmap.json", key("quorum"), told.json["quorum"])
    yield Wanted("status", quorum_in_status, (names, leader))
    mons = [mon["name"] for mon in told.json["monmap"]["mons"]]
    yield Wanted("mon/count", number, len(mons))
    for rank, name in enumerate(mons):
        yield Wanted(f"mon/{name}/in_quorum", value, "1" if name in names else "0")
        yield Wanted(f"mon/{name}/rank", number, rank)
    yield Wanted("metrics", samples("ceph_mon_quorum_status", "ceph_daemon"), {f"mon.{n}": n in names for n in mons})


def _mon_dump(told: Told) -> Iterator[Wanted]:
    yield Wanted("monmap.json", as_json, told.json)
    yield Wanted("epoch/monmap", number, told.json["epoch"])
    yield Wanted("fsid", value, told.json["fsid"])
    yield Wanted("maps/monmap.bin", lambda data: MonMap.decode(Cursor(data, "monmap")).epoch, told.json["epoch"])


def _mon_dump_text(told: Told) -> Iterator[Wanted]:
    yield Wanted("monmap", stripped, stripped(told.data))


_FLAGS = ("noup", "nodown", "noout", "noin", "nobackfill", "norebalance", "norecover", "noscrub", "nodeep-scrub")


def _osd_dump(told: Told) -> Iterator[Wanted]:
    dump = told.json
    yield Wanted("epoch/osdmap", number, dump["epoch"])
    yield Wanted("osdmap", lambda data: data.decode().splitlines()[0], f"epoch {dump['epoch']}")
    yield Wanted("maps/osdmap.bin", lambda data: OSDMap.decode(Cursor(data, "osdmap")).epoch, dump["epoch"])
    for name in ("epoch", "fsid", "created", "modified", "flags", "flags_num", "max_osd", "pool_max"):
        yield Wanted("osdmap.json", key(name), dump[name])
    pools = {
        pool["pool"]: (pool["pool_name"], pool["size"], pool["pg_num"], pool["flags_names"]) for pool in dump["pools"]
    }
    yield Wanted("osdmap.json", _pools, pools)
    yield Wanted("osdmap.json", key("num_up_osds"), sum(osd["up"] for osd in dump["osds"]))
    yield Wanted("osdmap.json", key("num_in_osds"), sum(osd["in"] for osd in dump["osds"]))
    for name in ("up", "in"):
        by_osd = {f"osd.{osd['osd']}": float(osd[name]) for osd in dump["osds"]}
        yield Wanted("metrics", samples(f"ceph_osd_{name}", "ceph_daemon"), by_osd)
    names = {str(pool["pool"]): 1.0 for pool in dump["pools"]}
    yield Wanted("metrics", samples("ceph_pool_metadata", "pool_id"), names)
    flags = dump["flags"].split(",")
    for flag in _FLAGS:
        yield Wanted("metrics", sample(f"ceph_osd_flag_{flag.replace('-', '_')}"), float(flag in flags))


def _pools(data: bytes) -> object:
    pools = json.loads(data)["pools"]
    return {pool["pool"]: (pool["pool_name"], pool["size"], pool["pg_num"], pool["flags_names"]) for pool in pools}


def _fs_dump(told: Told) -> Iterator[Wanted]:
    dump = told.json
    yield Wanted("epoch/fsmap", number, dump["epoch"])
    yield Wanted("maps/fsmap.bin", lambda data: FSMap.decode(Cursor(data, "fsmap")).epoch, dump["epoch"])
    default = dump.get("default_fscid", -1)
    chosen = [fs["mdsmap"] for fs in dump["filesystems"] if fs["id"] == default]
    if chosen:
        yield Wanted("mdsmap.json", as_json, chosen[0])
        yield Wanted("epoch/mdsmap", number, chosen[0]["epoch"])
        yield Wanted("mdsmap", lambda data: data.decode().splitlines()[0], f"epoch {chosen[0]['epoch']}")
    elif not dump["filesystems"]:
        yield Wanted("mdsmap.json", None, None)
        yield Wanted("mdsmap", None, None)
    names = {fs["mdsmap"]["fs_name"]: 1.0 for fs in dump["filesystems"]}
    yield Wanted("metrics", samples("ceph_fs_metadata", "name"), names)


def _mgr_dump(told: Told) -> Iterator[Wanted]:
    yield Wanted("epoch/mgrmap", number, told.json["epoch"])


def _df(told: Told) -> Iterator[Wanted]:
    stats = told.json["stats"]
    used = stats.get("total_used_raw_bytes", stats["total_used_bytes"])
    yield Wanted("capacity/total_bytes", number, stats["total_bytes"] >> 10 << 10)
    yield Wanted("capacity/avail_bytes", number, stats["total_avail_bytes"] >> 10 << 10)
    yield Wanted("capacity/used_bytes", lambda data: number(data) >> 12, used >> 12)
    yield Wanted("capacity/objects", number, sum(pool["stats"]["objects"] for pool in told.json["pools"]))
    yield Wanted("metrics", sample("ceph_cluster_total_bytes"), stats["total_bytes"])
    objects = {str(pool["id"]): float(pool["stats"]["objects"]) for pool in told.json["pools"]}
    yield Wanted("metrics", samples("ceph_pool_objects", "pool_id"), objects)


ROWS = (
    Row("health", command("health", "json"), _health),
    Row("quorum", command("quorum_status", "json"), _quorum),
    Row("mon dump -f json", command("mon dump", "json"), _mon_dump),
    Row("mon dump", command("mon dump"), _mon_dump_text),
    Row("osd dump", command("osd dump", "json"), _osd_dump),
    Row("fs dump", command("fs dump", "json"), _fs_dump),
    Row("mgr dump", command("mgr dump", "json"), _mgr_dump),
    Row("df", command("df", "json"), _df),
)


def command_row(file: str) -> Row:
    """A file below ceph/: the bytes of the monitors' reply, or no data where they refuse it."""
    words = file.removeprefix("ceph/").removesuffix(".json").replace("/", " ")

    def follows(told: Told) -> Iterator[Wanted]:
        if told.result < 0:
            yield Wanted(file, None, None)
        else:
            yield Wanted(file, without_ages, without_ages(told.data))

    return Row(f"ceph {words}", command(words, "json" if file.endswith(".json") else "plain"), follows)
