"""Keyrings in the layouts that people have."""

from __future__ import annotations

import base64
import struct

import pytest

from cephmonfs.auth.keyring import Keyring, parse_key, parse_secretfile
from cephmonfs.errors import ConfigError
from cephmonfs.model.cryptokey import KeyType
from tests.doubles.machine import KEY, KEY2, keyring


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


SECRETFILES = [
    "{}", "{}\n", "\ufeff{}\n", "{}\r\n", "  {}\t\n\n", "# of df\n{}\n", "; of df\n\n{}  # of df\n", '"{}"\n', "'{}'",
]  # fmt: skip


@pytest.mark.parametrize("key", [KEY, KEY2])
@pytest.mark.parametrize("text", SECRETFILES)
def test_secretfiles(text: str, key: str) -> None:
    assert parse_secretfile(text.format(key), "F", "keyring=F").to_base64() == key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the key in F is empty"),
        ("# nothing yet\n", "the key in F is empty"),
        (keyring(), "F is a keyring: use keyring=F"),
        (f"# a keyring\n\n{keyring()}", "F is a keyring: use keyring=F"),
        (f"key = {KEY}", 'F holds a line "NAME = VALUE": wanted the key and nothing else'),
        (f"key: {KEY}", 'F holds a line "NAME = VALUE": wanted the key and nothing else'),
        (f"{KEY}\n{KEY2}\n", "F holds 2 lines: wanted one, the key and nothing else"),
        (f"{KEY[:20]}\n{KEY[20:]}\n", "F holds 2 lines: wanted one, the key and nothing else"),
        ('{"key":"' + KEY + '"}', "F is JSON, not a key: write it anew with: ceph auth get-key client.NAME"),
        ('[{"key":"' + KEY + '"}]', "F is JSON, not a key: write it anew with: ceph auth get-key client.NAME"),
        (f"<key>{KEY}</key>", "F is XML, not a key: write it anew with: ceph auth get-key client.NAME"),
        ("-----BEGIN PRIVATE KEY-----\n", "F is PEM, not a key: write it anew with: ceph auth get-key client.NAME"),
        ("\0\1", "F holds binary data, not a key"),
        (KEY[:-6], "the key in F is damaged: "),
        (f"{KEY[:9]} {KEY[9:]}", "the key in F is damaged: it is not base64"),
    ],
)
def test_what_a_secretfile_holds_is_told(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_secretfile(text, "F", "keyring=F")
    assert str(caught.value).startswith(reason)
    assert KEY[3:12] not in str(caught.value)


def test_both_key_types() -> None:
    parsed = Keyring.parse(keyring("client.new", KEY2) + keyring(), "K")
    assert parsed.key_of("client.new").type is KeyType.AES256K
    assert parsed.key_of("client.df").type is KeyType.AES


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'K is not a keyring: it has no [client.NAME] section (for a bare key: "secretfile=")'),
        (f"key = {KEY}", 'K is not a keyring: it has no [client.NAME] section (for a bare key: "secretfile=")'),
        (f"{KEY}\n", "K holds a bare key, and is no keyring: say secretfile=K"),
        (f" {KEY2} ", "K holds a bare key, and is no keyring: say secretfile=K"),
        ('[{"entity":"client.df","key":"' + KEY + '","caps":{}}]', "K is JSON, not a keyring: write it anew with: "),
        ('\n{\n "key": "' + KEY + '"}', "K is JSON, not a keyring: write it anew with: ceph auth get client.NAME, wi"),
        (f"<auth><key>{KEY}</key></auth>", "K is XML, not a keyring"),
        (f"[{KEY}]\nkey = {KEY}", "K has no key for client.df; it has <hidden>"),
        (f"[client.{KEY}]\nkey = {KEY}", "K has no key for client.df; it has <hidden>"),
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
