"""Files as editors save them."""

from __future__ import annotations

import pytest

from cephmonfs.config.mountconfig import resolve
from cephmonfs.config.textfile import decode_text
from cephmonfs.errors import ConfigError
from tests.doubles.machine import KEY, FakeMachine, keyring

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le with a mark", "utf-16-be with a mark")
BYTES = {
    "/secretfile": f"{KEY}\n",
    "/keyring": keyring(),
    "/conf": "[global]\nmon host = a\n[client.df]\nkey = {KEY}\n".replace("{KEY}", KEY),
}


def _encode(text: str, encoding: str) -> bytes:
    encoding, _, marked = encoding.partition(" ")
    return (f"\ufeff{text}" if marked else text).encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("how", ["secretfile", "keyring", "conf", "keyfile", "credential"])
def test_every_file_of_a_user_in_every_encoding(how: str, ends: str, encoding: str) -> None:
    files = {name: _encode(text.replace("\n", ends), encoding) for name, text in BYTES.items()}
    files["/keyfile.conf"] = _encode(f"mon host = a{ends}keyfile = /secretfile", encoding)
    files["/cred/cephmon.secret"] = files["/secretfile"]
    options = {
        "secretfile": "secretfile=/secretfile,mon_addr=a",
        "keyring": "keyring=/keyring,mon_addr=a",
        "conf": "conf=/conf",
        "keyfile": "conf=/keyfile.conf",
        "credential": "mon_addr=a",
    }[how]
    env = {"CREDENTIALS_DIRECTORY": "/cred"} if how == "credential" else {}
    config = resolve("df@", "/mnt", [options], FakeMachine(dict(files), env=env))
    assert config.key is not None
    assert config.key.to_base64() == KEY
    assert [target.host for target in config.targets] == ["a"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("option", ["secretfile", "keyring", "conf"])
def test_utf16_without_a_mark_is_told(option: str, encoding: str) -> None:
    machine = FakeMachine({"/f": BYTES[f"/{option}"].encode(encoding)})
    with pytest.raises(ConfigError, match="/f is UTF-16 without a byte order mark: save it as UTF-8"):
        resolve("df@", "/mnt", [f"{option}=/f"], machine)


WRONG = {
    "JSON": '[{"entity":"client.df","key":"' + KEY + '"}]',
    "XML": f"<key>{KEY}</key>",
    "binary data": "\0\1\2\xff",
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("option", ["secretfile", "keyring", "conf"])
def test_what_a_file_is_instead_is_told(option: str, what: str) -> None:
    machine = FakeMachine({"/f": WRONG[what]})
    with pytest.raises(ConfigError, match=rf"/f (is|holds|is not a .*: it holds) {what}"):
        resolve("df@", "/mnt", [f"{option}=/f"], machine)


def test_a_key_as_ceph_conf_is_told() -> None:
    with pytest.raises(ConfigError, match=r"/f holds a key, and is no ceph\.conf: say secretfile=, not conf="):
        resolve("df@", "/mnt", ["conf=/f"], FakeMachine({"/f": f"{KEY}\n"}))


def test_short_texts() -> None:
    assert decode_text(b"", "F") == ""
    assert decode_text(b"a\0", "F") == "a\0"
    assert decode_text(b"\xff", "F") == "�"
