"""ConnectionV1 against a scripted monitor: every transition, every limit, every lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephmonfs.errors import (
    CephMonFSError,
    DecodeError,
    IntegrityError,
    MissingFeatures,
    ProtocolError,
    UnexpectedMessage,
    WrongProtocol,
)
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.mon import MMonGetMap, MMonMap, MMonSubscribeAck
from cephmonfs.messages.registry import to_monitor
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from cephmonfs.model.features import DEFAULT_FEATURES, Feature
from cephmonfs.msgr import events, frames_v1
from cephmonfs.msgr.connection import State
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v1 import Connect, ConnectReply, Header, Tag
from cephmonfs.msgr.v1 import ConnectionV1
from cephmonfs.wire import limits
from cephmonfs.wire.buffer import ReceiveBuffer
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

TARGET = EntityAddr.of("10.0.0.1", 6789, AddrType.LEGACY)
SEEN = EntityAddr.of("10.0.0.9", 40000, AddrType.LEGACY)
WHO = EntityName(EntityType.CLIENT, "df")
NONE, CEPHX = 1, 2
STAMP = Utime(1000, 5)


def hello() -> bytes:
    enc = Encoder().raw(frames_v1.BANNER)
    TARGET.encode_legacy(enc)
    SEEN.encode_legacy(enc)
    return bytes(enc)


def reply(tag: int = Tag.READY, features: int = DEFAULT_FEATURES, **more: int) -> bytes:
    return ConnectReply(tag, features, **more).encode()


class Peer:
    """A connection and the monitor's end of it."""

    def __init__(self, supported: int = DEFAULT_FEATURES) -> None:
        self.conn = ConnectionV1(TARGET, 0x1234, supported=supported)
        self.features = supported
        self.seq = 0
        self.seq_in = 0

    def feed(self, data: bytes) -> list[events.Event]:
        self.conn.receive_data(data, 0.0)
        return self.drain()

    def drain(self) -> list[events.Event]:
        out = []
        while (event := self.conn.next_event()) is not None:
            out.append(event)
        return out

    def message(self, message: Message, seq: int | None = None) -> bytes:
        self.seq = self.seq + 1 if seq is None else seq
        msg_auth = bool(self.features & Feature.MSG_AUTH)
        return frames_v1.encode_message(message, self.seq, (EntityType.MON, 0), msg_auth=msg_auth)

    def say(self, payload: MAuthReply | MMonMap | MMonSubscribeAck) -> list[events.Event]:
        return self.feed(self.message(to_message(payload)))

    def sent(self) -> list[frames_v1.Frame]:
        """What the client sent since last time, of a session."""
        reader, buf = frames_v1.FrameReader(), ReceiveBuffer()
        reader.msg_auth, reader.limits = bool(self.features & Feature.MSG_AUTH), frames_v1.session_limits
        buf.feed(self.conn.data_to_send())
        out = []
        while (frame := reader.next(buf)) is not None:
            out.append(frame)
        assert not len(buf)
        return out

    def connect(self) -> Peer:
        assert self.feed(hello() + reply(features=self.features)) == [events.AuthNeeded()]
        self.conn.data_to_send()
        return self

    def start(self, method: int = CEPHX) -> Peer:
        self.connect().conn.start_auth(WHO, 0, method, (Mode.LEGACY,))
        return self

    def open(self) -> Peer:
        self.start(NONE)
        assert self.say(MAuthReply(NONE, 0, 4711, b"")) == [events.AuthDone(4711, Mode.LEGACY, b"")]
        self.conn.auth_done(None, None)
        assert self.drain() == [events.Ready(self.features, Mode.LEGACY)]
        self.conn.data_to_send()
        return self

    def fails(self, error: type[CephMonFSError], data: bytes, match: str | None = None) -> None:
        """These bytes end the connection for good."""
        with pytest.raises(error, match=match):
            self.feed(data)
        assert not self.conn.ready
        assert self.conn.data_to_send() == b""
        with pytest.raises(RuntimeError):
            self.conn.receive_data(b"x", 0.0)


# ---- banner and connect


