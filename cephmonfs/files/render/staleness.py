"""The sentence for what is stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.files.render import numbers

if TYPE_CHECKING:
    from cephmonfs.files.view import View


def sentence(view: View) -> str | None:
    """What is wrong when the quorum has not been heard for `stale_after`; None while it is, and before it was."""
    age_s = view.quorum_age_s
    if view.fresh or age_s is None:
        return None
    contact_age_s = view.contact_age_s
    answers = contact_age_s is not None and contact_age_s <= view.settings.stale_after
    return f"no {'quorum' if answers else 'monitor'} heard for {numbers.age(age_s)}"
