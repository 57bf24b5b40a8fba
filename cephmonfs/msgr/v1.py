"""The client's end of one msgr1 connection to a monitor.

    server  banner, its address, ours as it sees it
    client  banner, our address, connect
    server  READY, or SEQ with le64 seq (the client answers le64 0)      AuthNeeded
    client  MAuth, protocol 0: methods, name, global_id                  start_auth()
    server  MAuthReply with an error                                     AuthRefused
            MAuthReply with the method's challenge                       AuthMore: auth_more()
            MAuthReply, the last                                         AuthDone: auth_done(), then Ready
    both    messages, KEEPALIVE2 and its acknowledgement

What holds for either protocol is in connection.py.  What differs from v2:

- Authentication is done by messages.  The monitor may send its MonMap in the midst of them, unasked: it is handed
  on after Ready.  A refusal ends the connection's usefulness: a monitor keeps to the method it began with.
- Towards monitors nothing is signed and nothing encrypted: cephx protects the key, not the messages.
- A peer without KEEPALIVE2 does not acknowledge keepalives; then the monmap is requested instead, and the next
  message of any type is the acknowledgement.

Ceph v20.2.4: src/msg/async/ProtocolV1.cc, src/mon/MonClient.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from cephmonfs.errors import DecodeError, MissingFeatures, ProtocolError, UnexpectedMessage, WrongProtocol
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.mon import MMonGetMap, MMonMap
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model import features
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from cephmonfs.model.features import Feature, has
from cephmonfs.msgr.connection import Connection, State
from cephmonfs.msgr.events import (
    AuthDone,
    AuthMore,
    AuthNeeded,
    AuthRefused,
    KeepaliveAcked,
    Mode,
    Ready,
)
from cephmonfs.msgr.frames_v1 import (
    BANNER,
    REPLY_SIZE,
    SERVER_HELLO_SIZE,
    Connect,
    ConnectReply,
    Frame,
    FrameReader,
    Tag,
    encode_keepalive2,
    encode_message,
    session_limits,
    tag_name,
)
from cephmonfs.wire import limits
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

V2_BANNER: Final = b"ceph v2\n"
_AUTH_PAYLOAD_V: Final = 1
_METHOD_NONE: Final = 1  # ends with its first reply; every other method asks something first
_MAX_RETRIES: Final = 3  # of the connect exchange: a peer that always wants a higher global_seq is not well
_SEQ_SIZE: Final = 8


class ConnectionV1(Connection):
    """The connection for `ms_mode` legacy."""

    def __init__(self, target: EntityAddr, nonce: int, *, supported: int = features.DEFAULT_FEATURES) -> None:
        super().__init__(target, nonce, AddrType.LEGACY, supported)
        self._out.append(BANNER)
        self._reader = FrameReader()
        self._global_seq = 1
        self._retries = 0
        self._reply: ConnectReply | None = None  # its authorizer is still to come
        self._features = 0
        self._method = 0
        self._asked_more = False
        self._monmap: Message | None = None  # came before its time
        self._global_id = 0

    # what the driver calls in answer to events

    def start_auth(self, entity: EntityName, global_id: int, method: int, modes: tuple[Mode, ...]) -> None:
        """Send MAuth, protocol 0: u8 1, list<le32> methods, entity_name, le64 global_id."""
        if modes != (Mode.LEGACY,):
            raise RuntimeError(f"msgr1 has one mode, not {modes}")
        self._leave(State.START_LOCAL)
        payload = Encoder().u8(_AUTH_PAYLOAD_V).items([method], Encoder.u32)
        entity.encode(payload)
        payload.u64(global_id)
        self._method, self._asked_more = method, False
        self._send(to_message(MAuth(0, bytes(payload))))
        self._go_on(State.AUTH)

    def auth_more(self, payload: bytes) -> None:
        """Send MAuth with the method's payload."""
        self._leave(State.AUTH_LOCAL)
        self._send(to_message(MAuth(self._method, payload)))
        self._go_on(State.AUTH)

    def auth_done(self, session_key: Secret | None, connection_secret: Secret | None) -> None:
        """Open the session.  Neither key is of use here: towards a monitor msgr1 signs and encrypts nothing."""
        self._leave(State.DONE_LOCAL)
        self._reader.limits = session_limits
        self._events.append(Ready(self._features, Mode.LEGACY))
        if self._monmap is not None:
            self._events.append(self._monmap)
            self._monmap = None
        self._go_on(State.READY)

    def send_message(self, message: Message) -> None:
        """Send one message."""
        self._must_be_ready()
        self._send(message)

    def send_keepalive(self, stamp: Utime) -> None:
        """Ask for a sign of life."""
        self._must_be_ready()
        self._sent_stamp = stamp
        if has(self._features, Feature.MSGR_KEEPALIVE2):
            self._out.append(encode_keepalive2(stamp))
        else:
            self._send(to_message(MMonGetMap()))

    # sending

    def _send(self, message: Message) -> None:
        self._seq_out += 1
        src = (EntityType.CLIENT, self._global_id)
        self._out.append(encode_message(message, self._seq_out, src, msg_auth=self._reader.msg_auth))

    def _send_connect(self) -> None:
        self._out.append(Connect(self._supported, EntityType.CLIENT, self._global_seq).encode())

    # receiving

    def _step(self) -> bool:
        match self._state:
            case State.BANNER:
                return self._read_banner()
            case State.CONNECT:
                return self._read_reply()
            case State.SEQ:
                return self._read_seq()
            case _:
                frame = self._reader.next(self._buf)
                if frame is None:
                    return False
                self._on(frame.tag, frame, self._FRAMES)
                return True

    def _name(self, tag: int) -> str:
        return tag_name(tag)

    def _read_banner(self) -> bool:
        """u8[9] banner, the monitor's address, ours; the monitor's own idea of its address is not compared."""
        head = self._buf.peek(len(BANNER))
        if not BANNER.startswith(head):
            if head.startswith(V2_BANNER):
                raise WrongProtocol("speaks the v2 protocol here, not v1: leave ms_mode=legacy away")
            if not V2_BANNER.startswith(head):
                raise ProtocolError(f"is not a Ceph monitor: its first bytes are {head!r}")
            return False
        whole = self._buf.take(SERVER_HELLO_SIZE)
        if whole is None:
            return False
        cur = Cursor(whole, "banner")
        cur.skip(len(BANNER))
        EntityAddr.decode(cur)
        seen = EntityAddr.decode(cur)
        cur.finish()
        enc = Encoder()
        self.my_addr = EntityAddr(AddrType.LEGACY, self.my_addr.nonce, seen.sockaddr)
        self.my_addr.encode_legacy(enc)
        self._out.append(bytes(enc))
        self._send_connect()
        self._state = State.CONNECT
        return True

    def _read_reply(self) -> bool:
        """26 bytes and an authorizer, which no monitor sends and we have no use for."""
        if self._reply is None:
            head = self._buf.take(REPLY_SIZE)
            if head is None:
                return False
            reply = ConnectReply.decode(Cursor(head, "ceph_msg_connect_reply"))
            if reply.authorizer_len > limits.MAX_PREAUTH_FRAME:
                raise DecodeError(
                    "ceph_msg_connect_reply",
                    21,
                    f"authorizer of {reply.authorizer_len} bytes, limit {limits.MAX_PREAUTH_FRAME}",
                )
            self._reply = reply
        if self._buf.take(self._reply.authorizer_len) is None:
            return False
        reply, self._reply = self._reply, None
        self._on(reply.tag, reply, self._REPLIES)
        return True

    def _read_seq(self) -> bool:
        """The sequence number that the monitor has seen on an earlier connection: there was none."""
        if self._buf.take(_SEQ_SIZE) is None:
            return False
        self._out.append(bytes(_SEQ_SIZE))
        self._state = self._connected()
        return True

    # connect replies

    def _on_ready(self, reply: ConnectReply) -> State:
        self._features = reply.features & self._supported
        return self._connected()

    def _on_seq(self, reply: ConnectReply) -> State:
        self._features = reply.features & self._supported
        return State.SEQ

    def _connected(self) -> State:
        self._reader.msg_auth = has(self._features, Feature.MSG_AUTH)
        self._events.append(AuthNeeded())
        return State.START_LOCAL

    def _on_missing_features(self, reply: ConnectReply) -> State:
        raise MissingFeatures("this client", reply.features & ~self._supported)

    def _on_retry_global(self, reply: ConnectReply) -> State:
        """Our global_seq is too low for it."""
        self._retries += 1
        if self._retries > _MAX_RETRIES:
            raise ProtocolError(f"wants another global_seq for the {self._retries}th time")
        self._global_seq = (reply.global_seq + 1) & 0xFFFFFFFF
        self._send_connect()
        return State.CONNECT

    def _on_bad_proto(self, reply: ConnectReply) -> State:
        raise ProtocolError(f"speaks version {reply.protocol} of the monitor protocol, we speak 15")

    _REPLIES: ClassVar[dict[tuple[State, int], Callable[[ConnectionV1, ConnectReply], State]]] = {
        (State.CONNECT, Tag.READY): _on_ready,
        (State.CONNECT, Tag.SEQ): _on_seq,
        (State.CONNECT, Tag.FEATURES): _on_missing_features,
        (State.CONNECT, Tag.RETRY_GLOBAL): _on_retry_global,
        (State.CONNECT, Tag.BADPROTOVER): _on_bad_proto,
    }
    # WAIT, RETRY_SESSION and RESETSESSION are for lossless peers, BADAUTHORIZER and CHALLENGE_AUTHORIZER for those
    # that sent an authorizer

    # frames

    def _on_auth_message(self, frame: Frame) -> State:
        message = frame.message
        if message is None:
            return State.AUTH
        self._take_seq(frame.seq)
        match from_monitor(message):
            case MMonMap():
                self._monmap = message
                return State.AUTH
            case MAuthReply() as reply:
                return self._on_auth_reply(reply)
            case _:
                raise UnexpectedMessage(f"message of type {message.type} before authentication")

    def _on_auth_reply(self, reply: MAuthReply) -> State:
        if reply.result < 0:
            self._events.append(AuthRefused(reply.result, (), (), reply.text))
            return State.START_LOCAL
        if reply.result > 0:
            raise ProtocolError(f"auth reply with result {reply.result}")
        if reply.protocol != self._method:
            raise UnexpectedMessage(f"auth reply for method {reply.protocol}, we asked for {self._method}")
        if self._method != _METHOD_NONE and not self._asked_more:
            self._asked_more = True
            self._events.append(AuthMore(reply.payload))
            return State.AUTH_LOCAL
        if reply.global_id >> 63:  # it goes back as a signed number
            raise DecodeError("MAuthReply", 8, f"global_id 0x{reply.global_id:x}")
        self._global_id = reply.global_id
        self._events.append(AuthDone(reply.global_id, Mode.LEGACY, reply.payload))
        return State.DONE_LOCAL

    def _on_message(self, frame: Frame) -> State:
        message = frame.message
        if message is not None:
            self._take_seq(frame.seq)
            self._events.append(message)
            if not has(self._features, Feature.MSGR_KEEPALIVE2):
                self._alive()
        return State.READY

    def _alive(self) -> None:
        if self._sent_stamp is not None:
            self._events.append(KeepaliveAcked(self._sent_stamp))
            self._sent_stamp = None

    def _on_keepalive(self, frame: Frame) -> State:
        return State.READY

    def _on_keepalive2(self, frame: Frame) -> State:
        self._out.append(encode_keepalive2(Cursor(frame.body, "KEEPALIVE2").utime(), ack=True))
        return State.READY

    def _on_keepalive2_ack(self, frame: Frame) -> State:
        if Cursor(frame.body, "KEEPALIVE2_ACK").utime() == self._sent_stamp:
            self._alive()
        return State.READY

    def _on_ack(self, frame: Frame) -> State:
        if Cursor(frame.body, "ACK").u64() > self._seq_out:
            raise UnexpectedMessage("acknowledges a message that we never sent")
        return State.READY

    def _on_close(self, frame: Frame) -> State:
        raise ProtocolError("the monitor closed the session")

    _FRAMES: ClassVar[dict[tuple[State, int], Callable[[ConnectionV1, Frame], State]]] = {
        (State.AUTH, Tag.MSG): _on_auth_message,
        (State.AUTH, Tag.CLOSE): _on_close,
        (State.READY, Tag.MSG): _on_message,
        (State.READY, Tag.ACK): _on_ack,
        (State.READY, Tag.KEEPALIVE): _on_keepalive,
        (State.READY, Tag.KEEPALIVE2): _on_keepalive2,
        (State.READY, Tag.KEEPALIVE2_ACK): _on_keepalive2_ack,
        (State.READY, Tag.CLOSE): _on_close,
    }
