"""The base of the connections of both messenger protocols: states, buffers, sequence numbers.

No socket, no clock: bytes go in by `receive_data`, out by `data_to_send`.  A connection knows nothing of
authentication methods; between AuthMore or AuthDone and the answer it reads no further.  It sets no timers:
its driver bounds the handshake as a whole.  After any error it is FAILED for good.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final, Self, TypeVar

from cephmonfs.errors import AuthError, ProtocolError, UnexpectedMessage
from cephmonfs.messages.message import Message
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName
from cephmonfs.msgr.events import Event, Mode
from cephmonfs.wire import limits
from cephmonfs.wire.buffer import ReceiveBuffer
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Utime

T = TypeVar("T")


class State(Enum):
    """Where the handshake stands; the *_LOCAL states wait for a call of the driver, not for the peer."""

    BANNER = auto()
    HELLO = auto()  # v2
    CONNECT = auto()  # v1
    SEQ = auto()  # v1
    START_LOCAL = auto()
    AUTH = auto()
    AUTH_LOCAL = auto()
    DONE_LOCAL = auto()
    SIGNATURE = auto()  # v2
    IDENT = auto()  # v2
    READY = auto()
    FAILED = auto()

    __hash__ = object.__hash__  # Enum's own is written in Python, and each frame looks a state up


_LOCAL: Final = frozenset({State.START_LOCAL, State.AUTH_LOCAL, State.DONE_LOCAL, State.FAILED})
_READY, _FAILED = State.READY, State.FAILED  # each frame asks for them, and by name a member costs a call in 3.11


class Connection(ABC):
    """One connection.  `target` is the monitor's address as in the monmap, `nonce` fresh for each connection.

    `supported` are the features that we claim; with fewer the monitor answers in older encodings.
    """

    def __init__(self, target: EntityAddr, nonce: int, kind: AddrType, supported: int) -> None:
        self.my_addr = EntityAddr(kind, nonce, b"")  # as the monitor sees us, once it has said so
        self._target = target
        self._supported = supported
        self._state = State.BANNER
        self._buf = ReceiveBuffer()
        self._received = 0  # bytes, until READY
        self._events: deque[Event] = deque()
        self._out: list[bytes] = []
        self._seq_out = 0
        self._seq_in = 0
        self._sent_stamp: Utime | None = None

    # the verbs

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """Take bytes from the peer.  Raises ProtocolError or AuthError; the connection is then FAILED."""
        if self._state is _FAILED:
            raise RuntimeError("the connection has failed")
        self._buf.feed(data)
        self._pump()
        if self._state is not _READY:
            self._count(len(data))

    def next_event(self) -> Event | None:
        """Return what happened next, None when nothing more did."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        """Return and forget the bytes that wait to be sent."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    @property
    def ready(self) -> bool:
        """Whether messages may be sent."""
        return self._state is _READY

    # what the driver calls in answer to events

    @abstractmethod
    def start_auth(self, entity: EntityName, global_id: int, method: int, modes: tuple[Mode, ...]) -> None:
        """Send our name, and the method and modes that we propose."""

    @abstractmethod
    def auth_more(self, payload: bytes) -> None:
        """Send the method's payload."""

    @abstractmethod
    def auth_done(self, session_key: Secret | None, connection_secret: Secret | None) -> None:
        """Go on to the session, in the agreed mode."""

    @abstractmethod
    def send_message(self, message: Message) -> None:
        """Send one message."""

    @abstractmethod
    def send_keepalive(self, stamp: Utime) -> None:
        """Ask for a sign of life."""

    # for these calls

    def _leave(self, state: State) -> None:
        """Leave a *_LOCAL state; `_go_on` enters the next one."""
        if self._state is not state:
            raise RuntimeError(f"called in {self._state.name}, belongs to {state.name}")
        self._state = _FAILED

    def _go_on(self, state: State) -> None:
        self._state = state
        self._pump()

    def _must_be_ready(self) -> None:
        if self._state is not _READY:
            raise RuntimeError(f"cannot send in {self._state.name}")

    # receiving

    @abstractmethod
    def _step(self) -> bool:
        """Take one piece of the stream; False until more bytes are there."""

    @abstractmethod
    def _name(self, tag: int) -> str:
        """Say what a tag announces."""

    def _pump(self) -> None:
        try:
            while self._state not in _LOCAL and len(self._buf) and self._step():
                pass
        except (ProtocolError, AuthError):
            self._fail()
            raise

    def _on(self, tag: int, what: T, table: Mapping[tuple[State, int], Callable[[Self, T], State]]) -> None:
        """Let the handler of this state and tag have `what`; a pair that is missing is the peer's fault."""
        state, self._state = self._state, _FAILED  # only a handler that returns leads out of here
        handler = table.get((state, tag))
        if handler is None:
            raise UnexpectedMessage(f"{self._name(tag)} while in {state.name}")
        self._state = handler(self, what)

    def _take_seq(self, seq: int) -> None:
        if seq != self._seq_in + 1:
            raise UnexpectedMessage(f"message seq {seq} after {self._seq_in}: framing is lost")
        self._seq_in = seq

    def _count(self, n: int) -> None:
        """Bound the bytes of a handshake: no honest monitor sends more."""
        self._received += n
        if self._received > limits.MAX_PREAUTH_BYTES:
            self._fail()
            raise ProtocolError(f"more than {limits.MAX_PREAUTH_BYTES} bytes before the session is open")

    def _fail(self) -> None:
        self._state = _FAILED
        self._out.clear()