def test_banner_addresses_and_connect() -> None:
    peer = Peer()
    assert peer.conn.data_to_send() == b"ceph v027"
    assert peer.feed(hello()) == []
    cur = Cursor(peer.conn.data_to_send())
    mine = EntityAddr.decode(cur)
    assert (mine.host, mine.nonce, mine.type) == ("10.0.0.9", 0x1234, AddrType.LEGACY)
    connect = Connect.decode(cur)
    cur.finish()
    assert connect == Connect(DEFAULT_FEATURES, EntityType.CLIENT, 1, 0, 15, 0, 0, 1)


@pytest.mark.parametrize("cut", [1, 5, 7, 8])
def test_v2_is_spoken_here(cut: int) -> None:
    banner = b"ceph v2\n" + bytes(18)
    peer = Peer()
    if cut < 8:
        assert peer.feed(banner[:cut]) == []
        peer.fails(WrongProtocol, banner[cut:], "v2")
    else:
        peer.fails(WrongProtocol, banner, "v2")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n", b"ceph v2x\n", b"ceph v026", b"\0"])
def test_no_monitor_at_all(data: bytes) -> None:
    Peer().fails(ProtocolError, data, "not a Ceph monitor")


def test_bad_address_in_banner() -> None:
    data = bytearray(hello())
    data[9] = 7
    Peer().fails(DecodeError, bytes(data))


def test_seq_tag() -> None:
    peer = Peer()
    assert peer.feed(hello() + reply(Tag.SEQ)) == []
    peer.conn.data_to_send()
    assert peer.feed(bytes(7)) == []
    assert peer.feed(bytes(1)) == [events.AuthNeeded()]
    assert peer.conn.data_to_send() == bytes(8)


def test_missing_features() -> None:
    peer = Peer(DEFAULT_FEATURES & ~Feature.CRUSH_V2)
    with pytest.raises(MissingFeatures) as caught:
        peer.feed(hello() + reply(Tag.FEATURES, Feature.CRUSH_V2 | Feature.MSG_AUTH))
    assert caught.value.missing == Feature.CRUSH_V2


def test_retry_global_seq() -> None:
    peer = Peer()
    peer.feed(hello())
    peer.conn.data_to_send()
    for wanted in (7, 0xFFFFFFFF, 3):
        assert peer.feed(reply(Tag.RETRY_GLOBAL, global_seq=wanted)) == []
        assert Connect.decode(Cursor(peer.conn.data_to_send())).global_seq == (wanted + 1) & 0xFFFFFFFF
    peer.fails(ProtocolError, reply(Tag.RETRY_GLOBAL, global_seq=9), "global_seq")


def test_wrong_protocol_version() -> None:
    Peer().fails(ProtocolError, hello() + reply(Tag.BADPROTOVER, protocol=16), "version 16")


@pytest.mark.parametrize(
    "tag",
    [
        Tag.WAIT,
        Tag.RETRY_SESSION,
        Tag.RESETSESSION,
        Tag.BADAUTHORIZER,
        Tag.CHALLENGE_AUTHORIZER,
        Tag.MSG,
        Tag.CLOSE,
        99,
        0,
    ],
)
def test_other_replies_are_not_for_us(tag: int) -> None:
    Peer().fails(UnexpectedMessage, hello() + reply(tag), "while in CONNECT")


def test_authorizer_in_the_reply_is_skipped() -> None:
    peer = Peer()
    assert peer.feed(hello() + reply(authorizer_len=10)) == []
    assert peer.feed(bytes(9)) == []
    assert peer.feed(bytes(1)) == [events.AuthNeeded()]


def test_authorizer_is_bounded() -> None:
    Peer().fails(DecodeError, hello() + reply(authorizer_len=limits.MAX_PREAUTH_FRAME + 1), "authorizer")


def test_features_of_the_session_are_common_ones() -> None:
    peer = Peer(DEFAULT_FEATURES & ~Feature.MSG_AUTH)
    peer.feed(hello() + reply(features=Feature.MSG_AUTH | Feature.MONNAMES | 1 << 63))
    peer.conn.data_to_send()
    peer.conn.start_auth(WHO, 0, NONE, (Mode.LEGACY,))
    assert len(peer.sent()) == 1  # with the short footer
    peer.say(MAuthReply(NONE, 0, 1, b""))
    peer.conn.auth_done(None, None)
    assert peer.drain() == [events.Ready(Feature.MONNAMES, Mode.LEGACY)]


