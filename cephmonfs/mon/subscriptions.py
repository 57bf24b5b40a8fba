"""Subscriptions: which maps we want, and which epochs we have.

The names form a closed list; none ever comes from a configuration or from a monitor (CVE-2026-50152).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.mon.snapshot import MAPS


class Subscriptions:
    """Want and have.  `mdsmap` becomes `mdsmap.<fscid>` once a file system is chosen by name."""

    def __init__(self, *, mdsmap_at_once: bool) -> None:
        self._have: dict[str, int] = dict.fromkeys(MAPS, 0)
        self._mdsmap = "mdsmap" if mdsmap_at_once else ""

    def have(self, name: str) -> int:
        """Return the epoch that we have, 0 for none."""
        return self._have[name]

    def got(self, name: str, epoch: int) -> None:
        """Note an epoch that arrived; 0 for a map that we have no longer."""
        self._have[name] = epoch

    def choose_mdsmap(self, fscid: int | None) -> bool:
        """Follow this file system's mdsmap, None for none; return whether that is a change."""
        name = "" if fscid is None else f"mdsmap.{fscid}"
        if name == self._mdsmap:
            return False
        self._mdsmap = name
        self._have["mdsmap"] = 0
        return True

    def whole(self, names: Iterable[str]) -> Mapping[str, SubscribeItem]:
        """Return what asks for the newest of these maps, whatever its epoch."""
        wire_names = (self._wire_name(name) for name in names)
        return {name: SubscribeItem(0) for name in wire_names if name}

    def next(self) -> Mapping[str, SubscribeItem]:
        """Return what asks for everything after what we have."""
        items = {}
        for name, have in self._have.items():
            if wire_name := self._wire_name(name):
                items[wire_name] = SubscribeItem(have + 1 if have else 0)
        return items

    def _wire_name(self, name: str) -> str:
        return self._mdsmap if name == "mdsmap" else name
