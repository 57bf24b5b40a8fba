"""MapStore: the newest map of each name, encoded and decoded.

Incremental osdmaps are kept beside the full map they start from.  When they outgrow it, a new full map is asked for
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.errors import UnexpectedMessage
from cephmonfs.mon.snapshot import MapRecord, Stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.model.osdmap import OSDMap
    from cephmonfs.mon.snapshot import DecodedMap

_INCREMENTALS_MIN: Final = 256 * 1024  # below this a chain of incrementals is no burden
_INCREMENTALS_MAX: Final = 8 << 20  # a monitor that never sends the full map that it is asked for


class MapStore:
    """One record of each map by name."""

    def __init__(self) -> None:
        self._records: dict[str, MapRecord] = {}

    def records(self) -> Mapping[str, MapRecord]:
        """Return a copy that does not change."""
        return dict(self._records)

    def get(self, name: str) -> MapRecord | None:
        """Return one record."""
        return self._records.get(name)

    def forget(self, name: str) -> None:
        """This map is not there any more, or not ours to see."""
        self._records.pop(name, None)

    def put(self, name: str, epoch: int, blob: bytes, at: Stamp, value: DecodedMap | None = None) -> None:
        """Take a full map."""
        self._records[name] = MapRecord(epoch, blob, at, value=value)

    def put_incremental(self, epoch: int, blob: bytes, at: Stamp, value: OSDMap | None = None) -> bool:
        """Append an incremental osdmap; False if it does not follow on what we have.

        Raises UnexpectedMessage when the chain grows beyond all bounds.
        """
        old = self._records.get("osdmap")
        if old is None or epoch != old.epoch + 1:
            return False
        if sum(map(len, old.incrementals)) + len(blob) > max(_INCREMENTALS_MAX, 2 * len(old.blob)):
            raise UnexpectedMessage("sends incremental osdmaps without end, and never the full one it is asked for")
        changes = (*old.incrementals, blob)
        self._records["osdmap"] = MapRecord(epoch, old.blob, at, changes, value, old.whole.at)
        return True

    def osdmap_is_long(self) -> bool:
        """Whether the chain of incrementals has outgrown its full map."""
        record = self._records.get("osdmap")
        if record is None:
            return False
        return sum(map(len, record.incrementals)) > max(_INCREMENTALS_MIN, len(record.blob))
