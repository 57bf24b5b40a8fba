"""`status`: the cluster and our session on one screen of 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import CephMonFSError
from cephmonfs.files.answers import HEALTH, QUORUM
from cephmonfs.files.render import numbers, staleness
from cephmonfs.files.render.sections import reason
from cephmonfs.files.view import STATFS
from cephmonfs.model.entity import AddrType
from cephmonfs.mon.snapshot import MAPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cephmonfs.files.view import View

WIDTH: Final = 80
_INDENT: Final = 12
_BAR: Final = 50
_WHO_AND_WHERE: Final = 48  # columns for a monitor's name and address
_CHECKS: Final = 8
_MONS: Final = 16
_HISTORY: Final = 4


def status(view: View) -> str:
    """Health, capacity, monitors, maps, session; whatever is not known or not new says so."""
    parts = (
        ("cluster", _cluster), ("health", _health), ("capacity", _capacity), ("monitors", _monitors), ("maps", _maps),
        ("session", _session),
    )  # fmt: skip
    shown: list[str] = []
    for label, part in parts:
        try:
            shown += list(part(view))
        except Exception as exc:
            shown += _wrapped(label, reason(exc))
    return "".join(f"{line[:WIDTH].rstrip()}\n" for line in shown)


def _row(label: str, text: str) -> str:
    return f"  {label:<{_INDENT - 2}}{text}"


def _wrapped(label: str, text: str, lines: int = 2) -> Iterator[str]:
    width = WIDTH - _INDENT
    for i, line in enumerate(textwrap.wrap(text, width, max_lines=lines, placeholder=" ...") or [""]):
        yield _row(label if i == 0 else "", line)


def _cluster(view: View) -> Iterator[str]:
    yield _row("cluster", view.snapshot.fsid or "unknown: no monitor has told us yet")
    if (stale := staleness.sentence(view)) is not None:
        yield from _wrapped("STALE", f"{stale}: what follows is the last we know")


def _health(view: View) -> Iterator[str]:
    try:
        health = view.last_health
    except CephMonFSError as exc:
        yield from _wrapped("health", f"HEALTH_UNKNOWN ({exc})")
        return
    age_s = view.age_s(view.asked(HEALTH))
    age = f"{numbers.age(age_s)} old"
    if view.is_stale(HEALTH):
        yield _row("health", f"HEALTH_UNKNOWN (it was {health.status}, {age})")
    else:
        yield _row("health", health.status + (f" ({age})" if age_s > view.renewed_s(HEALTH) else ""))
    active = health.active
    for check in active[:_CHECKS]:
        yield from _wrapped("", f"{check.code}: {check.summary}", 1)
    if len(active) > _CHECKS:
        yield _row("", f"and {len(active) - _CHECKS} more")
    if mutes := numbers.mutes(health, view.snapshot.now.wall):
        yield from _wrapped("", mutes)


def _capacity(view: View) -> Iterator[str]:
    record = view.snapshot.statfs
    if STATFS in view.snapshot.denied:
        yield _row("capacity", "not covered by the key's caps")
        return
    if record is None:
        yield from _wrapped("capacity", f"unknown: {view.snapshot.problem or 'no monitor has answered a statfs yet'}")
        return
    stats = record.stats
    if not stats.kb and record.pool is None:
        yield _row("capacity", "unknown: the monitors say 0 B, as no OSD has reported to a mgr yet")
        return
    ratio = min(1.0, stats.kb_used / stats.kb) if stats.kb else 0.0
    filled = round(ratio * _BAR)
    yield _row("capacity", f"[{'#' * filled}{'-' * (_BAR - filled)}] {ratio:.1%}")
    used, total, avail = (numbers.size(kb << 10) for kb in (stats.kb_used, stats.kb, stats.kb_avail))
    what = "" if record.pool is None else f" (pool {record.pool})"
    yield _row("", f"{used} used, {avail} available of {total}{what}, {stats.num_objects:,} objects")
    age_s = view.age_s(record.asked)
    if age_s >= 1:
        yield _row("", f"as of {numbers.age(age_s)} ago" + (": STALE" if view.is_stale(STATFS) else ""))


def _monitors(view: View) -> Iterator[str]:
    mons = view.snapshot.mons
    quorum = None
    try:
        last = view.last_quorum
    except CephMonFSError as exc:
        note = f"quorum {reason(exc)}"
    else:
        note = f"quorum {','.join(last.names)}, leader {last.leader or '-'}"
        age_s = view.age_s(view.asked(QUORUM))
        if view.is_stale(QUORUM):
            note = f"quorum unknown; {numbers.age(age_s)} ago it was {','.join(last.names)}"
        else:
            quorum = last
            if age_s > view.renewed_s(QUORUM):
                note += f" ({numbers.age(age_s)} ago)"
    yield from _wrapped("monitors", f"{len(mons) or 'none known'}; {note}")
    yield from _monitor_rows(view, None if quorum is None else frozenset(quorum.names))
    if len(mons) > _MONS:
        yield _row("", f"and {len(mons) - _MONS} more")


def _monitor_rows(view: View, in_quorum: frozenset[str] | None) -> Iterator[str]:
    """A line for each monitor, two where names and addresses are too long for one."""
    mons = view.snapshot.mons[:_MONS]
    addrs = [str(mon.addrs.of_type(AddrType.MSGR2) or mon.addrs.legacy_or_front) for mon in mons]
    longest = max((len(mon.name) for mon in mons), default=0)
    fits = longest + 1 + max(map(len, addrs), default=0) <= _WHO_AND_WHERE
    width = max(longest, 10) if fits else _WHO_AND_WHERE
    for mon, addr in zip(mons, addrs, strict=True):
        ours = "*" if mon.name == view.snapshot.mon and view.snapshot.state == "open" else " "
        rtt = "" if mon.rtt_s is None else f"{mon.rtt_s * 1000:.1f} ms"
        seat = "" if in_quorum is None else "in" if mon.name in in_quorum else "OUT"
        who = f"{_middle_out(mon.name, _WHO_AND_WHERE):<{width}}" + (f" {addr}" if fits else "")
        yield _row("", f"{ours}{mon.rank:>2} {who:<{_WHO_AND_WHERE}} {seat:<3} {rtt:>9}")
        if not fits:
            yield _row("", f"    {addr}")


def _middle_out(text: str, width: int) -> str:
    """Shorten a name in its middle: names mostly differ at their end."""
    if len(text) <= width:
        return text
    end = (width - 3) // 2
    return f"{text[: width - 3 - end]}...{text[-end:]}"


def _maps(view: View) -> Iterator[str]:
    label = "maps"
    for name in MAPS:
        record = view.snapshot.maps.get(name)
        if name in view.snapshot.denied:
            text = f"{name} not covered by the key's caps"
        elif record is not None:
            text = f"{name} epoch {record.epoch}, {numbers.age(view.age_s(record.at))} ago"
        elif name == "mdsmap" and view.snapshot.fs_missing:
            text = f"{name} unknown: the cluster has no file system of that name"
        else:
            continue
        yield _row(label, text)
        label = ""
    if label:
        yield _row(label, "none yet")


def _session(view: View) -> Iterator[str]:
    snap = view.snapshot
    who = f"{snap.entity}, {snap.state}" + (f", mon.{snap.mon} {snap.addr}" if snap.mon else "")
    yield from _wrapped("session", who)
    facts = [snap.mode] if snap.mode else []
    if snap.since is not None:
        facts.append(f"open for {numbers.age(view.age_s(snap.since))}")
    if view.contact_age_s is not None:
        facts.append(f"last word {numbers.age(view.contact_age_s)} ago")
    facts.append(f"{snap.sessions} sessions, {snap.failovers} failovers")
    yield from _wrapped("", ", ".join(facts))
    for change in snap.history[-_HISTORY:]:
        where = f" mon.{change.mon}" if change.mon else ""
        reason = f": {change.reason}" if change.reason else ""
        yield from _wrapped("", f"{numbers.clock(change.at.wall)} {change.state}{where}{reason}", 1)
    if snap.last_error and snap.state != "open":
        yield from _wrapped("error", snap.last_error)
