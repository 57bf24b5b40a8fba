"""tests/unit mirrors the package, and what checks that sees what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import mirror

MODULES = {Path("mon/maps.py"), Path("mon/map.py")}
TESTS = {Path("mon/test_maps.py"), Path("mon/test_map.py")}


def test_it_does() -> None:
    assert mirror.main() == 0


@pytest.mark.parametrize(
    ("tests", "reasons", "says"),
    [
        (TESTS, {}, []),
        (TESTS | {Path("mon/test_maps_printed.py")}, {}, []),
        (TESTS - {Path("mon/test_map.py")}, {"mon/map.py": "a value"}, []),
        (TESTS | {Path("mon/test_other.py")}, {"mon/test_other.py": "all of them"}, []),
        (TESTS - {Path("mon/test_map.py")}, {}, ["cephmonfs/mon/map.py: no tests/unit/mon/test_map.py"]),
        (TESTS - {Path("mon/test_map.py")} | {Path("mon/test_map_old.py")}, {}, ["cephmonfs/mon/map.py: no tests"]),
        (TESTS | {Path("mon/test_other.py")}, {}, ["tests/unit/mon/test_other.py: named after no module"]),
        (TESTS | {Path("test_maps.py")}, {}, ["tests/unit/test_maps.py: named after no module"]),
        (TESTS, {"mon/map.py": "a value"}, ["mon/map.py need not be there"]),
        (TESTS, {"mon/gone.py": "a value"}, ["mon/gone.py need not be there"]),
        (TESTS - {Path("mon/test_map.py")}, {"mon/map.py": ""}, ["mon/map.py without a reason"]),
    ],
)
def test_problems(tests: set[Path], reasons: dict[str, str], says: list[str]) -> None:
    found = list(mirror.problems(MODULES, tests, {Path(path): reason for path, reason in reasons.items()}))
    assert len(found) == len(says)
    assert all(says_one in found_one for says_one, found_one in zip(says, found, strict=True))
