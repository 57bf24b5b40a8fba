"""The tally of a profile."""

from __future__ import annotations

from bench.profile import by_module, tally, text

RAW = """\
run (/x/site-packages/trio/_core/_run.py:10);send (/y/cephmonfs/runtime/client.py:5) 30
run (/x/site-packages/trio/_core/_run.py:11);send (/y/cephmonfs/runtime/client.py:6) 10
run (/x/site-packages/trio/_core/_run.py:10) 60
"""


def test_shares_are_own_and_whole() -> None:
    lines = tally(RAW)
    assert lines == [("trio/_core/_run.py run", 0.6, 1.0), ("cephmonfs/runtime/client.py send", 0.4, 0.4)]
    assert " 60.0 %  100.0 %  trio/_core/_run.py run\n" in text(lines)
    assert by_module(lines).splitlines() == [" 60.0 %  trio/_core/_run.py", " 40.0 %  cephmonfs/runtime/client.py"]


def test_no_samples() -> None:
    assert tally("") == []
