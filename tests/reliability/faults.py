"""The faults: what is done to a running cluster, and undone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.reliability.net import Net
from tests.support.cluster import Cluster

DEFAULTS = {
    "ms_inject_socket_failures": "0",
    "ms_inject_delay_type": "",
    "ms_inject_delay_probability": "0",
    "ms_inject_delay_max": "1",
    "ms_inject_internal_delays": "0",
    "ms_blackhole_client": "false",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault happens.  `target` is the monitor that all clients are with, `leader` never the same."""

    cluster: Cluster
    net: Net
    target: str

    @property
    def others(self) -> list[str]:
        return [name for name in self.cluster.mon_addrs() if name != self.target]


@dataclass(frozen=True, slots=True)
class Fault:
    """`act` begins it and returns what ends it.  `hold_s`: how long it lasts, `peers_s`: how long we then still wait
    for those that have not come back."""

    name: str
    title: str
    act: Callable[[Place], Callable[[], None]]
    hold_s: float
    after_s: float = 40.0
    options: str = ""  # of our mount
    ours_only: bool = False
    only_while: bool = False  # what follows its end is another matter, and not counted


def set_all(cluster: Cluster, **options: str) -> None:
    """Through every monitor's admin socket, which works on all releases and survives what it sets."""
    for name in cluster.mon_addrs():
        for option, value in options.items():
            cluster.mon(name).admin_socket("config", "set", option, value)


def inject(**options: str) -> Callable[[Place], Callable[[], None]]:
    """Set options on all monitors; undone by their defaults."""

    def act(place: Place) -> Callable[[], None]:
        set_all(place.cluster, **options)
        return lambda: set_all(place.cluster, **{name: DEFAULTS[name] for name in options})

    return act


def mute(place: Place) -> Callable[[], None]:
    mon = place.cluster.mon(place.target)
    mon.admin_socket("config", "set", "ms_blackhole_client", "true")

    def undo() -> None:
        mon.admin_socket("config", "set", "ms_blackhole_client", "false")

    return undo


def stop_its(place: Place) -> Callable[[], None]:
    mon = place.cluster.mon(place.target)
    mon.pause()
    return mon.resume


def stop_another(place: Place) -> Callable[[], None]:
    mon = place.cluster.mon(place.others[-1])
    mon.pause()
    return mon.resume


def kill(*which: int) -> Callable[[Place], Callable[[], None]]:
    """kill -9 of its monitor (0) and of the others (1, 2), started again at the end."""

    def act(place: Place) -> Callable[[], None]:
        names = [place.target, *place.others]
        mons = [place.cluster.mon(names[i]) for i in which]
        for mon in mons:
            mon.kill()

        def undo() -> None:
            for mon in mons:
                mon.start()

        return undo

    return act


def black_hole(place: Place) -> Callable[[], None]:
    """All packets of its monitor are dropped, those to and from the other monitors too."""
    place.net.shape(drop=[(place.target, "*")])
    return place.net.shape


def path_lost(place: Place) -> Callable[[], None]:
    """Packets between the clients and their monitor are dropped; the quorum stays whole."""
    place.net.shape(drop=[(place.target, "clients")])
    return place.net.shape


def bad_line(place: Place) -> Callable[[], None]:
    """200 ms there and back, one packet in twenty lost each way."""
    place.net.shape(delay_s=0.1, loss=0.05)
    return place.net.shape


def _loop(step: Callable[[], None], undo: Callable[[], None]) -> Callable[[], None]:
    end = threading.Event()

    def run() -> None:
        while not end.is_set():
            with contextlib.suppress(Exception):
                step()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def stop() -> None:
        end.set()
        thread.join(60)
        undo()

    return stop


