"""The text format of ceph.conf and keyrings."""

from __future__ import annotations

import pytest

from cephmonfs.errors import ConfigError
from cephmonfs.model.initext import Setting, normal_key, parse_ini


@pytest.mark.parametrize("spelling", ["mon host", "mon_host", "mon-host", " mon  host ", "mon\thost"])
def test_one_key_many_spellings(spelling: str) -> None:
    assert normal_key(spelling) == "mon_host"
    assert parse_ini(f"{spelling} = x", "f").settings[0].key == "mon_host"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a", "a"),
        ("", ""),
        ("  a b  ", "a b"),
        ("a # note", "a"),
        ("a;note", "a"),
        (r"a\#b\;c", "a#b;c"),
        (r"a\b", r"a\b"),
        ('"a # b"', "a # b"),
        ("'a ; b'", "a ; b"),
        ('"a" # note', "a"),
        (r'"a\"b"', 'a"b'),
        ("it's", "it's"),
        ("AQ==", "AQ=="),
        ("[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]", "[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]"),
        ("a\\\n  b", "a  b"),
        ("a\r", "a"),
    ],
)
def test_values(written: str, meant: str) -> None:
    assert [item.value for item in parse_ini(f"k = {written}\nz = 1", "f").settings] == [meant, "1"]


def test_sections_comments_and_lines() -> None:
    text = "\ufeffearly = 1\n# c \\\n; d\n\n[ a ] ; note\nx = 1\n\ty z = \\\n 2\n[b]\nx = 3"
    parsed = parse_ini(text, "f")
    assert parsed.headers == (("a", 5), ("b", 9))
    assert parsed.settings == (
        Setting("global", "early", "1", 1),
        Setting("a", "x", "1", 6),
        Setting("a", "y_z", "2", 7),
        Setting("b", "x", "3", 10),
    )


def test_a_backslash_at_the_very_end_continues_nothing() -> None:
    assert parse_ini("k = a\\", "f").settings == (Setting("global", "k", "a", 1),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("topsecret", 'f line 2: wanted "key = value"'),
        ("= topsecret", 'f line 2: wanted "key = value"'),
        ("a # topsecret = 1", 'f line 2: wanted "key = value"'),
        ("[topsecret", 'f line 2: wanted "[section]"'),
        ("[]", 'f line 2: wanted "[section]"'),
        ("[a] topsecret", 'f line 2: wanted "[section]"'),
        ('k = "topsecret', "f line 2: the value has a quote that is not closed, or text after it"),
        ('k = "a" topsecret', "f line 2: the value has a quote that is not closed, or text after it"),
        ('k = "topsecret\\', "f line 2: the value has a quote that is not closed, or text after it"),
    ],
)
def test_damage_names_the_line_and_nothing_of_it(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_ini(f"[ok]\n{text}", "f")
    assert str(caught.value) == reason
    assert "topsecret" not in str(caught.value)
