"""A monitor that lies at every step, one that floods, one that stalls: refused by name, left for another, in bounds."""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
import trio.lowlevel

from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr, EntityName
from cephmonfs.model.monmap import MonInfo, MonMap
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import Close, Connect, MonSession, SessionConfig
from cephmonfs.mon.snapshot import Stamp, State
from cephmonfs.monitor.authserver import Answer, Challenge, Refused
from cephmonfs.monitor.server_v2 import Piece
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import Tag, crc_layout, pack_preamble
from cephmonfs.wire import limits
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.doubles import monitor as fm
from tests.doubles.attack import BOTH_KEYS, BOTH_MODES, CRC, SECURE, Attack, Lying, attacked, cpu_seconds, instead

# ---- lies of the handshake


class _EndlessQuestions(Lying):
    def more(self, payload: bytes, now: float) -> Answer:
        return Challenge(bytes(Encoder().u8(1).u64(7)))


class _Refusing(Lying):
    def start(self, entity: EntityName, global_id: int, mode: Mode, now: float) -> Answer:
        return Refused(-95)


class _OldChallenge(Lying):
    """Always the same challenge, and an answer that was recorded before: what a replay looks like."""

    recorded: bytes = b""

    def start(self, entity: EntityName, global_id: int, mode: Mode, now: float) -> Answer:
        super().start(entity, global_id, mode, now)
        self._challenge = 4711
        return Challenge(bytes(Encoder().u8(1).u64(4711)))

    def more(self, payload: bytes, now: float) -> Answer:
        answer = super().more(payload, now)
        if not type(self).recorded and not isinstance(answer, Challenge | Refused):
            type(self).recorded = answer.payload
        if isinstance(answer, Challenge | Refused):
            return answer
        return replace(answer, payload=type(self).recorded)


class _ManyTickets(Lying):
    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        enc.u8(1).u32(0xFFFFFFFF)


class _EndlessValidity(Lying):
    """A ticket that is good for 136 years, and one that is not good for a second."""

    seconds = 0xFFFFFFFF

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        tickets = [(service, info, float(self.seconds)) for service, info, _ in tickets]
        super()._tickets(enc, key, tickets, old, now)


class _StaleSeal(Lying):
    """Seals the ticket with an old session key though none was presented."""

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        super()._tickets(enc, key, tickets, old or self._server.new_key(key.type, now), now)


class _BadMagic(Lying):
    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        other = self._server.new_key(key.type, now)
        super()._tickets(enc, other, tickets, old, now)


def _segment(change: Callable[[bytes], bytes], at: Piece) -> fm.Segments:
    return fm.Segments(at, lambda s: (change(s[0]), *s[1:]))


HANDSHAKE_LIES: dict[str, tuple[fm.Fault, str]] = {
    "wrong proof": (fm.Impostor(), "prove"),
    "wrong signature": (fm.bad_signature(), "signature"),
    "signature of another length": (_segment(lambda s: s + b"\0", Piece.AUTH_SIGNATURE), "signature"),
    "no signature": (_segment(lambda s: b"", Piece.AUTH_SIGNATURE), "signature"),
    "mode not offered": (fm.wrong_mode(9), "mode"),
    "HELLO of an OSD": (_segment(lambda s: b"\4" + s[1:], Piece.HELLO), "entity type 4"),
    "HELLO with an absurd address": (_segment(lambda s: s[:1] + b"\1\1\1" + b"\xff" * 4, Piece.HELLO), "left"),
    "v1 where v2 was": (fm.Wire(Piece.BANNER, lambda _: b"ceph v027" + bytes(272)), "v1 protocol"),
    "banner of 64 KiB": (fm.Wire(Piece.BANNER, lambda _: b"ceph v2\n\xff\xff" + bytes(65535)), "payload of 65535"),
    "required features": (
        fm.Wire(Piece.BANNER, lambda _: b"ceph v2\n" + struct.pack("<HQQ", 16, 3, 2)),
        "feature",
    ),
    "SERVER_IDENT requires what nobody has": (
        _segment(lambda s: s[:-32] + b"\xff" * 16 + s[-16:], Piece.SERVER_IDENT), "feature",
    ),
    "SERVER_IDENT cut": (_segment(lambda s: s[:20], Piece.SERVER_IDENT), "left"),
    "preamble crc": (fm.Flip(Piece.HELLO, 2), "preamble crc"),
    "segment crc": (fm.Flip(Piece.AUTH_REPLY_MORE, 35), "crc"),
    "unknown tag": (fm.Wire(Piece.HELLO, lambda d: _retag(d, 200)), "unknown .200"),
    "compressed": (fm.Wire(Piece.HELLO, lambda d: _flagged(d, 1)), "compression"),
    "five segments": (fm.Wire(Piece.HELLO, lambda d: _segments(d, 5)), "segments"),
    "no segment": (fm.Wire(Piece.HELLO, lambda d: _segments(d, 0)), "segments"),
    "4 GiB": (fm.huge_length(Piece.AUTH_DONE), "limit"),
    "message before the session": (
        fm.Wire(Piece.AUTH_REPLY_MORE, lambda d: _retag(d, Tag.MESSAGE)), "MESSAGE frame while",
    ),
    "AUTH_DONE twice": (fm.Replay(Piece.AUTH_DONE), "AUTH_DONE|tag|crc"),
    "SERVER_IDENT twice": (fm.Replay(Piece.SERVER_IDENT), "SERVER_IDENT|tag"),
}  # fmt: skip


