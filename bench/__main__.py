"""The command line; see the package."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from bench import machine


def _write(out: Path, name: str, facts: dict[str, str], took_s: float, data: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / name
    when = time.strftime("%Y-%m-%d")
    path.write_text(json.dumps({"facts": facts, "date": when, "took_s": round(took_s), **data}, indent=1) + "\n")
    machine.say(f"wrote {path}")


def _table(options: argparse.Namespace) -> dict[str, Any]:
    from bench import figures, table

    wanted = figures.Options.quick(options.release) if options.quick else figures.Options(options.release)
    changes = {"rounds": options.rounds, "seconds": options.seconds, "idle_s": options.idle, "hours": options.hours}
    given = {name: value for name, value in changes.items() if value is not None}
    wanted = figures.Options(**{**{name: getattr(wanted, name) for name in wanted.__slots__}, **given})
    facts = machine.facts()
    rows = figures.measure(wanted)
    print(table.heading(facts))
    print(f"{wanted.rounds} rounds of {wanted.seconds:g} s a load; min/median/max over rounds\n")
    print(table.text_table(map(table.cells, rows)))
    print(table.verdict(rows))
    return {"rounds": wanted.rounds, "seconds": wanted.seconds, "rows": [table.to_json(row) for row in rows]}


def _growth(options: argparse.Namespace) -> dict[str, Any]:
    """Each part is written as soon as it is there; parts measured before stay."""
    from bench import growth

    path: Path = options.out / "growth.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    data: dict[str, Any] = {"growth": before.get("growth", {}), "facts_of": before.get("facts_of", {})}
    for name in options.only or growth.PARTS:
        facts, began = machine.facts(), time.monotonic()
        data["facts_of"][name] = {"date": time.strftime("%Y-%m-%d"), **facts}
        data["growth"][name] = growth.measure(name, quick=options.quick, mounts=options.mounts)
        _write(options.out, path.name, facts, time.monotonic() - began, data)
    return data


def _breakdown(options: argparse.Namespace) -> dict[str, Any]:
    from bench import breakdown

    return breakdown.measure(quick=options.quick)


def _profile(options: argparse.Namespace) -> dict[str, Any]:
    from bench import profile

    return profile.measure(seconds=5.0 if options.quick else 15.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What a mount costs, beside ceph-fuse.")
    parser.add_argument("--out", type=Path, default=machine.BUILD, help="where the JSON goes (build/bench)")
    sub = parser.add_subparsers(dest="what", required=True)
    one = sub.add_parser("table", help="the goals, as one table")
    one.add_argument("--release", default="pacific")
    one.add_argument("--rounds", type=int)
    one.add_argument("--seconds", type=float, help="of one load")
    one.add_argument("--idle", type=float, help="seconds of one look at idle mounts")
    one.add_argument("--hours", type=int, help="of the simulated day")
    growth = sub.add_parser("growth", help="monitors, OSDs, callers, mounts")
    growth.add_argument("--only", nargs="+", choices=["mons", "osds", "callers", "mounts"])
    growth.add_argument("--mounts", type=int, default=200, help="the most mounts")
    others = [one, growth]
    others.append(sub.add_parser("breakdown", help="where the microseconds of one statfs go"))
    others.append(sub.add_parser("profile", help="the daemon under load, by function (needs py-spy)"))
    for command in others:
        command.add_argument("--quick", action="store_true", help="about a minute, and rough")
    sub.add_parser("docs", help="docs/benchmarks.md and its plots (needs matplotlib)")
    options = parser.parse_args()
    if options.what == "docs":
        from bench import docs

        docs.write(options.out)
        return
    facts, began = machine.facts(), time.monotonic()
    work = {"table": _table, "growth": _growth, "breakdown": _breakdown, "profile": _profile}[options.what]
    data = work(options)
    if options.what != "growth":  # which has written by itself
        _write(options.out, f"{options.what}.json", facts, time.monotonic() - began, data)


if __name__ == "__main__":
    main()
