"""The program behind `make test-truth`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.support.release import RELEASES
from tests.truth.run import report, run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tests.truth", description="Everything that a mount shows, beside the real programs."
    )
    parser.add_argument("--release", choices=RELEASES, default="pacific")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="the same seed: the same acts in the same order"
    )
    options = parser.parse_args()
    print(f"{options.release}, {options.minutes:g} minutes, seed {options.seed}", flush=True)
    facts = run(options.release, options.minutes, options.seed)
    print(report(facts), end="")
    sys.exit(1 if facts.problems else 0)


if __name__ == "__main__":
    main()
