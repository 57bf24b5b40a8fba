"""A part of what `make fuzz` does, the same part each time."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cephmonfs.errors import CephMonFSError
from cephmonfs.messages.message import MsgType
from cephmonfs.msgr.frames_v2 import Tag
from tests.fuzz import every, run
from tests.fuzz.targets import as_session, attempt, fronts, play, recordings_v1, recordings_v2, session, targets

NAMES = sorted(targets())
_PATIENCE = 30.0


@pytest.mark.parametrize("name", NAMES)
def test_prefixes_and_flips(name: str, tmp_path: Path) -> None:
    cheap = name in ("addr", "cryptokey", "statfs", "fsmap_user", "mgrmap", "message")
    stats = every.run([name], None, 6000 if cheap else 2500, tmp_path, _PATIENCE)
    assert not stats.findings, [path.name for path in tmp_path.iterdir()]
    assert stats.runs[name] > 200


@pytest.mark.parametrize("name", NAMES)
def test_mutated_recordings(name: str, tmp_path: Path) -> None:
    stats = run.run([name], 2500, 60, 7, tmp_path, _PATIENCE)
    assert not stats.findings, [path.read_bytes() for path in tmp_path.iterdir()]


@pytest.mark.parametrize("recording", [*recordings_v2(), *recordings_v1()], ids=lambda r: r.name)
def test_every_prefix_of_a_handshake_waits_for_more(recording: object) -> None:
    """Whole recordings, cut after every byte: no error, no session before its time."""
    data = recording.to_client  # type: ignore[attr-defined]
    ready_at = None
    for end in range(0, len(data) + 1, 3):
        link = play(recording, data[:end])  # type: ignore[arg-type]
        if link.ready and ready_at is None:
            ready_at = end
        assert link.ready == (ready_at is not None)
    assert ready_at is not None
    assert ready_at > 300


@pytest.mark.parametrize("recording", [*recordings_v2(), *recordings_v1()], ids=lambda r: r.name)
def test_flipped_handshakes_never_lead_to_another_session(recording: object) -> None:
    """One bit of a handshake: refused, waited for, or (bytes that mean nothing) the very same session."""
    whole = play(recording, recording.to_client)  # type: ignore[attr-defined, arg-type]
    assert whole.result is not None
    data = recording.to_client  # type: ignore[attr-defined]
    for bit in range(0, 8 * min(len(data), 2500), 41):
        out = bytearray(data)
        out[bit // 8] ^= 1 << bit % 8
        began = time.perf_counter()
        try:
            link = play(recording, bytes(out))  # type: ignore[arg-type]
        except CephMonFSError:
            continue
        finally:
            assert time.perf_counter() - began < 0.5
        if link.ready and link.result is not None and whole.result.session_key is not None:
            assert link.result.session_key == whole.result.session_key


# ---- structure-aware: frames and messages that are well formed, in an order and with contents that are not


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_frames_in_any_order(data: st.DataObject) -> None:
    recording = data.draw(st.sampled_from(recordings_v2()))
    frames = list(recording.frames)
    moves = st.lists(st.tuples(st.integers(0, len(frames) - 1), st.integers(0, len(frames) - 1)), max_size=4)
    for a, b in data.draw(moves):
        frames[a], frames[b] = frames[b], frames[a]
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(frames)))
        tag = data.draw(st.sampled_from(list(Tag)))
        segments = data.draw(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
        frames.insert(at, (int(tag), tuple(segments)))
    try:
        play(recording, recording.framed(frames))
    except CephMonFSError:
        pass


_FRONTS = st.sampled_from(fronts())


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """Messages that a monitor may send, some with a number changed to an absurd one, in any order."""
    found = []
    for kind, version, front in draw(st.lists(_FRONTS, min_size=1, max_size=5)):
        if front and draw(st.booleans()):
            at = draw(st.integers(0, max(0, min(len(front), 300) - 4)))
            absurd = draw(st.sampled_from(run.ABSURD))
            front = front[:at] + struct.pack("<I", absurd) + front[at + 4 :]
        if draw(st.integers(0, 9)) == 0:
            kind = draw(st.sampled_from([*MsgType, 0, 0xFFFF]))
        found.append((int(kind), draw(st.sampled_from([version, 0, 1, 9])), front))
    return as_session(*found)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=_messages())
def test_messages_in_any_order(data: bytes) -> None:
    """Nothing escapes a session; whatever happened, a good monitor is connected to next."""
    client = session(data)
    assert client.next_timeout() is not None


def test_the_corpus_finds_nothing_any_more() -> None:
    for name, (target, _) in targets().items():
        for data in run.corpus(name):
            attempt(target, data)
