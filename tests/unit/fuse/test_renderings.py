"""One rendering of a file serves all who open it; what is kept is bounded."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from cephmonfs.errors import CephMonFSError, NoData, RequestTimeout
from cephmonfs.files.tree import Kind, Node, Row
from cephmonfs.files.view import View
from cephmonfs.fuse import renderings
from cephmonfs.fuse.renderings import Renderings
from cephmonfs.fuse.slots import WaitSlots

pytestmark = pytest.mark.trio


class File:
    """A file whose content is how often it was rendered."""

    def __init__(self, view: View, *, ages: bool = False, depends: tuple[str, ...] = ("log",)) -> None:
        self.rendered = 0
        self.size = 0
        self.before: Callable[[], None] = lambda: None
        self.node = Node(Row("x", Kind.TEXT, "x", self._render, depends, ages=ages), ("x",))
        self.view = view

    def _render(self, _: View) -> bytes:
        self.before()
        self.rendered += 1
        return b"%d" % self.rendered + bytes(self.size)

    def change(self) -> None:
        log = self.view.records.log
        assert log is not None
        log.version += 1


@asynccontextmanager
async def running(file: File, slots: WaitSlots | None = None, patience_s: float = 2.0) -> AsyncIterator[Renderings]:
    made = Renderings(lambda: file.view, slots or WaitSlots(), patience_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await trio.testing.wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()


async def test_it_is_rendered_anew_when_something_has_changed(view: View) -> None:
    file = File(view)
    async with running(file) as made:
        first = await made.of(5, file.node, anew=True)
        assert (await made.of(5, file.node, anew=True)).content is first.content
        assert await made.size(5, file.node) == 1
        file.change()
        assert (await made.of(5, file.node, anew=True)).content.data == b"2"


async def test_a_thousand_who_open_a_page_at_once_share_it(autojump_clock: trio.testing.MockClock, view: View) -> None:
    file = File(view, ages=True)
    file.before = lambda: autojump_clock.jump(0.02)  # what it costs
    seen: list[bytes] = []

    async def open_it(made: Renderings) -> None:
        rendering = made.recent(5, file.node) or await made.of(5, file.node, anew=True)
        seen.append(rendering.content.data)

    async with running(file) as made:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(1000):
                    nursery.start_soon(open_it, made)
            await trio.sleep(0.05)
        assert len(seen) == 3000
        assert file.rendered <= 2
        await trio.sleep(1)
        await open_it(made)
        assert seen[-1] != seen[0]  # and not for ever


async def test_a_costly_page_is_shared_though_something_changed_and_a_costly_value_is_not(
    autojump_clock: trio.testing.MockClock, view: View
) -> None:
    for ages, contents in ((True, b"1"), (False, b"2")):
        file = File(view, ages=ages)
        file.before = lambda: autojump_clock.jump(0.3)
        async with running(file) as made:
            await made.of(5, file.node, anew=True)
            file.change()
            await trio.sleep(0.01)
            assert (await made.of(5, file.node, anew=True)).content.data == contents


async def test_what_takes_long_is_rendered_in_a_thread_once_and_the_loop_goes_on(view: View) -> None:
    file = File(view, depends=("osdmap",))
    record = replace(view.snapshot.maps["osdmap"], blob=bytes(renderings._THREAD_BYTES + 1))
    file.view = replace(view, snapshot=replace(view.snapshot, maps={"osdmap": record}))
    go = threading.Event()
    file.before = lambda: (go.wait(10), None)[1]
    seen: list[bytes] = []

    async def open_it(made: Renderings) -> None:
        seen.append((await made.of(5, file.node, anew=True)).content.data)

    async with running(file, patience_s=10) as made, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(open_it, made)
        with trio.fail_after(5):
            for _ in range(100):
                await trio.sleep(0.001)  # the loop goes round
        go.set()
    assert seen == [b"1"] * 50


async def test_nobody_waits_longer_than_the_patience_of_an_open(view: View) -> None:
    file = File(view, depends=("osdmap",))
    record = replace(view.snapshot.maps["osdmap"], blob=bytes(renderings._THREAD_BYTES + 1))
    file.view = replace(view, snapshot=replace(view.snapshot, maps={"osdmap": record}))
    go = threading.Event()
    file.before = lambda: (go.wait(10), None)[1]
    async with running(file, patience_s=0.2) as made:
        began = time.monotonic()
        with pytest.raises(RequestTimeout):
            await made.of(5, file.node, anew=True)
        assert time.monotonic() - began < 5
        go.set()
        with trio.fail_after(5):
            while made.last(5) is None:  # noqa: ASYNC110 (a thread tells nobody that it has ended)
                await trio.sleep(0.01)
        assert (await made.of(5, file.node, anew=True)).content.data == b"1"  # it went on meanwhile


async def test_what_cannot_be_rendered_fails_each_open_by_itself(view: View) -> None:
    def fail() -> None:
        raise NoData("made by the test")

    file = File(view)
    file.before = fail
    async with running(file) as made:
        errors: list[CephMonFSError] = []
        for _ in range(2):
            with pytest.raises(NoData) as caught:
                await made.of(5, file.node, anew=True)
            errors.append(caught.value)
        assert errors[0] is not errors[1]


async def test_without_a_place_to_wait_an_open_is_told_so(autojump_clock: trio.testing.MockClock, view: View) -> None:
    file = File(view)
    file.before = lambda: autojump_clock.jump(0.02)
    async with running(file, WaitSlots(0)) as made:
        await made.of(5, file.node, anew=True)
        file.change()
        with pytest.raises(RequestTimeout):
            await made.of(5, file.node, anew=True)


async def test_what_is_kept_is_bounded(view: View) -> None:
    file = File(view)
    file.size = renderings._SMALL - 10
    async with running(file) as made:
        for inode in range(200):
            await made.of(inode, file.node, anew=True)
        assert made._kept <= renderings._MAX_KEPT
        assert made.last(0) is not None  # size and time are known all the same
        file.size = renderings._SMALL + 10
        held = await made.of(1000, file.node, anew=True)
        assert (await made.of(1000, file.node, anew=True)).content is held.content  # while somebody has it open
        del held
        gc.collect()
        made.forget(1000)
        assert made.last(1000) is None


@pytest.mark.parametrize("size", [10, 5 << 20, 30 << 20])
async def test_of_any_size_it_is_rendered_once_for_all_who_wait(view: View, size: int) -> None:
    file = File(view, depends=("osdmap",))
    record = replace(view.snapshot.maps["osdmap"], blob=bytes(renderings._THREAD_BYTES + 1))
    file.view = replace(view, snapshot=replace(view.snapshot, maps={"osdmap": record}))
    file.size = size
    sizes: list[int] = []

    async def open_it(made: Renderings) -> None:
        sizes.append((await made.of(5, file.node, anew=True)).size)

    async with running(file, patience_s=10) as made:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(open_it, made)
        assert made._waits == {}
    assert sizes == [1 + size] * 20
    assert file.rendered == 1


async def test_what_takes_longer_than_an_open_waits_is_there_for_the_next(view: View) -> None:
    """Also where it is large: else nobody would ever see it."""
    file = File(view, depends=("osdmap",))
    record = replace(view.snapshot.maps["osdmap"], blob=bytes(renderings._THREAD_BYTES + 1))
    file.view = replace(view, snapshot=replace(view.snapshot, maps={"osdmap": record}))
    file.size = renderings._LARGE - 10
    file.before = lambda: time.sleep(0.3)
    async with running(file, patience_s=0.1) as made:
        with pytest.raises(RequestTimeout):
            await made.of(5, file.node, anew=True)
        with trio.fail_after(10):
            while made.last(5) is None:  # noqa: ASYNC110 (a thread tells nobody that it has ended)
                await trio.sleep(0.01)
        assert (await made.of(5, file.node, anew=True)).content.data[:1] == b"1"
        assert file.rendered == 1


async def test_those_who_leave_leave_nothing_behind(view: View) -> None:
    file = File(view, depends=("osdmap",))
    record = replace(view.snapshot.maps["osdmap"], blob=bytes(renderings._THREAD_BYTES + 1))
    file.view = replace(view, snapshot=replace(view.snapshot, maps={"osdmap": record}))
    go = threading.Event()
    file.before = lambda: (go.wait(10), None)[1]
    slots = WaitSlots(3)

    async def open_it(made: Renderings) -> None:
        await made.of(5, file.node, anew=True)

    async with running(file, slots, patience_s=10) as made:
        with trio.move_on_after(0.05):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(open_it, made)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(RequestTimeout):
                    await open_it(made)  # there is no place to wait
                await trio.sleep_forever()
        go.set()
        assert (slots.waiting, made._waits) == (0, {})
        await open_it(made)
