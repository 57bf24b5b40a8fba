"""What happens, as JSON lines: the ring behind `events` and `events_pipe`, and the observer that fills it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import CephMonFSError
from cephmonfs.fs import commands
from cephmonfs.model.mdsmap import state_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cephmonfs.fs.view import View
    from cephmonfs.mon.snapshot import SessionChange

RING_BYTES: Final = 256 << 10
_KEPT_BYTES: Final = 64 << 10  # of a full ring: cutting seldom keeps offsets good for `tail -f`
_LINE_LIMIT: Final = 4000  # characters of one detail
_CAPACITY_STEP: Final = 0.01

Event = dict[str, object]


@dataclass(slots=True)
class Place:
    """Where a reader of the stream is."""

    offset: int  # counted from the first byte ever written
    seq: int  # the next event it has not seen


class EventRing:
    """The last 256 KiB of lines.  `seq` has no holes; `version` grows with each line.

    They are one buffer that is there from the start: one that grew and was cut would leave holes in the heap, for ever.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(RING_BYTES)
        self._used = 0
        self._dropped = 0  # bytes cut off in front so far
        self._seq = 0
        self.last_wall: float | None = None

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._used

    @property
    def version(self) -> int:
        """Lines ever written."""
        return self._seq

    def append(self, event: Mapping[str, object], wall: float) -> None:
        """Add one line; a full ring first loses its older three quarters."""
        self._seq += 1
        stamp = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": stamp, "seq": self._seq, **event}, ensure_ascii=False).encode() + b"\n"
        if self._used + len(line) > RING_BYTES:
            self._cut()
        self._buffer[self._used : self._used + len(line)] = line
        self._used += len(line)
        self.last_wall = wall

    def _cut(self) -> None:
        if not self._used:
            return
        cut = self._buffer.index(b"\n", max(0, self._used - _KEPT_BYTES), self._used) + 1
        kept = self._buffer[cut : self._used]
        self._buffer[: len(kept)] = kept
        del self._buffer[RING_BYTES:]  # after a line that was longer than that
        self._used = len(kept)
        self._dropped += cut

    def read(self, offset: int, size: int) -> bytes:
        """Read the ring as a file."""
        return bytes(self._buffer[offset : min(offset + size, self._used)])

    def end(self) -> Place:
        """Return the place behind the newest line."""
        return Place(self._dropped + self._used, self._seq + 1)

    def pending(self, place: Place) -> bool:
        """Tell whether there is something behind this place."""
        return place.seq <= self._seq

    def follow(self, place: Place, size: int) -> bytes:
        """Read whole lines behind `place` and move it; a reader that was too slow is told how many it lost."""
        if place.offset < self._dropped:
            first = self._seq + 1 - self._buffer.count(b"\n", 0, self._used)
            lost = {"event": "lost", "count": first - place.seq}
            place.offset, place.seq = self._dropped, first
            return (json.dumps(lost) + "\n").encode()
        chunk = self.read(place.offset - self._dropped, size)
        whole = chunk.rfind(b"\n") + 1 or len(chunk)  # a buffer shorter than a line gets the line in pieces
        place.offset += whole
        place.seq += chunk.count(b"\n", 0, whole)
        return chunk[:whole]


class Observer:
    """Compares each moment with the one before and says what is new."""

    def __init__(self) -> None:
        self._history: tuple[SessionChange, ...] = ()
        self._epochs: dict[str, int] = {}
        self._mons: dict[str, str] = {}
        self._ranks: dict[int, str] = {}
        self._quorum: tuple[str, ...] = ()
        self._leader = ""
        self._health = ""
        self._checks: tuple[str, ...] = ()
        self._used_ratio: float | None = None
        self._last_error = ""

    def observe(self, view: View) -> list[tuple[Event, float]]:
        """Return the events since the last call, each with its time."""
        now = view.snapshot.now.wall
        events: list[tuple[Event, float]] = []
        events += self._session(view)
        events += ((event, view.snapshot.maps[name].at.wall) for name, event in self._maps(view))
        events += ((event, now) for event in self._verdicts(view))
        return events

    def _session(self, view: View) -> Iterator[tuple[Event, float]]:
        last = self._history[-1].at.mono if self._history else float("-inf")
        self._history = view.snapshot.history
        for change in self._history:
            if change.at.mono > last:
                event: Event = {"event": "session", "state": str(change.state), "mon": change.mon}
                yield event | {"detail": change.reason[:_LINE_LIMIT]}, change.at.wall
        error = view.snapshot.last_error
        if error and error != self._last_error:
            yield {"event": "error", "mon": view.snapshot.mon, "detail": error[:_LINE_LIMIT]}, view.snapshot.now.wall
        self._last_error = error

    def _maps(self, view: View) -> Iterator[tuple[str, Event]]:
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
            yield name, event if first or not detail else event | {"detail": detail[:_LINE_LIMIT]}

    def _monmap(self, view: View) -> str:
        before, self._mons = self._mons, {mon.name: str(mon.addrs) for mon in view.snapshot.mons}
        return _difference("mon", before, self._mons)

    def _mdsmap(self, view: View) -> str:
        ranks = {info.rank: f"{info.name} {state_name(info.state)}" for info in view.mdsmap.infos if info.rank >= 0}
        before, self._ranks = self._ranks, ranks
        return _difference("rank", {str(k): v for k, v in before.items()}, {str(k): v for k, v in ranks.items()})

    def _verdicts(self, view: View) -> Iterator[Event]:
        yield from self._capacity(view)
        if view.commands.version(commands.HEALTH):
            yield from self._health_change(view)
        if view.commands.version(commands.QUORUM):
            yield from self._quorum_change(view)

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
            health = view.health
        except CephMonFSError:
            return
        status = "HEALTH_UNKNOWN" if view.health_stale else health.status
        checks = tuple(check.code for check in health.checks)
        if (status, checks) != (self._health, self._checks):
            yield {"event": "health", "old": self._health or None, "new": status, "checks": list(checks)}
        self._health, self._checks = status, checks

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


def _difference(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    parts = [f"{what} {key} left" for key in before if key not in after]
    parts += [f"{what} {key} joined ({value})" for key, value in after.items() if key not in before]
    moved = (key for key, value in after.items() if before.get(key, value) != value)
    parts += [f"{what} {key}: {before[key]} -> {after[key]}" for key in moved]
    return ", ".join(parts)
