"""The sentence that says how long no quorum has answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.files.render import numbers

if TYPE_CHECKING:
    from cephmonfs.files.view import View


def sentence(view: View) -> str | None:
    """Return the sentence when no quorum has answered for `stale_after`; None while one does, and before the first."""
    age_s = view.quorum_age_s
    if view.fresh or age_s is None:
        return None
    contact_age_s = view.contact_age_s
    answers = contact_age_s is not None and contact_age_s <= view.settings.stale_after
    return f"no {'quorum' if answers else 'monitor'} heard for {numbers.age(age_s)}"
