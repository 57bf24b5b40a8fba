"""The envelope that cephx puts around what it encrypts.

What is encrypted is not X but u8 1, le64 magic, X.  The key's type chooses the cipher; the key usage
matters to type 2 alone.  Ceph v20.2.4: src/auth/cephx/CephxProtocol.h, src/auth/Crypto.cc.

Type 1 has no MAC, so an attacker without the key can rearrange its ciphertext.  The content must therefore be
exactly what a monitor writes: `opened` reads it to the last byte, and every fault raises the same error.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, TypeVar

from cephmonfs.errors import DecodeError, IntegrityError
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.wire import crypto
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder

RandomBytes = Callable[[int], bytes]
T = TypeVar("T")

_IV: Final = b"cephsageyudagreg"
_MAGIC: Final = 0xFF009CAD8826AA55
_HEADER: Final = bytes(Encoder().u8(1).u64(_MAGIC))


class Usage(IntEnum):
    """Key usages of type-2 keys."""

    CONNECTION_SECRET = 0x03
    TICKET_SESSION_KEY = 0x04
    TICKET_BLOB = 0x05
    AUTHORIZER = 0x10
    AUTHORIZER_CHALLENGE = 0x11
    AUTHORIZER_REPLY = 0x12
    ROTATING_SECRET = 0x20
    TICKET_INFO = 0x30


def seal(key: CryptoKey, usage: Usage, plain: bytes, random: RandomBytes) -> bytes:
    """Encrypt `plain` in its envelope; no length in front."""
    text = _HEADER + plain
    if key.type is KeyType.AES:
        return crypto.cbc_encrypt(key.secret.reveal(), _IV, text)
    return crypto.krb5_encrypt(key.secret.reveal(), usage, text, random(16))


def unseal(key: CryptoKey, usage: Usage, data: bytes, what: str) -> Cursor:
    """Decrypt, check the magic, return a cursor over what was inside.  Raises IntegrityError."""
    if key.type is KeyType.AES:
        plain = crypto.cbc_decrypt(key.secret.reveal(), _IV, data)
    else:
        plain = crypto.krb5_decrypt(key.secret.reveal(), usage, data)
    cur = Cursor(plain, what)
    if cur.remaining < len(_HEADER) or cur.raw(len(_HEADER)) != _HEADER:
        raise _bad()
    return cur


def opened(key: CryptoKey, usage: Usage, data: bytes, what: str, read: Callable[[Cursor], T]) -> T:
    """Decrypt and let `read` take everything that was inside.

    Raises IntegrityError with one and the same text for padding, magic, content and bytes left over.
    """
    try:
        cur = unseal(key, usage, data, what)
        value = read(cur)
        cur.finish()
    except DecodeError:
        raise _bad() from None
    return value


def sealed_size(kind: KeyType, plain: int) -> int:
    """Return how many bytes `seal` makes of so many."""
    size = len(_HEADER) + plain
    return crypto.cbc_size(size) if kind is KeyType.AES else crypto.krb5_size(size)


def _bad() -> IntegrityError:
    return IntegrityError(crypto.BAD)


def challenge_proof(key: CryptoKey, server_challenge: int, client_challenge: int) -> int:
    """What shows a monitor that we hold the key: 64 bits folded from both challenges.

    Type 1 folds over le32 length and ciphertext, the last four bytes left over; type 2 over an HMAC-SHA-256.
    """
    blob = bytes(Encoder().u64(server_challenge).u64(client_challenge))
    if key.type is KeyType.AES:
        sealed = crypto.cbc_encrypt(key.secret.reveal(), _IV, _HEADER + blob)
        data = bytes(Encoder().blob(sealed))
    else:
        data = crypto.hmac_sha256(key.secret.reveal(), blob)
    cur = Cursor(data)
    proof = 0
    while cur.remaining >= 8:
        proof ^= cur.u64()
    return proof
