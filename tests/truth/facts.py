"""What is so: when the cluster had a quorum and when it was disturbed, and the problems that were found meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take; what the mount's options say, and slack for a busy machine."""

    stale_after_s: float
    refresh_s: float
    cmd_timeout_s: float = 2.0
    statfs_timeout_s: float = 1.0
    lease_s: float = 1.5  # so long a monitor may believe in a quorum that is lost
    slack_s: float = 2.0

    @property
    def patience_s(self) -> float:
        """Until a file has to show what is so."""
        return self.refresh_s + self.cmd_timeout_s + self.slack_s


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the mount showed and that is not so."""

    kind: str
    text: str
    event: str  # what had happened last
    after_s: float  # how long before

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}   [{self.after_s:.1f} s after: {self.event}]"


@dataclass
class Facts:
    """Shared by all threads; the main one says what it does."""

    limits: Limits
    began: float = field(default_factory=time.monotonic)
    problems: list[Problem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    event: str = "the beginning"
    event_at: float = field(default_factory=time.monotonic)
    disturbed_at: float = field(default_factory=time.monotonic)  # the last time a monitor was touched or came back
    lost_at: float | None = None  # since then there is no quorum (monotonic)
    lost_wall: float = 0.0
    back_at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def happened(self, event: str, *, disturbs: bool) -> None:
        self.event, self.event_at = event, time.monotonic()
        if disturbs:
            self.disturbed_at = self.event_at
        print(f"{self.event_at - self.began:7.1f}  {event}", flush=True)

    def problem(self, kind: str, text: str) -> None:
        with self._lock:
            found = Problem(kind, text, self.event, time.monotonic() - self.event_at)
            self.problems.append(found)
            print(f"{time.monotonic() - self.began:7.1f}  PROBLEM {found}", flush=True)

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + number

    # ---- the quorum

    def saw_quorum(self, members: Iterable[str], at: float) -> None:
        """The monitors that run were asked; empty: there is no quorum that all its members agree on."""
        if any(members):
            if self.lost_at is not None:
                self.lost_at, self.back_at, self.disturbed_at = None, time.monotonic(), time.monotonic()
        elif self.lost_at is None:
            self.lost_at, self.lost_wall = at, time.time()

    @property
    def lost_for_s(self) -> float:
        """How long there has been no quorum; 0 while there is one."""
        lost_at = self.lost_at
        return 0.0 if lost_at is None else time.monotonic() - lost_at

    @property
    def calm_for_s(self) -> float:
        """How long the monitors have been left alone with a quorum."""
        return 0.0 if self.lost_at is not None else time.monotonic() - self.disturbed_at

    @property
    def quiet_for_s(self) -> float:
        """How long nothing has happened at all."""
        return min(self.calm_for_s, time.monotonic() - self.event_at)


class QuorumWatch:
    """Asks the monitors' admin sockets who is in quorum, a few times a second."""

    def __init__(self, cluster: Cluster, facts: Facts) -> None:
        self._cluster = cluster
        self._facts = facts
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quorum", daemon=True)

    def __enter__(self) -> QuorumWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._end.wait(0.25):
            at = time.monotonic()
            try:
                members = self._cluster.quorum()
            except (OSError, RuntimeError, KeyError, ValueError):
                continue
            self._facts.saw_quorum(members, at)
