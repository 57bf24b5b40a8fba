"""Runs the commands whose answers are shown as files.

A command runs when a file that needs it is opened and its last answer is older than `refresh`; one at a time per
command, for any number of openers.  An opener waits until `cmd_timeout` has passed since the question, or, once the
monitors are known to be silent, only for a grace period; then the last answer has to do, with its old time.

Time is trio's, and a mount runs trio by a clock that goes on in a suspend (runtime/clock.py): an answer from before is
as old as it is and the next opener asks.  A wait that was under way ends late by no more than what was left of it.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import replace
from errno import EACCES, EAGAIN, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ETIMEDOUT
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.errors import CephMonFSError, NoData, NotPermitted, RequestTimeout
from cephmonfs.files.answers import LASTING_S, UNASKED, Answer, Command, Failure
from cephmonfs.fuse.slots import wake_gently
from cephmonfs.wire import limits
from cephmonfs.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cephmonfs.files.settings import FsSettings
    from cephmonfs.files.source import Source
    from cephmonfs.fuse.slots import WaitSlots
    from cephmonfs.mon.snapshot import CommandReply

log = logging.getLogger(__name__)

_GRACE_S: Final = 0.25  # longer than a command takes that the mgr has to answer
_ASK_LIMIT_S: Final = 30.0  # no question stays open for longer
_PASSING: Final = frozenset({-EAGAIN, -ETIMEDOUT})  # results that say nothing about the command
_REFUSALS: Final = frozenset({-EACCES, -EPERM, -EINVAL, -EOPNOTSUPP, -ENOSYS})  # others are about the cluster's state
_MAX_PROVEN: Final = 200  # commands of one directory that run for its list; the largest of Tentacle has 31
_MAX_REPLY: Final = 24 << 20  # `ceph report` of 10,000 OSDs has about 20 MB
_MAX_KEPT: Final = 24 << 20  # of all replies together
_MAX_COMMANDS: Final = 12_000  # that anything is known of; a cluster describes 700


class _Question:
    """The state of one command: when it was sent, and the tasks that wait for its answer."""

    __slots__ = ("asked", "lot", "open_since")

    def __init__(self) -> None:
        self.lot = trio.lowlevel.ParkingLot()
        self.asked = float("-inf")  # when the last one left, trio's clock
        self.open_since: float | None = None


class CommandCache:
    """Answers `ensure()`; `run()` has to be running.  `answers` is a mapping that does not change: a new one comes."""

    def __init__(self, source: Source, settings: FsSettings, slots: WaitSlots) -> None:
        self._source = source
        self._settings = settings
        self._slots = slots
        self.answers: Mapping[Command, Answer] = {}
        self._questions: OrderedDict[Command, _Question] = OrderedDict()  # least recently used first
        self._silent = False  # an opener has timed out and nothing has been answered since
        self._nursery: trio.Nursery | None = None
        self.on_answer: Callable[[Command], None] = lambda _: None
        self.results = {"answered": 0, "refused": 0, "timeout": 0}  # for `metrics`

    def is_young(self, command: Command) -> bool:
        """Return whether the last answer is young enough, so that `ensure` would not ask."""
        return self._is_young(command, self._question(command), trio.current_time())

    async def ensure(self, command: Command) -> None:
        """Have an answer not older than `refresh`, or wait for one within bounds; never raises CephMonFSError."""
        question = self._question(command)
        now = trio.current_time()
        if self._is_young(command, question, now):
            return
        self._start(command, question, now)
        with self._slots.take() as may_wait:
            if not may_wait:
                return
            with trio.move_on_after(self._wait_s(question, now)) as scope:
                await question.lot.park()
        if scope.cancelled_caught:
            self._silent = True
            self.results["timeout"] += 1

    def is_overdue(self, command: Command) -> bool:
        """Return whether it was asked so long ago that waiting is useless."""
        question = self._question(command)
        return question.open_since is not None and self._wait_s(question, trio.current_time()) <= _GRACE_S

    async def prove(self, commands: Sequence[Command]) -> None:
        """Have each of them answered, well or with an error, once; waits for all together as long as for one."""
        now, refresh_s = trio.current_time(), self._settings.refresh
        wanted = [c for c in commands if not self.answers.get(c, UNASKED).is_proven(now, refresh_s)][:_MAX_PROVEN]
        if not wanted:
            return
        for command in wanted:
            self.refresh(command)
        with self._slots.take() as may_wait:
            if not may_wait:
                return
            with trio.move_on_after(_GRACE_S if self._silent else self._settings.cmd_timeout):
                for question in map(self._question, wanted):
                    if question.open_since is not None:
                        await question.lot.park()

    def refresh(self, command: Command, every_s: float = math.inf) -> None:
        """Ask without waiting, unless the last answer is younger than `refresh` or `every_s`, or still under way."""
        question = self._question(command)
        now = trio.current_time()
        if now - question.asked >= every_s or not self._is_young(command, question, now):
            self._start(command, question, now)

    def expire(self, command: Command) -> None:
        """Forget that the last answer is young: something has happened since that it is about."""
        if command in self._questions:
            self._questions[command].asked = float("-inf")

    def expire_refused(self) -> None:
        """Forget that the last refusals are young: the next session may have other caps."""
        refused = {c: replace(a, failure=None) for c, a in self.answers.items() if a.failure and a.failure.is_refusal}
        for command in refused:
            self.expire(command)
        if refused:
            self.answers = {**self.answers, **refused}

    def _question(self, command: Command) -> _Question:
        question = self._questions.setdefault(command, _Question())
        self._questions.move_to_end(command)
        return question

    def _is_young(self, command: Command, question: _Question, now: float) -> bool:
        """Tell whether the last answer, or refusal, still counts; silence never does."""
        failure = self.answers.get(command, UNASKED).failure
        if failure is not None and failure.is_silence:
            return False
        return now - question.asked < (LASTING_S if command.lasting else self._settings.refresh)

    def _wait_s(self, question: _Question, now: float) -> float:
        timeout = self._settings.cmd_timeout
        asked = now if question.open_since is None else question.open_since
        left = asked + timeout - now
        if self._silent:
            left = 0.0
        return min(timeout, max(_GRACE_S, left))

    def _start(self, command: Command, question: _Question, now: float) -> None:
        if question.open_since is None and self._nursery is not None:
            question.open_since = now
            self._nursery.start_soon(self._ask, command, question)

    async def run(self) -> None:
        """Run the tasks that ask, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for question in self._questions.values():
                question.open_since = None
                question.lot.unpark_all()

    async def _ask(self, command: Command, question: _Question) -> None:
        try:
            with trio.fail_after(_ASK_LIMIT_S):
                reply = await self._source.command(command.request)
            answer = self._judged(command, reply)
        except trio.TooSlowError:
            answer = self._failed(command, Failure(RequestTimeout, f"{command}: no answer"))
        except CephMonFSError as exc:
            answer = self._failed(command, Failure.of(exc, command))
        except Exception as exc:
            log.exception("%s", command)
            answer = self._failed(command, Failure(CephMonFSError, f"{command}: {type(exc).__name__}"))
        finally:
            question.asked = trio.current_time() if question.open_since is None else question.open_since
            question.open_since = None
        self._keep(command, answer)
        self.on_answer(command)
        waiting, question.lot = question.lot, trio.lowlevel.ParkingLot()  # later openers wait for the next answer
        await wake_gently(waiting)

    def _judged(self, command: Command, reply: CommandReply) -> Answer:
        """Return the new Answer: a good reply, or the failure."""
        self._silent = False
        if reply.result < 0:
            return self._refused(command, reply)
        self.results["answered"] += 1
        if len(reply.data) > (limits.MAX_JSON if command.ours else _MAX_REPLY):
            log.warning("%s: %d bytes of answer are more than we keep", command, len(reply.data))
            return self._failed(command, Failure(NoData, f"{command}: the answer is too large"))
        old = self.answers.get(command, UNASKED)
        is_same = old.failure is None and old.reply is not None and old.reply.data == reply.data
        if is_same and old.reply is not None:
            reply = replace(reply, data=old.reply.data)  # one copy, however often it comes
        return Answer(reply, reply.asked, len(reply.data), None, old.version + (not is_same))

    def _refused(self, command: Command, reply: CommandReply) -> Answer:
        self.results["refused"] += 1
        text = f"{command}: {one_line(reply.text) or 'refused'} ({reply.result})"
        before = self.answers.get(command, UNASKED).failure
        if before is None or before.text != text:
            log.info("%s", text)
        if reply.result in (-EACCES, -EPERM):
            kind: type[CephMonFSError] = NotPermitted
        else:
            kind = RequestTimeout if reply.result in _PASSING else NoData
        return self._failed(command, Failure(kind, text, is_refusal=reply.result in _REFUSALS))

    def _failed(self, command: Command, failure: Failure) -> Answer:
        """Return the new Answer.  After silence the last good reply stays; a monitor's error replaces it."""
        old = self.answers.get(command, UNASKED)
        failure = replace(failure, at=trio.current_time())
        if failure.is_silence:
            return replace(old, failure=failure)
        is_same = old.failure is not None and (old.failure.kind, old.failure.text) == (failure.kind, failure.text)
        return replace(old, reply=None, failure=failure, version=old.version + (not is_same))

    def _keep(self, command: Command, answer: Answer) -> None:
        """Put it into a new mapping; the replies of what was read least recently make room."""
        answers = {**self.answers, command: answer}
        while len(self._questions) > _MAX_COMMANDS:
            oldest, _ = self._questions.popitem(last=False)
            answers.pop(oldest, None)
        kept = sum(len(a.reply.data) for a in answers.values() if a.reply is not None)
        for old in self._questions if kept > _MAX_KEPT else ():
            known = answers.get(old, UNASKED)
            if known.reply is None or old == command:
                continue
            answers[old] = replace(known, reply=None)
            self._questions[old].asked = float("-inf")
            kept -= len(known.reply.data)
            if kept <= _MAX_KEPT:
                break
        self.answers = answers
