"""What a file is rendered from: one moment of the session, the commands' answers and the daemon's own records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, cast

from cephmonfs.errors import NoData, NotPermitted
from cephmonfs.fs import commands
from cephmonfs.fs.capacity_ring import CapacityRing
from cephmonfs.fs.commands import CommandCache
from cephmonfs.fs.events import EventRing
from cephmonfs.fs.slots import WaitSlots
from cephmonfs.fs.statfsgate import StatfsGate
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.health import Health
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.model.placement import Placement
from cephmonfs.model.quorum import Quorum
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cephmonfs.fs.logring import LogRing
    from cephmonfs.fs.settings import FsSettings
    from cephmonfs.fs.source import Source
    from cephmonfs.mon.snapshot import MapRecord, MonView, Snapshot, Stamp, StatfsRecord

T = TypeVar("T")

_DECODERS: Final[Mapping[str, Callable[[Cursor], object]]] = {
    "monmap": MonMap.decode,
    "mdsmap": MDSMap.decode,
    "fsmap": FSMap.decode,
}


class Memo:
    """The last decoding of each map and the last parsing of each JSON answer, so that each is done once."""

    def __init__(self) -> None:
        self._slots: dict[object, tuple[object, object]] = {}
        self.osdmap: tuple[bytes, int, OSDMap] | None = None  # the full map, how many incrementals are in, the result
        self.placement: tuple[bytes, int, OSDMap, Placement] | None = None  # likewise

    def get(self, slot: object, source: object, make: Callable[[], T]) -> T:
        """Return what `make` once made from this very `source`; one result is kept per `slot`."""
        held = self._slots.get(slot)
        if held is None or held[0] is not source:
            held = (source, make())
            self._slots[slot] = held
        return cast("T", held[1])


class View:
    """Made anew for each rendering; cheap."""

    __slots__ = ("capacity", "commands", "events", "gate", "log", "memo", "mounted", "settings", "snapshot")

    def __init__(
        self,
        snapshot: Snapshot,
        settings: FsSettings,
        commands: CommandCache,
        gate: StatfsGate,
        events: EventRing,
        log: LogRing | None,
        memo: Memo,
        mounted: Stamp,
        capacity: CapacityRing | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.settings = settings
        self.commands = commands
        self.gate = gate
        self.events = events
        self.log = log
        self.memo = memo
        self.mounted = mounted
        self.capacity = CapacityRing() if capacity is None else capacity

    # ---- time

    def age_s(self, stamp: Stamp) -> float:
        """Return how long ago that was."""
        return max(0.0, self.snapshot.now.mono - stamp.mono)

    @property
    def contact_age_s(self) -> float | None:
        """How long no monitor has said anything; None before the first word."""
        contact = self.snapshot.last_contact
        return None if contact is None else self.age_s(contact)

    @property
    def fresh(self) -> bool:
        """False when no monitor has been heard for longer than `stale_after`."""
        age_s = self.contact_age_s
        if age_s is None:
            return False
        if self.settings.stale_after <= 0:
            return self.snapshot.state == "open"
        return self.settings.stands_in(age_s)

    # ---- maps

    def map_record(self, name: str) -> MapRecord:
        """Return a map as received, or say why there is none."""
        record = self.snapshot.maps.get(name)
        if record is not None:
            return record
        if name in self.snapshot.denied:
            raise NotPermitted(f"the key's caps do not cover the {name}")
        raise NoData(f"no {name} has arrived yet")

    def map_blob(self, name: str) -> bytes:
        """Return the encoded map."""
        record = self.map_record(name)
        if not record.blob:
            raise NoData(f"only the epoch of the {name} is known")
        return record.blob

    def _decoded(self, name: str) -> object:
        blob = self.map_blob(name)
        return self.memo.get(name, blob, lambda: _DECODERS[name](Cursor(blob, name)))

    @property
    def monmap(self) -> MonMap:
        """The decoded monmap."""
        if self.snapshot.monmap is not None:
            return self.snapshot.monmap
        return cast("MonMap", self._decoded("monmap"))

    @property
    def mdsmap(self) -> MDSMap:
        """The MDSMap of the chosen file system."""
        if self.snapshot.fs_missing:
            raise NoData("the cluster has no file system of that name")
        return cast("MDSMap", self._decoded("mdsmap"))

    @property
    def fsmap(self) -> FSMap:
        """All file systems."""
        return cast("FSMap", self._decoded("fsmap"))

    @property
    def osdmap(self) -> OSDMap:
        """The head of the osdmap: the full map, and upon it what has changed since."""
        blob = self.map_blob("osdmap")
        changes = self.map_record("osdmap").incrementals
        held = self.memo.osdmap
        if held is None or held[0] is not blob or held[1] > len(changes):
            held = (blob, 0, OSDMap.decode(Cursor(blob, "osdmap")))
        _, done, osdmap = held
        for change in changes[done:]:
            osdmap = osdmap.apply(Incremental.decode(Cursor(change, "osdmap incremental")))
        self.memo.osdmap = (blob, len(changes), osdmap)
        return osdmap

    @property
    def placement(self) -> Placement:
        """The rest of the osdmap: for a few readers, and not quick."""
        blob = self.map_blob("osdmap")
        changes = self.map_record("osdmap").incrementals
        held = self.memo.placement
        if held is None or held[0] is not blob or held[1] > len(changes):
            held = (blob, 0, OSDMap.decode(Cursor(blob, "osdmap")), Placement.decode(Cursor(blob, "osdmap")))
        _, done, osdmap, placement = held
        for change in changes[done:]:
            after = osdmap.apply(Incremental.decode(Cursor(change, "osdmap incremental")))
            placement = placement.apply(Cursor(change, "osdmap incremental"), osdmap, after)
            osdmap = after
        self.memo.placement = (blob, len(changes), osdmap, placement)
        return placement

    def mon(self, name: str) -> MonView:
        """Return one monitor."""
        for mon in self.snapshot.mons:
            if mon.name == name:
                return mon
        raise NoData(f"the monmap has no monitor {name} any more")

    # ---- answers

    @property
    def statfs(self) -> StatfsRecord:
        """The last statfs answer."""
        if self.snapshot.statfs is None:
            raise NoData("no monitor has answered a statfs yet")
        return self.snapshot.statfs

    def answer(self, command: commands.Command, parse: Callable[[bytes], T]) -> T:
        """Return what `parse` makes of the last answer to a command, whatever its age; each answer is parsed once."""
        reply = self.commands.reply(command)
        found = self.memo.get((command, parse), reply, lambda: _parsed(parse, reply.data))
        if isinstance(found, _Unreadable):
            raise NoData(found.reason)
        return found

    @property
    def health(self) -> Health:
        """The last health report, whatever its age."""
        return self.answer(commands.HEALTH, Health.parse)

    @property
    def health_stale(self) -> bool:
        """True when the last health report is too old to be called the health of the cluster."""
        at = self.commands.at(commands.HEALTH)
        if at is None:
            return True
        age_s = self.age_s(at)
        return age_s > self.settings.refresh and not self.settings.stands_in(age_s)

    @property
    def quorum(self) -> Quorum:
        """The last word about the quorum."""
        return self.answer(commands.QUORUM, Quorum.parse)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Why an answer could not be parsed: kept, so that a bad answer is not parsed at each open."""

    reason: str


def _parsed(parse: Callable[[bytes], T], data: bytes) -> T | _Unreadable:
    try:
        return parse(data)
    except NoData as exc:
        return _Unreadable(str(exc))


class Views:
    """What views are made of, held once for a mount or for a program that reads without one; `now` makes a view."""

    def __init__(self, source: Source, settings: FsSettings, log: LogRing | None) -> None:
        self._source = source
        self._settings = settings
        self._log = log
        self._memo = Memo()
        self.slots = WaitSlots()
        self.gate = StatfsGate(source, settings, self.slots)
        self.commands = CommandCache(source, settings, self.slots)
        self.events = EventRing()
        self.capacity = CapacityRing()
        self.began = source.snapshot().now

    def now(self) -> View:
        """Return the present moment."""
        return View(
            self._source.snapshot(),
            self._settings,
            self.commands,
            self.gate,
            self.events,
            self._log,
            self._memo,
            self.began,
            self.capacity,
        )
