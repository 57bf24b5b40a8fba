"""Ciphers against recorded and published vectors; the texts of failures are all the same."""

from __future__ import annotations

import json
import pickle

import pytest

from cephmonfs.errors import IntegrityError
from cephmonfs.wire import crypto
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.crypto import Gcm, GcmUnchecked, Secret
from tests.vectors import DIRECTORY

AES = json.loads((DIRECTORY / "crypto" / "cephx_aes.json").read_text())
AES256K = json.loads((DIRECTORY / "crypto" / "cephx_aes256k.json").read_text())
CRCS = json.loads((DIRECTORY / "crypto" / "crc32c.json").read_text())
KEY, IV = bytes.fromhex(AES["key_secret"]), bytes.fromhex(AES["iv"])
KEY2 = bytes.fromhex(AES256K["key_secret"])
CASES2 = [(KEY2, case) for case in AES256K["cases"]]
CASES2 += [(bytes.fromhex(AES256K["rfc8009_key"]), case) for case in AES256K["rfc_cases"]]


@pytest.mark.parametrize("case", CRCS)
def test_crc32c(case: dict[str, str]) -> None:
    data, seed, wanted = bytes.fromhex(case["data"]), int(case["init"], 16), int(case["crc"], 16)
    assert raw_crc32c(data, seed) == wanted
    assert raw_crc32c(data[3:], raw_crc32c(data[:3], seed)) == wanted


@pytest.mark.parametrize("case", AES["cases"])
def test_cbc(case: dict[str, str]) -> None:
    plain, cipher = bytes.fromhex(case["plain"]), bytes.fromhex(case["cipher"])
    assert crypto.cbc_encrypt(KEY, IV, plain) == cipher
    assert crypto.cbc_decrypt(KEY, IV, cipher) == plain


@pytest.mark.parametrize("length", [0, 1, 15, 17])
def test_cbc_refuses_odd_lengths(length: int) -> None:
    with pytest.raises(IntegrityError, match=r"^decryption failed: wrong key or damaged bytes$"):
        crypto.cbc_decrypt(KEY, IV, bytes(length))


@pytest.mark.parametrize("padding", [b"\0", b"\x11", b"\x01\x02", b"\x03\x03\x02\x03"])
def test_cbc_refuses_bad_padding(padding: bytes) -> None:
    block = bytes(16 - len(padding)) + padding
    data = crypto.cbc_encrypt(KEY, IV, block)[:16]
    with pytest.raises(IntegrityError, match=r"^decryption failed: wrong key or damaged bytes$"):
        crypto.cbc_decrypt(KEY, IV, data)


@pytest.mark.parametrize(("key", "case"), CASES2)
def test_rfc8009(key: bytes, case: dict[str, str]) -> None:
    usage = int(case["usage"])
    plain, confounder = bytes.fromhex(case["plain"]), bytes.fromhex(case["confounder"])
    cipher = bytes.fromhex(case["cipher"])
    assert crypto.krb5_encrypt(key, usage, plain, confounder) == cipher
    assert crypto.krb5_decrypt(key, usage, cipher) == plain
    for at in (0, len(cipher) // 2, len(cipher) - 1):
        damaged = bytearray(cipher)
        damaged[at] ^= 1
        with pytest.raises(IntegrityError):
            crypto.krb5_decrypt(key, usage, bytes(damaged))
    with pytest.raises(IntegrityError):
        crypto.krb5_decrypt(key, usage + 1, cipher)
    with pytest.raises(IntegrityError):
        crypto.krb5_decrypt(key, usage, cipher[:39])


@pytest.mark.parametrize("length", [*range(34), 63, 64, 65])
def test_rfc8009_of_any_length(length: int) -> None:
    plain = bytes(range(length))
    assert crypto.krb5_decrypt(KEY2, 4, crypto.krb5_encrypt(KEY2, 4, plain, bytes(16))) == plain


def test_derived_keys() -> None:
    for usage, keys in AES256K["derived"].items():
        ke, ki = crypto.krb5_keys(KEY2, int(usage, 16))
        assert (ke.hex(), ki.hex()) == (keys["Ke"], keys["Ki"])


def test_gcm() -> None:
    nonce, plain = bytes(range(12)), b"some text longer than one block"
    sealed = Gcm(KEY).seal(nonce, plain)
    assert len(sealed) == len(plain) + crypto.GCM_TAG
    assert Gcm(KEY).open(nonce, sealed) == plain
    assert GcmUnchecked(KEY).head(nonce, sealed[:20]) == plain[:20]
    for at in (0, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[at] ^= 0x80
        with pytest.raises(IntegrityError):
            Gcm(KEY).open(nonce, damaged)


def test_hmac() -> None:
    # RFC 4231, case 2
    wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert crypto.hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == wanted
    assert crypto.same(b"a", b"a")
    assert not crypto.same(b"a", b"b")


def test_a_secret_does_not_show() -> None:
    secret = Secret(b"hunter2hunter2!!")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", repr([secret])):
        assert "hunter" not in text
        assert "16 bytes" in text
    assert len(secret) == 16
    assert secret == Secret(b"hunter2hunter2!!") != Secret(b"another")
    assert secret != b"hunter2hunter2!!"
    assert len({secret, Secret(b"hunter2hunter2!!")}) == 1
    assert secret.reveal() == b"hunter2hunter2!!"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
