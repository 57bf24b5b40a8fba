"""Every published hole of a Ceph client, part 1: the protocol and the way in (T01 to T22, T33, T35)."""

from __future__ import annotations

import ast
import json
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

import cephmonfs
from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.auth.envelope import Usage, seal
from cephmonfs.demo.authserver import Answer, Granted
from cephmonfs.demo.cephx_server import CephxAuth, TicketInfo, utime_of
from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.demo.server_v2 import Piece
from cephmonfs.errors import (
    AuthError,
    CephMonFSError,
    DecodeError,
    IntegrityError,
    ProtocolError,
    UnexpectedMessage,
)
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.mon.session import SessionConfig
from cephmonfs.mon.snapshot import State
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import Nonces, Tag, pack_preamble
from cephmonfs.wire import crypto, limits
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.fakemon import monitor as fm
from tests.fuzz.targets import play, recordings_v1, recordings_v2
from tests.security.harness import Attack, Lying, attacked, instead
from tests.security.published import published

SECURE, CRC = (Mode.SECURE,), (Mode.CRC,)
PACKAGE = Path(cephmonfs.__file__).parent
BOTH_KEYS = pytest.mark.parametrize("kind", list(KeyType), ids=lambda kind: kind.name.lower())
BOTH_MODES = pytest.mark.parametrize("modes", [SECURE, CRC], ids=["secure", "crc"])

Change = Callable[[tuple[bytes, ...]], tuple[bytes, ...]]


def first(change: Callable[[bytes], bytes]) -> Change:
    """The first segment through a function."""
    return lambda segments: (change(segments[0]), *segments[1:])


# ---- cephx


class _NoChallenge(Lying):
    """Knows the key and asks for no proof."""

    def start(self, entity: EntityName, global_id: int, mode: Mode, now: float) -> Answer:
        super().start(entity, global_id, mode, now)
        return self._grant(self.cluster.key, self._server.new_global_id(), None, 1, 64, now)


@contextmanager
def watched(method: str, of: type) -> Iterator[list[tuple[object, ...]]]:
    """The arguments of every call of a method."""
    original, calls = getattr(of, method), []

    def spy(self: object, *args: object, **options: object) -> object:
        calls.append((self, *args))
        return original(self, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of, method, spy)
        yield calls


async def reconnect(attack: Attack, times: int) -> None:
    """Lose the session this often; each time there is a new one."""
    for _ in range(times):
        before = attack.snapshot.sessions
        for fake in attack.cluster.mons:
            fake.kill_connections()
        await attack.until(lambda before=before: attack.snapshot.sessions > before, "no new session")  # type: ignore[misc]
        await attack.opened()


@published(1, "CVE-2018-1128", "a sniffed cephx exchange is replayed")
@BOTH_MODES
async def test_T01_replay(modes: tuple[Mode, ...]) -> None:
    """Fresh challenge and nonce on every connection; a session without the monitor's challenge is refused."""
    with pytest.raises(UnexpectedMessage, match="without a challenge"):
        _handshake().done(b"\0" * 40, 1)
    async with attacked(modes=modes, auth=_NoChallenge) as attack:
        await attack.survives("without a challenge")
    with watched("more", CephxAuth) as proofs:
        async with attacked(modes=modes, measure=False) as attack:
            await attack.opened()
            await reconnect(attack, 8)
    challenges = [bytes(args[1])[3:11] for args in proofs]  # type: ignore[call-overload]
    assert len(challenges) >= 9
    assert len(set(challenges)) == len(challenges)


def _handshake() -> CephxHandshake:
    key = CryptoKey(KeyType.AES, utime_of(0), Secret(b"k" * 16))
    return CephxHandshake(EntityName(EntityType.CLIENT, "df"), key, None, lambda n: b"r" * n)


