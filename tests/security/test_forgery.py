"""Keys of type aes: forged tickets are refused, nothing tells a forger how far he came, and what it costs him.

CVE-2025-30156 cannot be mended by a client: docs/security.md says so, and its price is counted here.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from cephmonfs.auth.cephx import CephxHandshake, _Content
from cephmonfs.auth.credentials import Credentials
from cephmonfs.auth.envelope import Usage, opened, seal, unseal
from cephmonfs.errors import IntegrityError, Unproven
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from cephmonfs.mon.connection import Identity, MonConnection
from cephmonfs.mon.hunt import Candidate
from cephmonfs.monitor.authserver import Challenge, Granted
from cephmonfs.monitor.cephx_server import CephxAuth, CephxServer
from cephmonfs.msgr.events import AuthDone, AuthMore, AuthNeeded, Mode
from cephmonfs.wire import crypto
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.doubles import monitor as fm
from tests.doubles.attack import CRC, SECURE, attacked
from tests.security.forging import (
    IV,
    Forgery,
    Heard,
    Impostor,
    blocks,
    first_block_of,
    first_plain,
    heard,
    of_first_blocks,
    of_three_first_blocks,
    xor,
)

WHO = EntityName(EntityType.CLIENT, "df")
NOW = 1_800_000_000.0
HEARD = list(heard())


def handshake(key: CryptoKey, prior: Credentials | None = None) -> CephxHandshake:
    client = CephxHandshake(WHO, key, prior, os.urandom)
    client.more(bytes(Encoder().u8(1).u64(1)))
    return client


def content(key: CryptoKey, cipher: bytes) -> object:
    return opened(key, Usage.TICKET_SESSION_KEY, cipher, "ticket", _Content.decode)


def forgeries(one: Heard) -> Iterator[Forgery]:
    c0, created = first_block_of(one.sealed, one.key)
    for guess in range(created - 3, created + 4):
        if (forged := of_first_blocks(c0, guess)) is not None:
            yield forged


def test_recordings_are_there() -> None:
    assert len([one for one in HEARD if one.name.startswith("msgr1")]) == 6
    assert len([one for one in HEARD if one.name.startswith("msgr2")]) == 6


@pytest.mark.parametrize("one", HEARD, ids=lambda one: one.name)
@pytest.mark.parametrize("mode", [Mode.CRC, Mode.SECURE, Mode.LEGACY])
def test_forged_from_a_handshake_of_a_real_monitor(one: Heard, mode: Mode) -> None:
    """The forged envelope opens under the real key, with the forger's session key in it: its form gives it away."""
    c0, created = first_block_of(one.sealed, one.key)
    right = of_first_blocks(c0, created)
    if right is not None:
        inner = unseal(one.key, Usage.TICKET_SESSION_KEY, right.cipher, "ticket")
        inner.skip(1)
        assert CryptoKey._decode(inner, cut=True).secret == Secret(right.key)
    tried = 0
    for forged in forgeries(one):
        impostor = Impostor(forged, os.urandom)
        impostor.mode = mode
        granted = impostor.more(b"", NOW)
        with pytest.raises(IntegrityError, match=r"^decryption failed: wrong key or damaged bytes$"):
            handshake(one.key).done(granted.payload, 5)  # type: ignore[union-attr]
        tried += 1
    assert tried or right is None


def test_what_an_impostor_says_is_right_but_for_the_ticket() -> None:
    """With a ticket that is sealed with the key it is accepted: so it was the ticket that was refused above."""
    for one in HEARD:
        inner = Encoder().u8(1)
        CryptoKey(KeyType.AES, Utime(1, 0), Secret(b"k" * 16)).encode(inner)
        cipher = seal(one.key, Usage.TICKET_SESSION_KEY, bytes(inner.utime(Utime(3600, 0))), os.urandom)
        for mode in Mode:
            impostor = Impostor(Forgery(cipher, b"k" * 16), os.urandom)
            impostor.mode = mode
            handshake(one.key).done(impostor.more(b"", NOW).payload, 5)  # type: ignore[union-attr]


