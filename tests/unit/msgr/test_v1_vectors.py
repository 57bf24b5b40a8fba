"""Whole msgr1 sessions recorded with real monitors, replayed byte for byte (tests/support/record_msgr1.py)."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import pytest

from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.errors import AuthError, CephMonFSError
from cephmonfs.messages.message import Message
from cephmonfs.messages.mon import MMonMap, MMonSubscribe, MStatfs, MStatfsReply, SubscribeItem
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrType
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.connection import Happened, MonConnection, Offer
from cephmonfs.mon.hunt import Candidate
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor
from tests.support.record_msgr1 import STATFS_TID, VECTORS
from tests.support.wire import PING, endpoint, identity

RECORDED = sorted(VECTORS.glob("msgr1-*.json"))


class Replay:
    """A link that draws the same random bytes as the recorded one, and sends the same."""

    def __init__(self, path: Path) -> None:
        self.recorded = json.loads(path.read_text())
        drawn = deque(bytes.fromhex(one) for one in self.recorded["random"])
        self.link = MonConnection(
            1,
            Candidate("a", endpoint(self.recorded["target"], AddrType.LEGACY)),
            identity(self.recorded["entity"], self.recorded["THROWAWAY_key"], Mode.LEGACY),
            None,
            lambda n: drawn.popleft() if drawn else bytes(n),
            0.0,
            offer=Offer(int(self.recorded["features"], 16)),
        )
        self.link.connected(0.0)
        self.sent = bytearray(self.link.data_to_send())
        self.received: list[object] = []
        self.alive = 0

    def feed(self, data: bytes) -> None:
        """Send when the recorded client did: after Ready, after the monmap's answer, after the statfs."""
        link = self.link
        link.receive_data(data, 0.0)
        while link.messages:
            item = link.messages.popleft()
            if isinstance(item, Message):
                payload = from_monitor(item)
                self.received.append(payload)
                if isinstance(payload, MStatfsReply):
                    link.send_keepalive(0.0, PING)
                elif isinstance(payload, MMonMap) and sum(isinstance(p, MMonMap) for p in self.received) == 2:
                    link.send(MStatfs(bytes.fromhex(self.recorded["fsid"])), STATFS_TID)
            elif item is Happened.READY:
                link.send(MMonSubscribe({"monmap": SubscribeItem(0)}, "recorder"))
            else:
                self.alive += 1
        self.sent += link.data_to_send()


def test_vectors_are_there() -> None:
    assert len(RECORDED) == 8


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
@pytest.mark.parametrize("step", [1, 1000000], ids=["byte at a time", "all at once"])
def test_session_is_the_recorded_one(path: Path, step: int) -> None:
    replay = Replay(path)
    data = bytes.fromhex(replay.recorded["server_to_client"])
    for at in range(0, len(data), step):
        replay.feed(data[at : at + step])
    if step == 1:
        assert replay.sent.hex() == replay.recorded["client_to_server"]
        assert replay.alive == 1  # all at once its acknowledgement comes before the question
        replay.link.send_keepalive(5.0, PING)
        assert replay.link.keepalive_sent == 0.0  # since when the monitor owes us one
    assert replay.link.mode is Mode.LEGACY
    assert replay.link.result is not None
    assert replay.link.result.credentials.global_id == replay.recorded["global_id"]
    monmap = next(p for p in replay.received if isinstance(p, MMonMap))
    decoded = MonMap.decode(Cursor(monmap.monmap))
    assert (decoded.fsid.hex, decoded.version) == (replay.recorded["fsid"], replay.recorded["monmap_version"])
    assert any(isinstance(p, MStatfsReply) for p in replay.received)


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_every_strict_prefix_waits(path: Path) -> None:
    data = bytes.fromhex(json.loads(path.read_text())["server_to_client"])
    for end in range(0, len(data), 97):
        replay = Replay(path)
        replay.feed(data[:end])
        assert replay.alive == 0


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
@pytest.mark.parametrize("mask", [0x01, 0x80], ids=["low bit", "high bit"])
def test_flipped_bits_raise_only_our_errors(path: Path, mask: int) -> None:
    """msgr1 cannot tell all damage to its handshake; it must not raise anything else, nor hang in a loop."""
    data = bytes.fromhex(json.loads(path.read_text())["server_to_client"])
    refused = 0
    for at in range(0, len(data), 3):
        replay = Replay(path)
        damaged = bytearray(data)
        damaged[at] ^= mask
        try:
            replay.feed(bytes(damaged))
        except CephMonFSError:
            refused += 1
    assert refused > len(data) / 3 * 0.6


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_monitor_that_does_not_know_our_key(path: Path) -> None:
    replay = Replay(path)
    key = CryptoKey.from_base64(replay.recorded["THROWAWAY_key"])
    other = CryptoKey(key.type, key.created, Secret(bytes(len(key.secret))))
    assert isinstance(replay.link._auth, CephxHandshake)
    replay.link._auth._key = other
    with pytest.raises(AuthError, match="cannot prove"):
        replay.feed(bytes.fromhex(replay.recorded["server_to_client"]))
