"""The checker: a history of calls against monitors whose every answer tells when it was made.

The monitors are the embedded ones, in a thread here, behind real TCP; the mount is a real one.  The number of objects
that they report is the milliseconds since they started, and the kilobytes follow from it by a formula.  So each df
tells by itself what a monitor held and when.  Meanwhile connections break, and monitors are silent, refuse, lag or
trickle.

Checked of every call, in the manner of Jepsen: the value is one that a monitor held; it was held before the call ended;
no caller's values go back; a claimed age is not younger than the value; no call takes longer than its bound.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.model.statfs import Statfs
from cephmonfs.monitor.server_v2 import Piece
from tests.doubles.monitor import FakeCluster, Fault, Reply, Trickle, fake_cluster
from tests.reliability.clients import Call, Prober
from tests.reliability.measure import quantile
from tests.support.helper import Mounted

_CLAIM_SLACK_S = 0.005  # rounding, and two answers within one millisecond
_BOUND_S = 1.3


def numbers(ms: int) -> Statfs:
    """What monitors hold at a moment."""
    used = (ms * 7919) % (1 << 30)
    return Statfs(1 << 30, used, (1 << 30) - used, ms)


@dataclass
class _Timed:
    """Answers that carry their time; `lag_ms` by rank makes a monitor answer with old numbers of an older version."""

    begin: float
    lag_ms: dict[int, int] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)  # when each value was first given out

    def reply(self, rank: int, fsid: bytes) -> Reply:
        def how(message: Message) -> list[Message]:
            if message.type != MsgType.STATFS_REPLY:
                return [message]
            ms = max(1, int((time.monotonic() - self.begin) * 1000) - self.lag_ms.get(rank, 0))
            self.answered.setdefault(ms, time.monotonic())
            return [to_message(mon.MStatfsReply(fsid, ms, numbers(ms)), message.tid)]

        return Reply(how)


class _Monitors:
    """The monitors in a thread, and what is done to them."""

    def __init__(self, seed: int) -> None:
        self.timed = _Timed(time.monotonic())
        self._seed = seed
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._end: trio.Event
        self.fake: FakeCluster
        self._thread = threading.Thread(target=lambda: trio.run(self._main), daemon=True)

    def __enter__(self) -> _Monitors:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        trio.from_thread.run_sync(self._end.set, trio_token=self._token)
        self._thread.join(10)

    async def _main(self) -> None:
        self._token, self._end = trio.lowlevel.current_trio_token(), trio.Event()
        async with fake_cluster(DemoSettings(mons=3, seed=self._seed)) as self.fake:
            for fake in self.fake.mons:
                self.set(fake.rank)
            self._ready.set()
            await self._end.wait()

    def set(self, rank: int, *faults: Fault) -> None:
        self.fake.mons[rank].faults = (self.timed.reply(rank, self.fake.fsid), *faults)

    def step(self, rng: random.Random) -> str:
        """One more thing goes wrong, or right again."""
        rank = rng.randrange(3)
        fake = self.fake.mons[rank]
        what = rng.choice(("break", "silent", "refuse", "lag", "trickle", "well", "well", "all well", "all silent"))
        match what:
            case "silent":
                self.set(rank, _mute())
            case "trickle":
                self.set(rank, Trickle(Piece.HELLO, 40, 0.001))
            case "refuse":
                fake.refuse = True
            case "lag":
                self.timed.lag_ms[rank] = rng.choice((0, 50, 2000))
            case "well":
                fake.refuse = False
                self.timed.lag_ms[rank] = 0
                self.set(rank)
            case "all well" | "all silent":
                for other in self.fake.mons:
                    other.refuse = False
                    self.timed.lag_ms[other.rank] = 0
                    self.set(other.rank, *([_mute()] if what == "all silent" else []))
        for other in self.fake.mons if what.startswith("all") else [fake]:
            trio.from_thread.run_sync(other.kill_connections, trio_token=self._token)
        return what


def _mute() -> Fault:
    return Reply(lambda message: [] if message.type == MsgType.STATFS_REPLY else [message])


def check(calls: list[Call], answered: dict[int, float]) -> Iterator[str]:
    """What is wrong with one caller's history of df."""
    last = 0
    for call in calls:
        if call.took > _BOUND_S:
            yield f"a call took {call.took:.2f} s"
        if call.error:
            yield f"a call failed with errno {call.error}"
            continue
        total, free, ms = map(int, call.value.split(":"))
        wanted = numbers(ms)
        if ms not in answered or (total, free) != (wanted.kb >> 12, wanted.kb_avail >> 12):
            yield f"{call.value} is nothing that a monitor ever held"
        elif answered[ms] > call.end:
            yield f"a value given out {answered[ms] - call.end:.3f} s after the call"
        if ms < last:
            yield f"went back from {last} to {ms}"
        last = ms


def check_ages(calls: list[Call], answered: dict[int, float]) -> Iterator[str]:
    """The age was told before the count, so it is of the same answer or an older one."""
    for call in calls:
        if call.error:
            yield f"reading the age failed with errno {call.error}"
            continue
        age, ms = call.value.split(":")
        true_age = call.begin - answered[int(ms)]
        if float(age) + _CLAIM_SLACK_S < true_age:
            yield f"claims an age of {age} s, and its numbers are {true_age:.3f} s old at least"


def run(release: str, calls: int) -> dict[str, Any]:
    """Two minutes of it."""
    del release, calls
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    directory = Path(tempfile.mkdtemp(prefix="cmfs-rel-"))
    try:
        with _Monitors(seed) as monitors, contextlib.ExitStack() as stack:
            keyring = directory / "keyring"
            key = monitors.fake.key.to_base64()
            keyring.write_text(f"[{monitors.fake.entity}]\n\tkey = {key}\n")
            keyring.chmod(0o600)
            source = ",".join(addr.hostport for addr in monitors.fake.addrs) + ":/"
            options = (f"name={monitors.fake.entity.id}", f"keyring={keyring}", "stale_after=inf")
            mounted = stack.enter_context(Mounted(source, directory / "mnt", *options))
            probers = [Prober([sys.executable], "statvfs", str(mounted.path), pause_s=0.005) for _ in range(4)]
            ages = Prober([sys.executable], "held", str(mounted.path), pause_s=0.02)
            steps = 0
            end = time.monotonic() + 120
            while time.monotonic() < end:
                monitors.step(rng)
                steps += 1
                time.sleep(rng.choice((0.05, 0.3, 1.0, 3.0)))
            for prober in (*probers, ages):
                prober.stop()
        answered = monitors.timed.answered
        broken = [problem for prober in probers for problem in check(prober.calls, answered)]
        broken += check_ages(ages.calls, answered)
        took = [call.took for prober in probers for call in prober.calls]
        facts = {
            "seed": seed,
            "faults": steps,
            "calls checked": len(took),
            "ages checked": len(ages.calls),
            "slowest, p99": [round(max(took), 3), round(quantile(took, 0.99), 3)],
        }
        title = "histories checked: connections broken, monitors silent, refusing, lagging, slow"
        return {"name": "history", "title": title, "facts": facts, "broken": broken[:20]}
    finally:
        shutil.rmtree(directory, ignore_errors=True)