# ---- authentication


def test_cephx_exchange() -> None:
    peer = Peer().connect()
    peer.conn.start_auth(WHO, 99, CEPHX, (Mode.LEGACY,))
    (frame,) = peer.sent()
    assert frame.message is not None
    hello_ = to_monitor(frame.message)
    assert isinstance(hello_, MAuth)
    assert hello_.protocol == 0
    cur = Cursor(hello_.payload)
    assert (cur.u8(), cur.items(Cursor.u32, each=4)) == (1, (CEPHX,))
    assert (EntityName.decode(cur), cur.u64()) == (WHO, 99)
    cur.finish()
    assert peer.say(MAuthReply(CEPHX, 0, 4711, b"challenge")) == [events.AuthMore(b"challenge")]
    peer.conn.auth_more(b"proof")
    (frame,) = peer.sent()
    assert frame.seq == 2
    assert frame.message is not None
    assert to_monitor(frame.message) == MAuth(CEPHX, b"proof")
    assert peer.say(MAuthReply(CEPHX, 0, 4711, b"tickets")) == [events.AuthDone(4711, Mode.LEGACY, b"tickets")]
    assert not peer.conn.ready
    peer.conn.auth_done(Secret(b"k" * 16), Secret(b"s" * 64))
    assert peer.drain() == [events.Ready(DEFAULT_FEATURES, Mode.LEGACY)]
    assert peer.conn.ready


def test_monmap_between_is_handed_on_after_ready() -> None:
    peer = Peer().start()
    assert peer.say(MMonMap(b"early")) == []
    peer.say(MAuthReply(CEPHX, 0, 1, b"c"))
    peer.conn.auth_more(b"p")
    assert peer.say(MMonMap(b"later")) == []
    done = peer.message(to_message(MAuthReply(CEPHX, 0, 1, b"t")))
    after = peer.message(to_message(MMonSubscribeAck(9, bytes(16))))
    assert peer.feed(done + after) == [events.AuthDone(1, Mode.LEGACY, b"t")]
    peer.conn.auth_done(None, None)
    ready, monmap, ack = peer.drain()
    assert isinstance(ready, events.Ready)
    assert monmap == to_message(MMonMap(b"later"))
    assert isinstance(ack, Message)
    assert ack.type == MsgType.MON_SUBSCRIBE_ACK


@pytest.mark.parametrize("result", [-1, -13, -22, -95])
def test_refusal(result: int) -> None:
    peer = Peer().start()
    assert peer.say(MAuthReply(0, result, 0, b"", "no")) == [events.AuthRefused(result, (), (), "no")]
    peer.conn.start_auth(WHO, 0, NONE, (Mode.LEGACY,))  # allowed, whatever the monitor makes of it
    assert isinstance(peer.say(MAuthReply(NONE, 0, 1, b""))[0], events.AuthDone)


def test_global_id_that_does_not_fit() -> None:
    peer = Peer().start(NONE)
    peer.fails(DecodeError, peer.message(to_message(MAuthReply(NONE, 0, 1 << 63, b""))), "global_id")


def test_positive_result() -> None:
    peer = Peer().start()
    peer.fails(ProtocolError, peer.message(to_message(MAuthReply(CEPHX, 5, 0, b""))), "result 5")


@pytest.mark.parametrize("method", [0, NONE, 7])
def test_no_other_method_on_the_peers_word(method: int) -> None:
    peer = Peer().start()
    peer.fails(UnexpectedMessage, peer.message(to_message(MAuthReply(method, 0, 1, b""))), "we asked for 2")


def test_other_messages_before_authentication() -> None:
    for message in (to_message(MMonSubscribeAck(1, bytes(16))), Message(9999, b"")):
        peer = Peer().start()
        peer.fails(UnexpectedMessage, peer.message(message), "before authentication")


def test_undecodable_reply() -> None:
    peer = Peer().start()
    peer.fails(DecodeError, peer.message(Message(MsgType.AUTH_REPLY, b"\x02")))
    peer = Peer().start()
    peer.fails(DecodeError, peer.message(Message(MsgType.AUTH_REPLY, b"", 9, 9)), "needs decoder")


