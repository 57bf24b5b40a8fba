"""Keys as they stand in keyrings."""

from __future__ import annotations

import json

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.wire.cursor import Cursor, Utime
from tests.vectors import DIRECTORY

RECORDED = {
    KeyType.AES: json.loads((DIRECTORY / "crypto" / "cephx_aes.json").read_text()),
    KeyType.AES256K: json.loads((DIRECTORY / "crypto" / "cephx_aes256k.json").read_text()),
}


@pytest.mark.parametrize("kind", KeyType)
def test_recorded_keys(kind: KeyType) -> None:
    recorded = RECORDED[kind]
    data = bytes.fromhex(recorded["key_encoded"])
    key = CryptoKey.decode(Cursor(data))
    assert (key.type, key.created) == (kind, Utime(1_700_000_000, 5))
    assert key.secret.reveal().hex() == recorded["key_secret"]
    assert key == CryptoKey.from_base64(f" {recorded['key_base64']}\n")
    assert key.to_base64() == recorded["key_base64"]
    assert recorded["key_secret"][:8] not in repr(key)
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            CryptoKey.decode(Cursor(data[:cut]))


def test_a_longer_aes_secret_is_cut() -> None:
    data = bytes.fromhex("010000000000000000002000") + bytes(range(32))
    assert CryptoKey.decode(Cursor(data)).secret.reveal() == bytes(range(16))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("00000000000000000000" + "0000", "key type 0"),
        ("03000000000000000000" + "1000" + "00" * 16, "key type 3"),
        ("01000000000000000000" + "0f00" + "00" * 15, "aes secret of 15 bytes, wanted 16"),
        ("02000000000000000000" + "2100" + "00" * 33, "aes256k secret of 33 bytes, wanted 32"),
    ],
)
def test_odd_keys_are_refused(data: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        CryptoKey.decode(Cursor(bytes.fromhex(data)))


@pytest.mark.parametrize("text", ["secretsecret!", "AQ=", "AQAA8VNl"])
def test_text_that_is_no_key_is_not_repeated(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        CryptoKey.from_base64(text)
    assert text not in str(caught.value)


def test_bytes_behind_a_key_are_refused() -> None:
    with pytest.raises(DecodeError, match="too many"):
        CryptoKey.from_base64("AQAA8VNlBQAAABAAAAECAwQFBgcICQoLDA0ODwAA")