def test_no_splice_of_recorded_blocks_is_a_ticket() -> None:
    """All triples of the blocks of handshakes under one key: only what a monitor sent is one."""
    by_key: dict[str, list[Heard]] = {}
    for one in HEARD:
        by_key.setdefault(one.key.to_base64(), []).append(one)
    tried = 0
    for ones in by_key.values():
        pool = [block for one in ones for block in blocks(one.sealed)]
        genuine = {one.sealed for one in ones}
        for triple in itertools.product(pool, repeat=3):
            cipher = b"".join(triple)
            tried += 1
            try:
                content(ones[0].key, cipher)
            except IntegrityError:
                assert cipher not in genuine
            else:
                assert cipher in genuine
    assert tried > 2000


@pytest.mark.parametrize("modes", [SECURE, CRC], ids=["secure", "crc"])
async def test_an_impostor_before_a_whole_client(modes: tuple[Mode, ...]) -> None:
    def impostor(cluster: fm.FakeCluster) -> Impostor:
        created = 1_790_000_000
        sealed = crypto.cbc_encrypt(cluster.key.secret.reveal(), IV, first_plain(created))
        for second in range(created, created + 99):  # as many recordings: of most of them something can be made
            sealed = crypto.cbc_encrypt(cluster.key.secret.reveal(), IV, first_plain(second))
            if (forged := of_first_blocks(sealed[:16], second)) is not None:
                return Impostor(forged, os.urandom)
        raise AssertionError

    async with attacked(auth=impostor, modes=modes) as attack:  # type: ignore[arg-type]
        await attack.survives("cannot prove that it knows the key")
        assert attack.snapshot.counters["proofs_failed"] >= 1


# ---- an oracle


class Monitor:
    """A real handshake, recorded; and a client that is shown changed copies of it."""

    def __init__(self, kind: KeyType, mode: Mode) -> None:
        server = CephxServer({}, os.urandom)
        self.key = server.new_key(kind, NOW)
        server.keys = {str(WHO): self.key}
        self.mode = mode
        first = CephxHandshake(WHO, self.key, None, os.urandom)
        granted = self._answer(server, first, 0)
        self.prior = first.done(granted.payload, granted.global_id).credentials
        again = CephxHandshake(WHO, self.key, self.prior, os.urandom)
        self.payload = self._answer(server, again, granted.global_id).payload

    def _answer(self, server: CephxServer, client: CephxHandshake, global_id: int) -> Granted:
        end = CephxAuth(server)
        challenge = end.start(WHO, global_id, self.mode, NOW)
        assert isinstance(challenge, Challenge)
        granted = end.more(client.more(challenge.payload), NOW)
        assert isinstance(granted, Granted)
        return granted

    def parts(self) -> dict[str, tuple[int, int]]:
        """Where the ciphertexts are: the ticket, the ticket's blob under the old session key, secret, MON ticket."""
        cur = Cursor(self.payload)
        found = {}

        def blob(name: str) -> None:
            size = cur.u32()
            found[name] = (cur.offset, size)
            cur.skip(size)

        cur.skip(2 + 4 + 1 + 4 + 4 + 1)
        blob("ticket")
        cur.skip(1)
        blob("blob")
        cur.skip(4)
        blob("secret")
        cur.skip(4 + 1 + 4 + 4 + 1)
        blob("service")
        return found

    def shown(self, payload: bytes) -> tuple[object, ...]:
        """Everything that differs for somebody on the path: what is raised and said, what is sent, what is next."""
        link = MonConnection(
            1,
            Candidate("a", EntityAddr.of("10.0.0.1", 3300, AddrType.MSGR2)),
            Identity(WHO, self.key, (self.mode,)),
            self.prior,
            lambda n: bytes(n),
            0.0,
        )
        conn = _Wire(payload, self.mode)
        link._messenger = conn  # type: ignore[assignment]
        try:
            link.receive_data(b"", 0.0)
        except Unproven as exc:
            return (type(exc), str(exc), link.phase, conn.calls)
        return ("accepted",)


class _Wire:
    """A connection that has got as far as AUTH_DONE."""

    def __init__(self, payload: bytes, mode: Mode) -> None:
        self.events = iter((AuthNeeded(), AuthMore(bytes(Encoder().u8(1).u64(9))), AuthDone(4711, mode, payload)))
        self.calls: list[str] = []

    def receive_data(self, data: bytes, now: float) -> None:
        pass

    def next_event(self) -> object:
        return next(self.events, None)

    def start_auth(self, *args: object) -> None:
        self.calls.append("start")

    def auth_more(self, payload: bytes) -> None:
        self.calls.append("more")

    def auth_done(self, *args: object) -> None:
        self.calls.append("done")