@published(2, "CVE-2018-1129", "the signature of msgr1 covers too little; a man in the middle changes the payload")
async def test_T02_unsigned_payload() -> None:
    """msgr1, which signs nothing towards monitors, is spoken only with ms_mode=legacy, and each of its checksums
    counts; secure mode authenticates every byte."""
    recording = next(r for r in recordings_v1() if "all" in r.name)
    refused = 0
    for at in range(300, len(recording.to_client)):
        data = bytearray(recording.to_client)
        data[at] ^= 0x40
        try:
            play(recording, bytes(data))
        except CephMonFSError:
            refused += 1
    assert (
        refused / (len(recording.to_client) - 300) > 0.8
    )  # the rest: padding, the unused signature, what is waited for
    v1_banner = fm.Wire(Piece.BANNER, lambda _: b"ceph v027" + bytes(272))
    async with attacked(v1_banner) as attack:
        await attack.survives("v1 protocol")
    v2 = next(r for r in recordings_v2() if "secure-rev1" in r.name)
    start = v2.to_client.index(bytes.fromhex(_first_secure_frame(v2.name)))
    for at in range(start, len(v2.to_client), 7):
        data = bytearray(v2.to_client)
        data[at] ^= 1
        with pytest.raises(IntegrityError):
            play(v2, bytes(data))


def _first_secure_frame(name: str) -> str:
    doc = json.loads((Path(__file__).parents[1] / "vectors" / "crypto" / f"{name}.json").read_text())
    return str(next(f["wire"] for f in doc["frames"] if f["tag"] == "AUTH_SIGNATURE" and f["dir"].startswith("server")))


@published(3, "CVE-2020-25660", "the replay of CVE-2018-1128 once more, in msgr2")
async def test_T03_replay_on_both_protocols() -> None:
    """T01 holds on msgr2 in both modes; on msgr1 whatever comes first is read as the challenge, so it cannot be left
    out."""
    for modes in (SECURE, CRC):
        async with attacked(modes=modes, auth=_NoChallenge) as attack:
            await attack.survives("without a challenge")
    for recording in recordings_v1():
        link = recording.link()
        data = bytearray(recording.to_client)
        done = recording.to_client.rindex(struct.pack("<H", MsgType.AUTH_REPLY) + b"\xc4\0")
        begin, first_reply = done - 17, data.index(struct.pack("<H", MsgType.AUTH_REPLY) + b"\xc4\0") - 17
        assert begin > first_reply
        # the last reply in place of the first, renumbered; its checksum is then wrong, or its content
        with pytest.raises(ProtocolError):
            link.receive_data(bytes(data[:first_reply] + data[begin:]), 0.0)


@published(4, "CVE-2020-1759", "AES-GCM nonces come round")
@pytest.mark.parametrize("revision", [0, 1])
async def test_T04_nonces(revision: int) -> None:
    """No (key, nonce) pair is used twice over many sessions; a connection ends before its counter wraps."""
    used: set[tuple[int, bytes, bytes]] = set()
    keys: dict[object, bytes] = {}
    original, seal_once = crypto.Gcm.__init__, crypto.Gcm.seal

    def remember(self: crypto.Gcm, key: bytes) -> None:
        keys[id(self)] = key
        original(self, key)
        kept.append(self)

    def seal_watched(self: crypto.Gcm, nonce: bytes, plain: bytes) -> bytes:
        entry = (0, keys[id(self)], nonce)
        assert entry not in used
        used.add(entry)
        return seal_once(self, nonce, plain)

    kept: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crypto.Gcm, "__init__", remember)
        patch.setattr(crypto.Gcm, "seal", seal_watched)
        settings = DemoSettings(mons=2, revision=revision)
        async with attacked(modes=SECURE, settings=settings, measure=False) as attack:
            await attack.opened()
            for _ in range(5):
                for _ in range(20):
                    await attack.statfs()
                await reconnect(attack, 1)
    assert len(used) > 150
    last = (1 << (64 if revision else 32)) - 1
    size = 8 if revision else 4
    start = b"fix!" + last.to_bytes(8, "little") if revision else last.to_bytes(4, "little") + b"8 bytes!"
    nonces = Nonces(start, revision)
    assert nonces.next() != nonces.next()
    nonces._counter = last  # a long time later
    with pytest.raises(ProtocolError, match="used up"):
        nonces.next()
    assert size


@published(5, "CVE-2021-20288", "a global_id is claimed without proof")
@BOTH_KEYS
async def test_T05_reclaim(kind: KeyType) -> None:
    """The old ticket goes with every claim, in struct_v 3; monitors that insist on it give the same id back."""
    with watched("more", CephxAuth) as proofs:
        async with attacked(settings=DemoSettings(mons=2, key_type=kind), measure=False) as attack:
            await attack.opened()
            mine = attack.snapshot.global_id
            await reconnect(attack, 3)
            assert attack.snapshot.global_id == mine
    for number, args in enumerate(proofs):
        cur = Cursor(bytes(args[1]))  # type: ignore[call-overload]
        assert (cur.u16(), cur.u8()) == (0x100, 3)
        cur.skip(16 + 1 + 8)
        assert bool(cur.blob()) is (number > 0)


