"""Caps: finds out what the key's mon caps do not cover, from what a monitor leaves unanswered.

A monitor does not refuse a map or a statfs that the caps forbid; it stays silent.  A command is answered whatever the
caps are.  So each session begins with a command, the probe.  What was asked before the probe and is still unanswered
1.5 s after its answer is forbidden by the caps.

A monitor without quorum also answers the probe and leaves a statfs waiting.  So a statfs counts as forbidden only when
a probe was refused with EACCES, no statfs was answered in this session, and none was answered in an earlier session
that refused the same probe.  The caps may cover `fsid` and no statfs, or the reverse; so a second probe, `pg stat`,
wants the same caps as a statfs.

A monitor reads the caps when a session begins.  So each session asks anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import NotPermitted
from cephmonfs.messages.mon import MMonCommand
from cephmonfs.mon.connection import EACCES
from cephmonfs.mon.requests import LATE_AFTER_S, Kind

if TYPE_CHECKING:
    from cephmonfs.model.entity import EntityName
    from cephmonfs.mon.maps import Maps
    from cephmonfs.mon.requests import ConnectionId, Request, Requests

FIRST_PROBE: Final = "fsid"
SECOND_PROBE: Final = "pg stat"  # wants the caps that a statfs wants

_GRACE_S: Final = 1.5  # an answered probe, and still no answer to what was asked before it: caps
_ROUNDING: Final = 1e-6
_AGAIN_S: Final = 60.0  # a session's caps are those of its beginning: so often a new one is tried


@dataclass(frozen=True, slots=True)
class Probe:
    """An answered probe.  `result` is 0 or a negative errno."""

    conn_id: ConnectionId
    answered: float
    result: int


class Caps:
    """Makes probes and draws conclusions; `statfs_denied` until a statfs is answered again."""

    def __init__(self, entity: EntityName, maps: Maps, requests: Requests) -> None:
        self.statfs_denied = False
        self.probe: Probe | None = None  # the one that was answered and not weighed yet
        self.probed = ""  # the command of the last probe
        self._entity = entity
        self._maps = maps
        self._requests = requests
        self._refused = False  # the first probe of this session
        self._answered = False  # a statfs of this session
        self._answered_though_refused = False  # both, in a session so far
        self._again = 0.0

    def session_began(self) -> None:
        """Forget what the last session told about the caps."""
        self.probe = None
        self._refused = self._answered = False
        for request in self._probes():
            self._requests.forget(request)

    def _probes(self) -> list[Request]:
        return [r for r in self._requests.pending() if r.optional and r.kind is Kind.COMMAND]

    def statfs_answered(self) -> None:
        """The caps cover it."""
        self.statfs_denied = False
        self._answered = True
        self._answered_though_refused |= self._refused

    @property
    def statfs_covered(self) -> bool:
        """Whether a statfs was answered in this session."""
        return self._answered

    def first_probe_answered(self, result: int) -> None:
        """The session's first command was answered."""
        self._refused = result == EACCES
        self._answered_though_refused |= self._refused and self._answered

    def ask(self, command: str, now: float) -> Request | None:
        """Enter a probe for the caller to send; None while one is unanswered."""
        if self._probes():
            return None
        self.probed = command
        return self._requests.add(
            Kind.COMMAND, lambda fsid: MMonCommand.of(fsid, {"prefix": command}), now, optional=True
        )

    def probe_answered(self, probe: Probe, current: ConnectionId | None) -> None:
        """Keep it, unless the session has one already."""
        if self.probe is None or current is None or self.probe.conn_id != current:
            self.probe = probe

    def next_timeout(self) -> float:
        """Return when the answered probe tells something; inf when nothing waits for that."""
        if self.probe is None or not (self._maps.any_awaited() or self._statfs_unanswered()):
            return math.inf
        return self.probe.answered + _GRACE_S

    def _statfs_unanswered(self) -> bool:
        return any(r.kind is Kind.STATFS and r.sent for r in self._requests.pending())

    def take_probe(self, now: float) -> Probe | None:
        """Return the probe that was answered a while ago, once."""
        probe = self.probe
        if probe is None or now < probe.answered + _GRACE_S:
            return None
        self.probe = None
        return probe

    def deny_statfs(self, probe: Probe, now: float) -> bool:
        """Whether this probe tells that the statfs under way has no caps; if so, it stays denied."""
        if probe.result != EACCES or self._answered:
            return False
        if self._answered_though_refused and self.probed == FIRST_PROBE:
            return False
        if not self._requests.statfs_sent_before(probe.answered):
            return False
        self.statfs_denied = True
        self._again = now + _AGAIN_S
        return True

    def in_doubt(self, now: float) -> bool:
        """Whether a statfs is late, and none was answered in this session: the second probe may tell why."""
        late = self._requests.statfs_sent_before(now - LATE_AFTER_S[Kind.STATFS] + _ROUNDING)
        return late and not self._answered and self.probe is None

    def try_again(self, now: float) -> bool:
        """Whether the refusal is old: the key may have got more caps by now, which a new session would have."""
        if now < self._again:
            return False
        self._again = now + _AGAIN_S
        return True

    def denial(self) -> NotPermitted:
        """Return what callers of a denied statfs are told."""
        return NotPermitted(
            f"{self._entity} may connect but not ask for the space: "
            "it needs mon 'allow r' (or at least 'allow service pg r')"
        )

    def denied(self) -> frozenset[str]:
        """Return the names of maps that the caps do not cover, and "statfs"."""
        return frozenset(self._maps.denied) | (frozenset({"statfs"}) if self.statfs_denied else frozenset())
