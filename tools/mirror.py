"""Tells whether tests/unit mirrors cephmonfs; `make lint` runs it.

A module FOLDER/MODULE.py has tests/unit/FOLDER/test_MODULE.py, or a line in tests/unit/elsewhere.txt that says why not
and where its tests are.  A test file has a module's name, with an aspect behind it or without (test_maps_printed.py),
or a line there, too.  A line that is no longer needed is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cephmonfs"
UNIT = ROOT / "tests" / "unit"
LIST = UNIT / "elsewhere.txt"
NO_MODULE = "bench"  # of tests/unit: tests of what is no part of the package


def listed() -> dict[Path, str]:
    """Return the lines of the list: path and reason."""
    lines = (line for line in LIST.read_text().splitlines() if line and not line.startswith("#"))
    return {Path(path): reason.strip() for path, _, reason in (line.partition(" ") for line in lines)}


def problems(modules: set[Path], tests: set[Path], reasons: dict[Path, str]) -> Iterator[str]:
    """Yield what is wrong.  Paths are relative to cephmonfs and tests/unit."""
    without = {module for module in modules if module.with_name(f"test_{module.name}") not in tests}
    for module in sorted(without - reasons.keys()):
        yield f"cephmonfs/{module}: no tests/unit/{module.with_name(f'test_{module.name}')}, and not in {LIST.name}"
    strangers = {test for test in tests if not _names_a_module(test, modules)}
    for test in sorted(strangers - reasons.keys()):
        yield f"tests/unit/{test}: named after no module of cephmonfs/{test.parent}, and not in {LIST.name}"
    for path in sorted(reasons.keys() - without - strangers):
        yield f"{LIST.name}: {path} need not be there"
    for path, reason in reasons.items():
        if not reason:
            yield f"{LIST.name}: {path} without a reason"


def _names_a_module(test: Path, modules: set[Path]) -> bool:
    words = test.stem.removeprefix("test_").split("_")
    return any(test.with_name("_".join(words[:n]) + ".py") in modules for n in range(1, len(words) + 1))


def main() -> int:
    """Print what is wrong."""
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    tests = {path.relative_to(UNIT) for path in UNIT.rglob("test_*.py")}
    found = list(problems(modules, {test for test in tests if test.parts[0] != NO_MODULE}, listed()))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
