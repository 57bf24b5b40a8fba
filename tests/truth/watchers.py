"""Readers that go on all the time, each in a thread, and what has to hold whatever happens.

- The size is that of the content.  The time is never in the future, never goes back, and without a quorum is no later
  than the quorum's end.
- No open, read or statfs takes longer than its timeout.
- A value that is read again at once is the same, or a new one that stays.
- Nothing that comes from an answer is shown as true when there was no quorum for `stale_after`.
- HEALTH_UNKNOWN is not said while the monitors answer.
- poll(2) wakes no reader for nothing.
- `events` is valid JSON, without a hole; each state seen elsewhere has its line.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.truth.facts import Facts
from tests.truth.reading import RINGS, Poller, Reading, look, names

FROM_ANSWERS = re.compile(r"capacity/.*|mon/(quorum_count|leader|[^/]+/in_quorum)|ceph/.*")
# These show ages, counters or round trips, so that two readings differ.
MOVING = re.compile(
    r"status|metrics|dashboard\.html|log|session\.json|session/(tickets|requests|stats|last_contact|last_error)"
    r"|debug/monc|capacity/age_seconds|mon/.*/(rtt_ms|last_error)|ceph/.*"
)
VALUES = (
    "health", "mon/quorum_count", "mon/leader", "session/state", "session/fresh", "epoch/osdmap",
    "capacity/avail_bytes", "ceph/health", "ceph/status", "ceph/df", "ceph/quorum_status.json",
)  # fmt: skip
POLLED = (
    "health", "mon/quorum_count", "mon/leader", "epoch/osdmap", "monmap.json", "monmap", "osdmap.json", "debug/osdmap",
    "debug/monmap", "session/state", "session/fresh", "capacity/total_bytes", "ceph/health", "mdsmap", "fsid",
)  # fmt: skip
_CLOCK_S = 0.05


class Watcher:
    """A thread that does something again and again."""

    def __init__(self, root: Path, facts: Facts, every_s: float) -> None:
        self._root = root
        self._facts = facts
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(20)
        if self._thread.is_alive():
            self._facts.problem("hangs", f"{type(self).__name__} does not come back from the mount")

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self.step()
            except Exception as exc:
                self._facts.problem("harness", f"{type(self).__name__}: {type(exc).__name__}: {exc}")

    def still_lost(self, lost_wall: float) -> bool:
        """Whether there was no quorum all the while: that there is one again is seen a moment late."""
        time.sleep(1.0)
        return self._facts.lost_at is not None and self._facts.lost_wall == lost_wall

    def step(self) -> None:
        raise NotImplementedError


class Df(Watcher):
    """df in a loop."""

    def step(self) -> None:
        limits, began = self._facts.limits, time.monotonic()
        lost_s, lost_wall = self._facts.lost_for_s, self._facts.lost_wall
        error = 0
        try:
            os.statvfs(self._root)
        except OSError as exc:
            error = exc.errno or -1
        took = time.monotonic() - began
        self._facts.count("df")
        if took > limits.statfs_timeout_s + limits.slack_s:
            self._facts.problem("slow", f"df took {took:.1f} s")
        stale_s = limits.stale_after_s + limits.lease_s + limits.slack_s
        if error == 0 and lost_s > stale_s and self.still_lost(lost_wall):
            self._facts.problem("stale", f"df succeeds {lost_s:.1f} s after the quorum was lost")
        if error and (error != errno.ETIMEDOUT or self._facts.calm_for_s > limits.patience_s):
            self._facts.problem("df", f"fails with {errno.errorcode.get(error, error)}")


class Reader(Watcher):
    """Reads files and looks at each reading by itself and beside the one before."""

    def __init__(self, root: Path, facts: Facts, files: Sequence[str], every_s: float, seed: int) -> None:
        super().__init__(root, facts, every_s)
        self._files = list(files)
        self._rng = random.Random(seed)
        self._mtimes: dict[str, tuple[float, Reading]] = {}
        self.seen: dict[str, list[str]] = {}  # of value files: what they said, one after the other

    def step(self) -> None:
        self.check(self._rng.choice(self._files))

    def check(self, name: str) -> Reading:
        facts = self._facts
        lost_s, calm_s, lost_wall = facts.lost_for_s, facts.calm_for_s, facts.lost_wall
        first = look(self._root, name)
        facts.count("readings")
        self._one(first, lost_s, calm_s, lost_wall)
        if not MOVING.fullmatch(name):
            self._again(first)
        if (
            not first.error
            and (not self.seen.get(name) or self.seen[name][-1] != first.value)
            and len(first.data) < 200
        ):
            self.seen.setdefault(name, []).append(first.value)
        return first

    def _one(self, reading: Reading, lost_s: float, calm_s: float, lost_wall: float) -> None:
        facts, limits, name = self._facts, self._facts.limits, reading.name
        if reading.took > limits.cmd_timeout_s + limits.slack_s:
            facts.problem("slow", f"{name} took {reading.took:.1f} s")
        needs_answer = FROM_ANSWERS.fullmatch(name) is not None
        if lost_s > limits.lease_s + limits.slack_s and not self.still_lost(lost_wall):
            lost_s = 0.0
        if lost_s > limits.stale_after_s + limits.lease_s + limits.slack_s:
            if needs_answer and not reading.error:
                facts.problem("stale", f"{reading}, {lost_s:.1f} s after the quorum was lost")
            if name == "health" and reading.value != "HEALTH_UNKNOWN":
                facts.problem("stale", f"{reading}, {lost_s:.1f} s after the quorum was lost")
        if calm_s > limits.patience_s and reading.value == "HEALTH_UNKNOWN":
            facts.problem("unknown", f"health is HEALTH_UNKNOWN, {calm_s:.1f} s after the quorum stood")
        if calm_s > limits.patience_s and needs_answer and reading.error == errno.ETIMEDOUT:
            facts.problem("unknown", f"{reading}, {calm_s:.1f} s after the quorum stood")
        if reading.error:
            return
        if reading.size != len(reading.data):
            facts.problem("size", f"{name} says {reading.size} and has {len(reading.data)} bytes")
        if reading.mtime > time.time() + _CLOCK_S:
            facts.problem("mtime", f"{name} is from the future")
        late_s = reading.mtime - lost_wall - limits.lease_s - limits.slack_s
        if needs_answer and lost_s > limits.lease_s + limits.slack_s and late_s > 0:
            facts.problem("mtime", f"{name} is {late_s:.1f} s newer than the last quorum")
        before, last = self._mtimes.get(name, (0.0, reading))
        if reading.mtime < before - 1e-6 and last.ended < reading.began:
            facts.problem("mtime", f"{name} went back by {before - reading.mtime:.3f} s: {last} -> {reading}")
        self._mtimes[name] = (reading.mtime, reading)

    def _again(self, first: Reading) -> None:
        second = look(self._root, first.name)
        if (first.error, first.data) == (second.error, second.data):
            return
        third = look(self._root, first.name)
        if (third.error, third.data) == (first.error, first.data):
            self._facts.problem("to and fro", f"{first}, then {second}, then {third}")


class Values(Reader):
    """The files that a monitoring system reads, in turn."""

    def step(self) -> None:
        for name in self._files:
            self.check(name)


class Events(Watcher):
    """Follows `events` and keeps every line."""

    def __init__(self, root: Path, facts: Facts) -> None:
        super().__init__(root, facts, 1.0)
        self.lines: list[dict[str, Any]] = []

    def step(self) -> None:
        for line in (self._root / "events").read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                self._facts.problem("events", f"not JSON: {line[:200]!r}")
                continue
            last = self.lines[-1]["seq"] if self.lines else 0
            if event["seq"] <= last:
                continue
            if event["seq"] != last + 1:
                self._facts.problem("events", f"after {last} comes {event['seq']}")
            self.lines.append(event)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == kind]

    def check(self, seen: dict[str, list[str]]) -> None:
        """Whatever a reader of the values saw, in its order, has to have a line."""
        self.step()
        told = {
            "health": [str(line["new"]) for line in self.of("health")],
            "mon/quorum_count": [str(len(line["quorum"])) for line in self.of("quorum")],
            "mon/leader": [str(line["leader"]) for line in self.of("quorum")],
            "session/fresh": ["1", *("1" if line["event"] == "fresh" else "0" for line in self.lines
                                     if line["event"] in ("fresh", "stale"))],
        }  # fmt: skip
        # A session that comes and goes is told three times a minute: the states are compared, and not their order.
        untold = set(seen.get("session/state", [])) - {str(line["state"]) for line in self.of("session")}
        if untold:
            self._facts.problem("events", f"session/state said {sorted(untold)}, and no line does")
        for name, lines in told.items():
            missing = first_missing(seen.get(name, []), lines)
            if missing is not None:
                values = seen[name][max(0, missing - 2) : missing + 2]
                self._facts.problem("events", f"{name} said {values}, and the lines are {lines[-12:]}")


def first_missing(seen: Sequence[str], told: Sequence[str]) -> int | None:
    """Index of the first that was seen and not told in this order; what was seen at first may have been told before."""
    at = 0
    for index, value in enumerate(seen):
        if index and value == seen[index - 1]:
            continue
        while at < len(told) and told[at] != value:
            at += 1
        if at == len(told):
            return index
    return None


class Polls:
    """Pollers of many files; afterwards none was woken for nothing, and none sleeps on old content."""

    def __init__(self, root: Path, facts: Facts, files: Sequence[str] = POLLED) -> None:
        self._root = root
        self._facts = facts
        self._pollers = [Poller(root, name) for name in files]
        self._told: dict[str, int] = {}

    def __enter__(self) -> Polls:
        for poller in self._pollers:
            poller.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for poller in self._pollers:
            poller.__exit__()

    def check(self) -> None:
        """When all is settled: what each holds is what there is."""
        for poller in self._pollers:
            wakes = poller.wakes[self._told.get(poller.name, 0) :]
            self._told[poller.name] = len(poller.wakes)
            self._facts.count("wakes", len(wakes))
            in_vain = [wake for wake in wakes if wake.in_vain]
            if in_vain:
                shown = (in_vain[0].after or b"(error)")[:60]
                self._facts.problem(
                    "poll", f"{poller.name} woke {len(in_vain)} of {len(wakes)} times for nothing: {shown!r}"
                )
            deadline = time.monotonic() + self._facts.limits.patience_s
            while (now := look(self._root, poller.name)).data != (poller.holds or b"") and time.monotonic() < deadline:
                time.sleep(0.2)
            if now.data != (poller.holds or b""):
                self._facts.problem(
                    "poll", f"nobody woke the reader of {poller.name}: {poller.holds!r:.80} is now {now}"
                )


def readable(root: Path) -> list[str]:
    """All files that one reading comes to the end of."""
    return [name for name in names(root) if name not in RINGS]
