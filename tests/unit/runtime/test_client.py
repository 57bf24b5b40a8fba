"""What fails inside the driver costs what it was about, and not the mount."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from cephmonfs.model.entity import EntityName
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.decoding import DecodeJob
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import open_client

pytestmark = pytest.mark.trio

CONFIG = SessionConfig(Identity(EntityName.parse("client.df"), None, (Mode.SECURE,)))


async def nobody() -> Sequence[Candidate]:
    return ()


class Job(DecodeJob):
    """A decoder with a fault."""

    def __init__(self) -> None:
        self.was_failed = False

    def run(self) -> None:
        raise ValueError("made by the test")

    def failed(self) -> None:
        self.was_failed = True


async def test_a_decoder_with_a_fault(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job()
    async with open_client(CONFIG, nobody) as client:
        calls: list[object] = []
        monkeypatch.setattr(client._session, "decoded", calls.append)
        client._start_decoding(job)
        with trio.fail_after(5):
            while not calls:  # noqa: ASYNC110 (a thread tells nobody that it has ended)
                await trio.sleep(0.01)
        assert job.was_failed  # so that the message is not taken, nor decoded once more in the loop
    caplog.clear()


@pytest.mark.parametrize("method", ["decoded", "closed"])
async def test_a_session_with_a_fault(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    failed = trio.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise ValueError("made by the test")

    async with open_client(CONFIG, nobody) as client:
        with monkeypatch.context() as patch:
            patch.setattr(client._session, method, fail)
            if method == "decoded":
                client._start_decoding(Job())
            else:
                client._lost(1, "made by the test")
            with trio.fail_after(5):
                await failed.wait()
                await trio.testing.wait_all_tasks_blocked()
        assert client.snapshot().entity == "client.df"
    assert "made by the test" in caplog.text
    caplog.clear()
