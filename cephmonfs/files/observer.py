"""Compares two moments and returns the lines of `events`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import CephMonFSError
from cephmonfs.files.answers import HEALTH
from cephmonfs.model.mdsmap import state_name
from cephmonfs.mon.ratelimit import RateLimit
from cephmonfs.mon.snapshot import SessionChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cephmonfs.files.view import View
    from cephmonfs.mon.snapshot import State

log = logging.getLogger(__name__)

_LINE_LIMIT: Final = 4000  # characters of one detail
_CAPACITY_STEP: Final = 0.01
_UNKNOWN: Final = "HEALTH_UNKNOWN"

Event = dict[str, object]


class Observer:
    """Compares each moment with the one before and returns what is new."""

    def __init__(self) -> None:
        self._history: tuple[SessionChange, ...] = ()
        self._epochs: dict[str, int] = {}
        self._mons: dict[str, str] = {}
        self._ranks: dict[int, str] = {}
        self._quorum: tuple[str, ...] = ()
        self._leader = ""
        self._health = ""
        self._checks: tuple[str, ...] = ()
        self._muted: tuple[str, ...] = ()
        self._used_ratio: float | None = None
        self._moves = RateLimit(same=3, total=30)
        self._state: State | None = None
        self._told = 0
        self._problem = ""
        self._fresh: bool | None = None  # None until it is for the first time

    def observe(self, view: View) -> list[tuple[Event, float]]:
        """Return the events since the last call, each with its time."""
        now = view.snapshot.now.wall
        events: list[tuple[Event, float]] = []
        for dated in (self._session, self._maps):
            _collect(events, dated(view))
        for verdict in (self._capacity, self._staleness, self._health_change, self._quorum_change):
            _collect(events, ((event, now) for event in verdict(view)))
        return events

    def _session(self, view: View) -> Iterator[tuple[Event, float]]:
        snap = view.snapshot
        last = self._history[-1].at.mono if self._history else float("-inf")
        changes = [change for change in snap.history if change.at.mono > last]
        state = changes[-1].state if changes else self._state
        if state is not None and snap.state != state:  # the monitor is late, or answers after all
            changes.append(SessionChange(snap.now, snap.state, snap.mon, ""))
        self._history, self._state = snap.history, snap.state
        for change in changes:
            if self._moves.allows(f"{change.state} {change.mon}", change.at.mono):
                event: Event = {"event": "session", "state": str(change.state), "mon": change.mon}
                yield event | {"detail": change.reason[:_LINE_LIMIT]}, change.at.wall
        for told in view.snapshot.told:
            if told.number > self._told:
                self._told = told.number
                yield {"event": "error", "mon": view.snapshot.mon, "detail": told.sentence[:_LINE_LIMIT]}, told.at.wall
        problem, self._problem = self._problem, view.snapshot.problem
        if problem and not self._problem:
            detail = f"answers again, after: {problem}"
            yield {"event": "df", "detail": detail[:_LINE_LIMIT]}, view.snapshot.now.wall

    def _maps(self, view: View) -> Iterator[tuple[Event, float]]:
        for name, record in view.snapshot.maps.items():
            if self._epochs.get(name) == record.epoch:
                continue
            first = name not in self._epochs
            self._epochs[name] = record.epoch
            event: Event = {"event": name, "epoch": record.epoch}
            try:
                if name == "monmap":
                    detail = self._monmap(view)
                elif name == "mdsmap":
                    detail = self._mdsmap(view)
                else:
                    detail = ""
            except CephMonFSError:
                detail = ""  # the file of this map says what is wrong with it
            yield event if first or not detail else event | {"detail": detail[:_LINE_LIMIT]}, record.at.wall

    def _monmap(self, view: View) -> str:
        before, self._mons = self._mons, {mon.name: str(mon.addrs) for mon in view.snapshot.mons}
        return _difference("mon", before, self._mons)

    def _mdsmap(self, view: View) -> str:
        ranks = {info.rank: f"{info.name} {state_name(info.state)}" for info in view.mdsmap.infos if info.rank >= 0}
        before, self._ranks = self._ranks, ranks
        return _difference("rank", {str(k): v for k, v in before.items()}, {str(k): v for k, v in ranks.items()})

    def _staleness(self, view: View) -> Iterator[Event]:
        """Return an event when no quorum has answered for `stale_after`, and when one answers again."""
        fresh = view.fresh
        if self._fresh is not None and fresh != self._fresh:
            yield {"event": "fresh" if fresh else "stale", "detail": "" if fresh else view.snapshot.last_error}
        if fresh or self._fresh is not None:
            self._fresh = fresh

    def _capacity(self, view: View) -> Iterator[Event]:
        record = view.snapshot.statfs
        if record is None or record.stats.kb == 0:
            return
        ratio = record.stats.kb_used / record.stats.kb
        if self._used_ratio is not None and abs(ratio - self._used_ratio) < _CAPACITY_STEP:
            return
        self._used_ratio = ratio
        total, used = record.stats.kb << 10, record.stats.kb_used << 10
        yield {"event": "capacity", "used_ratio": round(ratio, 4), "used_bytes": used, "total_bytes": total}

    def _health_change(self, view: View) -> Iterator[Event]:
        try:
            health = view.last_health
        except CephMonFSError:
            return  # not known yet, or not covered by the caps
        status = _UNKNOWN if view.is_stale(HEALTH) else health.status
        checks = tuple(check.code for check in health.active)
        muted = tuple(check.code for check in health.muted)
        if (status, checks, muted) != (self._health, self._checks, self._muted):
            event: Event = {"event": "health", "old": self._health or None, "new": status, "checks": list(checks)}
            yield event | {"muted": list(muted)} if muted or self._muted else event
        self._health, self._checks, self._muted = status, checks, muted

    def _quorum_change(self, view: View) -> Iterator[Event]:
        try:
            quorum = view.quorum
        except CephMonFSError:
            return
        if (quorum.names, quorum.leader) != (self._quorum, self._leader):
            yield {
                "event": "quorum",
                "quorum": list(quorum.names),
                "leader": quorum.leader,
                "left": [name for name in self._quorum if name not in quorum.names],
                "joined": [name for name in quorum.names if name not in self._quorum],
            }
        self._quorum, self._leader = quorum.names, quorum.leader


def _collect(events: list[tuple[Event, float]], found: Iterator[tuple[Event, float]]) -> None:
    """Add what is found; a bug in one kind of event is logged and does not stop the others."""
    try:
        events += found
    except Exception:
        log.exception("not all that happened is in the file events")


def _difference(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    parts = [f"{what} {key} left" for key in before if key not in after]
    parts += [f"{what} {key} joined ({value})" for key, value in after.items() if key not in before]
    moved = (key for key, value in after.items() if before.get(key, value) != value)
    parts += [f"{what} {key}: {before[key]} -> {after[key]}" for key in moved]
    return ", ".join(parts)
