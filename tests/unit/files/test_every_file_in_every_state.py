"""What each file says while the monitors answer, fall silent, come back, refuse, or have never been there.

CONTRACT: nothing stale passes for true.  Every row of the table of files is in exactly one group here.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import trio
import trio.testing

from cephmonfs.files.tree import ROWS, Kind
from cephmonfs.mon.snapshot import State, StatfsRecord
from tests.doubles.handlers import Handlers, handlers
from tests.doubles.source import KB, FakeSource, map_record

pytestmark = pytest.mark.trio

VECTORS = Path(__file__).parents[2] / "vectors"

STALE_AFTER_S = 12.0
SETTINGS = {"stale_after": STALE_AFTER_S, "refresh": 2.0, "cmd_timeout": 0.5, "statfs_timeout": 0.5}

# What a file is made from decides what it says: see `WANTED`.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "ours": (
        "README", "version", "config", "log", "events", "debug/client_options", "session/state", "session/fresh",
        "session/sessions", "session/failovers", "session/last_error", "session/mon", "session/addr", "session/mode",
        "session/global_id", "session/tickets", "session/requests", "session/stats", "session.json", "debug/monc",
    ),
    "since": ("session/since",),
    "contact": ("session/last_contact", "debug/status"),
    "maps": (
        "fsid", "monmap", "mdsmap", "mdsmap.json", "osdmap", "osdmap.json", "maps/*.bin", "epoch/*", "mon/count",
        "debug/monmap", "debug/mdsmap", "debug/osdmap", "monmap.json", "mon/*/rank", "mon/*/addr", "mon/*/rtt_ms",
        "mon/*/last_error",
    ),
    "health": ("health",),
    "answers": ("mon/quorum_count", "mon/leader", "mon/*/in_quorum", "ceph/*"),
    "statfs": ("capacity/*",),
    "pages": ("status", "metrics", "dashboard.html"),
    "stream": ("events_pipe",),
}  # fmt: skip

# By state and group: an errno's name, "=" for content, or the content itself.
_NOTHING = {
    "ours": "=", "since": "ENODATA", "contact": "ENODATA", "maps": "ENODATA", "health": "HEALTH_UNKNOWN",
    "answers": "ENODATA", "statfs": "ENODATA", "pages": "=",
}  # fmt: skip
_ALL = {
    "ours": "=", "since": "=", "contact": "=", "maps": "=", "health": "HEALTH_WARN", "answers": "=", "statfs": "=",
    "pages": "=",
}  # fmt: skip
WANTED: Mapping[str, Mapping[str, str]] = {
    "never_connected": _NOTHING,
    "refused": _NOTHING,
    "is_open": _ALL,
    "mute": _ALL | {"since": "ENODATA"},
    "stale": _ALL | {"since": "ENODATA", "health": "HEALTH_UNKNOWN", "answers": "ETIMEDOUT", "statfs": "ETIMEDOUT"},
    "back": _ALL,
    "denied": _ALL | {"maps": "EACCES", "health": "EACCES", "answers": "EACCES"},
    "caps_narrowed": _ALL | {"maps": "EACCES", "health": "EACCES", "answers": "EACCES"},
    "without_df": _ALL | {"statfs": "EACCES"},
    "df_denied": _ALL | {"statfs": "EACCES"},
}
_FRESH_PAGES = {
    "status": ("HEALTH_WARN", "!STALE", "!UNKNOWN", "leader a"),
    "metrics": ("ceph_health_status 1.0", "ceph_cluster_total_bytes", "ceph_mon_quorum_status", "ceph_osd_up"),
    "dashboard.html": ("HEALTH_WARN", "!Stale:"),
}
_NO_PAGES = {
    "status": ("HEALTH_UNKNOWN", "!HEALTH_WARN"),
    "metrics": ("!ceph_", "cephmonfs_up 0.0"),
    "dashboard.html": ("No monitor has answered yet",),
}
_NO_DF_PAGES = {
    "status": ("HEALTH_WARN", "capacity  not covered by the key's caps"),
    "metrics": ("ceph_health_status 1.0", "cephmonfs_up 0.0"),
    "dashboard.html": ("HEALTH_WARN", "the key&#x27;s caps do not cover a statfs"),
}
PAGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "never_connected": _NO_PAGES,
    "refused": _NO_PAGES,
    "is_open": _FRESH_PAGES,
    "mute": {"status": ("HEALTH_WARN", "!STALE"), "metrics": ("ceph_health_status 1.0", "cephmonfs_up 0.0")},
    "stale": {
        "status": ("HEALTH_UNKNOWN (it was HEALTH_WARN", "STALE", "quorum unknown"),
        "metrics": (
            "!ceph_health_status",
            "!ceph_cluster_total",
            "!ceph_mon_quorum",
            "!ceph_osd_up",
            "cephmonfs_up 0.0",
        ),
        "dashboard.html": ("HEALTH_UNKNOWN", "Stale:", "It was HEALTH_WARN"),
    },
    "back": _FRESH_PAGES,
    "denied": {"metrics": ("!ceph_health_status", "!ceph_osd_up"), "status": ("not covered by the key",)},
    "caps_narrowed": {"metrics": ("!ceph_health_status", "!ceph_osd_up"), "status": ("not covered by the key",)},
    "without_df": _NO_DF_PAGES,
    "df_denied": _NO_DF_PAGES,
}

# The monmap comes to every key.
ALWAYS_SHOWN = ("fsid", "monmap", "monmap.json", "maps/monmap.bin", "epoch/monmap", "mon/*", "debug/monmap")


def group_of(path: str) -> str:
    found = [name for name, patterns in GROUPS.items() if any(fnmatchcase(path, p) for p in patterns)]
    if path.startswith("mon/") and "answers" in found:
        found = ["answers"]
    assert len(found) == 1, f"{path} is in {found}: say in GROUPS what it is made from"
    return found[0]


def files() -> list[str]:
    return [row.path for row in ROWS if row.kind is not Kind.DIRECTORY] + ["ceph/osd/tree", "ceph/health.json"]


def known(source: FakeSource) -> None:
    """Let the session know everything."""
    at = source.snap.maps["monmap"].at
    directory = VECTORS / "pacific-16.2.15"
    names = {"fsmap": "cli-fsmap.bin", "mdsmap": "mdsmap-all.bin", "osdmap": "osdmap-all.bin"}
    maps = {name: map_record(name, 5, (directory / file).read_bytes(), at) for name, file in names.items()}
    maps |= {"monmap": source.snap.maps["monmap"], "mgrmap": map_record("mgrmap", 2, b"", at)}
    statfs = StatfsRecord(KB, None, source.now(), source.now())
    source.publish(maps=maps, denied=frozenset(), my_addr=source.snap.mons[0].addrs.addrs[0], statfs=statfs)


def unknown(source: FakeSource, state: State) -> None:
    """Let the session know nothing, as before the first one."""
    source.hush()
    source.publish(
        state=state, mon="", addr="", mode="", global_id=0, since=None, last_contact=None, quorum_at=None, sessions=0,
        fsid="", monmap=None, maps={}, denied=frozenset(), mons=(), statfs=None, history=(), my_addr=None,
    )  # fmt: skip


def lost(source: FakeSource) -> None:
    source.hush()
    source.publish(state=State.HUNTING, since=None)


async def never_connected(source: FakeSource) -> None:
    unknown(source, State.CONNECTING)


async def refused(source: FakeSource) -> None:
    unknown(source, State.REFUSED)


async def is_open(source: FakeSource) -> None:
    known(source)


async def mute(source: FakeSource) -> None:
    known(source)
    await trio.sleep(5)
    lost(source)
    await trio.sleep(STALE_AFTER_S)


async def stale(source: FakeSource) -> None:
    known(source)
    await trio.sleep(5)
    lost(source)
    await trio.sleep(STALE_AFTER_S + 1)


async def back(source: FakeSource) -> None:
    await stale(source)
    source.hush(False)
    source.publish(state=State.OPEN, since=source.now())
    await trio.sleep(0.1)


async def denied(source: FakeSource) -> None:
    known(source)
    source.answers = dict.fromkeys(source.answers, -errno.EACCES)
    monmap = {"monmap": source.snap.maps["monmap"]}
    source.publish(maps=monmap, denied=frozenset({"mdsmap", "fsmap", "osdmap", "mgrmap"}))
    await trio.sleep(5)


async def caps_narrowed(source: FakeSource) -> None:
    """The same, after everything was known."""
    known(source)
    await trio.sleep(5)
    source.answers = dict.fromkeys(source.answers, -errno.EACCES)
    source.publish(denied=frozenset({"mdsmap", "fsmap", "osdmap", "mgrmap"}))
    await trio.sleep(5)


async def without_df(source: FakeSource) -> None:
    """A key that may know all but the space."""
    known(source)
    source.publish(statfs=None, denied=frozenset({"statfs"}))
    await trio.sleep(5)


async def df_denied(source: FakeSource) -> None:
    """The same, after the space was known."""
    known(source)
    await trio.sleep(5)
    source.publish(denied=frozenset({"statfs"}))
    await trio.sleep(5)


STATES = (never_connected, refused, is_open, mute, stale, back, denied, caps_narrowed, without_df, df_denied)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_every_file(
    autojump_clock: trio.testing.MockClock, state: Callable[[FakeSource], Awaitable[None]], seed: int
) -> None:
    """Whoever reads what before, and in which order."""
    chance = random.Random(seed)
    source = FakeSource()
    if state in (never_connected, refused):
        await state(source)
    else:
        known(source)
    settings = SETTINGS | ({"stale_after": 600.0} if state is mute else {})
    async with handlers(source, **settings) as mount:
        if state not in (never_connected, refused):
            await read_some(mount, chance, len(files()) if state is mute else 8)
            await state(source)
        await trio.sleep(0.1)
        await read_some(mount, chance)
        order = files()
        chance.shuffle(order)
        for path in order:
            wanted = WANTED[state.__name__]
            kind = group_of(path)
            if kind == "stream":
                continue
            real = path.replace("*", "b")
            if "mon/b" in real and state in (never_connected, refused):
                continue  # nobody has told of a monitor
            expected = "=" if kind == "maps" and is_always_shown(path) and wanted[kind] == "EACCES" else wanted[kind]
            check(real, expected, await mount.outcome(real))
        for path, says in PAGES[state.__name__].items():
            text = await mount.outcome(path)
            for part in says:
                assert (part[1:] not in text) if part.startswith("!") else (part in text), (path, part, text)


def is_always_shown(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in ALWAYS_SHOWN)


async def read_some(mount: Handlers, chance: random.Random, count: int = 8) -> None:
    for path in chance.sample(files(), count):
        if group_of(path) != "stream":
            await mount.outcome(path.replace("*", "b"))


def check(path: str, expected: str, outcome: str) -> None:
    if expected == "=":
        assert not outcome.startswith("E") or "\n" in outcome, f"{path}: {outcome}"
    else:
        assert outcome.removesuffix("\n") == expected, path
