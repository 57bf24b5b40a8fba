"""Keyrings in the layouts that people have."""

from __future__ import annotations

import base64
import struct

import pytest

from cephmonfs.auth.keyring import Keyring, parse_key
from cephmonfs.errors import ConfigError
from cephmonfs.model.cryptokey import KeyType
from tests.unit.config.machine import KEY, KEY2, keyring


def _raw(kind: int = 1, length: int = 16, secret: bytes = b"0123456789abcdef") -> str:
    return base64.b64encode(struct.pack("<HIIH", kind, 1, 0, length) + secret).decode()


@pytest.mark.parametrize(
    "text",
    [
        keyring(),
        keyring().rstrip("\n"),
        keyring().replace("\n", "\r\n"),
        keyring().replace("\t", ""),
        f'[client.df]\nkey = {KEY}\n\tcaps mon = "allow r"\n',
        f'[client.df]\nkey={KEY}\n\tcaps_mon = "allow r"',
        f'# comment\n\n[client.df]\n  key : x = 1\n  key = "{KEY}"\n  caps mon = allow r\n  auid = 0\n',
        keyring("client.other", "junk") + "\n" + keyring(),
    ],
)
def test_layouts(text: str) -> None:
    parsed = Keyring.parse(text, "K")
    assert parsed.key_of("client.df").to_base64() == KEY
    assert dict(parsed.entries["client.df"].caps) == {"mon": "allow r"}


def test_both_key_types() -> None:
    parsed = Keyring.parse(keyring("client.new", KEY2) + keyring(), "K")
    assert parsed.key_of("client.new").type is KeyType.AES256K
    assert parsed.key_of("client.df").type is KeyType.AES


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'K is not a keyring: it has no [client.NAME] section (for a bare key: "secretfile=")'),
        (f"key = {KEY}", 'K is not a keyring: it has no [client.NAME] section (for a bare key: "secretfile=")'),
        (f"{KEY}\n", "K is not a keyring: it has no [client.NAME] section"),
        ("\0\1\2", "K is not a keyring: it holds binary data"),
        (f"key = {KEY}\n[client.df]\n", "K line 1: wanted a [client.NAME] section first"),
        (keyring("client.a"), "K has no key for client.df; it has client.a"),
        (
            "".join(keyring(f"client.{n}") for n in range(9)),
            "K has no key for client.df; it has client.0, client.1, client.2, client.3, client.4, ...",
        ),
        ("[client.df]\ncaps mon = x\n", "K has [client.df] without a key"),
        (keyring() + keyring(), "K has [client.df] twice, in lines 1 and 4: keep one"),
        (f"[client.df]\nkey = {KEY}\nkey = {KEY2}\n", "K line 3: a second key for client.df: keep one"),
        ("[client.df]\nkey =\n", "the key of client.df in K is empty"),
        (keyring(key="AQ*="), "the key of client.df in K is damaged: it is not base64"),
        (keyring(key=KEY[:-3]), "the key of client.df in K is damaged: it is not base64"),
        (keyring(key=_raw(secret=b"short")), "the key of client.df in K is damaged: it is cut off"),
        (keyring(key=_raw(length=4, secret=b"four")), "the key of client.df in K is damaged: aes secret of 4 bytes"),
        (keyring(key=_raw(secret=b"0123456789abcdefXX")), "the key of client.df in K is damaged: it is too long"),
        (keyring(key=_raw(kind=7)), "the key of client.df in K is damaged: key type 7, known are 1 (aes) and 2"),
    ],
)
def test_faults_have_a_sentence_each(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Keyring.parse(text, "K").key_of("client.df")
    assert str(caught.value).startswith(reason)
    assert KEY[:12] not in str(caught.value)


def test_another_entitys_fault_does_no_harm_and_waits_for_who_asks() -> None:
    parsed = Keyring.parse(keyring() + keyring("client.bad", "junk!") + keyring("client.two") * 2, "K")
    assert parsed.key_of("client.df").to_base64() == KEY
    assert parsed.entries["client.bad"].key is None
    with pytest.raises(ConfigError, match=r"client\.two. twice"):
        parsed.key_of("client.two")


def test_no_secret_in_any_repr() -> None:
    assert "0123456789" not in repr(Keyring.parse(keyring(), "K"))
    assert "0123456789" not in repr(parse_key(f" {KEY}\n", "k"))
