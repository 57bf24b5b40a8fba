"""Hunt: chooses the monitor to try next, and when.

A round tries every monitor once, lowest `priority` first, by weighted chance within one priority; a monitor that
just failed comes last.  There is no pause within a round: after a reset the next monitor is tried at once.  Between
rounds there is a pause that grows and has a random part, so that a thousand mounts do not reconnect at
the same moment.  The pause is at most 0.8 s while a caller waits, and at most 5 s else.

Two limits keep a hostile monitor from making us busy: one that broke the protocol is left alone for a time that
doubles with every fault, and there are at most 60 connects at once, and 30 a second in the long run.

Two more protect an aes key from an attacker on the path (docs/security.md).  An address where a proof failed is left
alone for 1 s, then 2, 4, ... up to 600 s; and all addresses together may fail 64 times at once and every 5 minutes in
the long run.  Each proof of ours is answered with something sealed with our key, which can be recorded: we show 3600
at once and one every 10 s in the long run.  Only time restores these budgets.  An open session does not, because an
attacker may relay a genuine one between two attempts.
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
_DISTRUST_S: Final = 1.0  # after the first proof that failed
_LONGEST_DISTRUST_S: Final = 600.0
_TRUSTED_AGAIN_S: Final = 3600.0  # after the last pause
_FAILED_PROOFS: Final = 64  # at once
_FAILED_PROOFS_PER_S: Final = 1 / 300
_PROOFS: Final = 3600  # at once: half an hour of hunting for a quorum, without loss of speed
_PROOFS_PER_S: Final = 1 / 10
_MOST_PAUSES: Final = 1024  # addresses; monmaps of liars may name any number


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a monitor listens.  `name` is its name in the monmap, or the address as configured."""

    name: str
    addr: EntityAddr
    priority: int = 0
    weight: int = 0
    remembered: bool = False  # not given, known from an earlier mount


class Budget:
    """So many at once, and so many a second in the long run."""

    def __init__(self, at_once: int, per_s: float) -> None:
        self._at_once = float(at_once)
        self._per_s = per_s
        self._left = self._at_once
        self._at = 0.0

    def spend(self, count: int = 1) -> None:
        """Count some that happened, whether they could be afforded or not."""
        self._left -= count

    def wait(self, now: float) -> float:
        """Return how long until one more can be afforded, 0 for at once."""
        self._left = min(self._left + (now - self._at) * self._per_s, self._at_once)
        self._at = now
        return 0.0 if self._left >= 1 - _ROUNDING else (1 - self._left) / self._per_s


class Pauses:
    """Addresses left alone: for `first_s`, twice as long with each fault, forgiven `forgiven_s` after a pause."""

    def __init__(self, first_s: float, longest_s: float, forgiven_s: float) -> None:
        self._first_s, self._longest_s, self._forgiven_s = first_s, longest_s, forgiven_s
        self._pauses: dict[EntityAddr, tuple[float, float]] = {}  # until when, for how long

    def add(self, addr: EntityAddr, now: float) -> None:
        """One more fault."""
        until, last = self._pauses.pop(addr, (0.0, 0.0))
        pause = min(2 * last, self._longest_s) if last and now < until + self._forgiven_s else self._first_s
        while len(self._pauses) >= _MOST_PAUSES:
            del self._pauses[next(iter(self._pauses))]
        self._pauses[addr] = (now + pause, pause)

    def until(self, addr: EntityAddr) -> float:
        """Return when its pause ends, or ended; 0 if it had none."""
        return self._pauses.get(addr, (0.0, 0.0))[0]

    def keep(self, addrs: Collection[EntityAddr]) -> None:
        """Forget all others."""
        self._pauses = {addr: pause for addr, pause in self._pauses.items() if addr in addrs}


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
        self._shunned = Pauses(_SHUN_S, _LONGEST_SHUN_S, _FORGIVEN_AFTER_S)
        self._distrusted = Pauses(_DISTRUST_S, _LONGEST_DISTRUST_S, _TRUSTED_AGAIN_S)
        self._connects = Budget(_BURST, _PER_S)
        self._proofs = Budget(_PROOFS, _PROOFS_PER_S)
        self._failed_proofs = Budget(_FAILED_PROOFS, _FAILED_PROOFS_PER_S)
        self.refused = False  # every monitor was tried, and at least one refused us

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
        self._shunned.keep(seen)  # what is distrusted stays so: the list may be the liar's

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
            if self._round_refused and all(c.addr in self._tried for c in idle):
                self._end_round(now, asked=asked)
            self._not_before = max(self._not_before, min(self._shunned_until(c.addr) for c in idle))
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
        wait = max(budget.wait(now) for budget in (self._connects, self._proofs, self._failed_proofs))
        if wait:
            self._not_before = now + wait
            return False
        self._connects.spend()
        return True

    def _shunned_until(self, addr: EntityAddr) -> float:
        return max(self._shunned.until(addr), self._distrusted.until(addr))

    def shun(self, addr: EntityAddr, now: float) -> None:
        """This monitor broke the protocol: leave it alone for a while."""
        self._shunned.add(addr, now)

    def distrust(self, addr: EntityAddr, now: float) -> None:
        """The peer at this address could not prove that it knows our key."""
        self._distrusted.add(addr, now)
        self._failed_proofs.spend()

    def shown_proof(self, count: int) -> None:
        """We have proven our key so many times."""
        self._proofs.spend(count)

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
        """A caller asks: shorten a pause that was chosen while nobody asked."""
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
