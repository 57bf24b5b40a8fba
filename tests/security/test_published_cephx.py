"""Published holes of a Ceph client in cephx: proofs, tickets, keys (T01, T03, T05 to T08, T12 to T17)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.auth.envelope import Usage, seal
from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.errors import AuthError, CephMonFSError, DecodeError, ProtocolError, UnexpectedMessage
from cephmonfs.messages import auth
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.mon.session import SessionConfig
from cephmonfs.mon.snapshot import State
from cephmonfs.monitor.authserver import Answer, Granted
from cephmonfs.monitor.cephx_server import CephxAuth, TicketInfo
from cephmonfs.monitor.server_v2 import Piece
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.doubles import monitor as fm
from tests.doubles.attack import BOTH_KEYS, BOTH_MODES, CRC, SECURE, Lying, attacked, first_segment
from tests.fuzz.targets import recordings_v1, recordings_v2
from tests.security.published import published


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
            await attack.reconnect(8)
    challenges = [bytes(args[1])[3:11] for args in proofs]  # type: ignore[call-overload]
    assert len(challenges) >= 9
    assert len(set(challenges)) == len(challenges)


def _handshake() -> CephxHandshake:
    key = CryptoKey(KeyType.AES, Utime.of(0), Secret(b"k" * 16))
    return CephxHandshake(EntityName(EntityType.CLIENT, "df"), key, None, lambda n: b"r" * n)


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


@published(5, "CVE-2021-20288", "a global_id is claimed without proof")
@BOTH_KEYS
async def test_T05_reclaim(kind: KeyType) -> None:
    """The old ticket goes with every claim, in struct_v 3; monitors that insist on it give the same id back."""
    with watched("more", CephxAuth) as proofs:
        async with attacked(settings=DemoSettings(mons=2, key_type=kind), measure=False) as attack:
            await attack.opened()
            mine = attack.snapshot.global_id
            await attack.reconnect(3)
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
        await attack.reconnect(1)
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
    are opaque bytes; `key_type=aes256k` takes neither key nor ticket of type 1.  Forged tickets: `test_forgery.py`."""
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


# ---- the last payload of the handshake, and what comes after it


class _Sealed(Lying):
    """Puts other bytes where the sealed connection secret belongs."""

    inner: bytes = b""

    def _grant(
        self, key: CryptoKey, global_id: int, old: TicketInfo | None, services: int, secret_size: int, now: float
    ) -> Granted:
        info = TicketInfo(self._entity, global_id, self._server.new_key(key.type, now))
        enc = Encoder().u16(0x100).s32(0)
        self._tickets(enc, key, [(EntityType.AUTH, info, 3600.0)], None, now)
        enc.blob(self.block(info.session_key))
        extra = Encoder()
        self._tickets(extra, info.session_key, self._for_services(services, global_id, key.type, now), None, now)
        enc.blob(bytes(extra))
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
    """Only whole blocks inside the envelope are decrypted; magic, padding and length are checked; 64 bytes exactly."""
    lies = {
        _secret(struct.pack("<I", 65) + bytes(65)): "cannot prove",
        _secret(struct.pack("<I", 63) + bytes(63)): "cannot prove",
        _secret(struct.pack("<I", 64) + bytes(64) + b"x"): "cannot prove",
        _secret(struct.pack("<I", 0x80000001) + bytes(64)): "cannot prove",
        _secret(struct.pack("<I", 20) + bytes(20)): "cannot prove",
        _secret(struct.pack("<I", 0)): "cannot prove",
        _secret(b""): "cannot prove",
        _Ragged: "cannot prove",
        _TooLong: "length",
    }
    for lie, blame in lies.items():
        async with attacked(auth=lie, modes=SECURE, settings=DemoSettings(mons=2, key_type=kind)) as attack:
            await attack.survives(blame)


@published(13, "CVE-2026-22984", "the payload of auth-done is longer than its frame")
async def test_T13_auth_done_payload() -> None:
    """The envelope is cut out first and decoded inside; missing bytes are an error."""
    for change in (
        first_segment(lambda s: s[:12] + struct.pack("<I", len(s)) + s[16:]),
        first_segment(lambda s: s[:12] + b"\xff\xff\xff\xff" + s[16:]),
        first_segment(lambda s: s[:12] + struct.pack("<I", len(s) - 16 - 9) + s[16:-9]),
        first_segment(lambda s: s[:14]),
        first_segment(lambda s: b""),
    ):
        async with attacked(fm.Segments(Piece.AUTH_DONE, change)) as attack:
            await attack.survives("left|limit|prove|wanted")


class _LongKey(Lying):
    """A session key far longer than its type has."""

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        inner = Encoder().u8(1).u16(2).utime(Utime.of(0)).u16(4096).raw(bytes(4096)).utime(Utime.of(60))
        sealed = seal(key, Usage.TICKET_SESSION_KEY, bytes(inner), self._server.random)
        enc.u8(1).u32(1).u32(tickets[0][0]).u8(1).blob(sealed).boolean(False)
        enc.blob(bytes(Encoder().u8(1).u64(1).blob(b"ticket")))


class _LongServiceKey(_LongKey):
    """The same in the ticket of a service."""

    def _tickets(self, enc: Encoder, key: CryptoKey, tickets: list, old: CryptoKey | None, now: float) -> None:  # type: ignore[type-arg]
        if tickets[0][0] == EntityType.AUTH:
            CephxAuth._tickets(self, enc, key, tickets, old, now)
        else:
            super()._tickets(enc, key, tickets, old, now)


@published(14, "CVE-2026-43304", "key material longer than its buffer")
async def test_T14_key_length() -> None:
    """A key has exactly the length of its type."""
    for kind, length in ((2, 33), (2, 0xFFFF), (2, 31), (1, 15), (1, 17), (1, 4096), (3, 16), (0, 0)):
        with pytest.raises(DecodeError):
            CryptoKey.decode(Cursor(struct.pack("<HIIH", kind, 0, 0, length) + bytes(length)))
    for lie in (_LongKey, _LongServiceKey):
        async with attacked(auth=lie) as attack:
            await attack.survives("cannot prove")


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
