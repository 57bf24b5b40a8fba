"""The ring of JSON lines behind `events` and `events_pipe`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RING_BYTES: Final = 256 << 10
_LONGEST: Final = 32 << 10  # bytes of a line; one with more tells how many it would have had
_LONGEST_VALUE: Final = 1000  # characters of a value in a line that is shortened
_KEPT_BYTES: Final = 64 << 10  # of a full ring: cutting seldom keeps offsets good for `tail -f`


def _line(event: Mapping[str, object]) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


@dataclass(slots=True)
class Place:
    """Where a reader of the stream is."""

    offset: int  # counted from the first byte ever written
    seq: int  # the next event it has not seen


class EventRing:
    """The last 256 KiB of lines.  `seq` has no holes; `version` grows with each line.

    They are one buffer that is there from the start: one that grew and was cut would leave holes in the heap, for ever.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(RING_BYTES)
        self._used = 0
        self._dropped = 0  # bytes cut off in front so far
        self._seq = 0
        self.last_wall: float | None = None

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._used

    @property
    def version(self) -> int:
        """Lines ever written."""
        return self._seq

    def append(self, event: Mapping[str, object], wall: float) -> None:
        """Add one line; a full ring first loses its older three quarters."""
        self._seq += 1
        stamp = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = _line({"time": stamp, "seq": self._seq, **event})
        if len(line) > _LONGEST:  # a list without end; it would push out all that happened before
            short = {key: value for key, value in event.items() if len(str(value)) <= _LONGEST_VALUE}
            line = _line({"time": stamp, "seq": self._seq, **short, "left_out": len(line)})
        if self._used + len(line) > RING_BYTES:
            self._cut()
        self._buffer[self._used : self._used + len(line)] = line
        self._used += len(line)
        self.last_wall = wall

    def _cut(self) -> None:
        if not self._used:
            return
        cut = self._buffer.index(b"\n", max(0, self._used - _KEPT_BYTES), self._used) + 1
        kept = self._buffer[cut : self._used]
        self._buffer[: len(kept)] = kept
        self._used = len(kept)
        self._dropped += cut

    def read(self, offset: int, size: int) -> bytes:
        """Read the ring as a file."""
        return bytes(self._buffer[offset : min(offset + size, self._used)])

    def end(self) -> Place:
        """Return the place behind the newest line."""
        return Place(self._dropped + self._used, self._seq + 1)

    def pending(self, place: Place) -> bool:
        """Tell whether there is something behind this place."""
        return place.seq <= self._seq

    def follow(self, place: Place, size: int) -> bytes:
        """Read whole lines behind `place` and move it; a slow reader gets a line with the number of lost events."""
        if place.offset < self._dropped:
            first = self._seq + 1 - self._buffer.count(b"\n", 0, self._used)
            lost = {"event": "lost", "count": first - place.seq}
            place.offset, place.seq = self._dropped, first
            return (json.dumps(lost) + "\n").encode()
        chunk = self.read(place.offset - self._dropped, size)
        whole = chunk.rfind(b"\n") + 1 or len(chunk)  # a buffer shorter than a line gets the line in pieces
        place.offset += whole
        place.seq += chunk.count(b"\n", 0, whole)
        return chunk[:whole]
