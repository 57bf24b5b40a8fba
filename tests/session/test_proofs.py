"""Who cannot prove that he knows our key: how often he is asked, and that no session makes him be asked more often."""

from __future__ import annotations

import pytest

from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.mon import hunt
from cephmonfs.monitor.authserver import Answer
from cephmonfs.monitor.cephx_server import CephxAuth
from tests.doubles.world import World

DAY = 86400.0


class Path:
    """Somebody on the path: passes a genuine handshake on, or answers himself, without the key."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        other = world.monitors.cephx.new_key(KeyType.AES, 0.0)
        genuine, path = CephxAuth.more, self
        self.forges = True
        self.forged = self.relayed = 0

        def more(self: CephxAuth, payload: bytes, now: float) -> Answer:
            if not path.forges:
                path.relayed += 1
                return genuine(self, payload, now)
            path.forged += 1
            return self._grant(other, 4200, None, 1, 64, now)

        monkeypatch.setattr(CephxAuth, "more", more)


@pytest.mark.parametrize("sessions_between", [False, True])
@pytest.mark.parametrize("mons", [1, 3])
def test_tries_of_a_day(sessions_between: bool, mons: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of docs/security.md: at one address some 150, at any number of them some 350."""
    world = World(mons=mons)
    path = Path(world, monkeypatch)
    world.start()
    while world.now < DAY:
        before = path.forged
        world.run(DAY - world.now, until=lambda before=before: path.forged > before)  # type: ignore[misc]
        if sessions_between and world.now < DAY:
            path.forges = False
            world.run(DAY - world.now, until=lambda: world.is_open)
            path.forges = True
            for name in world.cluster.names:
                world.reset(name)
    assert path.forged <= {1: 160, 3: 64 + DAY / 300}[mons]
    assert path.forged >= {1: 70, 3: 100}[mons]
    if sessions_between:
        assert path.relayed >= 70


def test_a_handshake_cut_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording them: many at once, for a network that is bad; then one every ten seconds."""
    monkeypatch.setattr(hunt, "_PROOFS", 60)
    world = World(mons=1)
    path = Path(world, monkeypatch)
    path.forges = False
    world.start()
    for _ in range(60):
        world.run(60.0, until=lambda: world.is_open)
        world.reset("a")
    assert path.relayed >= 60
    quick, began = path.relayed, world.now
    while world.now < began + 3600:
        world.run(60.0, until=lambda: world.is_open)
        world.reset("a")
    assert path.relayed - quick <= 3600 / 10 + began / 10 + 2


def test_an_honest_monitor_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(mons=3)
    other = world.monitors.cephx.new_key(KeyType.AES, 0.0)
    genuine = CephxAuth.more
    asked: list[int] = []

    def more(self: CephxAuth, payload: bytes, now: float) -> Answer:
        asked.append(1)
        return self._grant(other, 4200, None, 1, 64, now) if len(asked) in (1, 3) else genuine(self, payload, now)

    monkeypatch.setattr(CephxAuth, "more", more)
    world.start()
    assert world.run(1.0, until=lambda: world.is_open) < 0.01
    world.reset(world.snap.mon)
    assert world.run(1.0, until=lambda: world.is_open) < 0.5


def test_a_forged_renewal_costs_the_session_and_the_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(mons=1, settings=DemoSettings(seed=3, auth_validity_s=40.0)).opened("a")
    path = Path(world, monkeypatch)
    path.forges = False
    other = world.monitors.cephx.new_key(KeyType.AES, 0.0)
    honest = CephxAuth.renew

    def renew(self: CephxAuth, payload: bytes, now: float) -> tuple[int, bytes]:
        return 0, self._grant(other, 4200, None, 1, 0, now).payload

    monkeypatch.setattr(CephxAuth, "renew", renew)
    world.run(30.5)
    assert "open: the monitor cannot prove that it knows the key" in world.snap.last_error
    assert world.snap.counters["proofs_failed"] == 1
    assert not world.is_open
    monkeypatch.setattr(CephxAuth, "renew", honest)
    assert 0.4 < world.run(5.0, until=lambda: world.is_open) < 1.0
    world.run(31)
    assert world.snap.counters["renewals"] == 2
    assert world.is_open
