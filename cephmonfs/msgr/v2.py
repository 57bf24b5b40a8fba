"""The client's end of one msgr2 connection to a monitor.

    both    banner, HELLO
    client  AUTH_REQUEST            start_auth()
    server  AUTH_BAD_METHOD         AuthRefused: start_auth() again, or give up
            AUTH_REPLY_MORE         AuthMore: auth_more()
            AUTH_DONE               AuthDone: auth_done()
    both    AUTH_SIGNATURE          the first frame in the new mode, over every byte received before it
    client  CLIENT_IDENT
    server  SERVER_IDENT            Ready
    both    MESSAGE, KEEPALIVE2, KEEPALIVE2_ACK

What holds for either protocol is in connection.py.  Ceph v20.2.4: src/msg/async/ProtocolV2.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from cephmonfs.errors import (
    AuthError,
    IntegrityError,
    MissingFeatures,
    ProtocolError,
    UnexpectedMessage,
    Unproven,
    WrongProtocol,
)
from cephmonfs.messages.message import Header2, Message
from cephmonfs.model import features
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr, EntityName, EntityType
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
from cephmonfs.msgr.frames_v2 import FrameReader, Tag, crc_layout, secure_layouts, session_limits, trim
from cephmonfs.wire import crypto, limits
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

BANNER: Final = b"ceph v2\n"
V1_BANNER: Final = b"ceph v0"
REVISION_1: Final = 1
_AUTH_MODE_MON: Final = 10  # first byte of an AUTH_REQUEST payload to a monitor
_SIGNATURE_SIZE: Final = 32
_SECRET_MIN: Final = 40
_LOSSY: Final = 1
_CON_MODES: Final = {Mode.CRC: 1, Mode.SECURE: 2}
_MODE_OF: Final = {number: mode for mode, number in _CON_MODES.items()}


class ConnectionV2(Connection):
    """The connection for `ms_mode` secure and crc."""

    def __init__(
        self,
        target: EntityAddr,
        nonce: int,
        *,
        revision: int = REVISION_1,
        supported: int = features.DEFAULT_FEATURES,
    ) -> None:
        super().__init__(target, nonce, AddrType.MSGR2, supported)
        self._banner_features = REVISION_1 if revision else 0
        self._rev = 0
        self._sent = bytearray()  # wire bytes up to the last AUTH_REQUEST(_MORE), signed by the server
        self._reader = FrameReader(crc_layout(0))
        self._tx = crc_layout(0)
        self._offered: tuple[Mode, ...] = ()
        self._method = 0
        self._signature = b""
        self._global_id = 0
        self._mode = Mode.CRC
        enc = Encoder().raw(BANNER)
        enc.blob_u16(bytes(Encoder().u64(self._banner_features).u64(0)))
        self._send_raw(bytes(enc))

    # what the driver calls in answer to events

    def start_auth(self, entity: EntityName, global_id: int, method: int, modes: tuple[Mode, ...]) -> None:
        """Send AUTH_REQUEST: le32 method, list<le32> modes, blob { u8 10, entity_name, le64 global_id }."""
        self._leave(State.START_LOCAL)
        payload = Encoder().u8(_AUTH_MODE_MON)
        entity.encode(payload)
        payload.u64(global_id)
        self._method, self._offered = method, modes
        enc = Encoder().u32(method).items([_CON_MODES[m] for m in modes], Encoder.u32).blob(bytes(payload))
        self._send(Tag.AUTH_REQUEST, bytes(enc))
        self._go_on(State.AUTH)

    def auth_more(self, payload: bytes) -> None:
        """Send AUTH_REQUEST_MORE."""
        self._leave(State.AUTH_LOCAL)
        self._send(Tag.AUTH_REQUEST_MORE, bytes(Encoder().blob(payload)))
        self._go_on(State.AUTH)

    def auth_done(self, session_key: Secret | None, connection_secret: Secret | None) -> None:
        """Go over to the agreed mode and sign.  Without a session key (auth none) signatures are zeros."""
        self._leave(State.DONE_LOCAL)
        received = bytes(self._reader.transcript or b"")
        sent = bytes(self._sent)
        self._reader.transcript = None
        if session_key is None:
            ours = self._signature = bytes(_SIGNATURE_SIZE)
        else:
            ours = crypto.hmac_sha256(session_key.reveal(), received)
            self._signature = crypto.hmac_sha256(session_key.reveal(), sent)
        if self._mode is Mode.SECURE:
            if connection_secret is None or not _SECRET_MIN <= len(connection_secret) <= limits.MAX_SECRET:
                raise AuthError("secure mode without a usable connection secret")
            self._reader.layout, self._tx = secure_layouts(connection_secret.reveal(), self._rev)
        self._send(Tag.AUTH_SIGNATURE, ours)
        self._go_on(State.SIGNATURE)

    def send_message(self, message: Message) -> None:
        """Send one message."""
        self._must_be_ready()
        self._seq_out += 1
        header = message.header2(self._seq_out, self._seq_in)
        segments = trim((header, message.front, message.middle, message.data))
        self._out.append(self._tx.encode(Tag.MESSAGE, segments))

    def send_keepalive(self, stamp: Utime) -> None:
        """Send KEEPALIVE2; the acknowledgement repeats the stamp."""
        self._must_be_ready()
        self._sent_stamp = stamp
        self._send(Tag.KEEPALIVE2, bytes(Encoder().utime(stamp)))

    # sending

    def _send_raw(self, data: bytes) -> None:
        self._out.append(data)
        self._sent += data

    def _send(self, tag: Tag, *segments: bytes) -> None:
        data = self._tx.encode(tag, segments)
        self._out.append(data)
        if self._reader.transcript is not None:
            self._sent += data

    # receiving

    def _step(self) -> bool:
        if self._state is State.BANNER:
            return self._read_banner()
        try:
            frame = self._reader.next(self._buf)
        except IntegrityError as exc:
            if self._state is State.SIGNATURE:
                raise self._bad_signature(f": {exc}") from exc  # encrypted with a secret that only the monitor has
            raise
        if frame is None:
            return False
        if not frame.aborted:
            self._on(frame.tag, frame.segments, self._TABLE)
        elif self._state is not State.READY:
            raise UnexpectedMessage(f"an aborted frame while in {self._state.name}")
        return True

    def _name(self, tag: int) -> str:
        return f"{Tag(tag).name if tag in Tag.__members__.values() else f'unknown ({tag})'} frame"

    def _read_banner(self) -> bool:
        """u8[8] banner, le16 length, le64 supported, le64 required; the rest is ignored."""
        head = self._buf.peek(len(BANNER) + 2)
        if not BANNER.startswith(head[: len(BANNER)]):
            if head.startswith(V1_BANNER):
                raise WrongProtocol(
                    "speaks the v1 protocol here, not v2: name its v2 port (3300), or ask for ms_mode=legacy"
                )
            raise ProtocolError(f"is not a Ceph monitor: its first bytes are {head!r}")
        if len(head) < len(BANNER) + 2:
            return False
        cur = Cursor(head, "banner")
        cur.skip(len(BANNER))
        length = cur.u16()
        if length > limits.MAX_BANNER_PAYLOAD:
            raise cur.error(f"payload of {length} bytes, limit {limits.MAX_BANNER_PAYLOAD}")
        whole = self._buf.take(len(head) + length)
        if whole is None:
            return False
        cur = Cursor(whole, "banner")
        cur.skip(len(head))
        supported, required = cur.u64(), cur.u64()
        if missing := required & ~self._banner_features:
            raise MissingFeatures("our banner", missing)
        self._rev = 1 if supported & self._banner_features & REVISION_1 else 0
        transcript = self._reader.transcript
        self._reader = FrameReader(crc_layout(self._rev))
        self._tx = crc_layout(self._rev)
        self._reader.transcript = (transcript or bytearray()) + whole
        enc = Encoder().u8(EntityType.CLIENT)
        self._target.encode(enc)
        self._send(Tag.HELLO, bytes(enc))
        self._state = State.HELLO
        return True

    def _on_hello(self, segments: tuple[bytes, ...]) -> State:
        cur = Cursor(segments[0], "HELLO")
        if (kind := cur.u8()) != EntityType.MON:
            raise UnexpectedMessage(f"the peer is of entity type {kind}, not a monitor")
        seen = EntityAddr.decode(cur)
        self.my_addr = EntityAddr(AddrType.MSGR2, self.my_addr.nonce, seen.sockaddr)
        self._events.append(AuthNeeded())
        return State.START_LOCAL

    def _on_bad_method(self, segments: tuple[bytes, ...]) -> State:
        cur = Cursor(segments[0], "AUTH_BAD_METHOD")
        cur.u32()
        result = cur.s32()
        methods = cur.items(Cursor.u32, each=4, limit=limits.MAX_AUTH_METHODS)
        modes = cur.items(Cursor.u32, each=4, limit=limits.MAX_AUTH_METHODS)
        self._events.append(AuthRefused(result, methods, modes))
        return State.START_LOCAL

    def _on_reply_more(self, segments: tuple[bytes, ...]) -> State:
        cur = Cursor(segments[0], "AUTH_REPLY_MORE")
        self._events.append(AuthMore(cur.blob(limits.MAX_PREAUTH_FRAME)))
        return State.AUTH_LOCAL

    def _on_auth_done(self, segments: tuple[bytes, ...]) -> State:
        cur = Cursor(segments[0], "AUTH_DONE")
        self._global_id = cur.u64()
        if self._global_id >> 63:  # it goes back as a signed number
            raise cur.error(f"global_id 0x{self._global_id:x}")
        number = cur.u32()
        mode = _MODE_OF.get(number)
        if mode is None or mode not in self._offered:
            raise UnexpectedMessage(f"the monitor chose connection mode {number}, we offered {list(self._offered)}")
        self._mode = mode
        self._events.append(AuthDone(self._global_id, mode, cur.blob(limits.MAX_PREAUTH_FRAME)))
        return State.DONE_LOCAL

    def _on_signature(self, segments: tuple[bytes, ...]) -> State:
        if len(segments[0]) != _SIGNATURE_SIZE or not crypto.same(segments[0], self._signature):
            raise self._bad_signature()
        self._reader.limits = session_limits
        enc = Encoder()
        AddrVec((self.my_addr,)).encode(enc)
        self._target.encode(enc)
        enc.s64(self._global_id).u64(0).u64(self._supported).u64(features.REQUIRED).u64(_LOSSY).u64(0)
        self._send(Tag.CLIENT_IDENT, bytes(enc))
        return State.IDENT

    def _bad_signature(self, detail: str = "") -> IntegrityError:
        kind = Unproven if any(self._signature) else IntegrityError  # auth none has no key to know
        return kind(f"the monitor's signature of the handshake does not match{detail}")

    def _on_server_ident(self, segments: tuple[bytes, ...]) -> State:
        cur = Cursor(segments[0], "SERVER_IDENT")
        AddrVec.decode(cur)
        cur.skip(16)  # gid, global_seq
        supported, required = cur.u64(), cur.u64()
        if missing := required & ~self._supported:
            raise MissingFeatures("this client", missing)
        if missing := features.REQUIRED & ~supported:
            raise MissingFeatures("the monitor", missing)
        self._events.append(Ready(supported & self._supported, self._mode))
        return State.READY

    def _on_missing_features(self, segments: tuple[bytes, ...]) -> State:
        raise MissingFeatures("this client", Cursor(segments[0], "IDENT_MISSING_FEATURES").u64())

    def _on_message(self, segments: tuple[bytes, ...]) -> State:
        header_bytes, front, middle, data = (*segments, b"", b"", b"")[:4]
        header = Header2.decode(header_bytes)
        self._take_seq(header.seq)
        message = Message(header.type, front, header.version, header.compat, header.tid, middle, data, header.priority)
        self._events.append(message)
        return State.READY

    def _on_keepalive(self, segments: tuple[bytes, ...]) -> State:
        stamp = Cursor(segments[0], "KEEPALIVE2").utime()
        self._send(Tag.KEEPALIVE2_ACK, bytes(Encoder().utime(stamp)))
        return State.READY

    def _on_keepalive_ack(self, segments: tuple[bytes, ...]) -> State:
        stamp = Cursor(segments[0], "KEEPALIVE2_ACK").utime()
        if stamp == self._sent_stamp:
            self._events.append(KeepaliveAcked(stamp))
        return State.READY

    def _on_ack(self, segments: tuple[bytes, ...]) -> State:
        return State.READY

    _TABLE: ClassVar[dict[tuple[State, int], Callable[[ConnectionV2, tuple[bytes, ...]], State]]] = {
        (State.HELLO, Tag.HELLO): _on_hello,
        (State.AUTH, Tag.AUTH_BAD_METHOD): _on_bad_method,
        (State.AUTH, Tag.AUTH_REPLY_MORE): _on_reply_more,
        (State.AUTH, Tag.AUTH_DONE): _on_auth_done,
        (State.SIGNATURE, Tag.AUTH_SIGNATURE): _on_signature,
        (State.IDENT, Tag.SERVER_IDENT): _on_server_ident,
        (State.IDENT, Tag.IDENT_MISSING_FEATURES): _on_missing_features,
        (State.READY, Tag.MESSAGE): _on_message,
        (State.READY, Tag.KEEPALIVE2): _on_keepalive,
        (State.READY, Tag.KEEPALIVE2_ACK): _on_keepalive_ack,
        (State.READY, Tag.ACK): _on_ack,
    }
