"""Monitor commands whose answers are shown as files.

A command runs only when somebody opens a file that needs it and its last answer is older than `refresh`; one at a time
per command, however many openers.  An opener waits until `cmd_timeout` has passed since the question, or, once the
monitors are known to be silent, only for a grace period; then the last answer has to do, with its old time.

Time is trio's, and a mount runs trio by a clock that goes on in a suspend (runtime/clock.py): an answer from before is
as old as it is and the next opener asks.  A wait that was under way ends late by no more than what was left of it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from errno import EACCES, EAGAIN, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ETIMEDOUT
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.errors import CephMonFSError, NoData, NotPermitted, RequestTimeout, SessionLost
from cephmonfs.fs.slots import wake_gently

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cephmonfs.fs.settings import FsSettings
    from cephmonfs.fs.slots import WaitSlots
    from cephmonfs.fs.source import Source
    from cephmonfs.mon.snapshot import CommandReply, Stamp

log = logging.getLogger(__name__)

_GRACE_S: Final = 0.25  # longer than a command takes that the mgr has to answer
_ASK_LIMIT_S: Final = 30.0  # no question stays open for longer
_LASTING_S: Final = 600.0  # until a lasting answer is asked for again, and a refused command is tried again
_PASSING: Final = frozenset({-EAGAIN, -ETIMEDOUT})  # results that say nothing about the command
_REFUSALS: Final = frozenset({-EACCES, -EPERM, -EINVAL, -EOPNOTSUPP, -ENOSYS})  # others are about the cluster's state
_STATE_S: Final = 1.0  # an error that is about the cluster's state counts for `refresh`, and no shorter than this
_MAX_PROVEN: Final = 200  # commands of one directory that run for its list; the largest of Tentacle has 31
_MAX_REPLY: Final = 32 << 20  # `ceph report` of 10,000 OSDs has about 20 MB
_MAX_KEPT: Final = 64 << 20  # of all answers together


@dataclass(frozen=True, slots=True)
class Command:
    """One command.  `words` is what a user types after `ceph`; `json` chooses the format."""

    words: str
    json: bool = False
    detail: bool = False  # the one optional argument that we give
    lasting: bool = False  # the answer changes with an upgrade of the cluster only

    @property
    def request(self) -> dict[str, object]:
        """The command as the monitor wants it."""
        request: dict[str, object] = {"prefix": self.words, "format": "json" if self.json else "plain"}
        return request | {"detail": "detail"} if self.detail else request

    def __str__(self) -> str:
        return f"ceph {self.words}{' detail' if self.detail else ''}{' -f json' if self.json else ''}"


HEALTH: Final = Command("health", json=True)
QUORUM: Final = Command("quorum_status", json=True)
DF: Final = Command("df", json=True)
DF_DETAIL: Final = Command("df", json=True, detail=True)
STATUS: Final = Command("status", json=True)
MON_METADATA: Final = Command("mon metadata", json=True, lasting=True)
OSDMAP: Final = Command("osd getmap")
DESCRIPTIONS: Final = Command("get_command_descriptions", json=True, lasting=True)


class _Entry:
    """What is known of one command."""

    __slots__ = ("asked", "at", "failure", "lot", "open_since", "refused", "reply", "size", "version")

    def __init__(self) -> None:
        self.lot = trio.lowlevel.ParkingLot()
        self.reply: CommandReply | None = None  # the last good one; dropped when room is needed
        self.asked: float = float("-inf")  # when it was asked, trio's clock
        self.at: Stamp | None = None  # when it arrived
        self.size = 0
        self.version = 0  # grows when the outcome differs from the one before
        self.failure: CephMonFSError | None = None  # the outcome of the last run, when it was no answer
        self.refused = False  # and it was a refusal of the command as such
        self.open_since: float | None = None


class CommandCache:
    """Answers `ensure()`; `run()` has to be running."""

    def __init__(self, source: Source, settings: FsSettings, slots: WaitSlots) -> None:
        self._source = source
        self._settings = settings
        self._slots = slots
        self._entries: dict[Command, _Entry] = {}
        self._kept: OrderedDict[Command, int] = OrderedDict()  # bytes of each reply, least recently used first
        self._silent = False  # an opener waited in vain and nothing has been answered since
        self._nursery: trio.Nursery | None = None
        self.on_answer: Callable[[Command], None] = lambda _: None
        self.results = {"answered": 0, "refused": 0, "timeout": 0}  # for `metrics`

    # ---- what is there already

    def reply(self, command: Command) -> CommandReply:
        """Return the last good answer, whatever its age, or raise what stands in its place."""
        entry = self._entries.get(command)
        if entry is None:
            raise NoData(f"{command} has not run yet")
        if isinstance(entry.failure, NotPermitted):
            raise entry.failure
        if entry.reply is None:
            raise entry.failure or NoData(f"no answer to {command} yet")
        return entry.reply

    def is_open(self, command: Command) -> bool:
        """Tell whether it has no outcome yet: nobody has asked, or nobody has answered."""
        entry = self._entries.get(command)
        if entry is None or entry.failure is None:
            return entry is None or entry.reply is None
        return entry.reply is None and isinstance(entry.failure, RequestTimeout)

    def refused(self, command: Command) -> bool:
        """Tell whether the monitors have refused it lately: caps and settings change, so a refusal is not for good."""
        entry = self._entries.get(command)
        if entry is None or not entry.refused:
            return False
        return trio.current_time() - entry.asked < _LASTING_S

    def failed(self, command: Command) -> bool:
        """Tell whether the monitors answer it with an error, as far as is known; silence is none."""
        entry = self._entries.get(command)
        if entry is None or entry.failure is None or isinstance(entry.failure, RequestTimeout):
            return False
        lasts_s = _LASTING_S if entry.refused else max(_STATE_S, self._settings.refresh)
        return trio.current_time() - entry.asked < lasts_s

    def _proven(self, command: Command) -> bool:
        """Tell whether it is known if it fails."""
        entry = self._entries.get(command)
        if entry is None:
            return False
        if entry.failure is None or isinstance(entry.failure, RequestTimeout):
            return entry.at is not None
        return self.failed(command)

    def version(self, command: Command) -> int:
        """Return a number that grows with each different outcome; 0 before the first."""
        entry = self._entries.get(command)
        return entry.version if entry else 0

    def at(self, command: Command) -> Stamp | None:
        """Return when the last answer arrived."""
        entry = self._entries.get(command)
        return entry.at if entry else None

    def size(self, command: Command) -> int:
        """Return the length of the last answer's data; 0 before the first."""
        entry = self._entries.get(command)
        return entry.size if entry else 0

    # ---- asking

    async def ensure(self, command: Command) -> None:
        """Have an answer not older than `refresh`, or wait for one within bounds; never raises CephMonFSError."""
        entry = self._entries.setdefault(command, _Entry())
        now = trio.current_time()
        if command in self._kept:
            self._kept.move_to_end(command)
        if self._young(command, entry, now):
            return
        self._start(command, entry, now)
        with self._slots.take() as may_wait:
            if not may_wait:
                return
            with trio.move_on_after(self._wait_s(entry, now)) as scope:
                await entry.lot.park()
        if scope.cancelled_caught:
            self._silent = True
            self.results["timeout"] += 1

    async def prove(self, commands: Sequence[Command]) -> None:
        """Have each of them answered, well or with an error, once; waits for all together as long as for one."""
        wanted = [command for command in commands if not self._proven(command)][:_MAX_PROVEN]
        if not wanted:
            return
        for command in wanted:
            self.refresh(command)
        with self._slots.take() as may_wait:
            if not may_wait:
                return
            with trio.move_on_after(_GRACE_S if self._silent else self._settings.cmd_timeout):
                for command in wanted:
                    entry = self._entries[command]
                    if entry.open_since is not None:
                        await entry.lot.park()

    def refresh(self, command: Command) -> None:
        """Ask without waiting, unless the last answer is young or still under way."""
        entry = self._entries.setdefault(command, _Entry())
        now = trio.current_time()
        if not self._young(command, entry, now):
            self._start(command, entry, now)

    def expire(self, command: Command) -> None:
        """Forget that the last answer is young: something has happened since that it is about."""
        if command in self._entries:
            self._entries[command].asked = float("-inf")

    def expire_refused(self) -> None:
        """Forget that the last refusals are young: the next session may have other caps."""
        for entry in self._entries.values():
            if entry.refused:
                entry.asked = float("-inf")

    def _young(self, command: Command, entry: _Entry, now: float) -> bool:
        """Tell whether the last answer, or refusal, still counts; silence never does."""
        if isinstance(entry.failure, RequestTimeout):
            return False
        return now - entry.asked < (_LASTING_S if command.lasting else self._settings.refresh)

    def _wait_s(self, entry: _Entry, now: float) -> float:
        timeout = self._settings.cmd_timeout
        asked = now if entry.open_since is None else entry.open_since
        left = asked + timeout - now
        if self._silent:
            left = 0.0
        return min(timeout, max(_GRACE_S, left))

    def _start(self, command: Command, entry: _Entry, now: float) -> None:
        if entry.open_since is None and self._nursery is not None:
            entry.open_since = now
            self._nursery.start_soon(self._ask, command, entry)

    async def run(self) -> None:
        """Hold the tasks that ask."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for entry in self._entries.values():
                entry.open_since = None
                entry.lot.unpark_all()

    async def _ask(self, command: Command, entry: _Entry) -> None:
        failure: CephMonFSError | None = None
        try:
            with trio.fail_after(_ASK_LIMIT_S):
                reply = await self._source.command(command.request)
            failure = self._judge(command, entry, reply)
        except (SessionLost, RequestTimeout, trio.TooSlowError) as exc:
            failure = RequestTimeout(f"{command}: {str(exc) or 'no answer'}")
        except CephMonFSError as exc:
            failure = exc
        except Exception as exc:
            log.exception("%s", command)
            failure = CephMonFSError(f"{command}: {exc}")
        finally:
            if type(failure) is not type(entry.failure):
                entry.version += 1
            entry.failure = failure
            entry.asked = trio.current_time() if entry.open_since is None else entry.open_since
            entry.open_since = None
        self.on_answer(command)
        waiting, entry.lot = entry.lot, trio.lowlevel.ParkingLot()  # those who come now wait for the next answer
        await wake_gently(waiting)

    def _judge(self, command: Command, entry: _Entry, reply: CommandReply) -> CephMonFSError | None:
        """Keep a good reply; say what is wrong with another."""
        self._silent = False
        entry.refused = reply.result in _REFUSALS
        if reply.result < 0:
            self.results["refused"] += 1
            text = f"{command}: {reply.text or 'refused'} ({reply.result})"
            if entry.failure is None or str(entry.failure) != text:
                log.info("%s", text)
            if reply.result in (-EACCES, -EPERM):
                return NotPermitted(text)
            return RequestTimeout(text) if reply.result in _PASSING else NoData(text)
        self.results["answered"] += 1
        if len(reply.data) > _MAX_REPLY:
            log.warning("%s: %d bytes of answer are more than we keep", command, len(reply.data))
            return NoData(f"{command}: the answer is too large")
        if entry.reply is None or entry.reply.data != reply.data:
            entry.version += 1
        entry.reply, entry.at, entry.size = reply, reply.at, len(reply.data)
        self._keep(command, len(reply.data))
        return None

    def _keep(self, command: Command, size: int) -> None:
        self._kept[command] = size
        self._kept.move_to_end(command)
        while sum(self._kept.values()) > _MAX_KEPT:
            dropped, _ = self._kept.popitem(last=False)
            self._entries[dropped].reply = None
            self._entries[dropped].asked = float("-inf")
