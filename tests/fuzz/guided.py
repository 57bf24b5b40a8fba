"""The same targets with libFuzzer behind them: coverage chooses what is mutated further.

    python -m tests.fuzz.guided TARGET [libFuzzer options: -runs=N -max_total_time=S CORPUS_DIR]

Needs the package atheris (requirements/fuzz.txt), which nothing else here does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cephmonfs"]):
    from tests.fuzz.targets import targets

from tests.fuzz.run import Stats, corpus, execute


def main() -> None:
    """Fuzz one target; libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    target, seeds = targets()[name]
    stats, out = Stats(), Path("fuzz-findings")
    directory = next((Path(word) for word in options if not word.startswith("-")), None)
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate((*seeds, *corpus(name))):
            if len(data) <= 4096 or number == 0:
                (directory / f"seed-{number:03}").write_bytes(data)
    atheris.Setup([sys.argv[0], *options], lambda data: execute(name, target, data, stats, out))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