def _crced(head: bytes) -> bytes:
    return head[:28] + struct.pack("<I", raw_crc32c(head[:28], 0))


def _retag(data: bytes, tag: int) -> bytes:
    return _crced(bytes((tag,)) + data[1:28]) + data[32:]


def _flagged(data: bytes, flags: int) -> bytes:
    return _crced(data[:26] + bytes((flags,)) + data[27:28]) + data[32:]


def _segments(data: bytes, count: int) -> bytes:
    return _crced(data[:1] + bytes((count,)) + data[2:28]) + data[32:]


@BOTH_MODES
@pytest.mark.parametrize("lie", list(HANDSHAKE_LIES))
async def test_lies_of_the_handshake(lie: str, modes: tuple[Mode, ...]) -> None:
    fault, blame = HANDSHAKE_LIES[lie]
    async with attacked(fault, modes=modes) as attack:
        await attack.survives(blame)
        assert attack.snapshot.last_error or attack.snapshot.errors


AUTH_LIES: dict[str, tuple[type[Lying], str | None]] = {
    "endless AUTH_REPLY_MORE": (_EndlessQuestions, "second cephx challenge"),
    "endless AUTH_BAD_METHOD": (_Refusing, "none of the modes|refused"),
    "2^32 tickets": (_ManyTickets, "count"),
    "sealed with a key nobody has": (_StaleSeal, "presented none"),
    "wrong magic": (_BadMagic, "prove"),
}


@BOTH_KEYS
@pytest.mark.parametrize("lie", list(AUTH_LIES))
async def test_lies_of_authentication(lie: str, kind: KeyType) -> None:
    auth, blame = AUTH_LIES[lie]
    async with attacked(auth=auth, settings=DemoSettings(mons=2, key_type=kind)) as attack:
        await attack.survives(blame)


async def test_a_recorded_answer_is_of_no_use_again() -> None:
    """Same challenge, recorded tickets: the signature, keyed by what is inside, covers our fresh bytes."""
    _OldChallenge.recorded = b""
    async with attacked(auth=_OldChallenge) as attack:
        await attack.opened()  # the first time it is true
        assert attack.snapshot.mon == attack.names[0]
        attack.honest.refuse = True
        attack.hostile.kill_connections()
        await attack.until(lambda: bool(re.search("signature|tag|prove|presented", attack.blame())), "believed")
        attack.honest.refuse = False
        await attack.survives(None)


@pytest.mark.parametrize("seconds", [0, 0xFFFFFFFF])
async def test_validity_of_a_ticket_is_clamped(seconds: int) -> None:
    lie = type("_Validity", (_EndlessValidity,), {"seconds": seconds})
    async with attacked(auth=lie) as attack:
        await attack.opened()
        await trio.sleep(2.5)
        await attack.survives(None, left=False)
        assert attack.snapshot.counters.get("renewals", 0) <= 4


