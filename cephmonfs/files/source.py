"""The interface between the file system and the session.

`fuse/` never imports `runtime/`; `daemon/` passes in a client of this shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.mon.snapshot import CommandReply, Snapshot, StatfsRecord
    from cephmonfs.mon.statfs import Patience


class Source(Protocol):
    """A session as the file system sees it."""

    def snapshot(self) -> Snapshot:
        """Return the present view; cheap.  Its `now` is the moment of this call: ages grow while nothing comes."""
        ...

    async def statfs(self, patience: Patience | None = None, *, may_wait: bool = True) -> StatfsRecord:
        """Ask the monitors, and return the answer: by the rule of mon/statfs.py, in bounded time.

        A caller that may not wait gets the last answer.  Without a patience it waits until there is a fresh one.
        Raises RequestTimeout or any other CephMonFSError.
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
