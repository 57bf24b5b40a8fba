"""ConnectionV2 against a scripted monitor: every transition, every limit, every lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephmonfs.errors import (
    AuthError,
    CephMonFSError,
    DecodeError,
    IntegrityError,
    MissingFeatures,
    ProtocolError,
    UnexpectedMessage,
    Unproven,
    WrongProtocol,
)
from cephmonfs.messages.message import Header2, Message
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr, EntityName, EntityType
from cephmonfs.model.features import DEFAULT_FEATURES, REQUIRED
from cephmonfs.msgr import events
from cephmonfs.msgr.connection import State
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import Frame, FrameReader, Layout, Tag, crc_layout, secure_layouts, trim
from cephmonfs.msgr.v2 import BANNER, ConnectionV2
from cephmonfs.wire import crypto, limits
from cephmonfs.wire.buffer import ReceiveBuffer
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

TARGET = EntityAddr.of("10.0.0.1", 3300, AddrType.MSGR2)
SEEN = EntityAddr.of("10.0.0.9", 40000, AddrType.MSGR2)
WHO = EntityName(EntityType.CLIENT, "df")
NONE, CEPHX = 1, 2
KEY, SECRET = Secret(b"k" * 16), Secret(bytes(range(64)))
STAMP = Utime(1000, 5)
MODE_NUMBER = {Mode.CRC: 1, Mode.SECURE: 2}


def banner(supported: int = 1, required: int = 0, more: bytes = b"") -> bytes:
    return BANNER + bytes(Encoder().blob_u16(bytes(Encoder().u64(supported).u64(required)) + more))


def hello(kind: int = EntityType.MON) -> bytes:
    enc = Encoder().u8(kind)
    SEEN.encode(enc)
    return bytes(enc)


def ident(supported: int = DEFAULT_FEATURES, required: int = 0) -> bytes:
    enc = Encoder()
    AddrVec((TARGET,)).encode(enc)
    enc.s64(0).u64(0).u64(supported).u64(required).u64(1).u64(0)
    return bytes(enc)


def auth_done(mode: int, payload: bytes = b"", global_id: int = 4711) -> bytes:
    return bytes(Encoder().u64(global_id).u32(mode).blob(payload))


class Peer:
    """A connection and the monitor's end of it."""

    def __init__(self, revision: int = 1) -> None:
        self.revision = revision
        self.conn = ConnectionV2(TARGET, 0x1234, revision=revision)
        self.rx = FrameReader(crc_layout(revision), lambda _: None)
        self.tx: Layout = crc_layout(revision)
        self.buf = ReceiveBuffer()
        self.from_client = bytearray()
        self.to_client = bytearray()
        self.seq = 0

    def feed(self, data: bytes) -> list[events.Event]:
        self.to_client += data
        self.conn.receive_data(data, 0.0)
        return self.drain()

    def drain(self) -> list[events.Event]:
        out = []
        while (event := self.conn.next_event()) is not None:
            out.append(event)
        return out

    def frame(self, tag: int, *segments: bytes) -> bytes:
        return self.tx.encode(tag, trim(segments))

    def say(self, tag: int, *segments: bytes) -> list[events.Event]:
        return self.feed(self.frame(tag, *segments))

    def sent(self) -> list[Frame]:
        data = self.conn.data_to_send()
        self.from_client += data
        self.buf.feed(data)
        out = []
        while (frame := self.rx.next(self.buf)) is not None:
            out.append(frame)
        return out

    def greet(self) -> Peer:
        own = self.conn.data_to_send()
        self.from_client += own
        assert own == banner(1 if self.revision else 0)
        assert self.feed(banner()) == []
        (frame,) = self.sent()
        assert frame.tag == Tag.HELLO
        assert self.say(Tag.HELLO, hello()) == [events.AuthNeeded()]
        return self

    def start(self, method: int = CEPHX, modes: tuple[Mode, ...] = (Mode.SECURE, Mode.CRC)) -> Peer:
        self.greet().conn.start_auth(WHO, 99, method, modes)
        (frame,) = self.sent()
        assert frame.tag == Tag.AUTH_REQUEST
        cur = Cursor(frame.segments[0])
        assert cur.u32() == method
        assert cur.items(Cursor.u32, each=4) == tuple(MODE_NUMBER[m] for m in modes)
        payload = cur.sub_blob("payload")
        assert (payload.u8(), EntityName.decode(payload), payload.u64()) == (10, WHO, 99)
        return self

    def signed(self, mode: Mode = Mode.CRC, key: Secret | None = KEY) -> Peer:
        """Up to CLIENT_IDENT."""
        self.start(modes=(mode,))
        assert self.say(Tag.AUTH_REPLY_MORE, bytes(Encoder().blob(b"challenge"))) == [events.AuthMore(b"challenge")]
        self.conn.auth_more(b"proof")
        (frame,) = self.sent()
        assert (frame.tag, Cursor(frame.segments[0]).blob()) == (Tag.AUTH_REQUEST_MORE, b"proof")
        done = self.say(Tag.AUTH_DONE, auth_done(MODE_NUMBER[mode], b"tickets"))
        assert done == [events.AuthDone(4711, mode, b"tickets")]
        received, sent = bytes(self.to_client), bytes(self.from_client)
        self.conn.auth_done(key, SECRET)
        if mode is Mode.SECURE:
            self.rx.layout, self.tx = secure_layouts(SECRET.reveal(), self.revision, server=True)
        (frame,) = self.sent()
        assert frame.tag == Tag.AUTH_SIGNATURE
        assert frame.segments[0] == (crypto.hmac_sha256(key.reveal(), received) if key else bytes(32))
        assert self.say(Tag.AUTH_SIGNATURE, crypto.hmac_sha256(key.reveal(), sent) if key else bytes(32)) == []
        return self

    def open(self, mode: Mode = Mode.CRC) -> Peer:
        self.signed(mode)
        (frame,) = self.sent()
        assert frame.tag == Tag.CLIENT_IDENT
        assert self.say(Tag.SERVER_IDENT, ident()) == [events.Ready(DEFAULT_FEATURES, mode)]
        return self

    def message(self, message: Message, seq: int | None = None) -> bytes:
        self.seq = self.seq + 1 if seq is None else seq
        return self.frame(Tag.MESSAGE, message.header2(self.seq, 0), message.front, message.middle, message.data)

    def fails(self, error: type[CephMonFSError], data: bytes, match: str | None = None) -> None:
        """These bytes end the connection for good."""
        with pytest.raises(error, match=match):
            self.feed(data)
        assert not self.conn.ready
        assert self.conn.data_to_send() == b""
        with pytest.raises(RuntimeError):
            self.conn.receive_data(b"x", 0.0)


