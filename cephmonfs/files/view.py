"""What a file is made from: one moment of the session, the commands' answers and the daemon's own records.

A view is a value: it is made for a moment and nothing in it changes, so a thread may render from it while the loop goes
on.  It is also the only place that decides whether something may be shown as true now.  `reply`, `json`, `health`,
`quorum` and `statfs` return what is true now or raise; a page that marks old data itself uses `last_reply`,
`last_health`, `last_quorum` or `last_statfs`, and `is_stale`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast

from cephmonfs.errors import CephMonFSError, NoData, NotPermitted, RequestTimeout
from cephmonfs.files.answers import HEALTH, LASTING_S, QUORUM, UNASKED, Answer, Command, Failure, Freshness
from cephmonfs.files.capacity_ring import CapacityRing
from cephmonfs.files.events import EventRing
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.health import Health
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.model.placement import Placement
from cephmonfs.model.quorum import Quorum
from cephmonfs.mon.tally import StatfsTally
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cephmonfs.files.logring import LogRing
    from cephmonfs.files.settings import FsSettings
    from cephmonfs.mon.snapshot import CommandReply, MapRecord, MonView, Snapshot, Stamp, StatfsRecord

T = TypeVar("T")


class Memo:
    """Caches the last parsing of each answer and other costly, seldom wanted values."""

    def __init__(self) -> None:
        self._slots: dict[object, tuple[object, object]] = {}
        self.placement: tuple[bytes, int, OSDMap, Placement] | None = None  # blob, incrementals that are in, result

    def get(self, slot: object, source: object, make: Callable[[], T]) -> T:
        """Return what `make` once made from this very `source`; one result is kept per `slot`."""
        held = self._slots.get(slot)
        if held is None or held[0] is not source:
            held = (source, make())
            self._slots[slot] = held
        return cast("T", held[1])


STATFS: Final = "statfs"


@dataclass(frozen=True, slots=True)
class Records:
    """What the daemon itself writes down.  Rings only grow; each is read as it is at the moment of reading."""

    events: EventRing = field(default_factory=EventRing)
    capacity: CapacityRing = field(default_factory=CapacityRing)
    log: LogRing | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Made anew for each look; cheap."""

    snapshot: Snapshot
    settings: FsSettings
    answers: Mapping[Command, Answer]
    records: Records
    memo: Memo
    mounted: Stamp
    statfs_tally: StatfsTally
    command_tally: Mapping[str, int]

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
    def quorum_age_s(self) -> float | None:
        """How long ago the question was asked that the quorum answered last; None before one."""
        at = self.snapshot.quorum_at or self.snapshot.last_contact
        return None if at is None else self.age_s(at)

    @property
    def freshness(self) -> Freshness:
        """The rule of staleness at this moment."""
        return Freshness.of(self.snapshot, self.settings)

    @property
    def fresh(self) -> bool:
        """False when no quorum has answered for longer than `stale_after`."""
        return self.freshness.is_fresh

    def is_stale(self, source: Command | Literal["statfs"]) -> bool:
        """Whether the last answer is too old to be shown as true; also when there is none."""
        if isinstance(source, Command):
            asked = self.answer(source).asked
        else:
            asked = None if self.snapshot.statfs is None else self.snapshot.statfs.asked
        return asked is None or not self.freshness.counts(asked.mono, self.renewed_s(source))

    def renewed_s(self, source: Command | Literal["statfs"]) -> float:
        """Return how old an answer may become before a new one has to be there."""
        if not isinstance(source, Command):
            return self.settings.statfs_timeout
        every_s = LASTING_S if source.lasting else self.settings.refresh
        return every_s + self.settings.cmd_timeout

    def key(self, source: Command | Literal["statfs"], *, exact: bool = False) -> object:
        """Return what changes when the last answer does, and when it becomes stale or fresh again.

        `exact`: with each byte of an answer, also where that is only an age.
        """
        stale = self.is_stale(source)
        if isinstance(source, Command):
            return self.answer(source).version if exact else self._content(source), stale
        record = self.snapshot.statfs
        denied = STATFS in self.snapshot.denied
        return self.snapshot.problem, denied, None if record is None else (record.stats, record.pool, stale)

    def _content(self, command: Command) -> object:
        """Return what changes with an answer: quorum_status has an age in it, which is no change."""
        try:
            if command == QUORUM:
                return self.last_quorum
        except CephMonFSError:
            pass
        return self.answer(command).version

    # ---- maps

    def map_record(self, name: str) -> MapRecord:
        """Return a map as received, or say why there is none."""
        if name in self.snapshot.denied:
            raise NotPermitted(f"the key's caps do not cover the {name}")
        record = self.snapshot.maps.get(name)
        if record is None:
            raise NoData(f"no {name} has arrived yet")
        return record

    def map_blob(self, name: str) -> bytes:
        """Return the encoded map."""
        record = self.map_record(name)
        if not record.blob:
            raise NoData(f"only the epoch of the {name} is known")
        return record.blob

    def _decoded(self, name: str) -> object:
        value = self.map_record(name).value
        if value is None:
            raise NoData(f"only the epoch of the {name} is known")
        return value

    @property
    def monmap(self) -> MonMap:
        """The decoded monmap."""
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
        """The osdmap of the newest epoch."""
        return cast("OSDMap", self._decoded("osdmap"))

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
    def last_statfs(self) -> StatfsRecord:
        """The last statfs answer, of any age."""
        if self.snapshot.problem:
            raise NoData(self.snapshot.problem)
        if STATFS in self.snapshot.denied:
            raise NotPermitted("the key's caps do not cover a statfs")
        if self.snapshot.statfs is None:
            raise self._unanswered("statfs")
        return self.snapshot.statfs

    @property
    def statfs(self) -> StatfsRecord:
        """The last statfs answer, if it is true now."""
        record = self.last_statfs
        if self.is_stale(STATFS):
            raise RequestTimeout(f"the last statfs answer is {self.age_s(record.asked):.0f} s old")
        return record

    def answer(self, command: Command) -> Answer:
        """Return all that is known of a command."""
        return self.answers.get(command, UNASKED)

    def has_failed(self, command: Command) -> bool:
        """Whether the monitors answer it with an error, as far as is known."""
        return self.answer(command).has_failed(self.snapshot.now.mono, self.settings.refresh)

    def last_reply(self, command: Command) -> CommandReply:
        """Return the last good reply, of any age, or raise the failure that replaced it."""
        answer = self.answer(command)
        if answer.is_open:
            raise self._unanswered(str(command))
        return answer.good(command)

    def _unanswered(self, what: str) -> CephMonFSError:
        """Raise the reason why there is no answer: not yet, or silence."""
        if self.fresh or self.snapshot.last_contact is None:
            return NoData(f"{what}: no monitor has answered yet")
        return RequestTimeout(f"{what}: no monitor answers")

    def reply(self, command: Command) -> CommandReply:
        """Return the last good reply, if it is true now."""
        reply = self.last_reply(command)
        if self.is_stale(command):
            raise RequestTimeout(f"{command}: the last answer is {self.age_s(self.asked(command)):.0f} s old")
        return reply

    def asked(self, command: Command) -> Stamp:
        """Return when the question was asked that the last good reply answers: what it says was true then."""
        asked = self.answer(command).asked
        if asked is None:
            raise NoData(f"{command} has not been answered yet")
        return asked

    def last_parsed(self, command: Command, parse: Callable[[bytes], T]) -> T:
        """Return `parse` of the last good reply, of any age; each reply is parsed once."""
        return self._parsed(command, parse, self.last_reply(command))

    def parsed(self, command: Command, parse: Callable[[bytes], T]) -> T:
        """Return what `parse` makes of the last good reply, if it is true now."""
        return self._parsed(command, parse, self.reply(command))

    def _parsed(self, command: Command, parse: Callable[[bytes], T], reply: CommandReply) -> T:
        found = self.memo.get((command, parse), reply.data, lambda: _parsed(parse, reply.data))
        if isinstance(found, Failure):
            raise found.error()
        return found

    @property
    def last_health(self) -> Health:
        """The last health report, of any age."""
        return self.last_parsed(HEALTH, Health.parse)

    @property
    def health(self) -> Health:
        """The health report, if it is true now."""
        return self.parsed(HEALTH, Health.parse)

    @property
    def last_quorum(self) -> Quorum:
        """The last quorum_status, of any age."""
        return self.last_parsed(QUORUM, Quorum.parse)

    @property
    def quorum(self) -> Quorum:
        """Who is in quorum, if it is true now."""
        return self.parsed(QUORUM, Quorum.parse)


def _parsed(parse: Callable[[bytes], T], data: bytes) -> T | Failure:
    """Parse; a failure is kept too, so that a bad answer is not parsed at each open."""
    try:
        return parse(data)
    except NoData as exc:
        return Failure.of(exc, "")
