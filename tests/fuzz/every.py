"""Every prefix and every single-bit flip of every recorded input: a value or one of our errors, soon.

    python -m tests.fuzz.every [--part N/M]        all of it, some ten minutes of one processor; or every M-th of them

`make test` runs a part of it, the same one each time (test_damage.py).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.run import Stats, corpus, execute
from tests.fuzz.targets import targets


def damaged(data: bytes, part: int, of: int) -> Iterator[bytes]:
    """The `part`-th of `of` shares of all prefixes and flips; `of` is prime: all bits of a byte have a turn."""
    for end in range(part, len(data), of):
        yield data[:end]
    for bit in range(part, 8 * len(data), of):
        out = bytearray(data)
        out[bit // 8] ^= 1 << bit % 8
        yield bytes(out)


def run(names: list[str], share: tuple[int, int] | None, limit: int, out: Path, patience: float = 1.0) -> Stats:
    """Run a share of each seed; without one, as much as makes `limit` inputs of each target."""
    stats = Stats(patience)
    for name in names:
        target, seeds = targets()[name]
        seeds = (*seeds, *corpus(name))
        total = sum(9 * len(seed) for seed in seeds)
        of = share[1] if share else _prime(max(1, total // limit))
        for number, seed in enumerate(seeds):
            part = share[0] if share else number % of
            for data in damaged(seed, part, of):
                execute(name, target, data, stats, out)
    return stats


def _prime(n: int) -> int:
    while n > 3 and any(n % d == 0 for d in range(2, int(n**0.5) + 1)):
        n += 1
    return n


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz.every")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--target", action="append", choices=sorted(targets()))
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    args = parser.parse_args()
    part, _, of = args.part.partition("/")
    began = time.monotonic()
    stats = run(args.target or sorted(targets()), (int(part), int(of)), 0, args.out)
    print(stats.text(time.monotonic() - began))
    return 1 if stats.findings else 0


if __name__ == "__main__":
    sys.exit(main())
