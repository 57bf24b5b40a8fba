"""docs/benchmarks.md and its plots, out of the JSON that the other commands wrote.

The JSON is kept beside the plots, so the page can be made again without measuring.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

from bench import plots, table
from bench.breakdown import CALLERS, steps
from bench.machine import ROOT, say

PAGE: Final = ROOT / "docs" / "benchmarks.md"
KEPT: Final = ROOT / "docs" / "benchmarks"
PARTS: Final = ("table", "growth", "breakdown", "profile")

_INTRO: Final = """# Benchmarks

What a mount costs, beside ceph-fuse and librados on the same real cluster (three monitors, manager, an OSD in memory,
MDS; all on this one machine, everybody in secure mode), in interleaved rounds. `make bench` prints the table below,
`make bench BENCH_ARGS=--quick` a rough one in a minute, `make bench-docs` measures everything and writes this page.
The callers are threads of a small C program (`bench/c/load.c`), because a caller in Python would measure itself.

Rows without a goal are there to explain the others. Idle mounts are watched side by side: CPU and wake-ups from
`/proc`, messages as TCP segments with data by `ss`, so keepalives count as well. Requests per statfs are counted twice,
by `session/stats` and by the monitors' own counters, less what these receive anyway. The loop's stall is the longest
pass of trio's loop around the arrival of a map, in the real client, session and file system, beside embedded monitors
that send a new epoch of each map all the time. The simulated day runs the same on a mock clock, with df every ten
seconds and all files that monitoring reads every minute.

Daemons, monitors and callers share the machine's cores, so look at the ratios; they are of medians, and those of the
single rounds stand beside them. No test depends on any of this.
"""

_GROWTH: Final = {
    "mons": "Real quorums of that many monitors, on one machine. A mount talks to one monitor, so only finding it and "
    "the monmap itself can grow.",
    "osds": "The embedded monitors with an osdmap of that many OSDs. A map is kept as received and decoded when "
    "somebody reads it.",
    "callers": "Threads that call `statvfs()` without a pause, on a real cluster.",
    "mounts": "Mounts of one real cluster beside each other. Without any, the monitors and the other daemons "
    "exchange most of these messages anyway.",
}

_HEIGHTS: Final = (
    ("c", "a FUSE mount in C, answering from memory"),
    ("pyfuse3", "pyfuse3, answering from memory"),
    ("fs", "our file system, the answer in memory"),
    ("cephmonfs_crc", "cephmonfs, crc mode"),
    ("cephmonfs", "cephmonfs, secure mode"),
    ("ceph_fuse", "ceph-fuse"),
    ("librados", "librados (no FUSE)"),
)


def _facts(data: dict[str, Any]) -> str:
    return _heading({"date": data["date"], **data["facts"]})


def _heading(facts: dict[str, str]) -> str:
    text = "```\n" + table.heading(facts) + "```\n"
    match = re.match(r"[\d.]+", facts.get("load", ""))
    cores = re.match(r"\d+", facts.get("machine", ""))
    if match and cores and float(match[0]) > float(cores[0]):
        text += "\nThe machine was busy with other work then (see the load): these figures are rough.\n"
    return text


def _table(data: dict[str, Any]) -> str:
    rows = [table.from_json(row) for row in data["rows"]]
    how = f"{data['rounds']} rounds, {data['seconds']:g} s a load; min/median/max over rounds."
    return "\n".join(
        [
            "## The goals\n",
            _facts(data),
            f"{how} `x` is the ratio to the peer. {table.verdict(rows)}.\n",
            table.markdown_table(map(table.cells, rows)),
        ]
    )


def _growth(data: dict[str, Any]) -> str:
    parts = ["## How cost grows\n"]
    for plot in plots.PLOTS:
        points = data["growth"].get(plot.name)
        if not points:
            continue
        plots.draw(plot, points, KEPT / f"{plot.name}.svg")
        keys = [key for key in points[0] if key != "x"]
        lines = [[f"{point['x']:g}", *(table.number(point.get(key, 0)) for key in keys)] for point in points]
        parts += [
            f"### {plot.x[0].upper()}{plot.x[1:]}\n",
            _heading(data["facts_of"][plot.name]),
            f"{_GROWTH[plot.name]}\n",
            f"![cost by {plot.x}](benchmarks/{plot.name}.svg)\n",
            table.markdown_table(lines, [plot.x, *keys]),
        ]
    return "\n".join(parts)


def _breakdown(data: dict[str, Any]) -> str:
    figures = data["figures"]
    lines = [[name, f"{us:.0f}", how] for name, us, how in steps(figures)]
    heights = []
    for key, title in _HEIGHTS:
        cells = [title]
        for callers in CALLERS:
            cpu = figures.get(f"{key}_{callers}_cpu_us")
            cells += [table.number(figures[f"{key}_{callers}_per_s"]), table.number(figures[f"{key}_{callers}_us"])]
            cells.append("" if cpu is None else table.number(cpu))
        heights.append(cells)
    header = ["", *(f"{what}, {n}" for n in CALLERS for what in ("1/s", "p50 us", "CPU us"))]
    ceiling = figures["pyfuse3_64_per_s"]
    note = (
        "pyfuse3 by itself reads one request in two passes of the loop: with 64 callers it answers "
        f"{table.number(ceiling)} calls a second, {table.number(ceiling / figures['ceph_fuse_64_per_s'])} times what "
        "ceph-fuse, with its threads, answers here. Our file system takes several in one pass (fuse/workers.py), which "
        "is how it can be faster than that row.\n"
    )
    return "\n".join(
        [
            "## Where the microseconds of one statfs go\n",
            _facts(data),
            "The same call, cut off at different heights, and the differences; medians of "
            f"{data['rounds']} interleaved rounds, one caller.\n",
            table.markdown_table(lines, ("part", "us", "how it was found")),
            "Calls a second, p50, and the daemon's CPU per call, with 1, 8 and 64 callers: what each height can do "
            "at best.\n",
            table.markdown_table(heights, header),
            note,
        ]
    )


def _profile(data: dict[str, Any]) -> str:
    parts = ["## Profile\n", _facts(data), "The daemon under load, sampled by py-spy.\n"]
    for callers, found in data["profiles"].items():
        title = f"{callers} caller{'s' if callers != '1' else ''}, {found['per_s']:.0f} statfs a second"
        parts += [f"### {title}\n", f"```\n{found['top']}```\n"]
    return "\n".join(parts)


def write(measured: Path) -> None:
    """Write the page and the plots.  What was not measured anew is taken from the last time."""
    KEPT.mkdir(exist_ok=True)
    sections = [_INTRO]
    makers = {"table": _table, "growth": _growth, "breakdown": _breakdown, "profile": _profile}
    for name in PARTS:
        kept = KEPT / f"{name}.json"
        if (measured / kept.name).exists():
            shutil.copyfile(measured / kept.name, kept)
        if kept.exists():
            sections.append(makers[name](json.loads(kept.read_text())))
    PAGE.write_text("\n".join(sections))
    say(f"wrote {PAGE}")