# ---- lies of the session


def _message(kind: int, how: Callable[[Message], Message]) -> fm.Reply:
    return instead(kind, lambda m: [how(m)])


def _front(kind: int, change: Callable[[bytes], bytes]) -> fm.Reply:
    return _message(kind, lambda m: replace(m, front=change(m.front)))


_FOREIGN = "belongs to"
_ACK = bytes(18) + bytes(Encoder().s32(0).text("").u32(0xFFFFFFFF))

SESSION_LIES: dict[str, tuple[fm.Fault, str]] = {
    "nested structs overrun": (_front(MsgType.MON_MAP, lambda f: _inner(f)), "left|length|wanted"),
    "map shorter than its length": (_front(MsgType.MON_MAP, lambda f: f[:-20]), "length"),
    "foreign fsid of an mdsmap": (_front(MsgType.MDS_MAP, lambda f: b"\1" * 16 + f[16:]), _FOREIGN),
    "foreign fsid of an osdmap": (_front(MsgType.OSD_MAP, lambda f: b"\1" * 16 + f[16:]), _FOREIGN),
    "epoch beside the map's own": (_front(MsgType.MDS_MAP, lambda f: f[:16] + b"\xff" * 4 + f[20:]), "announced"),
    "epoch of an fsmap": (_front(MsgType.FS_MAP, lambda f: b"\xff\xff\xff\x7f" + f[4:]), "announced"),
    "message too new": (_message(MsgType.MON_MAP, lambda m: replace(m, compat=99)), "needs decoder v99"),
    "command ack cut": (_front(MsgType.MON_COMMAND_ACK, lambda f: f[:19]), "left|wanted"),
    "2^32 command words": (_front(MsgType.MON_COMMAND_ACK, lambda f: _ACK), "count"),
    "bad tag or crc": (fm.Flip(Piece.MESSAGE, -3), "tag does not match|crc|late status"),
    "replayed message": (fm.Replay(Piece.MESSAGE), "seq|tag"),
    "cut in a message": (fm.Cut(Piece.MESSAGE, 90), "closed"),
}  # fmt: skip


def _inner(front: bytes) -> bytes:
    return front[:6] + struct.pack("<I", len(front) * 2) + front[10:]


@BOTH_MODES
@pytest.mark.parametrize("lie", list(SESSION_LIES))
async def test_lies_of_the_session(lie: str, modes: tuple[Mode, ...]) -> None:
    fault, blame = SESSION_LIES[lie]
    async with attacked(fault, modes=modes) as attack:
        await attack.survives(blame)


async def test_reused_nonce() -> None:
    """A frame sealed with the nonce of the one before does not open."""

    class _Stuck:
        def __init__(self) -> None:
            self.count = 0

        def __call__(self, data: bytes) -> bytes:
            self.count += 1
            return data

    stuck = _Stuck()
    async with attacked(fm.Wire(Piece.MESSAGE, stuck), modes=SECURE) as attack:
        await attack.opened()
        (served,) = attack.hostile._live
        layout = served._conn._tx
        nonces = layout._nonces  # type: ignore[attr-defined]
        nonces._counter -= 1
        attack.hostile.send(to_message(mon.MConfig({})))
        await attack.survives("tag does not match")
    assert stuck.count


async def test_epochs_that_go_back() -> None:
    """An older map is not taken, and costs nobody anything."""
    async with attacked() as attack:
        await attack.until(lambda: len(attack.snapshot.maps) == 5, "maps are missing")
        before = {name: record.epoch for name, record in attack.snapshot.maps.items()}
        cluster = attack.cluster.cluster
        old = _older_monmap(cluster.addrs, cluster.fsid)
        attack.hostile.send(to_message(mon.MMonMap(old)))
        attack.hostile.send(to_message(mon.MOSDMap(cluster.fsid.bytes, {1: b"x", 2: b"y"}, {1: b"z"})))
        await trio.sleep(0.2)
        await attack.survives(None, left=False)
        after = {name: record.epoch for name, record in attack.snapshot.maps.items()}
        assert all(after[name] >= epoch for name, epoch in before.items())
        assert attack.snapshot.counters["connects"] == 1


