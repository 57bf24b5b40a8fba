"""Which monitor next, and after how long.

A round tries every monitor once, lowest `priority` first, by weighted chance within one priority; a monitor that
just failed comes last.  Within a round nobody waits: after a reset the next monitor is tried at once.  Between
rounds there is a pause that grows and is spread by chance, so that a thousand mounts do not come back
as one.  While somebody is asking the pause stays short; with nobody asking it may grow long.

Two things keep a hostile monitor from making us busy: one that broke the protocol is left alone for a time that
doubles with every fault, and however sessions come and go, connects in the long run are no more than thirty a second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from cephmonfs.model.entity import EntityAddr

_FIRST_PAUSE_S: Final = 0.2
_GROWTH: Final = 1.5
_LONGEST_ASKED_S: Final = 0.8  # with a caller waiting: fresh within a second of the quorum's return
_LONGEST_IDLE_S: Final = 5.0
_LONGEST_REFUSED_S: Final = 30.0  # never retry a refusal in a tight loop
_JITTER: Final = 0.5
_ROUNDING: Final = 1e-6  # without it the moment that we ask to be called at may be just too early, for ever
_SHUN_S: Final = 0.25  # after the first fault of a monitor
_LONGEST_SHUN_S: Final = 3.0
_FORGIVEN_AFTER_S: Final = 60.0  # without a fault
_BURST: Final = 60  # connects at once
_PER_S: Final = 30.0  # connects for ever


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a monitor listens.  `name` is its name in the monmap, or the address as configured."""

    name: str
    addr: EntityAddr
    priority: int = 0
    weight: int = 0
    remembered: bool = False  # not given, known from an earlier mount


class Hunt:
    """The order of attempts.  `chance` returns a float in [0, 1)."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._candidates: tuple[Candidate, ...] = ()
        self._tried: set[EntityAddr] = set()
        self._last_failed: EntityAddr | None = None
        self._rounds = 0
        self._not_before = 0.0
        self._round_refused = False
        self._shunned: dict[EntityAddr, tuple[float, float]] = {}  # until when, for how long
        self._budget = float(_BURST)
        self._budget_at = 0.0
        self.refused = False  # everybody was tried, nobody took us, and somebody said no

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Everything that may be tried."""
        return self._candidates

    def set_candidates(self, candidates: Iterable[Candidate]) -> None:
        """Replace the list; what was tried in this round stays tried."""
        seen: dict[EntityAddr, Candidate] = {}
        for candidate in candidates:
            seen.setdefault(candidate.addr, candidate)
        if any(addr not in self._tried and addr not in {c.addr for c in self._candidates} for addr in seen):
            self._not_before = 0.0  # somebody new to try: no reason to wait
        self._candidates = tuple(seen.values())
        self._shunned = {addr: shun for addr, shun in self._shunned.items() if addr in seen}

    def next_time(self) -> float:
        """Return the moment before which `pick` gives nothing."""
        return self._not_before

    def pick(self, now: float, busy: Collection[EntityAddr], *, asked: bool) -> Candidate | None:
        """Choose a monitor that is not in `busy`, or None when none may be tried now."""
        if now < self._not_before:
            return None
        idle = [c for c in self._candidates if c.addr not in busy]
        free = [c for c in idle if self._shunned_until(c.addr) <= now]
        if not free and idle:
            self._not_before = min(self._shunned_until(c.addr) for c in idle)
            return None
        untried = [c for c in free if c.addr not in self._tried]
        if not untried:
            if not free or not self._tried:
                return None
            self._end_round(now, asked=asked)
            return None
        others = [c for c in untried if c.addr != self._last_failed] or untried
        best = min(c.priority for c in others)
        if not self._spend(now):
            return None
        choice = self._weighted([c for c in others if c.priority == best])
        self._tried.add(choice.addr)
        return choice

    def _spend(self, now: float) -> bool:
        self._budget = min(self._budget + (now - self._budget_at) * _PER_S, float(_BURST))
        self._budget_at = now
        if self._budget < 1 - _ROUNDING:
            self._not_before = now + (1 - self._budget) / _PER_S
            return False
        self._budget -= 1
        return True

    def _shunned_until(self, addr: EntityAddr) -> float:
        return self._shunned.get(addr, (0.0, 0.0))[0]

    def shun(self, addr: EntityAddr, now: float) -> None:
        """This monitor broke the protocol: leave it alone for a while."""
        until, last = self._shunned.get(addr, (0.0, 0.0))
        pause = min(2 * last, _LONGEST_SHUN_S) if last and now < until + _FORGIVEN_AFTER_S else _SHUN_S
        self._shunned[addr] = (now + pause, pause)

    def _weighted(self, candidates: list[Candidate]) -> Candidate:
        """Weights of 0 mean "no preference": if all are 0, all are equal; else 0 is chosen last."""
        total = sum(c.weight for c in candidates)
        if not total:
            return candidates[int(self._chance() * len(candidates))]
        at = self._chance() * total
        for candidate in candidates:
            at -= candidate.weight
            if at < 0:
                return candidate
        return candidates[-1]

    def _end_round(self, now: float, *, asked: bool) -> None:
        self.refused, self._round_refused = self._round_refused, False
        longest = _LONGEST_REFUSED_S if self.refused else _LONGEST_ASKED_S if asked else _LONGEST_IDLE_S
        pause = min(_FIRST_PAUSE_S * _GROWTH ** min(self._rounds, 30), longest)
        self._not_before = now + pause * (1 - _JITTER * self._chance())
        self._rounds += 1
        self._tried.clear()

    def asked(self, now: float) -> None:
        """Somebody asks: do not sit out a pause that was meant for nobody."""
        if not self.refused and self._not_before > now + _LONGEST_ASKED_S:
            self._not_before = now + _LONGEST_ASKED_S * (1 - _JITTER * self._chance())

    def failed(self, addr: EntityAddr, *, refused: bool) -> None:
        """Remember how an attempt ended."""
        self._last_failed = addr
        self._round_refused = self._round_refused or refused

    def succeeded(self, addr: EntityAddr) -> None:
        """A session is open: the next hunt starts a new first round without a pause."""
        self._tried.clear()
        self._rounds = 0
        self._not_before = 0.0
        self._last_failed = None
        self._round_refused = self.refused = False

    def lost(self, addr: EntityAddr) -> None:
        """The session with this monitor ended: it is tried last."""
        self._last_failed = addr
        self._tried = {addr}
