"""`dashboard.html`: one page that a browser opens straight from the mount.

It loads nothing and runs nothing: no script, and a policy that would not let one run.  A page of file:// may not read
files, not even itself, so it is the browser that loads it anew every ten seconds (meta refresh); a browser that has
stopped doing so uncovers a line that says it (an animation, 45 seconds long).

Browsers look at the size of a file first and then read that much, so the page is filled up: its size hardly ever
changes.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cephmonfs import __version__
from cephmonfs.errors import CephMonFSError
from cephmonfs.files.answers import DF_DETAIL, HEALTH, QUORUM
from cephmonfs.files.capacity_ring import KEPT_S
from cephmonfs.files.render import numbers, staleness
from cephmonfs.files.render.dashboard_style import CSS
from cephmonfs.files.render.html import Html, el, join
from cephmonfs.files.render.sections import reason
from cephmonfs.files.view import STATFS
from cephmonfs.model.df import Df
from cephmonfs.model.entity import AddrType
from cephmonfs.model.mdsmap import STATE_ACTIVE, state_name
from cephmonfs.model.osdmap import POOL_ERASURE
from cephmonfs.mon.snapshot import MAPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cephmonfs.files.answers import Command
    from cephmonfs.files.capacity_ring import Sample
    from cephmonfs.files.view import View

COMMANDS: Final = (HEALTH, QUORUM, DF_DETAIL)

_REFRESH_S: Final = 10
_SIZE_MIN: Final = 32 << 10
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_CHECKS: Final = 12
_POOLS: Final = 40
_OSD_FLAGS_HIDDEN: Final = frozenset({"sortbitwise", "recovery_deletes", "purged_snapdirs", "pglog_hardlimit"})
_EVENTS: Final = 6
_EVENTS_TAIL: Final = 16 << 10
_WARN_RATIO: Final = 0.75
_BAD_RATIO: Final = 0.85  # Ceph's nearfull
_WINDOW_MIN_S: Final = 600.0
_GAP_S: Final = 600.0  # samples further apart are not joined by a line
_CHART: Final = 1000  # units of the drawing, both ways


def dashboard(view: View) -> str:
    """Health, capacity and its history, monitors, pools, maps, session; what is not new says so."""
    parts: Sequence[tuple[Callable[[View], Html | None], str, str]] = (
        (_health, "Health", "narrow"),
        (_capacity, "Capacity", "wide"),
        (_monitors, "Monitors", ""),
        (_file_systems, "File systems", ""),
        (_pools, "Pools", "full"),
        (_session, "Session", "narrow"),
        (_maps, "Maps", "narrow"),
        (_events, "Latest events", "narrow"),
    )
    cards = []
    for part, title, width in parts:
        try:
            body = part(view)
        except Exception as exc:
            body = el("p", reason(exc), class_="soft")
        if body is not None:
            cards.append(el("section", el("h2", title), body, class_=width or None))
    snap = view.snapshot
    word, _ = _verdict(view)
    title = f"{word.removeprefix('HEALTH_')} - Ceph {snap.fsid[:8] or '?'}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="refresh", content=_REFRESH_S),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("title", title),
        el("link", rel="icon", href="data:,"),
        el("style", Html(CSS)),
    )
    body = el(
        "body",
        el("header", el("h1", "Ceph"), el("code", snap.fsid or "no cluster yet")),
        _alarm(view),
        el("main", *cards, class_=None if view.fresh else "stale"),
        el(
            "footer",
            f"as of {numbers.clock(snap.now.wall)}, anew every {_REFRESH_S} s; ",
            f"cephmonfs {__version__}, {snap.entity}. ",
            el("span", "This page is no longer refreshed.", class_="still"),
        ),
    )
    return _filled(join(Html("<!DOCTYPE html>\n"), el("html", head, "\n", body, lang="en"), "\n"))


def _filled(page: str) -> str:
    """Add empty lines up to a power of two."""
    size = len(page.encode("utf-8", "replace"))
    return page + "\n" * (max(_SIZE_MIN, 1 << (size - 1).bit_length()) - size)


def _alarm(view: View) -> Html:
    """The one line that has to be seen first."""
    if view.fresh:
        return Html("")
    stale = staleness.sentence(view)
    if stale is None:
        text = "No monitor has answered yet."
    else:
        text = f"Stale: {stale}. What follows is the last we know, not the present."
    error = view.snapshot.last_error
    return el("div", text, join(el("br"), error) if error else "", class_="alarm", role="alert")


def _ago(view: View, command: Command) -> str:
    """When an answer is from, where that is worth saying; empty otherwise."""
    age_s = view.age_s(view.asked(command))
    return "" if age_s <= view.renewed_s(command) else f"{numbers.age(age_s)} ago"


def _bar(ratio: float, *, tones: bool = True) -> Html:
    tone = "bad" if ratio >= _BAD_RATIO else "warn" if ratio >= _WARN_RATIO else ""
    ratio = min(1.0, max(0.0, ratio))
    return el("span", el("i", style=f"width:{ratio:.1%}"), class_=f"bar {tone if tones else ''}".rstrip())


def _table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> Html:
    """A table.  A head is its text and the class of its column; a cell that is a whole <td> stays as it is."""

    def cells(row: Sequence[str]) -> Iterator[Html]:
        for (_, kind), cell in zip(heads, row, strict=True):
            yield el("td", cell, class_=kind or None)

    top = el("tr", *(el("th", text, class_=kind or None) for text, kind in heads))
    lines = (el("tr", *cells(row)) for row in rows)
    return el("div", el("table", el("thead", top), el("tbody", *lines)), class_="rows")


# ---- health


def _verdict(view: View) -> tuple[str, str]:
    """Return the word and its colour."""
    try:
        word = view.health.status
    except CephMonFSError:
        word = "HEALTH_UNKNOWN"
    return word, {"HEALTH_OK": "good", "HEALTH_WARN": "warn", "HEALTH_ERR": "bad"}.get(word, "soft")


def _health(view: View) -> Html:
    word, tone = _verdict(view)
    parts = [el("p", word, class_=f"verdict {tone}")]
    try:
        health = view.last_health
    except CephMonFSError as exc:
        parts.append(el("p", f"unknown: {exc}", class_="soft"))
        return join(*parts, _daemons(view))
    if view.is_stale(HEALTH):
        age = numbers.age(view.age_s(view.asked(HEALTH)))
        parts.append(el("p", f"It was {health.status}, {age} ago:", class_="soft"))
    shown = health.active
    items = [
        el("li", el("b", check.code, class_="bad" if check.severity == "HEALTH_ERR" else "warn"), check.summary)
        for check in shown[:_CHECKS]
    ]
    if len(shown) > _CHECKS:
        items.append(el("li", f"and {len(shown) - _CHECKS} more", class_="soft"))
    if mutes := numbers.mutes(health, view.snapshot.now.wall):
        items.append(el("li", mutes, class_="soft"))
    return join(*parts, el("ul", *items), _daemons(view))


def _daemons(view: View) -> Html:
    """What there is of each kind, and what is missing of it."""
    rows: list[tuple[str, str]] = []
    for part in (_quorum, _osds, _mdss):
        try:
            rows += list(part(view))
        except CephMonFSError:
            continue  # the cards below say why
    return _pairs(rows)


def _quorum(view: View) -> Iterator[tuple[str, str]]:
    total, present = len(view.snapshot.mons), len(view.quorum.names)
    missing = el("span", f", {total - present} out", class_="bad") if present < total else ""
    yield "monitors", join(f"{present} in quorum", missing)


def _osds(view: View) -> Iterator[tuple[str, str]]:
    osdmap = view.osdmap
    total, up, inside = osdmap.num_osds, osdmap.num_up_osds, osdmap.num_in_osds
    down = el("span", f", {total - up} down", class_="bad") if up < total else ""
    out = el("span", f", {total - inside} out", class_="warn") if inside < total else ""
    yield "OSDs", join(f"{up} up, {inside} in", down, out)
    flags = [name for name in osdmap.flag_names if name not in _OSD_FLAGS_HIDDEN and not name.startswith("require_")]
    if flags:
        yield "flags", el("span", ", ".join(flags), class_="warn")
    yield "PGs", f"{sum(pool.pg_num for pool in osdmap.pools.values())} in {_count(len(osdmap.pools), 'pool')}"


def _mdss(view: View) -> Iterator[tuple[str, str]]:
    fsmap = view.fsmap
    active = sum(info.state == STATE_ACTIVE for fs in fsmap.filesystems for info in fs.mdsmap.infos)
    if fsmap.filesystems:
        yield "MDS", f"{active} active, {len(fsmap.standbys)} standing by"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _pairs(pairs: Iterable[tuple[str, str]]) -> Html:
    return el("dl", *(join(el("dt", name), el("dd", value)) for name, value in pairs))


# ---- capacity


def _facts(*pairs: tuple[str, str]) -> Html:
    return el(
        "div", *(el("div", el("span", name), el("b", value, class_="num")) for name, value in pairs), class_="facts"
    )


def _capacity(view: View) -> Html:
    record = view.last_statfs
    stats = record.stats
    ratio = stats.kb_used / stats.kb if stats.kb else 0.0
    what = "" if record.pool is None else f" of pool {record.pool}"
    age_s = view.age_s(record.asked)
    old = f", as of {numbers.age(age_s)} ago" if age_s > view.settings.refresh + 1 else ""
    old += " (stale)" if view.is_stale(STATFS) else ""
    return join(
        el("div", el("span", f"{ratio:.1%}", class_="big num"), el("span", f" used{what}{old}", class_="soft")),
        _facts(
            ("used", numbers.size(stats.kb_used << 10)),
            ("available", numbers.size(stats.kb_avail << 10)),
            ("total", numbers.size(stats.kb << 10)),
            ("objects", f"{stats.num_objects:,}"),
        ),
        _chart(view),
    )


def _chart(view: View) -> Html:
    """The used part over the last hours, from 0 to 100 %."""
    now = view.snapshot.now.mono
    samples = [s for s in view.records.capacity.since(now - KEPT_S) if s.kb]
    if len(samples) < 2:
        return el(
            "p", "The curve begins with the second answer; it grows while somebody reads or runs df.", class_="soft"
        )
    window_s = max(_WINDOW_MIN_S, now - samples[0].at)
    drawn = [_drawn(run, now, window_s) for run in _runs(samples)]
    grid = [
        el("line", x1=0, x2=_CHART, y1=y, y2=y, stroke="var(--rule)", vector_effect="non-scaling-stroke")
        for y in (0, _CHART // 2, _CHART)
    ]
    grown = (samples[-1].kb_used - samples[0].kb_used) << 10
    span = numbers.age(samples[-1].at - samples[0].at)
    change = f"{'+' if grown >= 0 else '−'}{numbers.size(abs(grown))} in {span}"
    svg = el(
        "svg",
        *grid,
        *drawn,
        viewBox=f"0 0 {_CHART} {_CHART}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"used space over {numbers.age(window_s)}: {change}",
    )
    return join(
        el(
            "div",
            el("div", *(el("span", text, class_="num") for text in ("100 %", "50 %", "0 %")), class_="y"),
            svg,
            el(
                "div",
                el("span", f"{numbers.age(window_s)} ago"),
                el("span", change),
                el("span", "now"),
                class_="x",
            ),
            class_="chart",
        )
    )


def _runs(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Samples that a line may join."""
    run = [samples[0]]
    for before, sample in pairwise(samples):
        if sample.at - before.at > _GAP_S:
            yield run
            run = []
        run.append(sample)
    yield run


