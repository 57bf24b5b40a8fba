"""The interface between the file system and the session.

`fuse/` never imports `runtime/`; `daemon/` passes in a client of this shape.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.mon.snapshot import CommandReply, Snapshot, StatfsRecord


class Source(Protocol):
    """A session as the file system sees it."""

    def snapshot(self) -> Snapshot:
        """Return the present view; cheap.  Its `now` is the moment of this call: ages grow while nothing comes."""
        ...

    async def statfs(self, until: float = math.inf) -> StatfsRecord:
        """Ask the monitors and wait for the answer, across sessions if need be, until then (trio's clock).

        Concurrent callers share a question that has not left yet, so no answer is older than its question.
        May raise RequestTimeout (it is `until`), SessionLost (no answer now), or any other CephMonFSError (the call's
        answer).
        """
        ...

    def statfs_open_since(self) -> float | None:
        """Return when (trio's clock) the oldest statfs without an answer was asked, None when none is open.

        A question stays open when its callers leave.
        """
        ...

    async def command(self, command: Mapping[str, object]) -> CommandReply:
        """Run one monitor command, such as {"prefix": "health", "format": "json"}, and wait as long as it takes."""
        ...

    async def wait_change(self, seen: int) -> int:
        """Return the number of the newest published change, as soon as it is another than `seen`.

        The first change has number 1, so `wait_change(0)` returns once there is anything to see.
        """
        ...
