"""AES-CBC, AES-GCM, the encryption of RFC 8009, HMAC; the only importer of `cryptography`.

Nothing here knows a Ceph structure.  A failed check raises `IntegrityError` with one and the same
text for every fault (padding, tag, length), so that an attacker learns nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cephmonfs.errors import IntegrityError

_BLOCK: Final = 16
_KRB5_MAC: Final = 24  # RFC 8009: HMAC-SHA384 cut to 192 bits
GCM_TAG: Final = 16
BAD: Final = "decryption failed: wrong key or damaged bytes"


class Secret:
    """Bytes that never show: repr, str, format and pickle give nothing away.

    Compares in constant time.  `reveal()` is the one way to the bytes; only code that
    computes or encodes with them calls it.
    """

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)

    def __repr__(self) -> str:
        return f"<secret of {len(self._data)} bytes>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._data, other._data)

    def __hash__(self) -> int:
        return hash((Secret, len(self._data)))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def reveal(self) -> bytes:
        """Return the bytes."""
        return self._data


def same(a: bytes, b: bytes) -> bool:
    """Compare two proofs in constant time."""
    return hmac.compare_digest(a, b)


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    return hmac.digest(key, data, hashlib.sha256)


def _hmac_sha384(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha384)


def _bad() -> IntegrityError:
    return IntegrityError(BAD)


def cbc_size(plain: int) -> int:
    """Return how many bytes `cbc_encrypt` makes of so many."""
    return plain + _BLOCK - plain % _BLOCK


def krb5_size(plain: int) -> int:
    """Return how many bytes `krb5_encrypt` makes of so many."""
    return _BLOCK + plain + _KRB5_MAC


def cbc_encrypt(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """AES-CBC with PKCS#7 padding (always 1 to 16 bytes)."""
    pad = _BLOCK - len(plain) % _BLOCK
    return _cbc_raw(key, iv, plain + bytes([pad]) * pad, encrypt=True)


def cbc_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Undo `cbc_encrypt`.  CBC has no integrity: only the padding is checked."""
    if not data or len(data) % _BLOCK:
        raise _bad()
    plain = _cbc_raw(key, iv, data, encrypt=False)
    pad = plain[-1]
    if not 1 <= pad <= _BLOCK or not same(plain[-pad:], bytes([pad]) * pad):
        raise _bad()
    return plain[:-pad]


def _cbc_raw(key: bytes, iv: bytes, data: bytes, *, encrypt: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    ctx = cipher.encryptor() if encrypt else cipher.decryptor()
    return ctx.update(data) + ctx.finalize()


def _krb5_kdf(key: bytes, usage: int, kind: int, bits: int) -> bytes:
    """KDF-HMAC-SHA2 of RFC 8009 section 3; label = be32 usage, u8 kind (0xaa Ke, 0x55 Ki)."""
    label = struct.pack(">IB", usage, kind)
    return _hmac_sha384(key, b"\0\0\0\1" + label + b"\0" + struct.pack(">I", bits))[: bits // 8]


def krb5_keys(key: bytes, usage: int) -> tuple[bytes, bytes]:
    """Return (Ke, Ki) for a usage: the encryption key (32 bytes) and the integrity key (24)."""
    return _krb5_kdf(key, usage, 0xAA, 256), _krb5_kdf(key, usage, 0x55, 192)


def krb5_encrypt(key: bytes, usage: int, plain: bytes, confounder: bytes) -> bytes:
    """aes256-cts-hmac-sha384-192 of RFC 8009; 40 bytes longer than `plain`.

    `confounder` is 16 fresh random bytes.
    """
    ke, ki = krb5_keys(key, usage)
    data = _cts_encrypt(ke, confounder + plain)
    return data + _hmac_sha384(ki, bytes(_BLOCK) + data)[:_KRB5_MAC]


def krb5_decrypt(key: bytes, usage: int, data: bytes) -> bytes:
    """Undo `krb5_encrypt`; the HMAC is checked before anything is decrypted."""
    if len(data) < _BLOCK + _KRB5_MAC:
        raise _bad()
    ke, ki = krb5_keys(key, usage)
    body, mac = data[:-_KRB5_MAC], data[-_KRB5_MAC:]
    if not same(_hmac_sha384(ki, bytes(_BLOCK) + body)[:_KRB5_MAC], mac):
        raise _bad()
    return _cts_decrypt(ke, body)[_BLOCK:]


def _cts_encrypt(key: bytes, plain: bytes) -> bytes:
    """CBC-CS3 with IV 0: the last two blocks swapped, the last one cut to the remainder."""
    iv = bytes(_BLOCK)
    if len(plain) == _BLOCK:
        return _cbc_raw(key, iv, plain, encrypt=True)
    tail = len(plain) % _BLOCK or _BLOCK
    out = _cbc_raw(key, iv, plain + bytes(_BLOCK - tail), encrypt=True)
    return out[: -2 * _BLOCK] + out[-_BLOCK:] + out[-2 * _BLOCK : -_BLOCK][:tail]


def _cts_decrypt(key: bytes, data: bytes) -> bytes:
    iv = bytes(_BLOCK)
    if len(data) == _BLOCK:
        return _cbc_raw(key, iv, data, encrypt=False)
    tail = len(data) % _BLOCK or _BLOCK
    head, swapped, cut = data[: -_BLOCK - tail], data[-_BLOCK - tail : -tail], data[-tail:]
    # the block that was encrypted last, decrypted alone, gives the missing end of the cut one
    mid = _cbc_raw(key, bytes(_BLOCK), swapped, encrypt=False)
    full = cut + mid[tail:]
    return _cbc_raw(key, iv, head + full + swapped, encrypt=False)[: len(data)]


class Gcm:
    """AES-128-GCM in one direction with a nonce of its caller's; no AAD, tag appended."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, nonce: bytes, plain: bytes | bytearray | memoryview) -> bytes:
        """Encrypt; the result is 16 bytes longer."""
        return self._aead.encrypt(nonce, bytes(plain), None)

    def open(self, nonce: bytes, data: bytes | bytearray | memoryview) -> bytes:
        """Check the tag and decrypt."""
        try:
            return self._aead.decrypt(nonce, bytes(data), None)
        except InvalidTag:
            raise IntegrityError("AES-GCM tag does not match") from None


class GcmUnchecked:
    """Decrypts the head of a GCM message before its tag can be checked.

    msgr2 revision 0 puts a whole frame into one GCM message, so the lengths must be read
    before the tag is there: they are unauthenticated until `Gcm.open` accepted the frame.
    GCM's keystream is AES-CTR that starts at nonce || be32 2.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def head(self, nonce: bytes, data: bytes) -> bytes:
        """Decrypt the first len(data) bytes of a message."""
        ctx = Cipher(algorithms.AES(self._key), modes.CTR(nonce + b"\0\0\0\2")).decryptor()
        return ctx.update(data)