def _drawn(run: Sequence[Sample], now: float, window_s: float) -> Html:
    points = [(_CHART * (1 - (now - s.at) / window_s), _CHART * (1 - min(1.0, s.kb_used / s.kb))) for s in run]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    first, last = points[0][0], points[-1][0]
    stroke = el(
        "path", d=f"M{line}h0", fill="none", stroke="var(--blue)", stroke_width=2, stroke_linecap="round",
        stroke_linejoin="round", vector_effect="non-scaling-stroke",
    )  # fmt: skip
    return join(el("path", d=f"M{first:.1f} {_CHART}L{line}L{last:.1f} {_CHART}Z", fill="var(--area)"), stroke)


# ---- daemons


def _monitors(view: View) -> Html:
    snap = view.snapshot
    note, names = "", None
    try:
        quorum = view.quorum
    except CephMonFSError as exc:
        note = f"quorum unknown: {exc}"
    else:
        names = quorum.names
        note = f"{len(names)} of {len(snap.mons)} in quorum, leader {quorum.leader or '-'}"
        note += f", {at}" if (at := _ago(view, QUORUM)) else ""
    rows = []
    for mon in snap.mons:
        ours = mon.name == snap.mon and snap.state == "open"
        if names is None:
            seat = el("span", "?", class_="soft")
        elif mon.name in names:
            seat = el("span", "✓ in", class_="good")
        else:
            seat = el("span", "✗ out", class_="bad")
        addr = str(mon.addrs.of_type(AddrType.MSGR2) or mon.addrs.legacy_or_front)
        rtt = "" if mon.rtt_s is None else f"{mon.rtt_s * 1000:.1f} ms"
        who = join(el("b", mon.name), el("span", " our session", class_="soft") if ours else "")
        where = join(el("code", addr), el("div", mon.last_error, class_="soft") if mon.last_error else "")
        rows.append((str(mon.rank), who, where, seat, rtt))
    heads = (("rank", "num"), ("name", ""), ("address", ""), ("quorum", ""), ("rtt", "num phone-off"))
    return join(_table(heads, rows), el("p", note, class_="soft"))


