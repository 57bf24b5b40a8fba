from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from cephmonfs.errors import CephMonFSError, NoData, NotPermitted, RequestTimeout
from cephmonfs.fs import commands
from cephmonfs.fs.commands import HEALTH, QUORUM, Command, CommandCache
from cephmonfs.fs.settings import FsSettings
from cephmonfs.fs.slots import WaitSlots
from tests.fuse.fake import FakeSource

pytestmark = pytest.mark.trio


@asynccontextmanager
async def running(source: FakeSource, slots: WaitSlots | None = None, **settings: float) -> AsyncIterator[CommandCache]:
    cache = CommandCache(source, FsSettings(**settings), slots or WaitSlots())  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.run)
        await trio.testing.wait_all_tasks_blocked()
        yield cache
        nursery.cancel_scope.cancel()


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
        assert cache.version(HEALTH) == 1
        await trio.sleep(0.2)
        await cache.ensure(HEALTH)
        assert source.asked["health"] == 2
        assert cache.version(HEALTH) == 1  # the same answer
        await trio.sleep(1000)
        assert source.asked["health"] == 2  # nobody reads


async def test_silence_is_waited_for_once(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        at = cache.at(HEALTH)
        await trio.sleep(20)
        source.hush()
        assert await timed(cache) == pytest.approx(2.0)
        assert await timed(cache) == pytest.approx(0.25)
        assert await timed(cache, QUORUM) == pytest.approx(0.25)
        assert cache.reply(HEALTH).result == 0
        assert cache.at(HEALTH) == at
        with pytest.raises(NoData):
            cache.reply(QUORUM)
        assert source.asked["health"] == 2
        source.hush(False)
        await trio.testing.wait_all_tasks_blocked()
        assert await timed(cache) == 0
        assert cache.at(HEALTH) != at


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
            cache.reply(HEALTH)
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
            cache.reply(HEALTH)
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
            cache.reply(HEALTH)
        await cache.ensure(QUORUM)
        cache.reply(QUORUM)
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
            cache.reply(big)
        cache.reply(b)
        with pytest.raises(NoData):
            cache.reply(a)  # made room
        assert cache.size(a) == 900
        await cache.ensure(a)
        cache.reply(a)


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
        assert not cache.refused(HEALTH)
        assert cache.is_open(HEALTH)
        await cache.ensure(HEALTH)
        assert cache.refused(HEALTH)
        assert not cache.is_open(HEALTH)
        await trio.sleep(599)
        assert cache.refused(HEALTH)
        await trio.sleep(2)
        assert not cache.refused(HEALTH)
        await cache.ensure(HEALTH)
        assert cache.refused(HEALTH)
        cache.expire_refused()
        source.answers["health"] = b"{}"
        assert not cache.refused(HEALTH)
        await cache.ensure(HEALTH)
        assert cache.reply(HEALTH).data == b"{}"


async def test_silence_is_neither_refusal_nor_outcome(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers["health"] = RequestTimeout("silence")
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        assert cache.is_open(HEALTH)
        assert not cache.refused(HEALTH)
        source.answers["health"] = b"{}"
        await cache.ensure(HEALTH)
        source.answers["health"] = RequestTimeout("silence")
        await trio.sleep(20)
        await cache.ensure(HEALTH)
        assert not cache.is_open(HEALTH)


async def test_an_error_about_the_state_of_the_cluster_is_no_refusal(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers["health"] = -16  # EBUSY, as `mon ok-to-add-offline` says when a monitor is down
    async with running(source) as cache:
        await cache.ensure(HEALTH)
        assert not cache.refused(HEALTH)
        assert cache.failed(HEALTH)
        with pytest.raises(NoData):
            cache.reply(HEALTH)
        await trio.sleep(FsSettings().refresh + 1)
        assert not cache.failed(HEALTH)


async def test_each_is_run_once_to_know_whether_it_fails(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.answers |= {"refused": -22, "busy": -16, "mute": RequestTimeout("silence")}
    asked = [Command(words) for words in ("health", "refused", "busy", "mute")]
    async with running(source) as cache:
        await cache.prove(asked)
        assert [cache.failed(command) for command in asked] == [False, True, True, False]
        await cache.prove(asked)
        assert source.asked == {"health": 1, "refused": 1, "busy": 1, "mute": 2}
        await trio.sleep(FsSettings().refresh + 1)
        await cache.prove(asked)
        assert source.asked == {"health": 1, "refused": 1, "busy": 2, "mute": 3}
        cache.expire_refused()
        source.answers["refused"] = b"granted"
        await cache.prove(asked)
        assert not cache.failed(asked[1])
        assert source.asked["refused"] == 2


async def test_to_know_whether_they_fail_takes_no_longer_than_one(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource()
    source.hush()
    many = [Command(f"word{i}") for i in range(1000)]
    async with running(source) as cache:
        for bound_s in (FsSettings().cmd_timeout, FsSettings().cmd_timeout):
            began = trio.current_time()
            await cache.prove(many)
            assert trio.current_time() - began <= bound_s
        assert source.asked.total() <= 400