class _ZeroId(Lying):
    def _grant(self, *args: Any, **options: Any) -> Granted:
        return replace(super()._grant(*args, **options), global_id=0)


@published(6, "61ca49a9105f (Linux)", "a reset between the global_id and its ticket: refused for ever after")
async def test_T06_id_without_ticket() -> None:
    """An id is kept only together with its ticket, of a session that opened; 0 is refused."""
    async with attacked(auth=_ZeroId) as attack:
        await attack.survives("global_id 0")
    for at in (Piece.AUTH_SIGNATURE, Piece.SERVER_IDENT):
        with watched("start", CephxAuth) as claims:
            async with attacked(fm.Reset(at)) as attack:
                await attack.survives(None)
        assert [args[2] for args in claims[:2]] == [0, 0]  # the second connection claims nothing of the first


@published(7, "docs: CVE-2021-20288", "offline for longer than a ticket lives")
@BOTH_KEYS
async def test_T07_ticket_expired(kind: KeyType) -> None:
    """An old ticket that is refused is forgotten at once, and the next connection starts afresh; no restart."""
    shift = [0.0]

    def clock() -> float:
        return 1_800_000_000.0 + trio.current_time() % 1e6 + shift[0]

    async with attacked(settings=DemoSettings(mons=2, key_type=kind), clock=clock) as attack:
        await attack.opened()
        mine = attack.snapshot.global_id
        shift[0] = 20 * 86400.0
        await reconnect(attack, 1)
        assert attack.snapshot.global_id != mine
        assert attack.snapshot.counters["tickets_stale"] == 1
        await attack.survives(None, left=False)


class _Downgrade(Lying):
    """Gives a session key of the old type to a client with a new key."""

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        weak = self._server.new_key(KeyType.AES, now)
        weaker = [(service, TicketInfo(i.entity, i.global_id, weak), validity) for service, i, validity in tickets]
        super()._tickets(enc, key, weaker, old, now)


class _WeakService(Lying):
    """Only the ticket of the service, which comes after the proof, has a session key of the old type."""

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        weak = self._server.new_key(KeyType.AES, now)
        given = [
            (service, info if service == EntityType.AUTH else TicketInfo(info.entity, info.global_id, weak), validity)
            for service, info, validity in tickets
        ]
        super()._tickets(enc, key, given, old, now)


@published(8, "CVE-2025-30156", "tickets of the old key type can be bent: AES-CBC, fixed IV, no MAC")
@BOTH_KEYS
async def test_T08_key_types(kind: KeyType) -> None:
    """Both key types work and are named in session/tickets; a type-1 session key for a type-2 key is refused; tickets
    are opaque bytes; `key_type=aes256k` takes neither key nor ticket of type 1."""
    settings = DemoSettings(mons=2, key_type=kind)
    async with attacked(settings=settings) as attack:
        await attack.opened()
        assert {ticket.key_type for ticket in attack.snapshot.tickets} == {kind.name.lower()}
    if kind is KeyType.AES256K:
        async with attacked(settings=settings, auth=_Downgrade) as attack:
            await attack.survives("downgrade")
    for lie, service in ((_Downgrade, "auth"), (_WeakService, "mon")) if kind is KeyType.AES256K else ():
        async with attacked(settings=settings, auth=lie, config=_demand) as attack:
            await attack.survives(f"session key .* service {service} is of type aes: key_type=aes256k refuses that")
    if kind is KeyType.AES:
        async with attacked(settings=settings, config=_demand, measure=False) as attack:
            await attack.until(lambda: attack.snapshot.state is State.REFUSED, "it is let in")
            assert "the key of client." in attack.snapshot.last_error
            assert "is of type aes: key_type=aes256k refuses that" in attack.snapshot.last_error
            assert not attack.snapshot.tickets


def _demand(config: SessionConfig) -> SessionConfig:
    return replace(config, identity=replace(config.identity, weakest=KeyType.AES256K))


NAMES = re.compile(r"monmap|fsmap|osdmap|mgrmap|mdsmap(\.\d+)?")


