"""What happens to the cluster: each act does something and says what; some leave something broken that `heal` mends."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.cluster import Cluster
from tests.truth.facts import Facts
from tests.truth.reference import Reference

SURE = {"yes_i_really_really_mean_it": True, "yes_i_really_mean_it": True}
_FLAGS = ("noout", "noscrub", "nodeep-scrub", "norebalance", "nobackfill")
_BACK_S = 60.0


@dataclass
class World:
    """The cluster, and what has been done to it so far."""

    cluster: Cluster
    reference: Reference
    facts: Facts
    rng: random.Random
    mount: Path
    down: dict[str, str] = field(default_factory=dict)  # daemon -> "killed" or "stopped"
    flags: set[str] = field(default_factory=set)
    pools: list[str] = field(default_factory=list)
    filesystems: list[str] = field(default_factory=list)
    made: int = 0

    def new_name(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    def do(self, **command: object) -> str:
        """A command that changes something; returns what is to be said when the monitors refuse it."""
        told = self.reference.ask(**command)
        return "" if told.result >= 0 else f" (refused: {told.text[:80]})"

    def mons(self, *, up: bool) -> list[str]:
        return [name for name in sorted(self.cluster.mon_addrs()) if (f"mon.{name}" not in self.down) is up]

    def take_down(self, daemon: str, how: str) -> None:
        one = self.cluster.daemon(daemon)
        if how == "killed":
            one.kill()
        else:
            one.pause()
        self.down[daemon] = how

    def bring_back(self, *daemons: str) -> None:
        for daemon in daemons:
            if self.down.pop(daemon) == "killed":
                self.cluster.daemon(daemon).start()
            else:
                self.cluster.daemon(daemon).resume()

    def has_majority(self) -> bool:
        return 2 * len(self.mons(up=True)) > len(self.cluster.mon_addrs())


Act = Callable[[World], str]


# ---- monitors


def lose_a_monitor(world: World) -> str:
    name = world.rng.choice(world.mons(up=True))
    how = world.rng.choice(("killed", "killed", "stopped"))
    world.take_down(f"mon.{name}", how)
    return f"mon.{name} {how}"


def lose_the_quorum(world: World) -> str:
    """All but the monitor that the session is with; or really all."""
    mine = (world.mount / "session/mon").read_text().strip()
    everybody, how = world.rng.random() < 0.4, world.rng.choice(("killed", "stopped"))
    lost = [name for name in world.mons(up=True) if everybody or name != mine]
    for name in lost:
        world.take_down(f"mon.{name}", how)
    return f"no quorum: mon.{', mon.'.join(lost)} {how}"


def heal_monitors(world: World) -> str:
    lost = [daemon for daemon in world.down if daemon.startswith("mon.")]
    world.bring_back(*lost)
    world.cluster.wait_quorum(len(world.cluster.mon_addrs()), _BACK_S)
    return f"{', '.join(lost)} back"


# ---- other daemons


def lose_a_daemon(world: World) -> str:
    daemons = [f"{d.kind}.{d.name}" for d in world.cluster.daemons() if d.kind != "mon"]
    up = [daemon for daemon in daemons if daemon not in world.down]
    if not up:
        return heal_daemons(world)
    daemon, how = world.rng.choice(up), world.rng.choice(("killed", "stopped"))
    world.take_down(daemon, how)
    return f"{daemon} {how}"


def heal_daemons(world: World) -> str:
    lost = [daemon for daemon in world.down if not daemon.startswith("mon.")]
    world.bring_back(*lost)
    return f"{', '.join(lost) or 'no daemon'} back"


# ---- maps


def turn_a_flag(world: World) -> str:
    flag = world.rng.choice(_FLAGS)
    verb = "unset" if flag in world.flags else "set"
    world.flags ^= {flag}
    return f"osd {verb} {flag}" + world.do(prefix=f"osd {verb}", key=flag)


def clear_flags(world: World) -> str:
    said = "".join(world.do(prefix="osd unset", key=flag) for flag in sorted(world.flags))
    world.flags.clear()
    return f"flags cleared{said}"


def make_a_pool(world: World) -> str:
    pool = world.new_name("pool")
    said = world.do(prefix="osd pool create", pool=pool, pg_num=world.rng.choice((1, 2, 4)))
    world.pools.append(pool)
    return f"osd pool create {pool}{said}"


def rename_a_pool(world: World) -> str:
    if not world.pools:
        return make_a_pool(world)
    old, new = world.rng.choice(world.pools), world.new_name("renamed")
    world.pools[world.pools.index(old)] = new
    return f"osd pool rename {old} {new}" + world.do(prefix="osd pool rename", srcpool=old, destpool=new)


def remove_a_pool(world: World) -> str:
    if not world.pools:
        return make_a_pool(world)
    pool = world.rng.choice(world.pools)
    world.pools.remove(pool)
    return f"osd pool delete {pool}" + world.do(prefix="osd pool delete", pool=pool, pool2=pool, **SURE)


def make_a_filesystem(world: World) -> str:
    name = world.new_name("fs")
    for part in ("meta", "data"):
        world.do(prefix="osd pool create", pool=f"{name}_{part}", pg_num=1)
    world.do(prefix="fs flag set", flag_name="enable_multiple", val="true", **SURE)
    said = world.do(prefix="fs new", fs_name=name, metadata=f"{name}_meta", data=f"{name}_data")
    world.filesystems.append(name)
    return f"fs new {name}{said}"


def remove_a_filesystem(world: World) -> str:
    if not world.filesystems:
        return make_a_filesystem(world)
    name = world.filesystems.pop()
    world.do(prefix="fs fail", fs_name=name)
    said = world.do(prefix="fs rm", fs_name=name, **SURE)
    for part in ("meta", "data"):
        world.do(prefix="osd pool delete", pool=f"{name}_{part}", pool2=f"{name}_{part}", **SURE)
    return f"fs rm {name}{said}"


def write_data(world: World) -> str:
    if not world.pools:
        return make_a_pool(world)
    pool, count = world.rng.choice(world.pools), world.rng.randint(1, 20)
    said = ""
    for number in range(count):
        said = said or world.do(write=[pool, f"object{number}", 4096 * world.rng.randint(1, 256)])
        if said:
            break
    return f"wrote {count} objects into {pool}{said}"


def mute(world: World) -> str:
    """Of what is usually wrong in such a run; sticky, so that the check need not be there."""
    code = world.rng.choice(("OSDMAP_FLAGS", "MON_DOWN", "POOL_APP_NOT_ENABLED", "OSD_DOWN"))
    if world.rng.random() < 0.5:
        return f"health unmute {code}" + world.do(prefix="health unmute", code=code)
    return f"health mute {code}" + world.do(prefix="health mute", code=code, sticky=True)


def change_caps(world: World) -> str:
    """Somebody else's: nothing here may notice."""
    caps = world.rng.choice(("allow r", "allow *", "allow service pg r"))
    said = world.do(prefix="auth get-or-create", entity="client.other")
    return f"auth caps client.other {caps}{said}" + world.do(
        prefix="auth caps", entity="client.other", caps=["mon", caps]
    )