def header(front: int = 0, middle: int = 0, data: int = 0) -> bytes:
    fields = Header(1, 0, MsgType.AUTH_REPLY, 127, 1, front, middle, data, 1, 0, 1)
    return bytes((Tag.MSG,)) + fields.encode()


@pytest.mark.parametrize("sizes", [(limits.MAX_PREAUTH_FRAME + 1, 0, 0), (0, 1, 0), (0, 0, 1), (0xFFFFFFFF,) * 3])
def test_limits_before_authentication(sizes: tuple[int, int, int]) -> None:
    Peer().start().fails(ProtocolError, header(*sizes), "before authentication")


@pytest.mark.parametrize(
    "sizes",
    [
        (limits.MAX_FRONT + 1, 0, 0),
        (0, 1, 0),
        (0, 0, limits.MAX_DATA + 1),
        (limits.MAX_MESSAGE - limits.MAX_DATA + 1, 0, limits.MAX_DATA),
    ],
)
def test_limits_of_a_session(sizes: tuple[int, int, int]) -> None:
    Peer().open().fails(ProtocolError, header(*sizes), "limit")


@pytest.mark.parametrize("tag", [Tag.ACK, Tag.KEEPALIVE, Tag.KEEPALIVE2, Tag.KEEPALIVE2_ACK])
def test_session_tags_before_authentication(tag: Tag) -> None:
    Peer().start().fails(UnexpectedMessage, bytes((tag,)) + bytes(8), "while in AUTH")


# ---- a session


def test_messages_both_ways() -> None:
    peer = Peer().open()
    wanted = Message(99, b"front", 3, 2, 77, b"", b"data", 196)
    assert peer.feed(peer.message(wanted)) == [wanted]
    peer.conn.send_message(wanted)
    peer.conn.send_message(wanted)
    frames = peer.sent()
    assert [frame.message for frame in frames] == [wanted, wanted]
    assert [frame.seq for frame in frames] == [2, 3]  # 1 was MAuth


def test_source_is_client_global_id() -> None:
    peer = Peer().open()
    peer.conn.send_message(to_message(MMonGetMap()))
    got = Header.decode(Cursor(peer.conn.data_to_send()[1:]))
    assert (got.src_type, got.src_num) == (EntityType.CLIENT, 4711)


@pytest.mark.parametrize("seq", [0, 1, 3, 2**64 - 1])
def test_seq_must_rise_by_one(seq: int) -> None:
    peer = Peer().open()
    assert peer.seq == 1
    peer.fails(UnexpectedMessage, peer.message(Message(99, b""), seq), "framing is lost")


@pytest.mark.parametrize("msg_auth", [True, False])
def test_every_damaged_byte_of_a_message(msg_auth: bool) -> None:
    """All but the signature, which nobody makes, and the reserved flags."""
    size = 1 + 53 + 9 + (21 if msg_auth else 13)
    sig_and_flags = range(1 + 53 + 9 + 12, size)
    for at in range(1, size):
        peer = Peer(DEFAULT_FEATURES if msg_auth else DEFAULT_FEATURES & ~Feature.MSG_AUTH).open()
        data = bytearray(peer.message(Message(99, b"front", 1, 1, 5, b"", b"data")))
        assert len(data) == size
        data[at] ^= 0x10
        if at in sig_and_flags:
            assert len(peer.feed(bytes(data))) == 1
        else:
            peer.fails(IntegrityError, bytes(data))


def footer(data: bytes, flags: int, crc: int = 0) -> bytes:
    """Replace the data crc and the flags."""
    return data[:-13] + crc.to_bytes(4, "little") + data[-9:-1] + bytes((flags,))


def test_data_without_crc() -> None:
    peer = Peer().open()
    message = Message(99, b"front", data=b"data")
    assert peer.feed(footer(peer.message(message), flags=3)) == [message]
    peer.fails(IntegrityError, footer(peer.message(message), flags=1), "data crc")


def test_aborted_message_is_dropped() -> None:
    peer = Peer().open()
    assert peer.feed(footer(peer.message(Message(99, b"half")), flags=0)) == []
    again = Message(99, b"whole")
    assert peer.feed(peer.message(again, seq=2)) == [again]
    peer = Peer().start()
    assert peer.feed(footer(peer.message(Message(MsgType.AUTH_REPLY, b"half")), flags=0)) == []