def _older_monmap(addrs: tuple[EntityAddr, ...], fsid: object) -> bytes:
    from uuid import UUID

    from cephmonfs.model.entity import Epoch
    from cephmonfs.wire.cursor import Utime

    assert isinstance(fsid, UUID)
    mons = (MonInfo("evil", AddrVec((EntityAddr.of("192.0.2.1", 3300, AddrType.MSGR2),))),)
    enc = Encoder()
    MonMap(9, fsid, Epoch(0), Utime(1, 0), Utime(1, 0), mons).encode(enc, (1 << 62) - 1)
    return bytes(enc)


async def test_names_that_are_no_names() -> None:
    """Monitors called .., a/b, a terminal command: shown harmlessly in messages, and no way out of a directory."""
    from cephmonfs.files.tree import safe_names

    evil = ["..", ".", "", "a/b", "/etc/passwd", "x\x1b]0;evil\x07", "n\nl", "\0", "y" * 5000, "a", "a"]
    found = safe_names(evil, {"count": object()})
    for name in found:
        assert name not in ("", ".", "..")
        assert "/" not in name
        assert name.isprintable()
        assert len(name.encode()) <= 255

    def rename(message: Message) -> list[Message]:
        payload = from_monitor(message)
        assert isinstance(payload, mon.MMonMap)
        monmap = MonMap.decode(Cursor(payload.monmap))
        mons = tuple(replace(info, name=name) for info, name in zip(monmap.mons, ("x\x1b[2J\n", ".."), strict=True))
        enc = Encoder()
        replace(monmap, mons=mons).encode(enc, (1 << 62) - 1)
        return [to_message(mon.MMonMap(bytes(enc)))]

    async with attacked(instead(MsgType.MON_MAP, rename), fm.no_answer(MsgType.STATFS_REPLY)) as attack:
        await attack.opened()
        await attack.statfs()
        for text in (*attack.snapshot.errors.values(), attack.snapshot.last_error):
            assert text.isprintable()


async def test_an_error_text_is_one_line() -> None:
    """What a stranger writes goes into a log and to a terminal only as printable characters, and not much of it."""
    from cephmonfs.wire.text import one_line

    text = one_line("evil\n<3>fake line\x1b[2J\x07\u202e" + "x" * 100000)
    assert text.isprintable()
    assert len(text) <= 1000
    async with attacked(fm.Wire(Piece.BANNER, lambda _: b"\x1b[2J\nroot: all is well\n")) as attack:
        await attack.survives("not a Ceph monitor")
        assert attack.blame().isprintable()


# ---- floods


async def _flood(stream: trio.abc.Stream, head: bytes, chunk: bytes) -> None:
    await stream.send_all(head)
    while True:
        await stream.send_all(chunk)


def _aborted(revision: int) -> bytes:
    """A frame of 60 KiB that takes itself back; revision 0, whose every frame may."""
    body = bytes(60 << 10)
    return pack_preamble(Tag.HELLO, (body,)) + body + struct.pack("<BIIII", 1, 0, 0, 0, 0)


FLOODS: dict[str, tuple[bytes, bytes, str]] = {
    "aborted frames": (b"ceph v2\n" + struct.pack("<HQQ", 16, 0, 0), _aborted(0), "aborted|bytes before"),
    "one frame without end": (
        b"ceph v2\n" + struct.pack("<HQQ", 16, 1, 0) + pack_preamble(Tag.HELLO, (bytes(160 << 10),)),
        bytes(64 << 10),
        "crc|HELLO|wanted",
    ),
    "banners": (b"", b"ceph v2\n" * 4096, "payload|preamble"),
    "zeros": (b"", bytes(65536), "not a Ceph"),
}


@pytest.mark.parametrize("name", list(FLOODS))
async def test_floods_before_authentication(name: str) -> None:
    head, chunk, blame = FLOODS[name]
    async with attacked(serve=lambda stream: _flood(stream, head, chunk)) as attack:
        await attack.survives(blame)
        await trio.sleep(1)
        await attack.survives(None)
        assert attack.hostile.connections <= 6