ACTS: dict[Act, int] = {  # and how likely each is
    lose_a_monitor: 4,
    lose_the_quorum: 2,
    lose_a_daemon: 3,
    heal_daemons: 3,
    turn_a_flag: 4,
    clear_flags: 1,
    make_a_pool: 3,
    rename_a_pool: 2,
    remove_a_pool: 2,
    make_a_filesystem: 2,
    remove_a_filesystem: 2,
    write_data: 3,
    mute: 2,
    change_caps: 1,
}
_OF_MONITORS = (lose_a_monitor, lose_the_quorum, heal_monitors)


def act(world: World, what: Act) -> None:
    """Do it and note it.  What is done to monitors is noted before, for it shows at once."""
    disturbs = what in _OF_MONITORS
    if disturbs:
        world.facts.disturbed_at = time.monotonic()
    world.facts.happened(what(world), disturbs=disturbs)


def choose(world: World) -> Act:
    """The next act: monitors that are down come back sooner or later, and at once where there is no quorum."""
    lost = len(world.mons(up=False))
    if lost and (not world.has_majority() or world.rng.random() < 0.3):
        return heal_monitors
    acts = {one: weight for one, weight in ACTS.items() if not lost or one not in _OF_MONITORS}
    return world.rng.choices(list(acts), list(acts.values()))[0]
