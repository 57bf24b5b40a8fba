"""Which monitor next, and after how long."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from cephmonfs.model.entity import AddrType, EntityAddr
from cephmonfs.mon.hunt import Candidate, Hunt


def candidate(n: int, priority: int = 0, weight: int = 0) -> Candidate:
    return Candidate(f"m{n}", EntityAddr.of("127.0.0.1", 3300 + n, AddrType.MSGR2), priority, weight)


def hunt_of(*candidates: Candidate, chances: Iterator[float] | None = None) -> Hunt:
    values = chances or itertools.cycle((0.0, 0.4, 0.8, 0.99))
    hunt = Hunt(lambda: next(values))
    hunt.set_candidates(candidates)
    return hunt


def picks(hunt: Hunt, count: int, now: float = 0.0) -> list[str]:
    found = []
    for _ in range(count):
        choice = hunt.pick(now, (), asked=True)
        found.append(choice.name if choice else "-")
    return found


def test_a_round_tries_everybody_once_without_waiting() -> None:
    hunt = hunt_of(*map(candidate, range(5)))
    assert sorted(picks(hunt, 5)) == ["m0", "m1", "m2", "m3", "m4"]
    assert picks(hunt, 1) == ["-"]
    assert 0.0 < hunt.next_time() <= 0.2


def test_nobody_to_try_is_nothing_to_do() -> None:
    hunt = hunt_of()
    assert picks(hunt, 2) == ["-", "-"]
    assert hunt.next_time() == 0.0


def test_the_monitor_that_just_failed_comes_last() -> None:
    for chance in (0.0, 0.3, 0.6, 0.9):
        hunt = hunt_of(*map(candidate, range(3)), chances=itertools.repeat(chance))
        hunt.succeeded(candidate(1).addr)
        hunt.lost(candidate(1).addr)
        assert picks(hunt, 2)[0] != "m1"
        assert sorted(picks(hunt, 0)) == []
        assert hunt.pick(0.0, (), asked=True) is None  # the round is over: the lost one was its first


def test_a_lone_monitor_is_tried_again_after_a_pause() -> None:
    hunt = hunt_of(candidate(0))
    hunt.lost(candidate(0).addr)
    assert hunt.pick(5.0, (), asked=True) is None
    again = hunt.next_time()
    assert 5.0 < again <= 5.2
    choice = hunt.pick(again, (), asked=True)
    assert choice is not None
    assert choice.name == "m0"


def test_priority_goes_before_weight_and_weight_is_a_share() -> None:
    hunt = hunt_of(candidate(0, priority=1), candidate(1), candidate(2))
    assert sorted(picks(hunt, 2)) == ["m1", "m2"]
    assert picks(hunt, 1) == ["m0"]
    shares: Counter[str] = Counter()
    for step in range(100):
        hunt = hunt_of(candidate(0, weight=10), candidate(1, weight=30), chances=itertools.repeat(step / 100))
        shares[picks(hunt, 1)[0]] += 1
    assert shares == {"m0": 25, "m1": 75}


def test_a_chance_of_nearly_one_still_chooses_somebody() -> None:
    hunt = hunt_of(candidate(0, weight=1), candidate(1, weight=0), chances=itertools.repeat(1.0))
    assert picks(hunt, 1) == ["m1"]


def test_pauses_grow_and_stay_short_while_somebody_asks() -> None:
    for asked, longest in ((True, 0.8), (False, 5.0)):
        hunt = hunt_of(candidate(0), chances=itertools.repeat(0.0))
        now, pauses = 0.0, []
        for _ in range(14):
            while hunt.pick(now, (), asked=asked) is not None:
                pass
            pauses.append(hunt.next_time() - now)
            now = hunt.next_time()
        assert abs(pauses[0] - 0.2) < 1e-9
        assert pauses == sorted(pauses)
        assert abs(pauses[-1] - longest) < 1e-9


def test_jitter_spreads_the_pause() -> None:
    pauses = set()
    for chance in (0.0, 0.25, 0.5, 0.75):
        hunt = hunt_of(candidate(0), chances=itertools.repeat(chance))
        hunt.pick(0.0, (), asked=True)
        hunt.pick(0.0, (), asked=True)
        pauses.add(round(hunt.next_time(), 6))
    assert len(pauses) == 4
    assert all(0.1 <= pause <= 0.2 for pause in pauses)


def test_somebody_asking_cuts_a_long_pause_short() -> None:
    hunt = hunt_of(candidate(0), chances=itertools.repeat(0.0))
    now = 0.0
    for _ in range(14):
        while hunt.pick(now, (), asked=False) is not None:
            pass
        now = hunt.next_time()
    while hunt.pick(now, (), asked=False) is not None:
        pass
    assert hunt.next_time() - now > 4
    hunt.asked(now)
    assert hunt.next_time() - now <= 0.8


def test_refusals_are_not_repeated_in_a_tight_loop() -> None:
    hunt = hunt_of(candidate(0), candidate(1), chances=itertools.repeat(0.0))
    last = now = 0.0
    for _ in range(20):
        while (choice := hunt.pick(now, (), asked=True)) is not None:
            hunt.failed(choice.addr, refused=choice.name == "m0")
        assert hunt.refused
        hunt.asked(now)
        last, now = now, hunt.next_time()
    assert now - last == 30.0
    hunt.succeeded(candidate(0).addr)
    assert not hunt.refused


def test_one_refusal_among_monitors_still_untried_is_not_final() -> None:
    hunt = hunt_of(candidate(0), candidate(1))
    choice = hunt.pick(0.0, (), asked=True)
    assert choice is not None
    hunt.failed(choice.addr, refused=True)
    assert not hunt.refused


def test_a_new_monitor_is_a_reason_not_to_wait() -> None:
    hunt = hunt_of(candidate(0))
    picks(hunt, 2)
    assert hunt.next_time() > 0
    hunt.set_candidates([candidate(0), candidate(1)])
    assert hunt.next_time() == 0.0
    assert [c.name for c in hunt.candidates] == ["m0", "m1"]


def test_busy_monitors_are_left_alone() -> None:
    hunt = hunt_of(candidate(0), candidate(1))
    assert hunt.pick(0.0, {candidate(0).addr, candidate(1).addr}, asked=True) is None
    choice = hunt.pick(0.0, {candidate(0).addr}, asked=True)
    assert choice is not None
    assert choice.name == "m1"


# ---- proofs


def pauses_of(hunt: Hunt, faults: int, *, session_between: bool = False) -> list[float]:
    """How long a lone monitor that cannot prove itself is left alone, each time."""
    now, found = 0.0, []
    addr = candidate(0).addr
    for _ in range(faults):
        while hunt.pick(now, (), asked=True) is None:
            now = hunt.next_time()
        hunt.failed(addr, refused=True)
        hunt.distrust(addr, now)
        if session_between:
            hunt.succeeded(addr)
            hunt.lost(addr)
            hunt.set_candidates([candidate(1)])
            hunt.set_candidates([candidate(0)])
        began = now
        while hunt.pick(now, (), asked=True) is None:
            now = hunt.next_time()
            hunt.asked(now)
        found.append(now - began)
        hunt.failed(addr, refused=False)
        hunt.succeeded(addr)
    return found


def test_failed_proofs_are_left_alone_ever_longer_and_no_session_changes_that() -> None:
    wanted = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 600.0, 600.0]
    for between in (False, True):
        found = pauses_of(hunt_of(candidate(0)), len(wanted), session_between=between)
        assert [round(pause) for pause in found] == wanted


def test_an_hour_makes_up_for_a_failed_proof() -> None:
    hunt = hunt_of(candidate(0))
    for now in (0.0, 10.0):
        hunt.distrust(candidate(0).addr, now)
    assert hunt.pick(11.9, (), asked=True) is None
    assert hunt.pick(12.0, (), asked=True) is not None
    hunt.distrust(candidate(0).addr, 12.0 + 3600)
    assert hunt.pick(12.0 + 3600 + 1, (), asked=True) is None  # a round of its own
    assert hunt.next_time() < 12.0 + 3600 + 1.3


def test_others_are_not_kept_waiting_by_one_that_cannot_prove_itself() -> None:
    hunt = hunt_of(candidate(0), candidate(1))
    for step in range(20):
        hunt.distrust(candidate(0).addr, float(step))
    choice = hunt.pick(20.0, (), asked=True)
    assert choice is not None
    assert choice.name == "m1"


def test_many_addresses_are_no_way_around() -> None:
    """Whoever makes us believe in ever new monitors may fail 64 times, and once every five minutes."""
    fresh = (Candidate(f"m{n}", EntityAddr.of("10.0.0.1", n, AddrType.MSGR2)) for n in itertools.count(1))
    hunt = hunt_of()
    now, failures = 0.0, []
    while now < 86400:
        hunt.set_candidates([next(fresh)])
        choice = hunt.pick(now, (), asked=True)
        if choice is None:
            now = max(hunt.next_time(), now + 0.01)
            continue
        failures.append(now)
        hunt.distrust(choice.addr, now)
        hunt.failed(choice.addr, refused=True)
    assert sum(at < 60 for at in failures) == 64
    assert len(failures) <= 64 + 86400 / 300


def test_proofs_of_ours_are_bounded_in_the_long_run() -> None:
    """Each gives somebody on the path something to record, whatever becomes of it; and nothing resets this."""
    hunt = hunt_of(candidate(0), chances=itertools.repeat(0.0))
    now, shown = 0.0, 0
    while now < 86400:
        if hunt.pick(now, (), asked=True) is None:
            now = max(hunt.next_time(), now + 0.001)
            continue
        shown += 1
        hunt.shown_proof(1)
        hunt.succeeded(candidate(0).addr)
    assert 3600 + 86400 / 10 - 2 <= shown <= 3600 + 86400 / 10 + 1


def test_there_is_a_limit_to_what_is_remembered() -> None:
    hunt = hunt_of()
    for port in range(1, 3000):
        hunt.distrust(EntityAddr.of("10.0.0.1", port, AddrType.MSGR2), 0.0)
    assert len(hunt._distrusted._pauses) == 1024