def changes(cipher: bytes, others: list[bytes]) -> Iterator[bytes]:
    """What a padding oracle tries, and what else comes to mind."""
    own = blocks(cipher)
    for at in range(len(own)):
        yield b"".join(own[:at])
        yield b"".join(own[: at + 1]) + b"".join(own[at:])  # a block twice
        for guess in range(256):  # Vaudenay: the last byte of each block, after one that is the forger's
            yield b"".join(own[:at]) + bytes(15) + bytes([guess]) + own[at]
            yield b"".join(own[:at]) + bytes(14) + bytes([guess, 0x55]) + b"".join(own[at:])
            changed = bytearray(own[at])
            changed[-1] ^= guess
            yield b"".join((*own[:at], bytes(changed), *own[at + 1 :]))
    for other in others:
        yield other
        yield cipher + other
        yield cipher[:16] + other[-32:]
        yield other[:16] + cipher[16:]
    for size in (1, 8, 15, 17, 4096):
        yield cipher + bytes(size)
        yield os.urandom(size)


_MALLEABLE: Final = ("secret",)  # its middle blocks may be garbled: what they hold is random anyway


@pytest.mark.parametrize("kind", list(KeyType), ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("mode", [Mode.CRC, Mode.SECURE])
def test_an_oracle_learns_nothing(kind: KeyType, mode: Mode) -> None:
    """Whatever is changed in a recorded reply, the client does the same: nobody sees what was wrong, or where."""
    monitor = Monitor(kind, mode)
    assert monitor.shown(monitor.payload) == ("accepted",)
    parts = monitor.parts()
    ciphers = {name: monitor.payload[at : at + size] for name, (at, size) in parts.items()}
    seen: set[tuple[object, ...]] = set()
    tried = 0
    for name, (at, size) in parts.items():
        cipher = ciphers[name]
        others = [other for other in ciphers.values() if other != cipher]
        for changed in changes(cipher, others):
            if changed == cipher or (name == "secret" and not changed):
                continue
            payload = _replaced(monitor.payload, at, size, changed, name)
            shown = monitor.shown(payload)
            if shown == ("accepted",):
                # the tail and the head of the ciphertext are as they were, and 64 random bytes are others
                assert (name, mode) in (("secret", Mode.SECURE), ("blob", mode)), name
                assert kind is KeyType.AES
                assert len(changed) == size
                assert changed[-16:] == cipher[-16:]
                continue
            seen.add((*shown[:3], *shown[3]))  # type: ignore[misc]
            tried += 1
    assert len(seen) == 1, seen
    assert tried > 4000


def _replaced(payload: bytes, at: int, size: int, changed: bytes, name: str) -> bytes:
    out = bytearray(payload)
    out[at : at + size] = changed
    struct.pack_into("<I", out, at - 4, len(changed))
    grown = len(changed) - size
    if name == "secret":  # it is in a blob of its own
        struct.pack_into("<I", out, at - 8, 4 + len(changed))
    if name == "service":
        outer = at - 4 - 1 - 4 - 4 - 1 - 4
        struct.pack_into("<I", out, outer, struct.unpack_from("<I", out, outer)[0] + grown)
    return bytes(out)


@pytest.mark.parametrize("mode", [Mode.CRC, Mode.SECURE])
def test_a_good_ticket_alone_is_not_told(mode: Mode) -> None:
    """All sealed with the session key is left out, or is another's: the same for a good ticket and for a bad one."""
    monitor = Monitor(KeyType.AES, mode)
    parts = monitor.parts()
    at, size = parts["ticket"]
    bad = bytearray(monitor.payload)
    bad[at + size - 1] ^= 1
    for name in ("secret", "service"):
        where, length = parts[name]
        for ticket in (monitor.payload, bytes(bad)):
            payload = bytearray(ticket)
            payload[where : where + length] = os.urandom(length)
            assert monitor.shown(bytes(payload))[0] is Unproven


# ---- the price


def tickets_like(p1: Callable[[int], bytes], p2: Callable[[int], bytes]) -> int:
    """How many of 65536 sealed tickets are taken."""
    key = CryptoKey(KeyType.AES, Utime(1, 0), Secret(b"k" * 16))
    good = 0
    for number in range(65536):
        plain = first_plain(1_790_000_000) + p1(number) + p2(number)
        cipher = crypto._cbc_raw(key.secret.reveal(), IV, plain, encrypt=True)
        try:
            content(key, cipher)
        except IntegrityError:
            continue
        good += 1
    return good


def test_one_in_2_to_the_32_has_the_right_sizes() -> None:
    """Counted, not argued: of all length fields one is taken, and of all last two bytes (the padding) one."""
    rest1, rest2 = bytes(10), bytes(6) + struct.pack("<II", 3600, 0)
    good1, good2 = bytes(4) + b"\x10\0" + rest1, rest2 + b"\2\2"
    assert tickets_like(lambda n: bytes(4) + struct.pack("<H", n) + rest1, lambda _: good2) == 1
    assert tickets_like(lambda _: good1, lambda n: rest2 + struct.pack("<H", n)) == 1
    rnd = random.Random(1)
    nanoseconds = tickets_like(lambda _: rnd.randbytes(4) + b"\x10\0" + rest1, lambda _: good2) / 65536
    assert nanoseconds == pytest.approx(1e9 / 2**32, rel=0.05)
    validity = tickets_like(lambda _: good1, lambda _: bytes(6) + rnd.randbytes(4) + bytes(4) + b"\2\2") / 65536
    assert validity == pytest.approx(366 * 86400 / 2**32, rel=0.3)


def handshakes_wanted(windows: float = 1.0) -> float:
    """How many recorded handshakes it takes until their first blocks C0a C0b C0c make a ticket.

    As D(C0) is the same for all but for the seconds of creation in its end, length and nanoseconds of creation depend
    on a alone; validity and padding on b, and on the upper half of c's seconds: another one every 18 hours (`windows`).
    """
    good_a = 2**-16 * 1e9 / 2**32
    good_b = 2**-16 * 366 * 86400 / 2**32 * windows
    return max(1 / good_a, 1 / good_b)


def days_wanted(per_day: float) -> float:
    """How long one has to record so many handshakes a day."""
    low, high = 0.0, 1e6
    for _ in range(100):
        days = (low + high) / 2
        windows = max(1.0, days * 86400 / 65536)
        low, high = (days, high) if per_day * days < handshakes_wanted(windows) else (low, days)
    return high


def test_the_price_in_the_documentation() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "security.md").read_text().split())
    assert f"{handshakes_wanted(1e6):,.0f} recorded handshakes" in text
    assert f"{handshakes_wanted() / 1e6:.1f} million within 18 hours" in text
    assert f"{days_wanted(86400 / 10):.0f} days" in text
    assert f"{days_wanted(100 * 86400 / 10):.0f} days with a hundred" in text
    assert f"{days_wanted(24) / 365:.0f} years for one that connects once an hour" in text


