"""A monitor command with all that an answer is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.demo.cluster import DemoCluster, State
    from cephmonfs.model.monmap import MonMap


@dataclass(frozen=True, slots=True)
class Request:
    """A command, and the cluster at the moment of it."""

    cluster: DemoCluster
    monmap: MonMap
    state: State
    args: Mapping[str, object]

    def has(self, name: str) -> bool:
        """Tell whether an optional argument was given."""
        return bool(self.args.get(name))
