"""Published holes of a Ceph client in frames: protection, lengths, order (T02, T04, T11, T18, T21, T22, T33, T35)."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from cephmonfs.auth.envelope import Usage, seal
from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.errors import CephMonFSError, DecodeError, IntegrityError, ProtocolError
from cephmonfs.messages import auth
from cephmonfs.messages.message import Message, MsgType
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.monitor.server_v2 import Piece
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import Nonces, Tag, pack_preamble
from cephmonfs.wire import crypto, limits
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.doubles import monitor as fm
from tests.doubles.attack import BOTH_MODES, CRC, SECURE, Lying, attacked, first_segment, instead
from tests.fuzz.targets import play, recordings_v1, recordings_v2
from tests.security.published import published


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
                await attack.reconnect(1)
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


LENGTHS = (0xFFFFFFF0, 0x80000000, 0x7FFFFFFF, limits.MAX_PREAUTH_FRAME + 1)


@published(11, "CVE-2023-44466", "the length of a msgr2 segment is read as signed")
@pytest.mark.parametrize("at", [Piece.HELLO, Piece.AUTH_REPLY_MORE, Piece.AUTH_DONE], ids=lambda at: at.name)
async def test_T11_segment_lengths(at: Piece) -> None:
    """Lengths are unsigned and limited per state before a byte more is read: 160 KiB a frame and 256 KiB in all before
    the session."""
    for length in LENGTHS:
        async with attacked(fm.huge_length(at, length)) as attack:
            await attack.survives("limit")


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
            fm.Segments(Piece.AUTH_REPLY_MORE, first_segment(lambda s, n=length: struct.pack("<I", n) + s[4:]))  # type: ignore[misc]
        ) as attack:
            await attack.survives("length")


@published(21, "CVE-2026-43406", "a message frame whose control segment is shorter than the header")
@BOTH_MODES
async def test_T21_short_header(modes: tuple[Mode, ...]) -> None:
    """A message header has 41 bytes, no more and no fewer."""
    for change in (lambda s: s[:40], lambda s: s + b"\0", lambda s: b"", lambda s: s[:1]):
        async with attacked(fm.Segments(Piece.MESSAGE, first_segment(change)), modes=modes) as attack:
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
            inner.utime(Utime.of(3600))
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