def test_keepalive() -> None:
    peer = Peer().open()
    peer.conn.send_keepalive(STAMP)
    (frame,) = peer.sent()
    assert (frame.tag, Cursor(frame.body).utime()) == (Tag.KEEPALIVE2, STAMP)
    assert peer.feed(frames_v1.encode_keepalive2(Utime(1000, 6), ack=True)) == []
    ack = frames_v1.encode_keepalive2(STAMP, ack=True)
    assert peer.feed(ack) == [events.KeepaliveAcked(STAMP)]
    assert peer.feed(ack) == []  # once


def test_keepalive_of_the_monitor() -> None:
    peer = Peer().open()
    assert peer.feed(frames_v1.encode_keepalive2(STAMP) + bytes((Tag.KEEPALIVE,))) == []
    (frame,) = peer.sent()
    assert (frame.tag, Cursor(frame.body).utime()) == (Tag.KEEPALIVE2_ACK, STAMP)


def test_sign_of_life_without_keepalive2() -> None:
    peer = Peer(DEFAULT_FEATURES & ~Feature.MSGR_KEEPALIVE2).open()
    peer.conn.send_keepalive(STAMP)
    (frame,) = peer.sent()
    assert frame.message is not None
    assert to_monitor(frame.message) == MMonGetMap()
    got, alive = peer.say(MMonMap(b""))
    assert isinstance(got, Message)
    assert alive == events.KeepaliveAcked(STAMP)
    assert len(peer.say(MMonMap(b""))) == 1


def test_acks() -> None:
    peer = Peer().open()
    assert peer.feed(frames_v1.encode_ack(1)) == []
    peer.fails(UnexpectedMessage, frames_v1.encode_ack(2), "never sent")


def test_close() -> None:
    Peer().open().fails(ProtocolError, bytes((Tag.CLOSE,)), "closed")
    Peer().start().fails(ProtocolError, bytes((Tag.CLOSE,)), "closed")


@pytest.mark.parametrize("tag", [0, Tag.READY, Tag.SEQ, Tag.FEATURES, 17, 255])
def test_unknown_tags(tag: int) -> None:
    Peer().open().fails(UnexpectedMessage, bytes((tag,)), "in a session")


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
def test_calls_out_of_order(call: Callable[[ConnectionV1], None]) -> None:
    with pytest.raises(RuntimeError):
        call(Peer().connect().conn)
    with pytest.raises(RuntimeError):
        Peer().open().conn.start_auth(WHO, 0, NONE, (Mode.LEGACY,))


@pytest.mark.parametrize("modes", [(), (Mode.SECURE,), (Mode.LEGACY, Mode.CRC)])
def test_no_other_mode(modes: tuple[Mode, ...]) -> None:
    with pytest.raises(RuntimeError):
        Peer().connect().conn.start_auth(WHO, 0, NONE, modes)


def test_nothing_to_send_is_nothing() -> None:
    peer = Peer().open()
    assert peer.conn.data_to_send() == b""


# ---- anything at all

_PIECES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([bytes((tag,)) for tag in Tag]),
    st.builds(header, *(st.integers(0, 2**32 - 1),) * 3),
    st.builds(frames_v1.encode_ack, st.integers(0, 2**64 - 1)),
)


@given(st.sampled_from(["new", "connect", "start", "open"]), st.lists(_PIECES, max_size=6), st.integers(1, 300))
def test_junk_raises_only_our_errors(state: str, pieces: list[bytes], step: int) -> None:
    peer = Peer()
    if state != "new":
        getattr(peer, state)()
    data = b"".join(pieces)
    try:
        for at in range(0, len(data), step):
            peer.feed(data[at : at + step])
    except CephMonFSError:
        assert peer.conn._state is State.FAILED


def test_handshake_is_bounded_as_a_whole() -> None:
    peer = Peer().start()
    for _ in range(limits.MAX_PREAUTH_BYTES // 61000):
        assert peer.say(MMonMap(bytes(60000))) == []
    peer.fails(ProtocolError, peer.message(to_message(MMonMap(bytes(60000)))), "before the session is open")