@published(9, "CVE-2026-50152", "a crafted subscription reads the cluster's secrets")
async def test_T09_subscriptions() -> None:
    """Five names, all constants; of what a monitor says only a number goes into one of them."""

    def evil(message: Message) -> list[Message]:
        name = b"cephfs"
        front = message.front.replace(struct.pack("<I", 6) + name, struct.pack("<I", 6) + b"config")
        return [replace(message, front=front)]

    async with attacked(
        instead(MsgType.FS_MAP, evil), config=lambda c: replace(c, fs="config"), measure=False
    ) as attack:
        await attack.opened()
        await attack.until(lambda: bool(attack.snapshot.maps.get("fsmap")), "no fsmap")
        await reconnect(attack, 2)
        received = [m for fake in attack.cluster.mons for m in fake.received if m.type == MsgType.MON_SUBSCRIBE]
    names = {name for m in received for name in mon.MMonSubscribe.decode(Cursor(m.front), m.version).what}
    assert names
    assert all(NAMES.fullmatch(name) for name in names)
    source = (PACKAGE / "mon" / "subs.py").read_text()
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    assert not strings & {"config", "kv", "config-key"}


SENT = {MsgType.MON_GET_MAP, MsgType.STATFS, MsgType.MON_SUBSCRIBE, MsgType.AUTH, MsgType.MON_COMMAND}


@published(
    10,
    "CVE-2018-14662, CVE-2020-10736, CVE-2016-5009, CVE-2018-10861",
    "read-only keys do what they should not: disk keys, pool operations, an empty command",
)
async def test_T10_what_is_sent() -> None:
    """Five message types and no other can leave this program; no pool operation among them, no command without words,
    none that writes and none of auth, config and config-key."""
    assert _types_made() <= SENT
    async with attacked(measure=False) as attack:
        await attack.opened()
        await attack.statfs()
        with trio.fail_after(5):
            await attack.client.command({"prefix": "health", "format": "json"})
        await reconnect(attack, 1)
        received = [message for fake in attack.cluster.mons for message in fake.received]
    assert {message.type for message in received} <= SENT
    for message in received:
        if message.type == MsgType.MON_COMMAND:
            for word in mon.MMonCommand.decode(Cursor(message.front), 1).command:
                assert json.loads(word)["prefix"]


