"""What is known of an answer, and how old it may be."""

from __future__ import annotations

import math

import pytest

from cephmonfs.errors import CephMonFSError, NoData, NotPermitted, RequestTimeout, SessionLost
from cephmonfs.files.answers import LASTING_S, UNASKED, Answer, Command, Failure, Freshness
from cephmonfs.mon.snapshot import CommandReply, Stamp

TREE = Command("osd tree")
REPLY = CommandReply(0, "", b"tree", Stamp(5.0, 5.0))


def test_a_command_as_it_is_asked_and_shown() -> None:
    assert TREE.request == {"prefix": "osd tree", "format": "plain"}
    detail = Command("df", json=True, detail=True)
    assert detail.request == {"prefix": "df", "format": "json", "detail": "detail"}
    assert str(detail) == "ceph df detail -f json"


@pytest.mark.parametrize(
    ("exc", "kind", "text"),
    [
        (NotPermitted("no caps"), NotPermitted, "no caps"),
        (RequestTimeout("late"), RequestTimeout, "ceph x: late"),
        (RequestTimeout(""), RequestTimeout, "ceph x: no answer"),
        (SessionLost("gone"), RequestTimeout, "ceph x: gone"),
        (CephMonFSError("other"), CephMonFSError, "other"),
    ],
)
def test_a_failure_keeps_what_decides_the_errno(exc: CephMonFSError, kind: type[Exception], text: str) -> None:
    failure = Failure.of(exc, "ceph x")
    error = failure.error()
    assert (type(error), str(error)) == (kind, text)
    assert error is not failure.error()
    assert failure.is_silence is (kind is RequestTimeout)


SILENCE = Failure(RequestTimeout, "silence", 100.0)
REFUSAL = Failure(CephMonFSError, "refused", 100.0, is_refusal=True)
TROUBLE = Failure(CephMonFSError, "trouble", 100.0)


@pytest.mark.parametrize(
    ("failure", "after_s", "has_failed"),
    [
        (None, 0, False),
        (SILENCE, 0, False),
        (REFUSAL, LASTING_S - 1, True),
        (REFUSAL, LASTING_S, False),
        (TROUBLE, 4, True),
        (TROUBLE, 5, False),
    ],
)
def test_how_long_an_error_counts(failure: Failure | None, after_s: float, has_failed: bool) -> None:
    assert Answer(failure=failure).has_failed(100.0 + after_s, 5.0) is has_failed


def test_an_error_counts_for_a_second_at_least() -> None:
    assert Answer(failure=TROUBLE).has_failed(100.9, 0.0)


def test_silence_leaves_the_last_answer_and_a_monitors_word_does_not() -> None:
    assert Answer(REPLY, failure=SILENCE).good(TREE) is REPLY
    with pytest.raises(CephMonFSError, match="trouble"):
        Answer(REPLY, failure=TROUBLE).good(TREE)
    with pytest.raises(RequestTimeout):
        Answer(failure=SILENCE).good(TREE)
    with pytest.raises(NoData, match="ceph osd tree has not been answered yet"):
        UNASKED.good(TREE)


def test_open_until_there_is_an_outcome() -> None:
    assert [a.is_open for a in (UNASKED, Answer(failure=SILENCE), Answer(failure=TROUBLE), Answer(REPLY))] == [
        True, True, False, False,
    ]  # fmt: skip


def test_proven_by_an_answer_or_an_error_that_counts() -> None:
    assert not UNASKED.is_proven(100.0, 5.0)
    assert Answer(asked=Stamp(1.0, 1.0)).is_proven(100.0, 5.0)
    assert not Answer(failure=SILENCE).is_proven(100.0, 5.0)
    assert Answer(failure=TROUBLE).is_proven(100.0, 5.0)


@pytest.mark.parametrize(
    ("heard", "is_open", "stale_after", "fresh", "ends_at"),
    [
        (-math.inf, True, 60.0, False, math.inf),
        (40.0, False, 60.0, True, 100.0),
        (39.9, True, 60.0, False, math.inf),
        (0.0, True, 0.0, True, math.inf),
        (100.0, False, 0.0, False, math.inf),
    ],
)
def test_fresh(heard: float, is_open: bool, stale_after: float, fresh: bool, ends_at: float) -> None:
    found = Freshness(100.0, heard, is_open, stale_after)
    assert (found.is_fresh, found.ends_at) == (fresh, ends_at)


@pytest.mark.parametrize(
    ("heard", "asked", "renewed_s", "counts"),
    [
        (100.0, 40.0, 5.0, True),
        (100.0, 39.0, 5.0, False),
        (100.0, 0.0, 600.0, True),  # it is not asked for again before
        (0.0, 39.0, 600.0, False),  # but without a quorum nothing older than stale_after counts
        (0.0, 40.0, 600.0, True),
    ],
)
def test_what_counts(heard: float, asked: float, renewed_s: float, counts: bool) -> None:
    assert Freshness(100.0, heard, True, 60.0).counts(asked, renewed_s) is counts
