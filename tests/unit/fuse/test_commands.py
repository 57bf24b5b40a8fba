from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from cephmonfs.config.filesettings import default_settings
from cephmonfs.errors import CephMonFSError, NoData, NotPermitted, RequestTimeout
from cephmonfs.files.answers import HEALTH, QUORUM, UNASKED, Answer, Command
from cephmonfs.fuse import commands
from cephmonfs.fuse.commands import CommandCache
from cephmonfs.fuse.slots import WaitSlots
from cephmonfs.mon.snapshot import Stamp
from tests.doubles.source import FakeSource

pytestmark = pytest.mark.trio


@asynccontextmanager
async def running(source: FakeSource, slots: WaitSlots | None = None, **settings: float) -> AsyncIterator[CommandCache]:
    cache = CommandCache(source, default_settings(**settings), slots or WaitSlots())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.run)
        await trio.testing.wait_all_tasks_blocked()
        yield cache
        nursery.cancel_scope.cancel()


def known(cache: CommandCache, command: Command) -> Answer:
    return cache.answers.get(command, UNASKED)


def arrival(cache: CommandCache, command: Command) -> Stamp | None:
    reply = known(cache, command).reply
    return None if reply is None else reply.at


def has_failed(cache: CommandCache, command: Command) -> bool:
    return known(cache, command).has_failed(trio.current_time(), default_settings().refresh)


def is_refused(cache: CommandCache, command: Command) -> bool:
    failure = known(cache, command).failure
    return failure is not None and failure.is_refusal and has_failed(cache, command)


async def timed(cache: CommandCache, command: Command = HEALTH) -> float:
    begin = trio.current_time()
    await cache.ensure(command)
    return trio.current_time() - begin


async def test_one_question_for_all_openers_within_refresh(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source) as cache:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(cache.ensure, HEALTH)
        await trio.sleep(9.9)
        await cache.ensure(HEALTH)
        assert source.asked["health"] == 1
        assert known(cache, HEALTH).version == 1
        await trio.sleep(0.2)
        await cache.ensure(HEALTH)
        assert source.asked["health"] == 2
        assert known(cache, HEALTH).version == 1  # the same answer
        await trio.sleep(1000)
        assert source.asked["health"] == 2  # nobody reads