# ---- banner and HELLO


def test_v1_is_spoken_here() -> None:
    Peer().fails(WrongProtocol, b"ceph v027" + bytes(272), "v1")
    peer = Peer()
    assert peer.feed(b"ceph v") == []
    peer.fails(WrongProtocol, b"0", "v1")


@pytest.mark.parametrize("data", [b"HTTP/1.1 400", b"ceph v3\n", b"\0"])
def test_no_monitor_at_all(data: bytes) -> None:
    Peer().fails(ProtocolError, data, "not a Ceph monitor")


def test_banner_byte_by_byte_with_more_in_it() -> None:
    peer = Peer()
    peer.conn.data_to_send()
    data = banner(more=b"new")
    for at in range(len(data)):
        assert peer.conn.data_to_send() == b""
        peer.feed(data[at : at + 1])
    assert len(peer.sent()) == 1


def test_banner_is_bounded() -> None:
    Peer().fails(DecodeError, BANNER + (limits.MAX_BANNER_PAYLOAD + 1).to_bytes(2, "little"), "limit")
    Peer().fails(DecodeError, BANNER + (15).to_bytes(2, "little") + bytes(15))


def test_banner_requires_what_we_lack() -> None:
    with pytest.raises(MissingFeatures) as caught:
        Peer().feed(banner(required=3))
    assert caught.value.missing == 2


def test_hello_of_somebody_else() -> None:
    peer = Peer()
    peer.feed(banner())
    peer.fails(UnexpectedMessage, peer.frame(Tag.HELLO, hello(EntityType.OSD)), "not a monitor")


# ---- authentication


def test_refused_and_tried_again() -> None:
    peer = Peer().start()
    lists = Encoder().u32(CEPHX).s32(-95).items([1], Encoder.u32).items([2, 1], Encoder.u32)
    assert peer.say(Tag.AUTH_BAD_METHOD, bytes(lists)) == [events.AuthRefused(-95, (1,), (2, 1))]
    peer.conn.start_auth(WHO, 0, NONE, (Mode.CRC,))
    assert peer.say(Tag.AUTH_DONE, auth_done(1)) == [events.AuthDone(4711, Mode.CRC, b"")]


@pytest.mark.parametrize("number", [0, 2, 3, 0xFFFFFFFF])
def test_mode_that_was_not_offered(number: int) -> None:
    peer = Peer().start(modes=(Mode.CRC,))
    peer.fails(UnexpectedMessage, peer.frame(Tag.AUTH_DONE, auth_done(number)), "connection mode")


