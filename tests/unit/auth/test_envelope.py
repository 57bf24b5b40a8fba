"""cephx envelopes and proofs of both key types, against recorded values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephmonfs.auth.envelope import Usage, challenge_proof, seal, unseal
from cephmonfs.errors import CephMonFSError, IntegrityError
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.wire import crypto
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from tests.vectors import DIRECTORY

AES, AES256K = (json.loads((DIRECTORY / "crypto" / f"cephx_{name}.json").read_text()) for name in ("aes", "aes256k"))


def key(kind: KeyType, fill: int = 7) -> CryptoKey:
    return CryptoKey(kind, Utime(0, 0), Secret(bytes((fill,)) * (16 if kind is KeyType.AES else 32)))


def zeros(n: int) -> bytes:
    return bytes(n)


def test_recorded_envelopes() -> None:
    aes = CryptoKey.from_base64(AES["key_base64"])
    for case in AES["cases"]:
        sealed = Cursor(bytes.fromhex(case["sealed"])).blob()
        inner = unseal(aes, Usage.TICKET_SESSION_KEY, sealed, "x").rest()
        assert inner == bytes.fromhex(case["plain"])
        assert seal(aes, Usage.TICKET_SESSION_KEY, inner, zeros) == sealed


@pytest.mark.parametrize("vector", [AES, AES256K], ids=["aes", "aes256k"])
def test_recorded_proofs(vector: dict[str, dict[str, str]]) -> None:
    proof = vector["proof"]
    server, client, wanted = (int(proof[name], 16) for name in ("server_challenge", "client_challenge", "key"))
    assert challenge_proof(CryptoKey.from_base64(str(vector["key_base64"])), server, client) == wanted


@given(st.sampled_from(KeyType), st.binary(max_size=80), st.sampled_from(Usage))
def test_there_and_back(kind: KeyType, plain: bytes, usage: Usage) -> None:
    sealed = seal(key(kind), usage, plain, zeros)
    assert unseal(key(kind), usage, sealed, "x").rest() == plain
    with pytest.raises(IntegrityError):
        unseal(key(kind, 8), usage, sealed, "x")


def test_usage_matters_to_aes256k_alone() -> None:
    for kind in KeyType:
        sealed = seal(key(kind), Usage.AUTHORIZER, b"x", zeros)
        if kind is KeyType.AES:
            assert unseal(key(kind), Usage.TICKET_BLOB, sealed, "x").rest() == b"x"
        else:
            with pytest.raises(IntegrityError):
                unseal(key(kind), Usage.TICKET_BLOB, sealed, "x")


def test_one_text_for_everything_that_is_wrong() -> None:
    """Padding, magic, length, tag: no oracle."""
    aes = key(KeyType.AES)
    raw = aes.secret.reveal(), b"cephsageyudagreg"
    bad = [
        b"",
        bytes(15),
        bytes(16),
        crypto.cbc_encrypt(*raw, b""),
        crypto.cbc_encrypt(*raw, b"short"),
        crypto.cbc_encrypt(*raw, b"\x01" + bytes(8) + b"content"),
        crypto.cbc_encrypt(*raw, b"\x02" + (0xFF009CAD8826AA55).to_bytes(8, "little") + b"content"),
    ]
    texts = set()
    for data in bad:
        with pytest.raises(IntegrityError) as caught:
            unseal(aes, Usage.TICKET_BLOB, data, "x")
        texts.add(str(caught.value))
    for data in (b"", bytes(39), bytes(40), bytes(100)):
        with pytest.raises(IntegrityError) as caught:
            unseal(key(KeyType.AES256K), Usage.TICKET_BLOB, data, "x")
        texts.add(str(caught.value))
    assert len(texts) == 1


@given(st.sampled_from(KeyType), st.binary(max_size=200))
def test_junk_raises_only_our_errors(kind: KeyType, data: bytes) -> None:
    try:
        unseal(key(kind), Usage.TICKET_BLOB, data, "x")
    except CephMonFSError:
        pass
