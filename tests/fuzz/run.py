"""Throws damaged recordings at every target and counts.

    python -m tests.fuzz.run [--runs N] [--seconds S] [--seed X] [--target NAME]... [--out DIR]

The inputs are mutated recordings, reproducible from the seed; guided.py lets coverage choose them.  An exception that
is not one of the package's own, and an input that takes too long, are written to DIR and end the run with status 1.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cephmonfs.errors import CephMonFSError
from tests.fuzz.targets import Target, targets

CORPUS: Final = Path(__file__).parent / "corpus"
ABSURD: Final = (
    0,
    1,
    2,
    16,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x10000,
    1 << 20,
    0x7FFFFFFF,
    0x80000000,
    0x80000001,
    0xFFFFFFFF,
)
SLOW_S: Final = 0.05  # and what the input's length allows
SLOW_S_PER_BYTE: Final = 20e-6


def corpus(name: str) -> tuple[bytes, ...]:
    """Inputs that once found something, kept in the repository."""
    return tuple(path.read_bytes() for path in sorted(CORPUS.glob(f"{name}-*")))


def mutate(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One to four changes of the kinds that hurt decoders."""
    out = bytearray(data)
    # most of what is decoded stands near the start of a map
    span = len(out) if rng.random() < 0.5 else min(len(out), 400)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if not out:
            return rng.randbytes(rng.randrange(1, 64))
        at = rng.randrange(max(1, min(span, len(out))))
        match rng.randrange(9):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                del out[at:]
            case 3:
                out[at : at + 4] = rng.choice(ABSURD).to_bytes(4, "little")
            case 4:
                out[at : at + 8] = ((1 << 64) - 1 - rng.randrange(3)).to_bytes(8, "little")
            case 5:
                out[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 6:
                del out[at : at + rng.randrange(1, 9)]
            case 7:
                size = rng.randrange(1, 65)
                out[at:at] = out[at : at + size] * rng.randrange(1, 5)
            case _:
                other = rng.choice(others)
                if other:
                    start = rng.randrange(len(other))
                    out[at : at + rng.randrange(1, 129)] = other[start : start + rng.randrange(1, 129)]
    return bytes(out)


class Stats:
    """What came of it."""

    def __init__(self, patience: float = 1.0) -> None:
        self.patience = patience  # `make test` runs on busy machines: only what is far too slow is a finding there
        self.runs: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self.findings = 0

    def text(self, seconds: float) -> str:
        total = sum(self.runs.values())
        lines = [f"{total} executions in {seconds:.0f} s, {self.findings} findings"]
        for name, count in sorted(self.runs.items()):
            slow = self.slowest.get(name, 0.0) * 1e3
            lines.append(f"  {name:13} {count:9}  refused {self.refused[name] / count:6.1%}  slowest {slow:.1f} ms")
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return "\n".join([*lines, f"  peak memory {rss} MiB"])


def execute(name: str, target: Target, data: bytes, stats: Stats, out: Path) -> None:
    """Run one input and judge what came of it."""
    stats.runs[name] += 1
    began = time.thread_time()
    try:
        target(data)
    except CephMonFSError:
        stats.refused[name] += 1
    except BaseException:
        found(name, data, stats, out, traceback.format_exc())
        if not isinstance(sys.exc_info()[1], Exception):
            raise
    took = time.thread_time() - began
    if took > stats.slowest.get(name, 0.0):
        stats.slowest[name] = took
        if took > stats.patience * (SLOW_S + SLOW_S_PER_BYTE * len(data)):
            found(name, data, stats, out, f"{took:.3f} s for {len(data)} bytes")


def found(name: str, data: bytes, stats: Stats, out: Path, text: str) -> None:
    """Keep an input that should not be."""
    stats.findings += 1
    if stats.findings > 50:
        return
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{stats.findings:03}"
    path.write_bytes(data)
    print(f"{path}: {text}", file=sys.stderr, flush=True)


# how often each is run, roughly by what an input costs
WEIGHTS: Final = {
    "addr": 6, "cryptokey": 6, "statfs": 2, "monmap": 20, "mdsmap": 10, "fsmap": 6, "fsmap_user": 6, "mgrmap": 12,
    "osdmap": 6, "incremental": 12, "message": 20, "msgr2": 2, "msgr2-frames": 3, "msgr1": 3, "session": 3,
}  # fmt: skip


def run(names: Sequence[str], runs: int, seconds: float, seed: int, out: Path, patience: float = 1.0) -> Stats:
    """Mutate until `runs` are done or the time is over."""
    rng = random.Random(seed)
    table = targets()
    seeds = {name: (*table[name][1], *corpus(name)) for name in names}
    stats = Stats(patience)
    for name in names:
        for data in seeds[name]:
            execute(name, table[name][0], data, stats, out)
    weights = [WEIGHTS[name] for name in names]
    deadline = time.monotonic() + seconds
    done = 0
    while done < runs and time.monotonic() < deadline:
        for name in rng.choices(names, weights, k=min(1000, runs - done)):
            execute(name, table[name][0], mutate(rng.choice(seeds[name]), rng, seeds[name]), stats, out)
        done += 1000
    return stats


def main(argv: Sequence[str] | None = None) -> int:
    """Run as told."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=sorted(targets()))
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    args = parser.parse_args(argv)
    names = args.target or sorted(targets())
    began = time.monotonic()
    stats = run(names, args.runs, args.seconds, args.seed, args.out)
    print(stats.text(time.monotonic() - began))
    return 1 if stats.findings else 0


if __name__ == "__main__":
    sys.exit(main())
