"""A run: a real cluster, a mount of it, watchers that go on all the time, and after each act all comparisons."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.reliability.clients import Mount
from tests.support.cluster import FAST_ELECTIONS, Cluster
from tests.truth.acts import Act, World, act, choose, heal_daemons, heal_monitors
from tests.truth.compare import ROWS, Row, Wanted, command_row
from tests.truth.facts import Facts, Limits, Problem, QuorumWatch
from tests.truth.reading import look
from tests.truth.reference import Reference, Told
from tests.truth.watchers import VALUES, Df, Events, Polls, Reader, Values, readable

STALE_AFTER_S, REFRESH_S = 12.0, 2.0
_STOPPED_S = 30.0  # a daemon that is stopped for longer is taken for dead, and that is another event
# What the program itself is asked now and then, and the file that has to have the same text.
PROGRAMS = {
    "health": "ceph/health",
    "mon dump": "monmap",
    "fs dump": "ceph/fs/dump",
    "osd dump": "ceph/osd/dump",
    "osd stat": "ceph/osd/stat",
    "mon stat": "ceph/mon/stat",
    "versions": "ceph/versions",
    "osd tree": "ceph/osd/tree",
}


class Run:
    """Everything of one run."""

    def __init__(self, cluster: Cluster, directory: Path, seed: int, *, stale_after_s: float = STALE_AFTER_S) -> None:
        self.facts = Facts(Limits(stale_after_s, REFRESH_S))
        self._stack = contextlib.ExitStack()
        options = f"stale_after={stale_after_s:g},refresh={REFRESH_S:g}"
        self.mount = self._stack.enter_context(Mount(cluster, directory, cluster.source(), options))
        root = self.mount.path
        self._reference = self._stack.enter_context(Reference(cluster))
        self.world = World(cluster, self._reference, self.facts, random.Random(seed), root)
        files = readable(root)
        self._commands = [name for name in files if name.startswith("ceph/")]
        self._stack.enter_context(QuorumWatch(cluster, self.facts))
        self._values = Values(root, self.facts, VALUES, 0.3, seed)
        self._random = Reader(root, self.facts, files, 0.15, seed)
        self._events = Events(root, self.facts)
        self._polls = Polls(root, self.facts)
        for watcher in (self._values, self._random, self._events, self._polls, Df(root, self.facts, 0.2)):
            self._stack.enter_context(watcher)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def round(self, what: Act) -> None:
        """One act, and what is shown then."""
        act(self.world, what)
        if not self.world.has_majority():
            self._without_quorum()
            act(self.world, heal_monitors)
        else:
            time.sleep(self.world.rng.choice((0.0, 0.5, 2.0)))
        self.compare()

    def _without_quorum(self) -> None:
        """Not long enough for anything to be stale, or longer; the watchers see it."""
        limits = self.facts.limits
        longest = limits.stale_after_s + limits.lease_s + limits.slack_s + 4
        time.sleep(self.world.rng.choice((3.0, longest, longest)))

    def compare(self) -> None:
        """Everything that can be compared, then what needs peace: who polls, and what events has told."""
        chosen = self.world.rng.sample(self._commands, min(12, len(self._commands)))
        for row in (*ROWS, *map(command_row, chosen)):
            self._compare(row)
        self._compare_program(*self.world.rng.choice(list(PROGRAMS.items())))
        self._polls.check()
        self._events.check(self._values.seen)

    def _compare(self, row: Row) -> None:
        """Until the files say what the monitors have said since we began to ask.

        What they say may change by itself; a file may be as old as `refresh`.  Where it never stays the same for the
        time of one look, as with ages, it is not compared.
        """
        began = time.monotonic()
        told: dict[tuple[int, bytes], Told] = {}
        while True:
            before = self._reference.ask(**row.command)
            wrong = [list(self._differences(row, one)) for one in (*told.values(), before) if not one.is_silence]
            after = self._reference.ask(**row.command)
            is_steady = not before.is_silence and (before.result, before.data) == (after.result, after.data)
            told |= {(one.result, one.data): one for one in (before, after) if not one.is_silence}
            if wrong and not all(wrong):
                self.facts.count("comparisons")
                return
            if time.monotonic() > began + self.facts.limits.patience_s:
                break
            time.sleep(0.2)
        if not is_steady:
            self.facts.count("not compared, as the monitors' answer never stays the same")
            return
        for text in wrong[-1]:
            self.facts.problem("differs", f"{row.name}: {text}")

    def _differences(self, row: Row, told: Told) -> Iterable[str]:
        try:
            wanted = list(row.follows(told))
        except (ValueError, KeyError) as exc:
            self.facts.problem("harness", f"{row.name}: {type(exc).__name__}: {exc}: {told.text} {told.data[:200]!r}")
            return
        for one in wanted:
            if (difference := self._difference(one)) is not None:
                yield difference

    def _difference(self, wanted: Wanted) -> str | None:
        reading = look(self.mount.path, wanted.file)
        if wanted.read is None:
            return None if reading.error else f"{reading}, and there is none"
        if reading.error:
            return f"{reading}, wanted {wanted.value!r:.150}"
        try:
            found = wanted.read(reading.data)
        except Exception as exc:
            found = f"{type(exc).__name__}: {exc} in {reading}"
        return None if found == wanted.value else f"{wanted.file}: {found!r:.400}, wanted {wanted.value!r:.400}"

    def _compare_program(self, words: str, file: str) -> None:
        deadline = time.monotonic() + self.facts.limits.patience_s
        while True:
            before, reading = self._reference.program(*words.split()), look(self.mount.path, file)
            if before is None or before != self._reference.program(*words.split()):
                return
            self.facts.count("comparisons with the program")
            if before.strip("\n") == reading.text.strip("\n"):
                return
            if time.monotonic() > deadline:
                self.facts.problem("differs", f"ceph {words} prints {before!r:.300}, and {reading}")
                return

    def end(self) -> None:
        """Everything back, and compared once more."""
        if self.world.mons(up=False):
            act(self.world, heal_monitors)
        act(self.world, heal_daemons)
        self.compare()


def run(release: str, minutes: float, seed: int, acts: Sequence[Act] = ()) -> Facts:
    """A run on a cluster of its own: for so long, or with just these acts."""
    directory = Path(tempfile.mkdtemp(prefix="cmfs-truth-"))
    try:
        with Cluster.create(release=release, directory=directory / "c", conf=FAST_ELECTIONS, osds=2, mds=1) as cluster:
            with Run(cluster, directory / "mnt", seed) as one:
                one.compare()
                end = time.monotonic() + 60 * minutes
                for what in acts:
                    one.round(what)
                while not acts and time.monotonic() < end:
                    one.round(choose(one.world))
                one.end()
                return one.facts
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def report(facts: Facts) -> str:
    """Counts, then the problems by kind, each with what had happened before it."""
    lines = [f"{what}: {number}" for what, number in sorted(facts.counts.items())]
    kinds = Counter(problem.kind for problem in facts.problems)
    for kind, number in kinds.most_common():
        lines.append(f"\n{kind}: {number}")
        of_kind: list[Problem] = [problem for problem in facts.problems if problem.kind == kind]
        lines += [f"  {problem}" for problem in of_kind[:20]]
    return "\n".join(lines) + f"\n{len(facts.problems)} problems\n"