async def _endless_messages(attack: Attack, messages: list[Message], seconds: float) -> None:
    deadline = trio.current_time() + seconds
    while trio.current_time() < deadline and attack.hostile.open:
        for message in messages:
            attack.hostile.send(message)
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", ["unknown type", "same map", "strays", "acks"])
async def test_endless_messages(kind: str) -> None:
    """An authenticated monitor that talks without end keeps us busy while it does; memory and the others do not
    suffer."""
    async with attacked(modes=CRC) as attack:
        await attack.opened()
        monmap = attack.snapshot.maps["monmap"].blob
        messages = {
            "unknown type": [Message(0x7FFF, bytes(20000))],
            "same map": [to_message(mon.MMonMap(monmap))],
            "strays": [to_message(mon.MStatfsReply(attack.cluster.fsid, 1, _stats()), tid=99)],
            "acks": [to_message(mon.MMonSubscribeAck(0, attack.cluster.fsid))],
        }[kind]
        await _endless_messages(attack, messages, 1.0)
        await attack.survives(None, left=False)


def _stats() -> Statfs:
    return Statfs(1, 2, 3, 4)


class _Deaf(trio.abc.Stream):
    """Reads nothing once the session is open."""

    def __init__(self, stream: trio.abc.Stream, deaf: Callable[[], bool]) -> None:
        self._stream, self._deaf = stream, deaf

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._deaf():
            await trio.sleep_forever()
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_keepalives_without_end_and_nobody_reads_the_answers() -> None:
    """What a monitor does not read does not pile up here: past 4 MiB it is left."""
    async with attacked(modes=CRC, measure=False) as attack:
        await attack.opened()
        original, deaf = attack.hostile.serve, [False]

        async def serve(stream: trio.abc.Stream) -> None:
            await original(_Deaf(stream, lambda: deaf[0]))

        attack.hostile.serve = serve  # type: ignore[method-assign]
        attack.hostile.kill_connections()
        await attack.until(lambda: attack.snapshot.sessions >= 2, "no second session")
        attack.honest.refuse = True
        attack.honest.kill_connections()
        await attack.until(lambda: attack.hostile.open == 1 and attack.snapshot.mon == attack.names[0], "not back")
        deaf[0] = True
        (served,) = attack.hostile._live
        flood = fm._Send(crc_layout(1).encode(Tag.KEEPALIVE2, (bytes(8),)) * 4000)
        with trio.move_on_after(60):
            while attack.hostile.open and "does not read" not in attack.blame():
                served._conn.actions.append(flood)
                served._wake.set()
                await attack.until(lambda: len(served._conn.actions) < 4 or not attack.hostile.open, "not sent")
                await trio.lowlevel.checkpoint()
        attack.honest.refuse = False
        deaf[0] = False
        await attack.survives("does not read", left=False)


# ---- stalls, on a clock that tests move


def _session(count: int) -> tuple[MonSession, list[Connect]]:
    from cephmonfs.mon.connection import Identity

    who = Identity(EntityName(8, "df"), None, CRC)
    calls = iter(range(1, 1 << 30))
    now = Stamp(0.0, 1.8e9)
    session = MonSession(SessionConfig(who), lambda n: next(calls).to_bytes(n, "little"), now)
    session.set_candidates(
        [Candidate(chr(97 + i), EntityAddr.of(f"127.0.0.{i + 1}", 3300, AddrType.MSGR2)) for i in range(count)], now
    )
    return session, [event for event in iter(session.next_event, None) if isinstance(event, Connect)]


