"""Subscriptions: which maps we want, and which epochs we have.

The names form a closed list; none ever comes from a configuration or from a monitor (CVE-2026-50152).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cephmonfs.messages.mon import SubscribeItem

MAPS: Final = ("monmap", "mdsmap", "fsmap", "osdmap", "mgrmap")


class Subscriptions:
    """Want and have.  `mdsmap` becomes `mdsmap.<fscid>` once a file system is chosen by name."""

    def __init__(self, *, mdsmap_at_once: bool) -> None:
        self._have: dict[str, int] = dict.fromkeys(MAPS, 0)
        self._mdsmap = "mdsmap" if mdsmap_at_once else ""

    def have(self, name: str) -> int:
        """Return the epoch that we have, 0 for none."""
        return self._have[name]

    def got(self, name: str, epoch: int) -> None:
        """Note an epoch that arrived."""
        self._have[name] = epoch

    def choose_mdsmap(self, fscid: int | None) -> bool:
        """Follow this file system's mdsmap, None for none; return whether that is a change."""
        name = "" if fscid is None else f"mdsmap.{fscid}"
        if name == self._mdsmap:
            return False
        self._mdsmap = name
        self._have["mdsmap"] = 0
        return True

    def items(self, *, whole_monmap: bool) -> Mapping[str, SubscribeItem]:
        """Return what to ask of a new session: everything after what we have.

        `whole_monmap` asks for the monmap whatever we have: its fsid shows that this is our cluster.
        """
        names = {"monmap": "monmap", "mdsmap": self._mdsmap, "fsmap": "fsmap", "osdmap": "osdmap", "mgrmap": "mgrmap"}
        items = {}
        for name, wire_name in names.items():
            if wire_name:
                have = 0 if name == "monmap" and whole_monmap else self._have[name]
                items[wire_name] = SubscribeItem(have + 1 if have else 0)
        return items

    def item(self, name: str) -> Mapping[str, SubscribeItem]:
        """Return one subscription alone, after its want changed."""
        wire_name = self._mdsmap if name == "mdsmap" else name
        have = self._have[name]
        return {wire_name: SubscribeItem(have + 1 if have else 0)} if wire_name else {}
