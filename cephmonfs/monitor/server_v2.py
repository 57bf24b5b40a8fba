"""ServerConnectionV2: the monitor's end of one msgr2 connection, no socket.

    both    banner
    both    HELLO
    client  AUTH_REQUEST            -> AUTH_REPLY_MORE, AUTH_DONE or AUTH_BAD_METHOD
    client  AUTH_REQUEST_MORE       -> AUTH_DONE or AUTH_BAD_METHOD (another AUTH_REQUEST may follow)
    both    AUTH_SIGNATURE          the first frame in the agreed mode
    client  CLIENT_IDENT            -> SERVER_IDENT or IDENT_MISSING_FEATURES
    both    MESSAGE, KEEPALIVE2 ...

It shares frame layouts with the client's machine and nothing else, so that neither is tested against itself.
Every piece of output goes through `_put`, where tests put a hostile monitor's hands on it.
Ceph v20.2.4: src/msg/async/ProtocolV2.cc.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, ClassVar, Final

from cephmonfs.errors import IntegrityError, ProtocolError, UnexpectedMessage
from cephmonfs.messages.message import Header2, Message
from cephmonfs.model import features
from cephmonfs.model.entity import AddrVec, EntityAddr, EntityName, EntityType
from cephmonfs.monitor.authserver import EOPNOTSUPP, Answer, Challenge, Granted, Refused, ServerAuth
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import FrameReader, Layout, Tag, crc_layout, secure_layouts, session_limits, trim
from cephmonfs.wire import crypto, limits
from cephmonfs.wire.buffer import ReceiveBuffer
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BANNER: Final = b"ceph v2\n"
_REVISION_1: Final = 1
_AUTH_MODE_MON: Final = 10
_LOSSY: Final = 1
_NUMBERS: Final = {Mode.CRC: 1, Mode.SECURE: 2}
_MODES: Final = {1: Mode.CRC, 2: Mode.SECURE}
_PRIO_HIGH: Final = 196

# What a Pacific cluster with default CRUSH rules supports and requires.
SUPPORTED: Final = 0x3F01CFBDFFFDFFFF
REQUIRED: Final = 0x0C01020042040000


class State(Enum):
    """What the client has to send next."""

    BANNER = auto()
    HELLO = auto()
    AUTH = auto()
    AUTH_MORE = auto()
    SIGNATURE = auto()
    IDENT = auto()
    READY = auto()
    FAILED = auto()


class Piece(IntEnum):
    """What a piece of output is: the banner, or a frame by its tag."""

    BANNER = 0
    HELLO = Tag.HELLO
    AUTH_BAD_METHOD = Tag.AUTH_BAD_METHOD
    AUTH_REPLY_MORE = Tag.AUTH_REPLY_MORE
    AUTH_DONE = Tag.AUTH_DONE
    AUTH_SIGNATURE = Tag.AUTH_SIGNATURE
    SERVER_IDENT = Tag.SERVER_IDENT
    IDENT_MISSING_FEATURES = Tag.IDENT_MISSING_FEATURES
    MESSAGE = Tag.MESSAGE
    KEEPALIVE2 = Tag.KEEPALIVE2
    KEEPALIVE2_ACK = Tag.KEEPALIVE2_ACK


@dataclass(frozen=True, slots=True)
class ClientReady:
    """The handshake is over."""

    entity: EntityName
    global_id: int
    features: int  # that both sides have
    mode: Mode


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """One message."""

    message: Message


ServerEvent = ClientReady | ClientMessage


class ServerConnectionV2:
    """One connection.

    `own` is our address as in the monmap, `peer` the client's from its socket; `methods` makes the
    authentication for each method that we allow, `modes` are the connection modes that we allow.
    """

    def __init__(
        self,
        own: EntityAddr,
        peer: EntityAddr,
        methods: Mapping[int, Callable[[], ServerAuth]],
        *,
        modes: tuple[Mode, ...] = (Mode.SECURE, Mode.CRC),
        revision: int = _REVISION_1,
        supported: int = SUPPORTED,
        required: int = REQUIRED,
        rank: int = 0,
    ) -> None:
        self._own = own
        self._peer = peer
        self._methods = methods
        self._allowed = modes
        self._banner_features = _REVISION_1 if revision else 0
        self._supported = supported
        self._required = required
        self._rank = rank
        self._rev = 0
        self._state = State.BANNER
        self._buf = ReceiveBuffer()
        self._events: deque[ServerEvent] = deque()
        self._out: list[bytes] = []
        self._sent = bytearray()  # wire bytes up to AUTH_DONE, signed by the client
        self._reader = FrameReader(crc_layout(0))
        self._tx: Layout = crc_layout(0)
        self._auth: ServerAuth | None = None
        self._entity = EntityName(EntityType.CLIENT, "")
        self._mode = Mode.CRC
        self._global_id = 0
        self._client_signature = b""
        self._seq_out = 0
        self._seq_in = 0
        banner = Encoder().raw(_BANNER)
        banner.blob_u16(bytes(Encoder().u64(self._banner_features).u64(0)))
        self._put(Piece.BANNER, bytes(banner))

    # what the driver calls

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """Take bytes from the client.  Raises ProtocolError; the connection is then FAILED."""
        if self._state is State.FAILED:
            raise RuntimeError("the connection has failed")
        self._buf.feed(data)
        try:
            if self._state is State.BANNER and not self._read_banner():
                return
            while (frame := self._reader.next(self._buf)) is not None:
                if not frame.aborted:
                    self._on_frame(frame.tag, frame.segments, now)
        except ProtocolError:
            self._state = State.FAILED
            raise

    def next_event(self) -> ServerEvent | None:
        """Return what happened next, None when nothing more did."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Return and forget the bytes that wait to be sent."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def send_message(self, message: Message) -> None:
        """Send one message."""
        if self._state is not State.READY:
            raise RuntimeError(f"cannot send in {self._state.name}")
        self._seq_out += 1
        header = replace(message, priority=_PRIO_HIGH).header2(self._seq_out, self._seq_in)
        self._frame(Piece.MESSAGE, header, message.front, message.middle, message.data)

    def send_keepalive(self, stamp: Utime) -> None:
        """Ask whether the client is there; what it answers is not looked at."""
        self._frame(Piece.KEEPALIVE2, bytes(Encoder().utime(stamp)))

    def renew(self, payload: bytes, now: float) -> tuple[int, bytes]:
        """Answer the payload of an MAuth inside the session: (result, payload)."""
        if self._auth is None:
            raise UnexpectedMessage("a renewal before the handshake")
        return self._auth.renew(payload, now)

    @property
    def state(self) -> State:
        """Where the handshake stands."""
        return self._state

    @property
    def pending(self) -> int:
        """Bytes that wait to be sent."""
        return sum(map(len, self._out))

    # sending

    def _frame(self, piece: Piece, *segments: bytes) -> None:
        self._put(piece, self._tx.encode(piece, trim(segments)))

    def _put(self, piece: Piece, data: bytes) -> None:
        """Queue one whole piece of output."""
        self._out.append(data)
        if self._reader.transcript is not None:
            self._sent += data

    # receiving

    def _read_banner(self) -> bool:
        """u8[8] banner, le16 length, le64 supported, le64 required."""
        head = self._buf.peek(len(_BANNER) + 2)
        if not _BANNER.startswith(head[: len(_BANNER)]):
            raise ProtocolError("not the banner of a msgr2 client")
        if len(head) < len(_BANNER) + 2:
            return False
        cur = Cursor(head, "banner")
        cur.skip(len(_BANNER))
        length = cur.u16()
        if length > limits.MAX_BANNER_PAYLOAD:
            raise cur.error(f"payload of {length} bytes, limit {limits.MAX_BANNER_PAYLOAD}")
        whole = self._buf.take(len(head) + length)
        if whole is None:
            return False
        cur = Cursor(whole, "banner")
        cur.skip(len(head))
        supported, required = cur.u64(), cur.u64()
        if required & ~self._banner_features:
            raise ProtocolError(f"the client requires messenger features 0x{required:x}")
        self._rev = 1 if supported & self._banner_features & _REVISION_1 else 0
        self._reader = FrameReader(crc_layout(self._rev))
        self._tx = crc_layout(self._rev)
        self._reader.transcript = bytearray(whole)
        enc = Encoder().u8(EntityType.MON)
        self._peer.encode(enc)
        self._state = State.HELLO
        self._frame(Piece.HELLO, bytes(enc))
        return True

    def _on_frame(self, tag: int, segments: tuple[bytes, ...], now: float) -> None:
        state, self._state = self._state, State.FAILED  # only a handler that returns leads out of here
        handler = self._TABLE.get((state, tag))
        if handler is None:
            raise UnexpectedMessage(f"frame {tag} while in {state.name}")
        self._state = handler(self, segments, now)

    def _on_hello(self, segments: tuple[bytes, ...], now: float) -> State:
        cur = Cursor(segments[0], "HELLO")
        cur.u8()
        EntityAddr.decode(cur)
        return State.AUTH

    def _on_auth_request(self, segments: tuple[bytes, ...], now: float) -> State:
        """le32 method, list<le32> modes, blob { u8 10, entity_name, le64 global_id }."""
        cur = Cursor(segments[0], "AUTH_REQUEST")
        method = cur.u32()
        offered = cur.items(Cursor.u32, each=4, limit=limits.MAX_AUTH_METHODS)
        payload = cur.sub_blob("auth payload", limits.MAX_PREAUTH_FRAME)
        if (auth_mode := payload.u8()) != _AUTH_MODE_MON:
            raise payload.error(f"auth mode {auth_mode}, wanted {_AUTH_MODE_MON}")
        self._entity, global_id = EntityName.decode(payload), payload.u64()
        make = self._methods.get(method)
        if make is None:
            return self._refuse(method, EOPNOTSUPP)
        self._auth = make()
        usable = [m for m in self._allowed if m in self._auth.modes]
        mode = next((_MODES[n] for n in offered if n in _MODES and _MODES[n] in usable), None)
        if mode is None:
            return self._refuse(method, EOPNOTSUPP)
        self._mode = mode
        return self._answer(self._auth.start(self._entity, global_id, mode, now))

    def _on_auth_more(self, segments: tuple[bytes, ...], now: float) -> State:
        if self._auth is None:
            raise RuntimeError("no AUTH_REQUEST yet")
        cur = Cursor(segments[0], "AUTH_REQUEST_MORE")
        return self._answer(self._auth.more(cur.blob(limits.MAX_PREAUTH_FRAME), now))

    def _answer(self, answer: Answer) -> State:
        if isinstance(answer, Challenge):
            self._frame(Piece.AUTH_REPLY_MORE, bytes(Encoder().blob(answer.payload)))
            return State.AUTH_MORE
        if isinstance(answer, Refused):
            return self._refuse(self._auth.method if self._auth else 0, answer.result)
        return self._accept(answer)

    def _refuse(self, method: int, result: int) -> State:
        enc = Encoder().u32(method).s32(result).items(list(self._methods), Encoder.u32)
        enc.items([_NUMBERS[m] for m in self._allowed], Encoder.u32)
        self._frame(Piece.AUTH_BAD_METHOD, bytes(enc))
        return State.AUTH

    def _accept(self, granted: Granted) -> State:
        self._global_id = granted.global_id
        done = Encoder().u64(granted.global_id).u32(_NUMBERS[self._mode]).blob(granted.payload)
        self._frame(Piece.AUTH_DONE, bytes(done))
        received = bytes(self._reader.transcript or b"")
        self._reader.transcript = None
        if granted.session_key is None:
            ours = self._client_signature = bytes(32)
        else:
            ours = crypto.hmac_sha256(granted.session_key.reveal(), received)
            self._client_signature = crypto.hmac_sha256(granted.session_key.reveal(), bytes(self._sent))
        if self._mode is Mode.SECURE:
            if granted.connection_secret is None:
                raise RuntimeError("secure mode without a connection secret")
            secret = granted.connection_secret.reveal()
            self._reader.layout, self._tx = secure_layouts(secret, self._rev, server=True)
        self._frame(Piece.AUTH_SIGNATURE, ours)
        return State.SIGNATURE

    def _on_signature(self, segments: tuple[bytes, ...], now: float) -> State:
        if not crypto.same(segments[0], self._client_signature):
            raise IntegrityError("the client's signature of the handshake does not match")
        self._reader.limits = session_limits
        return State.IDENT

    def _on_client_ident(self, segments: tuple[bytes, ...], now: float) -> State:
        """Addresses, target, les64 global_id, le64 global_seq, supported, required, flags, cookie."""
        cur = Cursor(segments[0], "CLIENT_IDENT")
        AddrVec.decode(cur)
        target = EntityAddr.decode(cur)
        if target != self._own:
            raise ProtocolError(f"the client wants {target}, this is {self._own}")
        cur.skip(16)  # global_id (librados says -1: it was agreed upon before), global_seq
        supported = cur.u64()  # what follows, lossy or not among it, makes no difference to a monitor
        if missing := self._required & ~supported:
            self._frame(Piece.IDENT_MISSING_FEATURES, bytes(Encoder().u64(missing)))
            return State.IDENT
        enc = Encoder()
        AddrVec((self._own,)).encode(enc)
        enc.s64(self._rank).u64(0).u64(self._supported).u64(features.REQUIRED).u64(_LOSSY).u64(0)
        self._frame(Piece.SERVER_IDENT, bytes(enc))
        both = supported & self._supported
        self._events.append(ClientReady(self._entity, self._global_id, both, self._mode))
        return State.READY

    def _on_message(self, segments: tuple[bytes, ...], now: float) -> State:
        header_bytes, front, middle, data = (*segments, b"", b"", b"")[:4]
        header = Header2.decode(header_bytes)
        if header.seq != self._seq_in + 1:
            raise UnexpectedMessage(f"message seq {header.seq} after {self._seq_in}")
        self._seq_in = header.seq
        message = Message(header.type, front, header.version, header.compat, header.tid, middle, data, header.priority)
        self._events.append(ClientMessage(message))
        return State.READY

    def _on_keepalive(self, segments: tuple[bytes, ...], now: float) -> State:
        stamp = Cursor(segments[0], "KEEPALIVE2").utime()
        self._frame(Piece.KEEPALIVE2_ACK, bytes(Encoder().utime(stamp)))
        return State.READY

    def _ignore(self, segments: tuple[bytes, ...], now: float) -> State:
        return State.READY

    _TABLE: ClassVar[dict[tuple[State, int], Callable[[ServerConnectionV2, tuple[bytes, ...], float], State]]] = {
        (State.HELLO, Tag.HELLO): _on_hello,
        (State.AUTH, Tag.AUTH_REQUEST): _on_auth_request,
        (State.AUTH_MORE, Tag.AUTH_REQUEST_MORE): _on_auth_more,
        (State.SIGNATURE, Tag.AUTH_SIGNATURE): _on_signature,
        (State.IDENT, Tag.CLIENT_IDENT): _on_client_ident,
        (State.READY, Tag.MESSAGE): _on_message,
        (State.READY, Tag.KEEPALIVE2): _on_keepalive,
        (State.READY, Tag.KEEPALIVE2_ACK): _ignore,
        (State.READY, Tag.ACK): _ignore,
    }
