"""A session without monitors: what the file system sees is what the test says."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

import trio

from cephmonfs.errors import CephMonFSError, RequestTimeout
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr, Epoch
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.monmap import MonInfo, MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.snapshot import (
    CommandReply,
    DecodedMap,
    MapRecord,
    MonView,
    RequestView,
    SessionChange,
    Snapshot,
    Stamp,
    State,
    StatfsRecord,
    TicketView,
)
from cephmonfs.mon.statfs import Patience, StatfsWaits
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

FSID = "b9a32a5e-4c5f-4b41-8d5c-7a2a9a31f0d2"
WALL = 1_800_000_000.0  # when things arrived, far from the present
KB = Statfs(kb=5 << 30, kb_used=(5 << 30) // 4 + 1, kb_avail=(5 << 30) // 4 * 3 - 5000, num_objects=123456)

HEALTH = {
    "status": "HEALTH_WARN",
    "checks": {
        "OSDMAP_FLAGS": {
            "severity": "HEALTH_WARN",
            "summary": {"message": "noout flag(s) set", "count": 1},
            "muted": False,
        }
    },
    "mutes": [],
}
MUTED = {  # as Pacific, Reef and Tentacle answer
    "status": "HEALTH_OK",
    "checks": {
        "OSDMAP_FLAGS": {
            "severity": "HEALTH_WARN",
            "summary": {"message": "noout flag(s) set", "count": 1},
            "muted": True,
        }
    },
    "mutes": [
        {
            "code": "OSDMAP_FLAGS",
            "ttl": "2027-01-15T09:00:00.000000+0000",  # an hour after WALL
            "sticky": False,
            "summary": "noout flag(s) set",
            "count": 1,
        }
    ],
}
DESCRIPTIONS = {
    f"cmd{i:03}": {"sig": words.split(), "help": "", "module": "mon", "perm": "r", "flags": 0}
    for i, words in enumerate(("health", "quorum_status", "osd tree", "osd getmap", "osd crush rule ls", "slow"))
}
QUORUM = {"quorum": [0, 1, 2], "quorum_names": ["a", "b", "c"], "quorum_leader_name": "a"}


def address(port: int) -> AddrVec:
    addrs = (
        EntityAddr.of("10.0.0.1", port, AddrType.MSGR2),
        EntityAddr.of("10.0.0.1", port + 3489, AddrType.LEGACY),
    )
    return AddrVec(addrs)


def monmap(epoch: int = 3, names: str = "abc") -> MonMap:
    mons = tuple(MonInfo(name, address(3300 + i)) for i, name in enumerate(names))
    return MonMap(
        version=7,
        fsid=UUID(FSID),
        epoch=Epoch(epoch),
        last_changed=Utime(1_700_000_000, 0),
        created=Utime(1_700_000_000, 0),
        mons=mons,
        min_mon_release=16,
    )


def encoded(m: MonMap) -> bytes:
    enc = Encoder()
    m.encode(enc, (1 << 64) - 1)
    return bytes(enc)


def map_record(name: str, epoch: int, blob: bytes, at: Stamp, incrementals: tuple[bytes, ...] = ()) -> MapRecord:
    """A map as the session keeps it; without a value where the bytes are no map."""
    decoders: Mapping[str, Callable[[Cursor], DecodedMap]] = {
        "monmap": MonMap.decode, "mdsmap": MDSMap.decode, "fsmap": FSMap.decode, "osdmap": OSDMap.decode,
    }  # fmt: skip
    try:
        value = decoders[name](Cursor(blob)) if name in decoders else None
        for change in incrementals:
            assert isinstance(value, OSDMap)
            value = value.apply(Incremental.decode(Cursor(change)))
    except CephMonFSError:
        value = None
    return MapRecord(epoch, blob, at, incrementals, value)


def ticket() -> TicketView:
    return TicketView("auth", "aes", 3, WALL, WALL + 2700, WALL + 3600)


def snapshot(now: Stamp | None = None) -> Snapshot:
    """A healthy session, ten seconds old."""
    now = Stamp(1000.0, WALL + 10) if now is None else now
    at = Stamp(now.mono - 10, WALL)
    m = monmap()
    return Snapshot(
        now=now,
        entity="client.df",
        state=State.OPEN,
        mon="b",
        addr="v2:10.0.0.1:3301/0",
        mode="secure",
        global_id=4152,
        since=at,
        last_contact=Stamp(now.mono - 0.5, now.wall - 0.5),
        sessions=2,
        failovers=1,
        last_error="",
        errors={},
        fsid=FSID,
        monmap=m,
        maps={"monmap": map_record("monmap", 3, encoded(m), at), "osdmap": map_record("osdmap", 17, b"\x01\x02", at)},
        denied=frozenset({"mdsmap"}),
        fscid=1,
        fs_missing=False,
        mons=tuple(MonView(mon.name, i, mon.addrs, 0.0003 * (i + 1), "") for i, mon in enumerate(m.mons)),
        statfs=StatfsRecord(KB, None, at, at),
        tickets=(ticket(),),
        requests=(RequestView(7, "statfs", 0.25, "b", 1),),
        counters={"messages_received": 12},
        history=(
            SessionChange(Stamp(now.mono - 30, WALL - 20), State.OPEN, "a", ""),
            SessionChange(at, State.OPEN, "b", "mon.a closed the connection"),
        ),
        quorum_at=Stamp(now.mono - 0.5, now.wall - 0.5),
    )


class Question:
    """A statfs without an answer, and those who wait for it."""

    def __init__(self) -> None:
        self.asked: Stamp | None = None
        self.answered = trio.Event()
        self.record: StatfsRecord | None = None


class FakeSource:
    """Answers at once, unless told to be `silent`; counts what it is asked."""

    def __init__(self, mono: Callable[[], float] = trio.current_time) -> None:
        self._mono = mono
        self.snap = snapshot(Stamp(mono(), WALL + 10))
        self.generation = 1
        self._changed = trio.Event()
        self.asked: Counter[str] = Counter()
        self.silent = False
        self._spoken = trio.Event()
        self._open: Question | None = None  # stays open when those who asked it leave
        self._next: Question | None = None
        self.statfs_error: Exception | None = None
        self._waits = StatfsWaits()
        self._waiting = 0
        self.answers: dict[str, bytes | int | Exception] = {
            "health": json.dumps(HEALTH).encode(),
            "quorum_status": json.dumps(QUORUM).encode(),
            "get_command_descriptions": json.dumps(DESCRIPTIONS).encode(),
            "osd tree": b"ID  CLASS\n",
            "osd getmap": bytes(range(256)),
            "osd crush rule ls": b"\n[]",
            "slow": b"at last",
        }
        self.numbers = KB

    def now(self) -> Stamp:
        return Stamp(self._mono(), time.time())

    def snapshot(self) -> Snapshot:
        return replace(self.snap, now=self.now())

    def publish(self, **changes: object) -> None:
        self.snap = replace(self.snap, **changes)  # type: ignore[arg-type]
        self.generation += 1
        self._changed.set()
        self._changed = trio.Event()

    def hush(self, silent: bool = True) -> None:
        """Stop answering, or answer everything that is open."""
        self.silent = silent
        self._spoken.set()
        self._spoken = trio.Event()
        for question in (self._open, self._next):
            if not silent and question is not None:
                self._ask(question)
                self._answer(question)
        if not silent:
            self._open = self._next = None

    async def wait_change(self, seen: int) -> int:
        while self.generation == seen:
            await self._changed.wait()
        return self.generation

    async def _speak(self) -> None:
        while self.silent:
            await self._spoken.wait()
        await trio.lowlevel.checkpoint()

    async def statfs(self, patience: Patience | None = None, *, may_wait: bool = True) -> StatfsRecord:
        if patience is None:
            return await self._statfs()
        began = self._mono()
        try:
            if may_wait:
                with trio.move_on_after(self._wait_s(patience, began)):
                    self._waiting += 1
                    try:
                        record = await self._statfs()
                    finally:
                        self._waiting -= 1
                    self._waits.fresh(self._mono() - began)
                    return record
                self._waits.in_vain(self._mono())
            return self._waits.held(patience, self.snap.statfs, began, self._mono())
        except CephMonFSError as exc:
            if not isinstance(exc, RequestTimeout):
                self._waits.failed(self._mono() - began)
            raise
        finally:
            self.snap = replace(self.snap, statfs_tally=self._waits.tally())

    def _wait_s(self, patience: Patience, now: float) -> float:
        since = self._open.asked.mono if self._open is not None and self._open.asked is not None else None
        return self._waits.wait_s(patience, now, others=self._waiting, open_since=since, last=self.snap.statfs)

    async def _statfs(self) -> StatfsRecord:
        await trio.lowlevel.checkpoint()
        if self.statfs_error is not None:
            raise self.statfs_error
        if not self.silent:
            question = Question()
            self._ask(question)
            return self._answer(question)
        if self._open is None:
            question = self._open = Question()
            self._ask(question)
        else:
            question = self._next = self._next or Question()
        await question.answered.wait()
        assert question.record is not None
        return question.record

    def _ask(self, question: Question) -> None:
        if question.asked is None:
            question.asked = self.now()
            self.asked["statfs"] += 1

    def _answer(self, question: Question) -> StatfsRecord:
        assert question.asked is not None
        question.record = StatfsRecord(self.numbers, None, question.asked, self.now())
        question.answered.set()
        self.publish(statfs=question.record, quorum_at=question.asked, last_contact=self.now())
        return question.record

    async def command(self, command: Mapping[str, object]) -> CommandReply:
        words = str(command["prefix"])
        self.asked[words] += 1
        asked = self.now()
        await self._speak()
        self.snap = replace(self.snap, quorum_at=asked, last_contact=self.now())
        answer = self.answers.get(words, -22)
        match answer:
            case Exception():
                raise answer
            case int():
                return CommandReply(answer, "no such thing", b"", self.now(), asked)
            case _:
                return CommandReply(0, "", answer, self.now(), asked)