def elections(place: Place) -> Callable[[], None]:
    """A monitor leaves the quorum and comes back, every second or so another one."""
    names = [place.target, *place.others]
    turn = iter(range(1 << 30))

    def step() -> None:
        mon = place.cluster.mon(names[next(turn) % len(names)])
        mon.admin_socket("quorum exit")
        time.sleep(0.3)
        mon.admin_socket("quorum enter")
        time.sleep(0.7)

    def undo() -> None:
        for name in names:
            place.cluster.mon(name).admin_socket("quorum enter")

    return _loop(step, undo)


def mons_come_and_go(place: Place) -> Callable[[], None]:
    """A fourth monitor is added and removed, over and over."""
    cluster = place.cluster

    def step() -> None:
        cluster.add_mon("d")
        time.sleep(0.5)
        cluster.remove_mon("d")
        time.sleep(0.5)

    def undo() -> None:
        if "d" in cluster.mon_addrs():
            cluster.remove_mon("d")

    return _loop(step, undo)


def osdmap_epochs(place: Place) -> Callable[[], None]:
    """A new osdmap as often as the monitors make one."""
    cluster = place.cluster
    set_all(cluster, paxos_propose_interval="0.02", paxos_min_wait="0.01")

    def step() -> None:
        names = ("osd set", "osd unset")
        cluster.commands(*({"prefix": name, "key": "noscrub"} for _ in range(100) for name in names), timeout_s=120)

    return _loop(step, lambda: set_all(cluster, paxos_propose_interval="1", paxos_min_wait="0.05"))


@contextlib.contextmanager
def acted(fault: Fault, place: Place) -> Iterator[Callable[[], None]]:
    """The fault, undone at the latest when the block ends."""
    undo = fault.act(place)
    done = False

    def once() -> None:
        nonlocal done
        if not done:
            done = True
            undo()

    try:
        yield once
    finally:
        once()


FAULTS = (
    Fault("mute", "its monitor mute to clients, quorum intact", mute, 45, 45),
    Fault("stop", "its monitor SIGSTOPped", stop_its, 40),
    Fault("stop-other", "another monitor SIGSTOPped", stop_another, 20, 5),
    Fault("black-hole", "its monitor black-holed (all its packets dropped)", black_hole, 40),
    Fault("path", "packets to and from its monitor dropped, quorum intact", path_lost, 40),
    Fault("kill", "its monitor killed with -9: the moment itself", kill(0), 2.5, 10, only_while=True),
    # once started again it calls an election, in the middle of which the count would end
    Fault("kill-stays", "its monitor killed with -9, for 25 s", kill(0), 25, 20, only_while=True),
    Fault("kill-two", "two of three monitors killed, started again after 20 s", kill(0, 1), 20, 30),
    Fault("kill-all", "all monitors killed, started again after 20 s", kill(0, 1, 2), 20, 30),
    Fault("stale", "no quorum for longer than stale_after=5", kill(0, 1), 15, 20, "stale_after=5", ours_only=True),
    Fault("line", "200 ms and 5 % loss on the way to all monitors", bad_line, 40, 10),
    Fault("few", "1 socket failure in 5000", inject(ms_inject_socket_failures="5000"), 20, 10),
    Fault("many", "1 socket failure in 500", inject(ms_inject_socket_failures="500"), 20, 10),
    Fault(
        "delays",
        "messages to clients held up (1 in 200, by up to 1 s), 2 ms inside",
        inject(ms_inject_delay_type="client", ms_inject_delay_probability="0.005", ms_inject_internal_delays="0.002"),
        20,
        10,
    ),
    Fault(
        "qa",
        "1 socket failure in 30, 100 ms inside, messages to clients held up (1 in 200)",
        inject(
            ms_inject_socket_failures="30",
            ms_inject_internal_delays="0.1",
            ms_inject_delay_type="client",
            ms_inject_delay_probability="0.005",
        ),
        30,
        15,
    ),
    Fault("elections", "elections in a loop", elections, 30, 20),
    Fault("monmaps", "monitors added and removed in a loop", mons_come_and_go, 40, 20),
    Fault("osdmaps", "osdmap epochs in a loop", osdmap_epochs, 30, 10),
)