def _file_systems(view: View) -> Html:
    rows = []
    for fs in view.fsmap.filesystems:
        ranks = sorted(
            (info for info in fs.mdsmap.infos if info.rank >= 0), key=lambda info: (info.rank, info.state < 0)
        )
        states = [
            el("div", f"{i.rank}: {i.name} ", el("span", state_name(i.state), class_=_mds_tone(i.state))) for i in ranks
        ]
        seats = join(*states) if states else el("span", "no MDS", class_="bad")
        rows.append((str(fs.fscid), el("b", fs.mdsmap.fs_name), seats))
    if not rows:
        return el("p", "no file system", class_="soft")
    return _table((("id", "num"), ("name", ""), ("ranks", "")), rows)


def _mds_tone(state: int) -> str:
    return "good" if state == STATE_ACTIVE else "soft" if state < 0 else "warn"


# ---- pools


def _pools(view: View) -> Html:
    known = {id: (view.osdmap.pool_names.get(id, ""), pool) for id, pool in view.osdmap.pools.items()}
    stats: Mapping[int, Mapping[str, float]] = {}
    try:
        stats = view.parsed(DF_DETAIL, Df.parse).pools
        note = _ago(view, DF_DETAIL)
    except CephMonFSError as exc:
        note = f"space unknown: {exc}"
    order = sorted(known, key=lambda id: (-stats.get(id, {}).get("stored", 0), id))
    lines: list[Sequence[str]] = []
    for id in order[:_POOLS]:
        name, pool = known[id]
        numbers_ = stats.get(id, {})
        kind = (
            "erasure " + pool.erasure_code_profile
            if pool.type == POOL_ERASURE
            else "1 copy"
            if pool.size == 1
            else f"{pool.size} copies"
        )
        ratio = numbers_.get("percent_used")
        used: str = ""
        if ratio is not None:
            used = join(_bar(ratio), el("span", f"{ratio:.1%}", class_="soft num"))
        lines.append(
            (
                str(id),
                el("b", name),
                kind,
                ", ".join(pool.applications),
                str(pool.pg_num),
                f"{numbers_['objects']:,.0f}" if "objects" in numbers_ else "",
                numbers.size(int(numbers_["stored"])) if "stored" in numbers_ else "",
                numbers.size(int(numbers_["max_avail"])) if "max_avail" in numbers_ else "",
                used,
            )
        )
    heads = (
        ("id", "num phone-off"), ("name", ""), ("copies", "phone-off"), ("for", "phone-off"), ("PGs", "num phone-off"),
        ("objects", "num phone-off"), ("stored", "num"), ("available", "num phone-off"), ("used", "used"),
    )  # fmt: skip
    if len(order) > _POOLS:
        note = f"and {len(order) - _POOLS} more pools" + (f"; {note}" if note else "")
    return join(_table(heads, lines), el("p", note, class_="soft") if note else "")


