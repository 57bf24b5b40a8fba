from __future__ import annotations

import json
import tracemalloc

import pytest

from cephmonfs.errors import NoData
from cephmonfs.model.answer import Fields, parse_object, parse_rows
from cephmonfs.wire import limits


def fields(value: object) -> Fields:
    return parse_object(json.dumps(value).encode(), "it")


ODD: tuple[object, ...] = (None, True, 7, 1.5, "text", [], ["x", 7, None, {"a": 1}], {}, {"a": 1})
READERS = ("has", "is_text", "name", "sentence", "number", "integer", "boolean", "fields", "rows", "names",
           "integers", "parts")  # fmt: skip


def test_each_type_as_each_other() -> None:
    """No reader fails on a value of another type, nor on a key that is missing."""
    for value in ODD:
        for reader in READERS:
            getattr(fields({"key": value}), reader)("key")
            getattr(fields({"key": value}), reader)("other")
        list(fields({"key": value}).items())


def test_text() -> None:
    found = fields({"a": "x\x1b[2J\n\u202ey", "b": "\ud800", "c": 7, "\udfff": {}})
    assert found.name("a") == "x?[2J??y"
    assert found.sentence("a") == "x?[2J ?y"
    assert found.name("b") == "?"
    assert found.is_text("a")
    assert found.name("c") == found.sentence("c") == found.name("none") == ""
    assert not found.is_text("c")
    assert [key for key, _ in found.items()] == ["?"]


@pytest.mark.parametrize(
    ("written", "number", "integer"),
    [
        ("0", 0, 0),
        ("-7", -7, -7),
        ("18446744073709551615", (1 << 64) - 1, (1 << 64) - 1),
        ("0.25", 0.25, None),
        ("1e3", 1000.0, None),
        ("18446744073709551616", None, None),
        ("1" * 400, None, None),
        ("9" * 100_000, None, None),
        ("-" + "9" * 5000, None, None),
        ("1e999", None, None),
        ("-1e999", None, None),
        ("1e308", None, None),
        ("NaN", None, None),
        ("Infinity", None, None),
        ("-Infinity", None, None),
        ("true", None, None),
        ('"7"', None, None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_numbers(written: str, number: float | None, integer: int | None) -> None:
    found = parse_object(f'{{"n": {written}, "list": [1, {written}], "beside": "there"}}'.encode(), "it")
    assert found.number("n") == number
    assert found.integer("n") == integer
    assert found.integers("list") == ((1,) if integer is None else (1, integer))
    assert found.name("beside") == "there"


def test_lists() -> None:
    found = fields({"names": ["a", 7, "b\n"], "rows": [{"x": 1}, 7, {"x": 2}], "sig": ["x", {"name": "y"}], "o": {}})
    assert found.names("names") == ("a", "b?")
    assert [row.integer("x") for row in found.rows("rows")] == [1, 2]
    parts = found.parts("sig")
    assert parts is not None
    assert parts[0] == "x"
    assert isinstance(parts[1], Fields)
    assert parts[1].name("name") == "y"
    assert found.parts("names") is None
    assert found.names("o") is None
    assert found.integers("o") is None
    assert found.parts("o") is None
    assert found.rows("o") == ()
    assert found.boolean("o") is None
    assert fields({"flag": False}).boolean("flag") is False


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"7", b'"text"', b"\xff\xfe", b"[" * 200_000, b'{"a":' * 100_000, b"{'a': 1}"]
)
def test_what_is_no_json_is_no_data(data: bytes) -> None:
    for parse in (parse_object, parse_rows):
        with pytest.raises(NoData, match="the answer to it "):
            parse(data, "it")


def test_object_or_list() -> None:
    with pytest.raises(NoData, match="no JSON object"):
        parse_object(b"[]", "it")
    with pytest.raises(NoData, match="no JSON list"):
        parse_rows(b"{}", "it")
    assert [row.integer("a") for row in parse_rows(b'[{"a": 1}, 7]', "it")] == [1]


def test_bytes_that_are_no_utf8_cost_themselves_alone() -> None:
    """A pool's name in Latin-1 stands in the monitor's answer as it is."""
    assert parse_object(b'{"name": "k\xf6ln", "id": 3}', "it").name("name") == "k\ufffdln"


BOMBS = {
    "lists": b"[" + b"[]," * (limits.MAX_JSON // 3 - 2) + b"[]]",
    "objects": b"[" + b"{}," * (limits.MAX_JSON // 3 - 2) + b"{}]",
    "numbers": b"[" + b"1," * (limits.MAX_JSON // 2 - 2) + b"1]",
    "pairs": b'{"":' * (limits.MAX_JSON // 4),
    "bytes": b'"' + b"x" * limits.MAX_JSON + b'"',
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_is_parsed(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(NoData, match="more than the"):
            parse_object(data, "it")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


ALLOWED = {
    "lists": b"[" + b"[0]," * (limits.MAX_JSON_VALUES // 2 - 2) + b"[]]",
    "objects": b"[" + b'{"a":0},' * (limits.MAX_JSON_VALUES // 2 - 2) + b"{}]",
    "keys": b"[{" + b",".join(b'"%x":0' % i for i in range(limits.MAX_JSON_VALUES - 10)) + b"}]",
    "texts": b"[" + b",".join(b'"%x"' % i for i in range(limits.MAX_JSON_VALUES - 10)) + b"]",
}


@pytest.mark.parametrize("data", ALLOWED.values(), ids=ALLOWED)
def test_the_largest_answer_that_is_read_fits_48_mib(data: bytes) -> None:
    tracemalloc.start()
    try:
        rows = parse_rows(data, "it")
        assert tracemalloc.get_traced_memory()[0] < 48 << 20
    finally:
        tracemalloc.stop()
    del rows