def test_global_id_that_does_not_fit() -> None:
    peer = Peer().start()
    peer.fails(DecodeError, peer.frame(Tag.AUTH_DONE, auth_done(1, global_id=1 << 63)), "global_id")


@pytest.mark.parametrize("secret", [None, Secret(b"s" * 39), Secret(b"s" * 65)])
def test_secure_wants_a_secret(secret: Secret | None) -> None:
    peer = Peer().start()
    peer.say(Tag.AUTH_DONE, auth_done(2))
    with pytest.raises(AuthError, match="secret"):
        peer.conn.auth_done(KEY, secret)
    assert peer.conn._state is State.FAILED


@pytest.mark.parametrize("revision", [0, 1])
@pytest.mark.parametrize("mode", [Mode.CRC, Mode.SECURE])
def test_whole_session(revision: int, mode: Mode) -> None:
    peer = Peer(revision).signed(mode)
    (frame,) = peer.sent()
    cur = Cursor(frame.segments[0])
    mine = AddrVec.decode(cur).addrs[0]
    assert (mine.host, mine.nonce, mine.type) == ("10.0.0.9", 0x1234, AddrType.MSGR2)
    assert EntityAddr.decode(cur) == TARGET
    assert (cur.s64(), cur.u64(), cur.u64(), cur.u64()) == (4711, 0, DEFAULT_FEATURES, REQUIRED)
    assert (cur.u64(), cur.u64()) == (1, 0)
    cur.finish()
    assert peer.say(Tag.SERVER_IDENT, ident(DEFAULT_FEATURES ^ 2)) == [events.Ready(DEFAULT_FEATURES ^ 2, mode)]
    assert peer.conn.ready
    wanted = Message(99, b"front", 3, 2, 77, b"", b"data", 196)
    assert peer.feed(peer.message(wanted)) == [wanted]
    peer.conn.send_message(wanted)
    (frame,) = peer.sent()
    header = Header2.decode(frame.segments[0])
    assert (header.seq, header.tid, header.type, header.ack_seq) == (1, 77, 99, 1)
    assert frame.segments[1:] == (b"front", b"", b"data")


def test_auth_none_signs_with_zeros() -> None:
    peer = Peer().signed(key=None)
    assert len(peer.sent()) == 1


@pytest.mark.parametrize("signature", [bytes(32), b"", b"x" * 31, b"x" * 33])
def test_wrong_signature(signature: bytes) -> None:
    peer = Peer().start()
    peer.say(Tag.AUTH_DONE, auth_done(1))
    peer.conn.auth_done(KEY, None)
    peer.fails(Unproven, peer.frame(Tag.AUTH_SIGNATURE, signature), "signature")


@pytest.mark.parametrize("mode", [Mode.CRC, Mode.SECURE])
def test_a_signature_that_cannot_be_read_proves_nothing(mode: Mode) -> None:
    peer = Peer().start(modes=(mode,))
    peer.say(Tag.AUTH_DONE, auth_done(MODE_NUMBER[mode]))
    peer.conn.auth_done(KEY, SECRET)
    peer.fails(Unproven, peer.frame(Tag.AUTH_SIGNATURE, bytes(32))[:-1] + b"x" + bytes(200), "signature")


def test_damage_elsewhere_says_nothing_about_the_proof() -> None:
    peer = Peer().signed()
    damaged = bytearray(peer.frame(Tag.SERVER_IDENT, ident(DEFAULT_FEATURES)))
    damaged[40] ^= 1
    with pytest.raises(IntegrityError) as caught:
        peer.feed(bytes(damaged))
    assert not isinstance(caught.value, Unproven)


def test_without_a_key_there_is_nothing_to_prove() -> None:
    peer = Peer().start()
    peer.say(Tag.AUTH_DONE, auth_done(1))
    peer.conn.auth_done(None, None)
    with pytest.raises(IntegrityError, match="signature") as caught:
        peer.feed(peer.frame(Tag.AUTH_SIGNATURE, b"x" * 32))
    assert not isinstance(caught.value, Unproven)


def test_missing_features() -> None:
    peer = Peer().signed()
    with pytest.raises(MissingFeatures) as caught:
        peer.say(Tag.IDENT_MISSING_FEATURES, bytes(Encoder().u64(1 << 36)))
    assert caught.value.missing == 1 << 36
    peer = Peer().signed()
    peer.fails(MissingFeatures, peer.frame(Tag.SERVER_IDENT, ident(required=1 << 62)), "this client")
    peer = Peer().signed()
    peer.fails(MissingFeatures, peer.frame(Tag.SERVER_IDENT, ident(DEFAULT_FEATURES & ~REQUIRED)), "the monitor")


