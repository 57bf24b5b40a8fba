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
    or a secret of another length than its type has (a longer aes secret is cut to 16 bytes, as Ceph does).
    """

    type: KeyType
    created: Utime
    secret: Secret

    @classmethod
    def decode(cls, cur: Cursor) -> CryptoKey:
        """Read one key."""
        kind = cur.u16()
        created = cur.utime()
        length = cur.u16()
        try:
            key_type = KeyType(kind)
        except ValueError:
            raise cur.error(f"key type {kind}, known are 1 (aes) and 2 (aes256k)") from None
        wanted = SECRET_BYTES[key_type]
        if length < wanted or (length > wanted and key_type is not KeyType.AES):
            raise cur.error(f"{key_type.name.lower()} secret of {length} bytes, wanted {wanted}")
        return cls(key_type, created, Secret(cur.raw(length)[:wanted]))

    def encode(self, enc: Encoder) -> None:
        """Append the key."""
        enc.u16(self.type).utime(self.created).u16(len(self.secret)).raw(self.secret.reveal())

    @classmethod
    def from_base64(cls, text: str) -> CryptoKey:
        """Read the form of keyrings and secret files.  Raises DecodeError, never with a part of the text."""
        try:
            blob = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise DecodeError("key", 0, "is not base64") from None
        cur = Cursor(blob, "key")
        key = cls.decode(cur)
        cur.finish()
        return key

    def to_base64(self) -> str:
        """Return the form of keyrings; for test clusters and the embedded monitors."""
        enc = Encoder()
        self.encode(enc)
        return base64.b64encode(bytes(enc)).decode("ascii")
