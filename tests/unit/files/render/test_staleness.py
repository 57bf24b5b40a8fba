"""The sentence for what is stale says who is not heard, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cephmonfs.config.filesettings import default_settings
from cephmonfs.files.render.staleness import sentence
from cephmonfs.files.view import View
from cephmonfs.mon.snapshot import Stamp
from tests.doubles.source import WALL


@pytest.mark.parametrize(
    ("quorum_s", "contact_s", "says"),
    [
        (59.0, 59.0, None),
        (70.0, 1.0, "no quorum heard for 70 s"),
        (70.0, 61.0, "no monitor heard for 70 s"),
        (7200.0, None, "no monitor heard for 2 h"),
        (None, None, None),  # nothing was ever heard: other sentences tell that
    ],
)
def test_sentence(
    view_of: Callable[..., View], quorum_s: float | None, contact_s: float | None, says: str | None
) -> None:
    def ago(age_s: float | None) -> Stamp | None:
        return None if age_s is None else Stamp(1000.0 - age_s, WALL + 10 - age_s)

    settings = default_settings(stale_after=60.0)
    assert sentence(view_of(settings=settings, quorum_at=ago(quorum_s), last_contact=ago(contact_s))) == says