@pytest.mark.parametrize("tag", [*Tag, 11, 16, 21, 22, 0, 99])
@pytest.mark.parametrize("state", ["greeted", "start", "signed", "open"])
def test_tags_out_of_place(state: str, tag: int) -> None:
    """Empty frames: whoever accepts the tag finds nothing in it, everyone else names tag and state."""
    peer = Peer()
    if state == "greeted":
        peer.feed(banner())
    else:
        getattr(peer, state)()
    if (state, tag) == ("open", Tag.ACK):
        assert peer.say(tag, b"") == []
    else:
        peer.fails(ProtocolError, peer.frame(tag, b""))


def test_limits_before_the_signature() -> None:
    peer = Peer().start()
    peer.fails(ProtocolError, peer.frame(Tag.AUTH_REPLY_MORE, bytes(limits.MAX_PREAUTH_FRAME + 1)), "before auth")
    peer = Peer().start()
    peer.fails(ProtocolError, peer.frame(Tag.AUTH_REPLY_MORE, b"1", b"2"), "before auth")


# ---- a session


@pytest.mark.parametrize("seq", [0, 2, 2**64 - 1])
def test_seq_must_rise_by_one(seq: int) -> None:
    peer = Peer().open()
    peer.fails(UnexpectedMessage, peer.message(Message(99, b"f"), seq), "framing is lost")


def test_aborted_frame_is_dropped() -> None:
    peer = Peer().open()
    data = bytearray(peer.message(Message(99, b"half")))
    data[-13] = 1
    assert peer.feed(bytes(data)) == []
    again = Message(99, b"whole")
    assert peer.feed(peer.message(again, seq=1)) == [again]


def test_aborted_frame_of_the_handshake() -> None:
    peer = Peer(revision=0).start()
    data = bytearray(peer.frame(Tag.AUTH_REPLY_MORE, bytes(Encoder().blob(b"challenge"))))
    data[-17] = 1
    peer.fails(UnexpectedMessage, bytes(data), "aborted")


def test_keepalive() -> None:
    peer = Peer().open()
    peer.conn.send_keepalive(STAMP)
    (frame,) = peer.sent()
    assert (frame.tag, Cursor(frame.segments[0]).utime()) == (Tag.KEEPALIVE2, STAMP)
    assert peer.say(Tag.KEEPALIVE2_ACK, bytes(Encoder().utime(Utime(1, 1)))) == []
    assert peer.say(Tag.KEEPALIVE2_ACK, bytes(Encoder().utime(STAMP))) == [events.KeepaliveAcked(STAMP)]
    assert peer.say(Tag.KEEPALIVE2, bytes(Encoder().utime(Utime(7, 8)))) == []
    (frame,) = peer.sent()
    assert (frame.tag, Cursor(frame.segments[0]).utime()) == (Tag.KEEPALIVE2_ACK, Utime(7, 8))
    assert peer.conn.data_to_send() == b""


# ---- our own misuse


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.auth_more(b""),
        lambda c: c.auth_done(None, None),
        lambda c: c.send_message(Message(1, b"")),
        lambda c: c.send_keepalive(STAMP),
    ],
)
def test_calls_out_of_order(call: Callable[[ConnectionV2], None]) -> None:
    with pytest.raises(RuntimeError):
        call(Peer().greet().conn)
    with pytest.raises(RuntimeError):
        Peer().open().conn.start_auth(WHO, 0, NONE, (Mode.CRC,))


# ---- anything at all


@given(
    st.sampled_from(["new", "greet", "start", "signed", "open"]),
    st.lists(st.tuples(st.integers(0, 24), st.binary(max_size=120)), max_size=4),
    st.binary(max_size=60),
)
def test_junk_raises_only_our_errors(state: str, frames: list[tuple[int, bytes]], tail: bytes) -> None:
    peer = Peer()
    if state != "new":
        getattr(peer, state)()
    try:
        for tag, body in frames:
            peer.say(tag, body)
        peer.feed(tail)
    except CephMonFSError:
        assert peer.conn._state is State.FAILED


def test_handshake_is_bounded_as_a_whole() -> None:
    peer = Peer().start()
    piece = Encoder().u32(CEPHX).s32(-13).items([1], Encoder.u32).items([2], Encoder.u32).raw(bytes(60000))
    frame = peer.frame(Tag.AUTH_BAD_METHOD, bytes(piece))
    for _ in range(limits.MAX_PREAUTH_BYTES // len(frame)):
        assert isinstance(peer.feed(frame)[0], events.AuthRefused)
        peer.conn.start_auth(WHO, 0, CEPHX, (Mode.CRC,))
    peer.fails(ProtocolError, frame, "before the session is open")
