"""JSON answers of the monitors, which are not trusted: bounded values and memory, sanitised text.

An answer is an object (`Fields`) or a list of objects.  A field of a type that was not expected reads as if it were
missing, so one odd field costs that field.  Text comes through wire/text.py.  A number is finite and fits 64 bits:
Python refuses integers of more than 4300 digits and floats overflow at 400, each far from where it was read.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import NoData
from cephmonfs.wire import limits
from cephmonfs.wire.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LARGEST: Final = 1 << 64
_NOTHING: Final[Mapping[str, object]] = {}


class Fields:
    """One JSON object.  What is missing or of another type reads as "", None, or empty."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object] = _NOTHING) -> None:
        self._values = values

    def has(self, key: str) -> bool:
        """Tell whether the key is there, with a value of any type but null."""
        return self._values.get(key) is not None

    def is_text(self, key: str) -> bool:
        """Tell whether the key is there with a text, which may be empty."""
        return isinstance(self._values.get(key), str)

    def name(self, key: str) -> str:
        """Return a name, of printable characters."""
        return _name(self._values.get(key))

    def sentence(self, key: str) -> str:
        """Return a text of one line."""
        value = self._values.get(key)
        return one_line(value) if isinstance(value, str) else ""

    def number(self, key: str) -> float | None:
        """Return a finite number of at most 64 bits."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value if math.isfinite(value) and abs(value) < _LARGEST else None

    def integer(self, key: str) -> int | None:
        """Return an integer of at most 64 bits."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return value if abs(value) < _LARGEST else None

    def boolean(self, key: str) -> bool | None:
        """Return true or false."""
        value = self._values.get(key)
        return value if isinstance(value, bool) else None

    def fields(self, key: str) -> Fields:
        """Return the object within."""
        return _fields(self._values.get(key))

    def rows(self, key: str) -> tuple[Fields, ...]:
        """Return the objects of a list."""
        return _rows(self._values.get(key))

    def names(self, key: str) -> tuple[str, ...] | None:
        """Return the names in a list; None when there is no list."""
        value = self._values.get(key)
        return tuple(_name(item) for item in value if isinstance(item, str)) if isinstance(value, list) else None

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Return the integers in a list; None when there is no list."""
        value = self._values.get(key)
        if not isinstance(value, list):
            return None
        found = (Fields({"": item}).integer("") for item in value)
        return tuple(number for number in found if number is not None)

    def parts(self, key: str) -> tuple[str | Fields, ...] | None:
        """Return a list of names and objects; None when there is no such list or something else is in it."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str | dict) for item in value):
            return None
        return tuple(_name(item) if isinstance(item, str) else _fields(item) for item in value)

    def items(self) -> Iterator[tuple[str, Fields]]:
        """Go through the objects within, by name."""
        for key, value in self._values.items():
            if isinstance(value, dict):
                yield _name(key), _fields(value)


def parse_object(data: bytes, what: str) -> Fields:
    """Read an answer that is a JSON object.  `what` is the command; raises NoData."""
    value = _parse(data, what)
    if not isinstance(value, dict):
        raise NoData(f"the answer to {what} is no JSON object")
    return Fields(value)


def parse_rows(data: bytes, what: str) -> tuple[Fields, ...]:
    """Read an answer that is a JSON list of objects.  Raises NoData."""
    value = _parse(data, what)
    if not isinstance(value, list):
        raise NoData(f"the answer to {what} is no JSON list")
    return _rows(value)


def _parse(data: bytes, what: str) -> object:
    if len(data) > limits.MAX_JSON:
        raise NoData(f"the answer to {what} has {len(data)} bytes, more than the {limits.MAX_JSON} that are read")
    # Each value but the first of a list or object has a comma before it: the count may be too high, never too low.
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > limits.MAX_JSON_VALUES:
        raise NoData(f"the answer to {what} has {values} values, more than the {limits.MAX_JSON_VALUES} that are read")
    try:
        text = data.decode("utf-8", "replace")
        return json.loads(text, parse_int=_integer, parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise NoData(f"the answer to {what} is not JSON: {one_line(str(exc))}") from None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= limits.MAX_JSON_DIGITS else None


def _no_number(_: str) -> None:
    """NaN and the infinities are no JSON, but Python would take them."""


def _name(value: object) -> str:
    return printable(value) if isinstance(value, str) else ""


def _fields(value: object) -> Fields:
    return Fields(value) if isinstance(value, dict) else Fields()


def _rows(value: object) -> tuple[Fields, ...]:
    return tuple(Fields(row) for row in value if isinstance(row, dict)) if isinstance(value, list) else ()
