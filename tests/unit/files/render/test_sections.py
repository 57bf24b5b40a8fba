"""A part of a page that cannot be made costs itself."""

from __future__ import annotations

import pytest

from cephmonfs.errors import NotPermitted
from cephmonfs.files.render.sections import reason


def test_what_is_not_known_is_said_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert reason(NotPermitted("no caps")) == "unknown: no caps"
    assert not caplog.records


def test_a_fault_of_ours_is_in_the_log_whole(caplog: pytest.LogCaptureFixture) -> None:
    assert reason(ZeroDivisionError("by zero")) == "not shown: ZeroDivisionError, see the file log"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "by zero" in str(record.exc_info[1])