async def test_silence_is_waited_for_once(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        at = arrival(cache, HEALTH)
        await trio.sleep(20)
        source.hush()
        assert await timed(cache) == pytest.approx(2.0)
        assert await timed(cache) == pytest.approx(0.25)
        assert await timed(cache, QUORUM) == pytest.approx(0.25)
        assert known(cache, HEALTH).good(HEALTH).result == 0
        assert arrival(cache, HEALTH) == at
        with pytest.raises(NoData):
            known(cache, QUORUM).good(QUORUM)
        assert source.asked["health"] == 2
        source.hush(False)
        await trio.testing.wait_all_tasks_blocked()
        assert await timed(cache) == 0
        assert arrival(cache, HEALTH) != at


async def test_a_command_that_is_never_answered_is_asked_again_and_delays_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    source = FakeSource()
    async with running(source) as cache:
        source.hush()
        await cache.ensure(HEALTH)
        await trio.sleep(30)
        assert source.asked["health"] == 1
        with pytest.raises(RequestTimeout):
            known(cache, HEALTH).good(HEALTH)
        await cache.ensure(HEALTH)
        assert source.asked["health"] == 2
        source.hush(False)
        assert await timed(cache, QUORUM) == 0


@pytest.mark.parametrize(
    ("answer", "error"),
    [(-13, NotPermitted), (-1, NotPermitted), (-22, NoData), (-11, RequestTimeout), (NotPermitted("x"), NotPermitted)],
)
async def test_refusals(
    autojump_clock: trio.testing.MockClock, answer: int | Exception, error: type[Exception]
) -> None:
    source = FakeSource()
    source.answers["health"] = answer
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        with pytest.raises(error):
            known(cache, HEALTH).good(HEALTH)
        await cache.ensure(HEALTH)
        assert source.asked["health"] == (2 if error is RequestTimeout else 1)  # a refusal counts as an answer


async def test_a_bug_behind_a_command_costs_only_its_file(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    source = FakeSource()
    source.answers["health"] = ZeroDivisionError("made by the test")
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        with pytest.raises(CephMonFSError):
            known(cache, HEALTH).good(HEALTH)
        await cache.ensure(QUORUM)
        known(cache, QUORUM).good(QUORUM)
    assert "made by the test" in caplog.text


async def test_too_large_answers_and_too_many(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_MAX_REPLY", 1000)
    monkeypatch.setattr(commands, "_MAX_KEPT", 1500)
    source = FakeSource()
    source.answers |= {"big": bytes(1001), "a": bytes(900), "b": bytes(900)}
    a, b, big = Command("a"), Command("b"), Command("big")
    async with running(source) as cache:
        for command in (a, b, big):
            await cache.ensure(command)
        with pytest.raises(NoData):
            known(cache, big).good(big)
        known(cache, b).good(b)
        with pytest.raises(NoData):
            known(cache, a).good(a)  # made room
        assert known(cache, a).size == 900
        await cache.ensure(a)
        known(cache, a).good(a)


async def test_without_a_slot_nobody_waits(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.hush()
    async with running(source, WaitSlots(0)) as cache:
        assert await timed(cache) == 0


async def test_refresh_and_expire(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source) as cache:
        cache.refresh(HEALTH)
        await trio.testing.wait_all_tasks_blocked()
        cache.refresh(HEALTH)
        await trio.testing.wait_all_tasks_blocked()
        assert source.asked["health"] == 1
        cache.expire(HEALTH)
        cache.expire(QUORUM)
        await cache.ensure(HEALTH)
        assert source.asked["health"] == 2


async def test_a_refusal_is_not_for_good(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers["health"] = -13
    async with running(source) as cache:
        assert not is_refused(cache, HEALTH)
        assert known(cache, HEALTH).is_open
        await cache.ensure(HEALTH)
        assert is_refused(cache, HEALTH)
        assert not known(cache, HEALTH).is_open
        await trio.sleep(599)
        assert is_refused(cache, HEALTH)
        await trio.sleep(2)
        assert not is_refused(cache, HEALTH)
        await cache.ensure(HEALTH)
        assert is_refused(cache, HEALTH)
        cache.expire_refused()
        source.answers["health"] = b"{}"
        assert not is_refused(cache, HEALTH)
        await cache.ensure(HEALTH)
        assert known(cache, HEALTH).good(HEALTH).data == b"{}"


async def test_silence_is_neither_refusal_nor_outcome(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers["health"] = RequestTimeout("silence")
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        assert known(cache, HEALTH).is_open
        assert not is_refused(cache, HEALTH)
        source.answers["health"] = b"{}"
        await cache.ensure(HEALTH)
        source.answers["health"] = RequestTimeout("silence")
        await trio.sleep(20)
        await cache.ensure(HEALTH)
        assert not known(cache, HEALTH).is_open


async def test_an_error_about_the_state_of_the_cluster_is_no_refusal(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers["health"] = -16  # EBUSY, as `mon ok-to-add-offline` says when a monitor is down
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        assert not is_refused(cache, HEALTH)
        assert has_failed(cache, HEALTH)
        with pytest.raises(NoData):
            known(cache, HEALTH).good(HEALTH)
        await trio.sleep(default_settings().refresh + 1)
        assert not has_failed(cache, HEALTH)


async def test_each_is_run_once_to_know_whether_it_fails(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers |= {"refused": -22, "busy": -16, "mute": RequestTimeout("silence")}
    asked = [Command(words) for words in ("health", "refused", "busy", "mute")]
    async with running(source) as cache:
        await cache.prove(asked)
        assert [has_failed(cache, command) for command in asked] == [False, True, True, False]
        await cache.prove(asked)
        assert source.asked == {"health": 1, "refused": 1, "busy": 1, "mute": 2}
        await trio.sleep(default_settings().refresh + 1)
        await cache.prove(asked)
        assert source.asked == {"health": 1, "refused": 1, "busy": 2, "mute": 3}
        cache.expire_refused()
        source.answers["refused"] = b"granted"
        await cache.prove(asked)
        assert not has_failed(cache, asked[1])
        assert source.asked["refused"] == 2


async def test_to_know_whether_they_fail_takes_no_longer_than_one(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.hush()
    many = [Command(f"word{i}") for i in range(1000)]
    async with running(source) as cache:
        for bound_s in (default_settings().cmd_timeout, default_settings().cmd_timeout):
            began = trio.current_time()
            await cache.prove(many)
            assert trio.current_time() - began <= bound_s
        assert source.asked.total() <= 400
