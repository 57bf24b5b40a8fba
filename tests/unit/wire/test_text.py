from __future__ import annotations

import pytest

from cephmonfs.wire import limits
from cephmonfs.wire.text import lines, one_line, printable

# A character of each kind that a terminal, a browser or a parser acts upon.
COMMANDS = {
    "NUL": "\0",
    "BEL": "\a",
    "BS": "\b",
    "CR": "\r",
    "ESC": "\x1b",
    "DEL": "\x7f",
    "NEL": "\x85",
    "CSI of C1": "\x9b",
    "OSC of C1": "\x9d",
    "no-break space": "\xa0",
    "Arabic letter mark": "\u061c",
    "zero width space": "\u200b",
    "left-to-right mark": "\u200e",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "embedding": "\u202b",
    "override": "\u202e",
    "isolate": "\u2067",
    "end of isolate": "\u2069",
    "byte order mark": "\ufeff",
    "tag": "\U000e0041",
    "private use": "\ue000",
    "noncharacter": "\uffff",
    "lone high surrogate": "\ud800",
    "lone low surrogate": "\udcff",
}


@pytest.mark.parametrize("char", COMMANDS.values(), ids=COMMANDS)
def test_what_is_not_printable_is_replaced(char: str) -> None:
    for door in (printable, one_line, lines):
        text = door(f"a{char}b")
        assert text.isprintable(), door
        assert text[0] == "a", door
        assert text[-1] == "b", door
        text.encode()  # no surrogate is left


def test_printable_text_stays() -> None:
    for text in ("", "HEALTH_OK", "  two  spaces ", "Köln", "日本語", "\N{THUMBS UP SIGN}", '"quoted" \\back <b>'):
        assert printable(text) == one_line(text) == lines(text) == text


def test_a_name_keeps_its_length() -> None:
    assert printable("a\nb\x1b[2J") == "a?b?[2J"


def test_a_sentence_folds_white_space() -> None:
    assert one_line("12 OSDs\n\tare  down\r\n\x1b[0m") == "12 OSDs are down ?[0m"


def test_lines_stay_lines() -> None:
    assert lines("one\n\ttwo\r\n\x1b[2J") == "one\n\ttwo?\n?[2J"


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\x1b" * 10_000_000, " " * 10_000_000, "x \n" * 3_000_000])
def test_what_is_too_long_is_cut(text: str) -> None:
    for door, limit in ((printable, limits.MAX_NAME), (one_line, limits.MAX_SENTENCE), (lines, limits.MAX_STRING)):
        assert len(door(text)) <= limit
    assert printable(text, 10).endswith("...")
    assert len(one_line(text, 10)) <= 10
    assert one_line(text).endswith("...")