def test_the_price_holds_for_forged_triples() -> None:
    """What the parts of a forged ticket are, over 50,000 first blocks of one key: each byte as often as was counted."""
    rnd = random.Random(2)
    key = rnd.randbytes(16)
    seconds = rnd.sample(range(1_790_000_000, 1_790_060_000), 50_000)
    firsts = [(crypto._cbc_raw(key, IV, first_plain(s), encrypt=True), s) for s in seconds]
    low = high = padding = nanoseconds = validity = 0
    for (a, _), (b, when) in itertools.pairwise(firsts):
        p1 = xor(xor(first_plain(when), IV), a)
        p2 = xor(xor(first_plain(when), IV), b)
        low += p1[4] == 16
        high += p1[5] == 0
        nanoseconds += int.from_bytes(p1[:4], "little") < 10**9
        validity += int.from_bytes(p2[6:10], "little") <= 366 * 86400
        padding += p2[14] == 2
    total = len(firsts) - 1
    assert nanoseconds / total == pytest.approx(1e9 / 2**32, rel=0.05)
    assert validity / total == pytest.approx(366 * 86400 / 2**32, rel=0.3)
    for byte in (low, high, padding):
        assert byte / total == pytest.approx(1 / 256, rel=0.3)
    for (a, _), (b, when), (c, late) in zip(firsts[:2000], firsts[1:], firsts[2:], strict=False):
        with pytest.raises(IntegrityError):
            content(CryptoKey(KeyType.AES, Utime(1, 0), Secret(key)), of_three_first_blocks(a, b, c, when, late).cipher)