def _types_made() -> set[int]:
    """The types of all messages that code outside the demo makes."""
    made = set()
    classes = {name: cls for module in (mon, auth) for name, cls in vars(module).items() if hasattr(cls, "TYPE")}
    for path in PACKAGE.rglob("*.py"):
        if "demo" in path.parts or (path.parts[-2] == "messages" and path.name != "registry.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                function = node.func
                if isinstance(function, ast.Attribute) and function.attr == "of":
                    function = function.value
                name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
                if name in classes:
                    made.add(int(classes[name].TYPE))
    return made


def test_T10_commands_are_chosen_from_those_that_read() -> None:
    """Whatever a monitor describes."""
    from cephmonfs.fs.described import described

    def entry(sig: list[object], perm: str = "r", module: str = "mon", flags: int = 0) -> dict[str, object]:
        return {"sig": sig, "perm": perm, "module": module, "flags": flags}

    evil: dict[str, object] = {
        "a": entry(["auth", "ls"], module="mon"),
        "b": entry(["config-key dump"]),
        "c": entry(["config", "dump"]),
        "d": entry(["osd", "pool", "rm"], perm="rw"),
        "e": entry(["osd", "down", {"req": "true", "name": "ids"}]),
        "f": entry([]),
        "g": entry(["x"], module="config-key"),
        "h": entry(["x"], module="auth"),
        "good": entry(["health"]),
        "junk": 7,
    }
    assert {command.words for command in described(evil)} == {"health"}


# ---- lengths and states of the handshake

LENGTHS = (0xFFFFFFF0, 0x80000000, 0x7FFFFFFF, limits.MAX_PREAUTH_FRAME + 1)


@published(11, "CVE-2023-44466", "the length of a msgr2 segment is read as signed")
@pytest.mark.parametrize("at", [Piece.HELLO, Piece.AUTH_REPLY_MORE, Piece.AUTH_DONE], ids=lambda at: at.name)
async def test_T11_segment_lengths(at: Piece) -> None:
    """Lengths are unsigned and limited per state before a byte more is read: 160 KiB a frame and 256 KiB in all before
    the session."""
    for length in LENGTHS:
        async with attacked(fm.huge_length(at, length)) as attack:
            await attack.survives("limit")


class _Sealed(Lying):
    """Puts other bytes where the sealed connection secret belongs."""

    inner: bytes = b""

    def _grant(
        self, key: CryptoKey, global_id: int, old: TicketInfo | None, services: int, secret_size: int, now: float
    ) -> Granted:
        info = TicketInfo(self._entity, global_id, self._server.new_key(key.type, now))
        enc = Encoder().u16(0x100).s32(0)
        self._tickets(enc, key, [(EntityType.AUTH, info, 3600.0)], None, now)
        enc.blob(self.block(info.session_key)).blob(b"")
        return Granted(global_id, bytes(enc), info.session_key.secret, Secret(bytes(64)))

    def block(self, key: CryptoKey) -> bytes:
        sealed = seal(key, Usage.CONNECTION_SECRET, self.inner, self._server.random)
        return bytes(Encoder().blob(sealed))


def _secret(inner: bytes) -> type[_Sealed]:
    return type("_Secret", (_Sealed,), {"inner": inner})


class _Ragged(_Sealed):
    """Ciphertext that is no whole number of blocks."""

    def block(self, key: CryptoKey) -> bytes:
        return bytes(Encoder().blob(bytes(37)))


class _TooLong(_Sealed):
    """The length of the ciphertext points past its envelope."""

    def block(self, key: CryptoKey) -> bytes:
        return struct.pack("<I", 0x80000010) + bytes(32)


@published(12, "CVE-2025-68284", "lengths inside the session key's and the connection secret's block")
@BOTH_KEYS
async def test_T12_connection_secret(kind: KeyType) -> None:
    """Only whole blocks inside the envelope are decrypted; magic, padding and length are checked; at most 64 bytes."""
    lies = {
        _secret(struct.pack("<I", 65) + bytes(65)): "limit|length",
        _secret(struct.pack("<I", 0x80000001) + bytes(64)): "length",
        _secret(struct.pack("<I", 20) + bytes(20)): "usable connection secret",
        _secret(b""): "wanted 4 bytes|secret",
        _Ragged: "prove",
        _TooLong: "length",
    }
    for lie, blame in lies.items():
        async with attacked(auth=lie, modes=SECURE, settings=DemoSettings(mons=2, key_type=kind)) as attack:
            await attack.survives(blame)


@published(13, "CVE-2026-22984", "the payload of auth-done is longer than its frame")
async def test_T13_auth_done_payload() -> None:
    """The envelope is cut out first and decoded inside; missing bytes are an error."""
    for change in (
        first(lambda s: s[:12] + struct.pack("<I", len(s)) + s[16:]),
        first(lambda s: s[:12] + b"\xff\xff\xff\xff" + s[16:]),
        first(lambda s: s[:12] + struct.pack("<I", len(s) - 16 - 9) + s[16:-9]),
        first(lambda s: s[:14]),
        first(lambda s: b""),
    ):
        async with attacked(fm.Segments(Piece.AUTH_DONE, change)) as attack:
            await attack.survives("left|limit|prove|wanted")


class _LongKey(Lying):
    """A session key far longer than its type has."""

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        inner = Encoder().u8(1).u16(2).utime(utime_of(0)).u16(4096).raw(bytes(4096)).utime(utime_of(60))
        sealed = seal(key, Usage.TICKET_SESSION_KEY, bytes(inner), self._server.random)
        enc.u8(1).u32(1).u32(EntityType.AUTH).u8(1).blob(sealed).boolean(False)
        enc.blob(bytes(Encoder().u8(1).u64(1).blob(b"ticket")))


@published(14, "CVE-2026-43304", "key material longer than its buffer")
async def test_T14_key_length() -> None:
    """A key has exactly the length of its type."""
    for kind, length in ((2, 33), (2, 0xFFFF), (2, 31), (1, 15), (3, 16), (0, 0)):
        with pytest.raises(DecodeError):
            CryptoKey.decode(Cursor(struct.pack("<HIIH", kind, 0, 0, length) + bytes(length)))
    async with attacked(auth=_LongKey) as attack:
        await attack.survives("secret of 4096 bytes")


@published(15, "CVE-2026-22992", "after a failed auth-done the session goes on in secure mode")
@BOTH_MODES
async def test_T15_no_session_after_failure(modes: tuple[Mode, ...]) -> None:
    """An error in the handshake ends the connection for good: nothing is sent afterwards, nothing becomes open."""
    async with attacked(fm.Impostor(), modes=modes) as attack:
        await attack.survives("prove")
        assert attack.hostile.received == []
    link = recordings_v2()[0].link()
    data = bytearray(recordings_v2()[0].to_client)
    at = data.index(b"\x06\x01", 100)  # AUTH_DONE's preamble
    data[at + 40] ^= 1
    with pytest.raises(CephMonFSError):
        link.receive_data(bytes(data), 0.0)
    link.data_to_send()
    assert not link.ready
    with pytest.raises(RuntimeError):
        link.receive_data(b"more", 0.0)


def _renewal(change: Callable[[auth.MAuthReply], auth.MAuthReply]) -> fm.Reply:
    def how(message: Message) -> list[Message]:
        if message.type != MsgType.AUTH_REPLY:
            return [message]
        reply = from_monitor(message)
        assert isinstance(reply, auth.MAuthReply)
        return [to_message(change(reply), message.tid)]

    return fm.Reply(how)


@published(16, "CVE-2026-46024", "auth reply with protocol 0 and result 0")
async def test_T16_protocol_zero() -> None:
    """A method or mode that was not asked for is refused, in the handshake and when tickets are renewed."""
    for number in (0, 3, 77):
        async with attacked(fm.wrong_mode(number)) as attack:
            await attack.survives("connection mode")
    settings = DemoSettings(mons=2, auth_validity_s=1.2)
    async with attacked(_renewal(lambda r: replace(r, protocol=0)), settings=settings) as attack:
        await attack.survives("method 0")


@published(17, "CVE-2026-46119", "a positive result is used as a length")
async def test_T17_positive_result() -> None:
    """A positive result is an error; no number of a monitor's is ever used as the size of what is sent."""
    settings = DemoSettings(mons=2, auth_validity_s=1.2)
    async with attacked(_renewal(lambda r: replace(r, result=4096)), settings=settings) as attack:
        await attack.survives("result 4096")
    handshake = _handshake()
    handshake.more(bytes(Encoder().u8(1).u64(1)))
    with pytest.raises(AuthError):
        handshake.done(bytes(Encoder().u16(0x100).s32(4096)), 5)


@published(18, "CVE-2026-43407", "a payload length of 2^31 or more walks backwards")
async def test_T18_lengths_walk_forwards() -> None:
    """No read takes a negative or overlong length, and one that is refused does not move."""
    for length in (0x80000000, 0xFFFFFFFF, 0x7FFFFFFF):
        cur = Cursor(struct.pack("<I", length) + bytes(64))
        with pytest.raises(DecodeError):
            cur.blob()
        assert cur.offset == 0
        for n in (-1, -(1 << 31), 69):
            with pytest.raises(DecodeError):
                cur.raw(n)
        with pytest.raises(DecodeError):
            auth.MAuthReply.decode(Cursor(struct.pack("<IiQI", 2, 0, 5, length) + bytes(20)), 1)
        async with attacked(
            fm.Segments(Piece.AUTH_REPLY_MORE, first(lambda s, n=length: struct.pack("<I", n) + s[4:]))  # type: ignore[misc]
        ) as attack:
            await attack.survives("length")


@published(21, "CVE-2026-43406", "a message frame whose control segment is shorter than the header")
@BOTH_MODES
async def test_T21_short_header(modes: tuple[Mode, ...]) -> None:
    """A message header has 41 bytes, no more and no fewer."""
    for change in (lambda s: s[:40], lambda s: s + b"\0", lambda s: b"", lambda s: s[:1]):
        async with attacked(fm.Segments(Piece.MESSAGE, first(change)), modes=modes) as attack:
            await attack.survives("message header|before authentication|limit|last of several|while in")


@published(22, "our own", "a message before the session is open; an empty control segment")
@pytest.mark.parametrize("at", [Piece.HELLO, Piece.AUTH_REPLY_MORE, Piece.AUTH_DONE], ids=lambda at: at.name)
async def test_T22_states(at: Piece) -> None:
    """Each state has its tags; everything else ends the connection."""
    message = pack_preamble(Tag.MESSAGE, (b"x" * 41,)) + b"x" * 41
    async with attacked(fm.Wire(at, lambda _: message + struct.pack("<I", 0))) as attack:
        await attack.survives("crc|while in")
    async with attacked(fm.Segments(at, lambda _: (b"",))) as attack:
        await attack.survives("left|wanted")
    for tag in (*range(9, 30), 255):
        async with attacked(fm.Wire(at, lambda data, tag=tag: _retag(data, tag)), measure=False) as attack:  # type: ignore[misc]
            await attack.survives("while in|required feature bits")


def _retag(data: bytes, tag: int) -> bytes:
    length = struct.unpack_from("<I", data, 2)[0]
    segment = data[32 : 32 + length]
    return pack_preamble(tag, (segment,)) + data[32:]


@published(33, "CVE-2026-80557, CVE-2026-68082", "an envelope of length 0, and the next field is read past it")
async def test_T33_empty_envelope() -> None:
    """A field is read inside its own envelope: one that is too short is an error, never a look at its neighbour."""
    _, body = Cursor(b"\1\1\0\0\0\0" + bytes(8)).struct("x", 1)
    with pytest.raises(DecodeError):
        body.u64()
    entity = b"\x01\x01\x01" + struct.pack("<I", 0) + bytes(28)
    async with attacked(fm.Segments(Piece.HELLO, lambda s: (s[0][:1] + entity,))) as attack:
        await attack.survives("entity_addr_t")

    def empty(message: Message) -> list[Message]:
        return [replace(message, front=struct.pack("<I", 6) + b"\x07\x06" + bytes(4))]

    async with attacked(instead(MsgType.MON_MAP, empty)) as attack:
        await attack.survives("MonMap")


class _HugeTickets(Lying):
    size = 64 << 10

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        enc.u8(1).u32(len(tickets))
        for service, info, _ in tickets:
            inner = Encoder().u8(1)
            info.session_key.encode(inner)
            inner.utime(utime_of(3600))
            enc.u32(service).u8(1).blob(seal(key, Usage.TICKET_SESSION_KEY, bytes(inner), self._server.random))
            enc.boolean(False).blob(bytes(Encoder().u8(1).u64(1).blob(bytes(self.size - 13))))


class _TooHugeTickets(_HugeTickets):
    size = (64 << 10) + 100


@published(35, "qa: huge tickets, huge osdmap", "tickets of 50 KiB, maps of many MiB")
async def test_T35_huge() -> None:
    """Tickets of 64 KiB and maps of 16 MiB work; what is over the limits is refused by name."""
    async with attacked(auth=_HugeTickets) as attack:
        await attack.opened()
        assert attack.snapshot.mon == attack.names[0]
    async with attacked(auth=_TooHugeTickets) as attack:
        await attack.survives("limit|length")

    def big(message: Message) -> list[Message]:
        front = message.front
        fsid, cur = front[:16], Cursor(front)
        cur.skip(16 + 4 + 4)
        epoch, blob = cur.u32(), cur.blob()
        grown = _grown(blob, 16 << 20)
        enc = Encoder().raw(fsid).u32(0).u32(1).u32(epoch).blob(grown).u32(1).u32(epoch).u32(0)
        return [replace(message, front=bytes(enc))]

    async with attacked(instead(MsgType.OSD_MAP, big), modes=CRC, measure=False) as attack:
        await attack.until(lambda: bool(attack.snapshot.maps.get("osdmap")), "no osdmap")
        assert len(attack.snapshot.maps["osdmap"].blob) > 16 << 20
        assert attack.snapshot.mon == attack.names[0]
    too_big = fm.Wire(Piece.MESSAGE, lambda _: pack_preamble(Tag.MESSAGE, _lengths(41, limits.MAX_FRONT + 1)))
    async with attacked(too_big, modes=CRC) as attack:
        await attack.survives("over the limit")


def _grown(osdmap: bytes, by: int) -> bytes:
    """The same map with a longer client part, as a writer that knows more fields would make it."""
    from cephmonfs.wire.crc32c import raw_crc32c

    length = struct.unpack_from("<I", osdmap, 2)[0]
    client = struct.unpack_from("<I", osdmap, 8)[0]
    body = osdmap[:2] + struct.pack("<I", length + by) + osdmap[6:8] + struct.pack("<I", client + by)
    body += osdmap[12 : 12 + client] + bytes(by) + osdmap[12 + client : -4]
    return body + struct.pack("<I", raw_crc32c(body, 0xFFFFFFFF))


def _lengths(*lengths: int) -> tuple[bytes, ...]:
    def fake(length: int) -> bytes:
        class _Long(bytes):
            def __len__(self) -> int:
                return length

        return _Long()

    return tuple(fake(length) for length in lengths)
