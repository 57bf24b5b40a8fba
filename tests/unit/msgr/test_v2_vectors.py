"""Whole handshakes recorded with real monitors, replayed byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.errors import CephMonFSError
from cephmonfs.messages.message import Message
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import EntityAddr, EntityName, EntityType
from cephmonfs.msgr import events
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import Tag
from cephmonfs.msgr.v2 import ConnectionV2
from cephmonfs.wire.cursor import Cursor

VECTORS = Path(__file__).parents[2] / "vectors" / "crypto"
RECORDED = sorted(VECTORS.glob("msgr2-*.json"))


class Replay:
    """A client that makes the same random choices as the recorded one."""

    def __init__(self, path: Path) -> None:
        self.recorded = json.loads(path.read_text())
        self.frames = self.recorded["frames"]
        ours = [f for f in self.frames if f["dir"].startswith("client")]
        hello = Cursor(bytes.fromhex(ours[0]["segments"][0]))
        hello.u8()
        self.target = EntityAddr.decode(hello)
        ident = Cursor(bytes.fromhex(next(f for f in ours if f["tag"] == "CLIENT_IDENT")["segments"][0]))
        ident.skip(5)
        self.nonce = EntityAddr.decode(ident).nonce
        self.challenge = int(self.recorded["client_challenge"], 16).to_bytes(8, "little")
        modes = {1: (Mode.CRC,), 2: (Mode.SECURE,)}[self.recorded["con_mode"]]
        request = Cursor(bytes.fromhex(next(f for f in ours if f["tag"] == "AUTH_REQUEST")["segments"][0]))
        request.u32()
        self.modes = tuple({1: Mode.CRC, 2: Mode.SECURE}[m] for m in request.items(Cursor.u32, each=4)) or modes
        self.conn = ConnectionV2(self.target, self.nonce, revision=self.recorded["rev"])
        self.auth = CephxHandshake(
            EntityName(EntityType.CLIENT, self.recorded["entity"].partition(".")[2]),
            CryptoKey.from_base64(self.recorded["THROWAWAY_key"]),
            None,
            lambda n: self.challenge[:n],
            services=0x15,
        )
        self.sent = bytearray(self.conn.data_to_send())
        self.seen: list[events.Event] = []

    def feed(self, data: bytes) -> None:
        self.conn.receive_data(data, 0.0)
        while (event := self.conn.next_event()) is not None:
            self.seen.append(event)
            match event:
                case events.AuthNeeded():
                    self.conn.start_auth(self.auth.entity, 0, self.auth.method, self.modes)
                case events.AuthMore(payload):
                    self.conn.auth_more(self.auth.more(payload))
                case events.AuthDone(global_id, _, payload):
                    result = self.auth.done(payload, global_id)
                    assert f"{result.session_key.reveal().hex()}" == self.recorded["session_key"]  # type: ignore[union-attr]
                    self.conn.auth_done(result.session_key, result.connection_secret)
                case _:
                    pass
        self.sent += self.conn.data_to_send()

    def server_bytes(self) -> bytes:
        pre = bytes.fromhex(self.recorded["preauth_server_to_client"])
        names = [f["tag"] for f in self.frames if f["dir"].startswith("server")]
        later = [f for f in self.frames if f["dir"].startswith("server")][names.index("AUTH_SIGNATURE") :]
        return pre + b"".join(bytes.fromhex(f["wire"]) for f in later)


def test_vectors_are_there() -> None:
    assert len(RECORDED) >= 10


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
@pytest.mark.parametrize("step", [1, 1000000], ids=["byte at a time", "all at once"])
def test_handshake_is_the_recorded_one(path: Path, step: int) -> None:
    replay = Replay(path)
    data = replay.server_bytes()
    for at in range(0, len(data), step):
        replay.feed(data[at : at + step])
    assert any(isinstance(e, events.Ready) for e in replay.seen)
    received = [e for e in replay.seen if isinstance(e, Message)]
    wanted = [f for f in replay.frames if f["dir"].startswith("server") and f["tag"] == "MESSAGE"]
    assert [m.front.hex() for m in received] == [f["segments"][1] for f in wanted]
    ident = next(f for f in replay.frames if f["tag"] == "CLIENT_IDENT")
    pre = bytes.fromhex(replay.recorded["preauth_client_to_server"])
    signature = next(f for f in replay.frames if f["dir"].startswith("client") and f["tag"] == "AUTH_SIGNATURE")
    assert replay.sent[: len(pre)] == pre
    assert replay.sent[len(pre) :].startswith(bytes.fromhex(signature["wire"]))
    assert len(replay.sent) == len(pre) + len(bytes.fromhex(signature["wire"])) + len(bytes.fromhex(ident["wire"]))


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.stem)
def test_every_flipped_byte_of_the_handshake_is_refused_or_waits(path: Path) -> None:
    """A damaged handshake ends in a typed error, or waits, or our signature tells the monitor (banner bits only)."""
    data = Replay(path).server_bytes()
    pre = len(bytes.fromhex(json.loads(path.read_text())["preauth_server_to_client"]))
    reached_ready = []
    for at in range(pre):
        replay = Replay(path)
        damaged = bytearray(data)
        damaged[at] ^= 0x04
        try:
            replay.feed(bytes(damaged))
        except CephMonFSError:
            continue
        signature = next(f for f in replay.frames if f["dir"].startswith("client") and f["tag"] == "AUTH_SIGNATURE")
        if bytes.fromhex(signature["wire"]) in replay.sent:
            reached_ready.append(at)
    assert reached_ready == []


def test_tags_cover_what_a_monitor_sends() -> None:
    for path in RECORDED:
        for frame in json.loads(path.read_text())["frames"]:
            assert frame["tag"] in Tag.__members__
