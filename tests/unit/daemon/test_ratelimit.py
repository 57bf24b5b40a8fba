"""Nothing repeated in a storm."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trio

from cephmonfs.daemon.ratelimit import RateLimitFilter
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.mon.connection import Identity
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import MonClient
from tests.doubles.world import Is, World

LOGGER = "tests.ratelimit"


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.now = 0.0
        self.addFilter(RateLimitFilter(lambda: self.now))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    names = (LOGGER, "cephmonfs.runtime.client")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    yield handler
    for name in names:
        logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).setLevel(levels[name])


def test_the_same_line_is_told_less_and_less_often(heard: Heard) -> None:
    log = logging.getLogger(LOGGER)
    for second in range(7200):
        heard.now = second
        log.warning("100%% of %s is gone", "it")
    assert heard.lines == [
        "100% of it is gone",
        "100% of it is gone (59 more times since it was last logged)",
        "100% of it is gone (599 more times since it was last logged)",
        "100% of it is gone (3599 more times since it was last logged)",
    ]


def test_what_comes_back_after_long_is_new(heard: Heard) -> None:
    log = logging.getLogger(LOGGER)
    log.info("x")
    heard.now = 8000.0
    log.info("x")
    assert heard.lines == ["x", "x"]


def test_a_flood_of_one_kind_is_thinned(heard: Heard) -> None:
    log = logging.getLogger(LOGGER)
    for number in range(36000):
        heard.now = number / 10
        log.info("session %d", number)
    assert heard.lines[:12] == [f"session {number}" for number in range(12)]
    assert len(heard.lines) < 270  # four a minute, of 600
    assert " similar lines suppressed)" in heard.lines[12]


def test_levels_and_texts_do_not_disturb_each_other(heard: Heard) -> None:
    log = logging.getLogger(LOGGER)
    for _ in range(3):
        log.info("a")
        log.error("a")
        log.info("b")
        log.debug("not shown")
    assert heard.lines == ["a", "a", "b"]


def test_a_record_is_judged_once_for_all_handlers(heard: Heard) -> None:
    other = Heard()
    other.filters[:] = heard.filters
    logging.getLogger(LOGGER).addHandler(other)
    logging.getLogger(LOGGER).info("a")
    logging.getLogger(LOGGER).removeHandler(other)
    assert heard.lines == other.lines == ["a"]


def test_texts_without_end_are_not_kept(heard: Heard) -> None:
    rate_limit = heard.filters[0]
    assert isinstance(rate_limit, RateLimitFilter)
    for number in range(2000):
        rate_limit.filter(logging.LogRecord(LOGGER, logging.INFO, "", 0, f"text {number}", (), None))
    assert len(rate_limit._texts) == 500


def follow(world: World, heard: Heard, seconds: int) -> None:
    """Let the client's log see the world, second by second."""
    world.start()

    async def nothing() -> tuple[()]:
        return ()

    client = MonClient.__new__(MonClient)
    client.__dict__.update(_remember=None, _generation=1, _state=None, _session=world.session, _told=0, _problem="")
    client.now = lambda: world.stamp  # type: ignore[method-assign]
    client._watchers, client._hunting = trio.lowlevel.ParkingLot(), trio.Event()
    for _ in range(seconds):
        world.run(1)
        heard.now = world.now
        client._changed(frozenset({"session"}))


def test_an_hour_with_a_refused_key(heard: Heard) -> None:
    stranger = EntityName(EntityType.CLIENT, "nobody")
    world = World()
    world = World(identity=Identity(stranger, world.monitors.key, (Mode.SECURE, Mode.CRC)))
    follow(world, heard, 3600)
    assert world.is_refused
    assert len(world.connects) > 200  # it went on trying
    refusals = [line for line in heard.lines if "refused client.nobody" in line]
    assert 1 <= len(refusals) <= 9  # one for each monitor, and again after a minute and ten
    assert len(heard.lines) <= 12


def test_an_hour_of_monitors_that_come_and_go(heard: Heard) -> None:
    world = World()
    for _ in range(60):
        follow(world, heard, 30)
        world.set(Is.DEAD, "a", "b", "c")
        follow(world, heard, 30)
        world.set(Is.UP, "a", "b", "c")
    assert 4 <= len(heard.lines) <= 200
    assert any("session with monitor" in line for line in heard.lines)


def test_what_happens_now_and_then_is_told_each_time(heard: Heard) -> None:
    for quarter in range(8):
        heard.now = quarter * 900.0
        logging.getLogger(LOGGER).info("session with monitor a")
    assert len(heard.lines) == 8
