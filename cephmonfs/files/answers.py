"""The monitors' answers to commands, as frozen values, and `Freshness`, the one rule of staleness."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import AuthError, CephMonFSError, NoData, NotPermitted, RequestTimeout, SessionLost

if TYPE_CHECKING:
    from cephmonfs.files.settings import FsSettings
    from cephmonfs.mon.snapshot import CommandReply, Snapshot, Stamp


@dataclass(frozen=True, slots=True)
class Command:
    """One command.  `words` is what a user types after `ceph`; `json` chooses the format."""

    words: str
    json: bool = False
    detail: bool = False  # the one optional argument that we give
    lasting: bool = False  # the answer changes with an upgrade of the cluster only
    ours: bool = field(default=False, compare=False)  # we parse the answer, so limits.MAX_JSON bounds it

    @property
    def request(self) -> dict[str, object]:
        """The command as the monitor wants it."""
        request: dict[str, object] = {"prefix": self.words, "format": "json" if self.json else "plain"}
        return request | {"detail": "detail"} if self.detail else request

    def __str__(self) -> str:
        return f"ceph {self.words}{' detail' if self.detail else ''}{' -f json' if self.json else ''}"


HEALTH: Final = Command("health", json=True, ours=True)
QUORUM: Final = Command("quorum_status", json=True, ours=True)
DF_DETAIL: Final = Command("df", json=True, detail=True, ours=True)
STATUS: Final = Command("status", json=True, ours=True)
MON_METADATA: Final = Command("mon metadata", json=True, lasting=True, ours=True)
OSDMAP: Final = Command("osd getmap")
DESCRIPTIONS: Final = Command("get_command_descriptions", json=True, lasting=True, ours=True)

LASTING_S: Final = 600.0  # until a lasting answer is asked for again, and a refused command is tried again
_STATE_S: Final = 1.0  # an error that is about the cluster's state counts for `refresh`, and no shorter than this


@dataclass(frozen=True, slots=True)
class Failure:
    """How a question ended without a good answer.

    It is kept, so it is no exception: one that is kept and raised again holds every frame it ever passed.
    """

    kind: type[CephMonFSError]
    text: str
    at: float = -math.inf  # monotonic
    is_refusal: bool = False  # the command itself was refused; else the error is about the cluster's state

    @classmethod
    def of(cls, exc: CephMonFSError, about: object) -> Failure:
        """Keep what an exception says; of its class only what decides the errno."""
        kinds = (NotPermitted, AuthError, NoData, RequestTimeout, SessionLost)
        kind = next((kind for kind in kinds if isinstance(exc, kind)), CephMonFSError)
        if kind in (RequestTimeout, SessionLost):
            return cls(RequestTimeout, f"{about}: {str(exc) or 'no answer'}")
        return cls(kind, str(exc))

    @property
    def is_silence(self) -> bool:
        """Whether it says nothing about the command: no answer, or a temporary error."""
        return issubclass(self.kind, RequestTimeout)

    def error(self) -> CephMonFSError:
        """Return a new exception."""
        return self.kind(self.text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one command at a moment."""

    reply: CommandReply | None = None  # the last good one; dropped when room is needed
    asked: Stamp | None = None  # when the question left that the last good reply answers
    size: int = 0  # of the last good reply's data, dropped or not
    failure: Failure | None = None  # how the last question ended, when not with a good reply
    version: int = 0  # grows with each different outcome

    @property
    def is_open(self) -> bool:
        """Whether it has no outcome yet: not asked, or not answered."""
        return self.reply is None and (self.failure is None or self.failure.is_silence)

    def has_failed(self, now: float, refresh_s: float) -> bool:
        """Whether the monitors answer it with an error, as far as is known; silence is none.

        Caps and settings change, so a refusal is not for good, and an error about the cluster's state even less.
        """
        if self.failure is None or self.failure.is_silence:
            return False
        return now - self.failure.at < (LASTING_S if self.failure.is_refusal else max(_STATE_S, refresh_s))

    def is_proven(self, now: float, refresh_s: float) -> bool:
        """Whether it is known if it fails."""
        if self.failure is None or self.failure.is_silence:
            return self.asked is not None
        return self.has_failed(now, refresh_s)

    def good(self, command: Command) -> CommandReply:
        """Return the last good reply, whatever its age, or raise the failure that replaced it.

        Silence leaves it in place; a monitor's word about the command does not.
        """
        if self.failure is not None and (self.reply is None or not self.failure.is_silence):
            raise self.failure.error()
        if self.reply is None:
            raise NoData(f"{command} has not been answered yet")
        return self.reply


UNASKED: Final = Answer()


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old an answer may be and still be shown as true.

    Rule: while a quorum has answered within `stale_after`, an answer counts for max(stale_after, renewed_s), where
    renewed_s is the age at which it is renewed.  Otherwise it counts for `stale_after`.  With `stale_after=0` the
    session has to be open instead.

    Example, `stale_after=60`, all monitors stop: `health` of 12:00:00 is HEALTH_UNKNOWN from 12:01:00 on.
    """

    now: float  # monotonic
    proven_at: float  # monotonic: when the newest question was asked that a quorum answered; -inf before one
    is_open: bool
    stale_after: float

    @classmethod
    def of(cls, snapshot: Snapshot, settings: FsSettings) -> Freshness:
        """Take what counts from a moment of the session."""
        proven = snapshot.quorum_at or snapshot.last_contact  # caps that cover no proof: use any contact
        return cls(
            snapshot.now.mono,
            -math.inf if proven is None else proven.mono,
            snapshot.state == "open",
            settings.stale_after,
        )

    @property
    def is_fresh(self) -> bool:
        """Whether a quorum has answered within `stale_after`: `session/fresh`."""
        if self.proven_at == -math.inf:
            return False
        if self.stale_after <= 0:
            return self.is_open
        return self.now - self.proven_at <= self.stale_after

    @property
    def ends_at(self) -> float:
        """When (monotonic) `is_fresh` ends without a new answer of a quorum; inf when it does not end or has ended."""
        return self.proven_at + self.stale_after if self.is_fresh and self.stale_after > 0 else math.inf

    def counts(self, asked: float, renewed_s: float) -> bool:
        """Whether what was asked then is true now."""
        limit = max(self.stale_after, renewed_s) if self.is_fresh else self.stale_after
        return self.now - asked <= limit
