"""CryptoKey: a key with its type, as it stands in keyrings and tickets.

Ceph v20.2.4: src/auth/Crypto.h, CryptoKey.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cephmonfs.errors import DecodeError
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder


class KeyType(IntEnum):
    """CEPH_CRYPTO_*."""

    AES = 1
    AES256K = 2


SECRET_BYTES: Final = {KeyType.AES: 16, KeyType.AES256K: 32}


@dataclass(frozen=True, slots=True)
class CryptoKey:
    """A key.

    Wire: le16 type, utime created, le16 length, secret.  Raises DecodeError for an unknown type
    or a secret of another length than its type has.
    """

    type: KeyType
    created: Utime
    secret: Secret

    @classmethod
    def decode(cls, cur: Cursor) -> CryptoKey:
        """Read one key."""
        return cls._decode(cur, cut=False)

    @classmethod
    def _decode(cls, cur: Cursor, *, cut: bool) -> CryptoKey:
        """`cut`: use the first 16 bytes of a longer aes secret."""
        kind = cur.u16()
        created = cur.utime()
        length = cur.u16()
        try:
            key_type = KeyType(kind)
        except ValueError:
            raise cur.error(f"key type {kind}, known are 1 (aes) and 2 (aes256k)") from None
        wanted = SECRET_BYTES[key_type]
        if length < wanted or (length > wanted and not (cut and key_type is KeyType.AES)):
            raise cur.error(f"{key_type.name.lower()} secret of {length} bytes, wanted {wanted}")
        return cls(key_type, created, Secret(cur.raw(length)[:wanted]))

    @property
    def weakness(self) -> str:
        """What a key of this type does not do, in one sentence; empty for the new one."""
        if self.type is not KeyType.AES:
            return ""
        return (
            "a key of type aes does not protect against somebody on the path to the monitors, whatever the ms_mode "
            "(CVE-2025-30156); only aes256k does"
        )

    def encode(self, enc: Encoder) -> None:
        """Append the key."""
        enc.u16(self.type).utime(self.created).u16(len(self.secret)).raw(self.secret.reveal())

    @classmethod
    def from_base64(cls, text: str) -> CryptoKey:
        """Read the form of keyrings and secret files.  Raises DecodeError, never with a part of the text.

        A longer aes secret is cut to 16 bytes, as Ceph does.  That is for the user's own file alone: from the wire
        it would let a forger choose the length (CVE-2025-30156).
        """
        try:
            blob = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise DecodeError("key", 0, "is not base64") from None
        cur = Cursor(blob, "key")
        key = cls._decode(cur, cut=True)
        cur.finish()
        return key

    def to_base64(self) -> str:
        """Return the form of keyrings; for test clusters and the embedded monitors."""
        enc = Encoder()
        self.encode(enc)
        return base64.b64encode(bytes(enc)).decode("ascii")