def test_one_byte_a_minute() -> None:
    """The handshake has ten seconds, however lively it looks; the next monitor is tried after 0.3."""
    session, (first,) = _session(2)
    session.connected(first.conn_id, Stamp(0.0, 1.8e9))
    clock, connects, closed_at = 0.0, [], None
    banner = b"ceph v2\n" + struct.pack("<HQQ", 16, 1, 0)
    at = 0
    while clock < 30 and closed_at is None:
        due = session.next_timeout()
        clock = min(due, clock + 1.0) if due is not None else clock + 1.0
        session.handle_timeout(Stamp(clock, 1.8e9 + clock))
        if at < int(clock) and closed_at is None:
            session.receive_data(first.conn_id, banner[at : at + 1], Stamp(clock, 1.8e9 + clock))
            at += 1
        for event in iter(session.next_event, None):
            if isinstance(event, Connect):
                connects.append(clock)
            if isinstance(event, Close) and event.conn_id == first.conn_id:
                closed_at = clock
    assert connects[0] <= 0.31
    assert closed_at is not None
    assert closed_at <= 10.01


def test_nobody_answers_for_an_hour() -> None:
    """Hunting costs little: some dozens of connects a minute at most, for as long as it takes."""
    session, connects = _session(3)
    clock, count = 0.0, len(connects)
    while clock < 3600:
        due = session.next_timeout()
        assert due is not None
        clock = max(due, clock + 1e-3)
        session.handle_timeout(Stamp(clock, 1.8e9 + clock))
        for event in iter(session.next_event, None):
            if isinstance(event, Connect):
                count += 1
                session.connect_failed(event.conn_id, "refused", Stamp(clock, 1.8e9 + clock))
    assert count < 3600 * 3


@pytest.mark.parametrize(
    "fault", [fm.Reset(Piece.HELLO), fm.bad_signature(), fm.Flip(Piece.MESSAGE), fm.Reset(Piece.MESSAGE)]
)
async def test_no_tight_loop_when_all_are_hostile(fault: fm.Fault) -> None:
    """Three hostile monitors and nobody else: at most thirty connects a second, and little of the processor."""
    async with attacked(fault, settings=DemoSettings(mons=3), measure=False) as attack:
        for fake in attack.cluster.mons:
            fake.faults = (fault,)
        await trio.sleep(1.0)
        for fake in attack.cluster.mons:
            fake.kill_connections()
        before = sum(fake.connections for fake in attack.cluster.mons)
        cpu, began = cpu_seconds(), time.monotonic()
        await trio.sleep(3.0)
        took = time.monotonic() - began
        count = sum(fake.connections for fake in attack.cluster.mons) - before
        assert count <= 65 + 31 * took
        assert cpu_seconds() - cpu < 0.8 * took  # of which the monitors' own half is more than half
        for fake in attack.cluster.mons:
            fake.faults = ()
        await attack.survives(None, left=False)


async def test_faults_make_a_monitor_wait() -> None:
    """Who breaks the protocol again and again is asked ever more seldom; the others are not kept waiting."""
    async with attacked(fm.Flip(Piece.SERVER_IDENT), measure=False) as attack:
        attack.honest.refuse = True
        await trio.sleep(4.0)
        assert attack.hostile.connections <= 8
        attack.honest.refuse = False
        began = time.monotonic()
        await attack.survives("crc|tag")
        assert time.monotonic() - began < 3.0
        assert attack.snapshot.state is State.OPEN


# ---- what monitors say in answers


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"status": ' + b"9" * 100_000 + b"}",
        b"\xff\xfe\x00",
        b"",
        b"null",
        json.dumps({"status": ["x"] * 10, "checks": 7}).encode(),
        b'{"checks": {"A": []}, "quorum": [1e999, {}], "quorum_names": {"a": 1}}',
    ],
    ids=["deep", "deep objects", "long number", "no text", "empty", "null", "odd types", "odder types"],
)
def test_json_that_is_not_what_it_should_be(data: bytes) -> None:
    """Answers of commands are read as JSON without trust in their shape."""
    from cephmonfs.errors import NoData
    from cephmonfs.files.described import described
    from cephmonfs.model.df import Df, parse_odd_objects
    from cephmonfs.model.health import Health
    from cephmonfs.model.metadata import parse_metadata
    from cephmonfs.model.quorum import Quorum

    for read in (Health.parse, Quorum.parse, Df.parse, parse_odd_objects, parse_metadata, described):
        try:
            read(data)
        except NoData:
            pass


def test_limits_are_what_the_document_says() -> None:
    assert limits.MAX_PREAUTH_BYTES <= 256 << 10
    assert limits.MAX_MONS == 256