# ---- this program


def _session(view: View) -> Html:
    snap = view.snapshot
    tone = "good" if snap.state == "open" and view.fresh else "bad"
    facts: list[tuple[str, str]] = [("state", el("b", str(snap.state), class_=tone))]
    if snap.mon:
        facts.append(("monitor", join(f"{snap.mon} ", el("code", snap.addr))))
    if snap.mode:
        facts.append(("mode", snap.mode))
    if snap.since is not None:
        facts.append(("open for", numbers.age(view.age_s(snap.since))))
    if view.contact_age_s is not None:
        facts.append(("last word", f"{numbers.age(view.contact_age_s)} ago"))
    facts.append(("so far", f"{_count(snap.sessions, 'session')}, {_count(snap.failovers, 'failover')}"))
    return _pairs(facts)


def _maps(view: View) -> Html:
    rows = []
    for name in MAPS:
        record = view.snapshot.maps.get(name)
        if name in view.snapshot.denied:
            rows.append((name, "", "not covered by the key's caps"))
        elif record is not None:
            rows.append((name, str(record.epoch), f"{numbers.age(view.age_s(record.at))} ago"))
    return _table((("map", ""), ("epoch", "num"), ("came", "num")), rows)


def _events(view: View) -> Html | None:
    """The last few lines of `events`, newest first."""
    ring = view.records.events
    lines = ring.read(max(0, ring.size - _EVENTS_TAIL), _EVENTS_TAIL).splitlines()
    items = []
    for line in reversed(lines[-_EVENTS:]):
        try:
            event = json.loads(line)
        except ValueError:
            continue  # cut in two
        time = str(event.get("time"))[11:19]
        rest = ", ".join(
            _fact(key, value)
            for key, value in event.items()
            if key not in ("time", "seq", "event") and value not in ("", None, [])
        )
        kind = str(event.get("event"))
        items.append(el("li", el("b", f"{time}Z {kind}"), rest))
    return el("ul", *items) if items else None


def _fact(key: str, value: object) -> str:
    if key == "detail":
        return str(value)
    if isinstance(value, list):
        value = " ".join(map(str, value))
    elif key.endswith("_bytes") and isinstance(value, int):
        key, value = key.removesuffix("_bytes"), numbers.size(value)
    return f"{key.replace('_', ' ')} {value}"
