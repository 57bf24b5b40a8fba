"""Keys as they stand in keyrings."""

from __future__ import annotations

import base64
import json

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.wire.crypto import Secret
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


def test_a_longer_aes_secret_is_cut_in_a_keyring_and_refused_from_the_wire() -> None:
    data = bytes.fromhex("010000000000000000002000") + bytes(range(32))
    text = base64.b64encode(data).decode()
    assert CryptoKey.from_base64(text).secret.reveal() == bytes(range(16))
    for length in (15, 17, 32, 4096):
        with pytest.raises(DecodeError, match=f"aes secret of {length} bytes, wanted 16"):
            CryptoKey.decode(
                Cursor(bytes.fromhex("01000000000000000000") + length.to_bytes(2, "little") + bytes(length))
            )


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


def test_what_a_type_does_not_do() -> None:
    said = {kind: CryptoKey(kind, Utime(1, 0), Secret(b"x" * 16)).weakness for kind in KeyType}
    assert said[KeyType.AES256K] == ""
    for word in ("aes ", "on the path", "whatever the ms_mode", "CVE-2025-30156", "only aes256k does"):
        assert word in said[KeyType.AES]
