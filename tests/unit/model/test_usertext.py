"""What of a user's text is shown."""

from __future__ import annotations

import base64
import random
import struct

import pytest

from cephmonfs.model.usertext import HIDDEN, censored, could_be_key, is_key, other_format, shown


def _key(seed: int, kind: int) -> str:
    source = random.Random(seed)
    size = {1: 16, 2: 32}[kind]
    head = struct.pack("<HIIH", kind, 1_600_000_000 + source.randrange(10**8), source.randrange(10**9), size)
    return base64.b64encode(head + source.randbytes(size)).decode()


KEYS = [_key(seed, kind) for seed in range(200) for kind in (1, 2)]
DISGUISES = {
    "as it is": "{}",
    "URL-encoded": "{url}",
    "twice": "{url2}",
    "quoted": '"{}"',
    "quoted otherwise": "'{}'",
    "with blanks": "{blanks}",
    "in lines": "{lines}",
    "without its end": "{cut}",
    "its beginning": "{begin}",
    "beginning in lower detail": "{short}",
    "after a name": "key={}",
    "in JSON": '{{"entity":"client.df","key":"{}"}}',
    "in a path": "/etc/ceph/{}",
    "as a user": "client.{}",
    "as a section": "[client.{}]",
    "in hex": "{hex}",
    "its secret in hex": "{secret}",
    "escaped": "{escaped}",
    "with marks that nobody sees": "{marks}",
}


def _disguised(key: str, how: str) -> str:
    url = "".join(f"%{ord(char):02x}" if char in "+/=" else char for char in key)
    raw = base64.b64decode(key)
    return DISGUISES[how].format(
        key, url=url, url2=url.replace("%", "%25"), cut=key[:-5], begin=key[:16], short=key[:6], hex=raw.hex(),
        blanks=" ".join(key[at : at + 8] for at in range(0, len(key), 8)), lines="\n".join((key[:20], key[20:])),
        secret=raw[12:].hex().upper(), escaped=key.replace("/", "\\/"),
        marks="\u200b".join(key),
    )  # fmt: skip


@pytest.mark.parametrize("how", DISGUISES)
def test_a_key_is_hidden_in_every_disguise(how: str) -> None:
    for key in KEYS:
        assert shown(_disguised(key, how)) == HIDDEN


@pytest.mark.parametrize(("begin", "end"), [(3, None), (8, None), (12, None), (4, -2)])
def test_the_rest_of_a_key_is_told_by_its_randomness(begin: int, end: int | None) -> None:
    found = sum(could_be_key(key[begin:end]) for key in KEYS)
    assert found >= 0.95 * len(KEYS)


PLAIN = [
    "df", "client.df", "client.csi-rbd-node.1", "admin", "cephfs", ".rgw.root", "default.rgw.buckets.data", "AQ",
    "AQUA", "AGENT", "Äquator", "100%", "%zz", "/etc/ceph/ceph.client.admin.keyring",
    "/var/lib/MyCluster01/Secrets.d/key", "/tmp/tmp.Xa3bQ9zR1k",
    "/tmp/pytest-of-root/pytest-0/popen-gw1/test_a_key_is_hidden0/m", "mon-01.Example.COM", "MON-A.DC1.EXAMPLE.COM",
    "10.0.0.1:3300", "[fd42:1:2:3:4:5:6:7]:3300", "[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]", "HEALTH_WARN",
    "system_u:object_r", "2f5a8f1e-64d1-4d6b-9f43-0b1c2d3e4f50", "prefer-secure", "x-systemd.mount-timeout=90",
    "PermissionError", "MStatfsReply", "UnknownEncoding",
]  # fmt: skip


@pytest.mark.parametrize("text", [*PLAIN, "", "my pool", "My Pool 01"])
def test_what_people_write_is_shown(text: str) -> None:
    assert shown(text) == text
    assert censored(f'source "{text}" is none') == f'source "{text}" is none'


def test_a_line_loses_the_words_that_could_be_keys() -> None:
    for key in KEYS:
        line = f"mon.a: no user {key}, at '{key[:20]}' ({key}) see 618f440892089921c3e944a991122ddc44e60516"
        wanted = "mon.a: no user <hidden>, at '<hidden>' (<hidden>) see 618f440892089921c3e944a991122ddc44e60516"
        assert censored(line) == wanted
    assert censored("a\tb\n  c") == "a\tb\n  c"


def test_a_key_is_one_beyond_doubt() -> None:
    assert all(is_key(key) and is_key(f"'{key[:24]}'") and is_key(f"client.{key}@") for key in KEYS)
    assert not any(map(is_key, ("AQ==", "AQBxyz", "df", "/etc/ceph/AQ", "")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"a":1}]', "JSON"), ("{}", "JSON"), ("[]", "JSON"), ('["a"]', "JSON"), ("[1]", "JSON"), ("\n[\n\n{", "JSON"),
        ("<a/>", "XML"), ("{\\rtf1 x}", "RTF"), ("-----BEGIN X", "PEM"), ("[client.a]", None), ("[global]\n", None),
        ("AQ==", None), ("", None), ("[null]", "JSON"), ("[mon.a]", None), ("# x\n[a]", None),
    ],
)  # fmt: skip
def test_other_formats(text: str, found: str | None) -> None:
    assert other_format(text) == found
