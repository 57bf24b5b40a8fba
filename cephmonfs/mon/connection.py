"""MonConnection: one connection to one monitor, from connect to close, with its authentication.

Joins a messenger (`msgr`) and an authentication method (`auth`), which never see each other.  No socket, no clock.  The
session has several connections at once and chooses one as its current one.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final, assert_never

from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.auth.credentials import NO_SECRET, AuthMethod, AuthResult, Credentials
from cephmonfs.auth.none import NoneHandshake
from cephmonfs.errors import AuthError, CephMonFSError, IntegrityError, StaleTicket, Unproven, WrongProtocol
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.registry import for_peer, is_current
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import AddrType
from cephmonfs.model.features import DEFAULT_FEATURES
from cephmonfs.msgr import events
from cephmonfs.msgr.connection import Connection
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.v1 import ConnectionV1
from cephmonfs.msgr.v2 import REVISION_1, ConnectionV2
from cephmonfs.wire import limits
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cephmonfs.auth.envelope import RandomBytes
    from cephmonfs.messages.message import Payload
    from cephmonfs.model.cryptokey import CryptoKey
    from cephmonfs.model.entity import EntityAddr, EntityName
    from cephmonfs.mon.hunt import Candidate
    from cephmonfs.mon.requests import ConnectionId

EPERM: Final = -1
EACCES: Final = -13
EOPNOTSUPP: Final = -95
NOT_ITS_OWN: Final = "it was reached at an address that is not its own"
_SECRET_SIZES: Final = {
    Mode.LEGACY: (NO_SECRET,),
    Mode.CRC: (0,),
    Mode.SECURE: (limits.MAX_SECRET,),
}
_SECRET_OF_RENEWAL: Final = (NO_SECRET, 0)


class Phase(StrEnum):
    """How far a connection is; the words stand in error messages."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    BANNER = "banner"
    AUTH = "auth"
    MAPS = "maps"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are towards the monitors."""

    entity: EntityName
    key: CryptoKey | None  # None only for clusters with auth none
    modes: tuple[Mode, ...]  # in order of preference; (LEGACY,) alone means msgr1
    weakest: KeyType = KeyType.AES  # the type of key that is still good enough

    @property
    def addr_type(self) -> AddrType:
        """The protocol we speak: v1 only where it alone was asked for, never as a way out."""
        return AddrType.LEGACY if self.modes == (Mode.LEGACY,) else AddrType.MSGR2


@dataclass(frozen=True, slots=True)
class Offer:
    """The features that we announce.  With fewer, a monitor uses older encodings."""

    features: int = DEFAULT_FEATURES
    revision: int = REVISION_1  # of msgr2


EVERYTHING: Final = Offer()


class Happened(Enum):
    """What a connection tells the session besides messages."""

    READY = auto()
    ALIVE = auto()  # a keepalive came back


class MonConnection:
    """One connection to a monitor.  Any error that `receive_data` raises ends it.

    `ciphers` are the key types that the cluster allowed when it last told us; empty when it did not.
    """

    def __init__(
        self,
        conn_id: ConnectionId,
        candidate: Candidate,
        identity: Identity,
        prior: Credentials | None,
        random: RandomBytes,
        now: float,
        *,
        offer: Offer = EVERYTHING,
        ciphers: tuple[int, ...] = (),
    ) -> None:
        self.id = conn_id
        self.candidate = candidate
        self.phase = Phase.CONNECT
        self.opened = now
        self.connected_at: float | None = None
        self.ready_at: float | None = None
        self.last_received = now
        self.keepalive_sent: float | None = None
        self.monmap_due: float | None = None  # since when the first monmap is awaited
        self.listed = False  # the monmap has (or had) this address
        self.mode: Mode | None = None
        self.features = 0
        self._is_current = False
        self.result: AuthResult | None = None
        self.proofs_sent = 0  # each is answered with something sealed with our key
        self.messages: deque[Message | Happened] = deque()
        self.prior = prior  # what we claim our old global_id with
        self.renew_subs_at = math.inf  # a monitor of before MON_STATEFUL_SUB forgets subscriptions
        self._identity = identity
        self._random = random
        self._offer = offer
        self._ciphers = ciphers
        self._messenger: Connection | None = None
        self._auth: CephxHandshake | NoneHandshake
        if identity.key is None:
            self._auth = NoneHandshake(identity.entity, prior)
        else:
            self._auth = CephxHandshake(identity.entity, identity.key, prior, random, weakest=identity.weakest)

    def connected(self, now: float) -> None:
        """TCP is up: begin to speak."""
        self.connected_at = self.last_received = now
        self.phase = Phase.BANNER
        nonce = Cursor(self._random(4)).u32()
        addr, offer, wanted = self.candidate.addr, self._offer, self._identity.addr_type
        if addr.type != wanted:
            # the addresses were chosen by protocol already; this makes sure that v1 is never used unless asked for
            raise WrongProtocol(f"is an address of the {addr.type_name} protocol, and ms_mode asks for another")
        if wanted == AddrType.LEGACY:
            self._messenger = ConnectionV1(addr, nonce, supported=offer.features)
        else:
            self._messenger = ConnectionV2(addr, nonce, revision=offer.revision, supported=offer.features)

    def receive_data(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """Take bytes; afterwards `messages` holds what they meant."""
        conn = self._messenger
        if conn is None:
            raise RuntimeError("not connected yet")
        self.last_received = now
        conn.receive_data(data, now)
        self._drain(conn, now)

    def _drain(self, conn: Connection, now: float) -> None:
        while (event := conn.next_event()) is not None:
            match event:
                case Message():
                    self.messages.append(event)
                case events.KeepaliveAcked():
                    self.messages.append(Happened.ALIVE)
                case events.AuthNeeded():
                    self.phase = Phase.AUTH
                    who = self._identity
                    conn.start_auth(who.entity, self._auth.global_id, self._auth.method, who.modes)
                case events.AuthMore(payload):
                    conn.auth_more(self._auth.more(payload))
                    self.proofs_sent += 1
                case events.AuthRefused():
                    raise self._refused(event)
                case events.AuthDone(global_id, mode, payload):
                    self.result = self._proven(payload, global_id, _SECRET_SIZES[mode])
                    conn.auth_done(self.result.session_key, self.result.connection_secret)
                case events.Ready(features, mode):
                    self.features, self.mode = features, mode
                    self._is_current = is_current(features)
                    self.phase = Phase.MAPS
                    self.ready_at = now
                    self.messages.append(Happened.READY)
                case _:
                    assert_never(event)

    def _proven(self, payload: bytes, global_id: int, secret_sizes: Sequence[int]) -> AuthResult:
        try:
            return self._auth.done(payload, global_id, secret_sizes)
        except IntegrityError as exc:
            raise Unproven(f"the monitor cannot prove that it knows the key of {self._identity.entity}") from exc

    def _refused(self, event: events.AuthRefused) -> CephMonFSError:
        """No second try on this connection: on v1 a monitor mixes it up with the first, on v2 it closes."""
        if self.prior is not None and event.result != EOPNOTSUPP:
            # once its rotating key is gone an old ticket is refused: that says nothing about the key
            return StaleTicket(f"no longer knows our old ticket (error {event.result}): starting afresh")
        return refusal(self._identity, event, self._ciphers)

    @property
    def is_proven(self) -> bool:
        """Whether both sides have proven who they are."""
        return self.result is not None

    def why_closed(self, reason: str) -> str:
        """Say why the monitor closed, where it shows: after the proofs it learns at which address it was reached."""
        if self.ready or not self.is_proven:
            return reason
        return f"{reason}: {NOT_ITS_OWN} (a forwarded port, NAT?); ceph mon dump shows its own"

    # towards the monitor

    @property
    def my_addr(self) -> EntityAddr | None:
        """Our own address as the monitor sees it, with this connection's nonce; None before TCP is up."""
        return None if self._messenger is None else self._messenger.my_addr

    @property
    def ready(self) -> bool:
        """Whether messages may be sent."""
        return self.ready_at is not None

    def send(self, payload: Payload, tid: int = 0) -> None:
        """Send one message, in the form that the monitor's features ask for."""
        if self._messenger is None:
            raise RuntimeError("not connected yet")
        if not self._is_current:
            payload = for_peer(payload, self.features)
        self._messenger.send_message(to_message(payload, tid))

    def send_keepalive(self, now: float, stamp: Utime) -> None:
        """Ask for a sign of life."""
        if self._messenger is None:
            raise RuntimeError("not connected yet")
        self._messenger.send_keepalive(stamp)
        if self.keepalive_sent is None:
            self.keepalive_sent = now

    def data_to_send(self) -> bytes:
        """Return and forget the bytes that wait to be sent."""
        return self._messenger.data_to_send() if self._messenger is not None else b""

    # tickets

    def renewal(self, current: Credentials) -> bytes | None:
        """Return the payload that asks for fresh tickets, None where there are none."""
        if not isinstance(self._auth, CephxHandshake):
            return None
        self.proofs_sent += 1
        return self._auth.renew(current)

    def renewed(self, payload: bytes, global_id: int) -> Credentials:
        """Take the fresh tickets."""
        return self._proven(payload, global_id, _SECRET_OF_RENEWAL).credentials

    def describe(self, reason: BaseException | str) -> str:
        """One sentence that names the monitor, its address, the phase and the reason."""
        name = self.candidate.name
        where = f"monitor {name} at {self.candidate.addr}" if name else f"monitor {self.candidate.addr}"
        return one_line(f"{where}: {self.phase}: {reason}")


def refusal(who: Identity, event: events.AuthRefused, ciphers: tuple[int, ...] = ()) -> CephMonFSError:
    """Describe a refusal.  `ciphers` as for MonConnection; msgr1 lists no methods, so there both lists are empty."""
    result = event.result
    if result == EOPNOTSUPP:
        return AuthError(_no_method(who, event), result)
    if result not in (EPERM, EACCES):
        return AuthError(f"refused {who.entity}: error {result} {event.text}".rstrip(), result)
    if sentence := key_type_refused(who, ciphers):
        return AuthError(f"refused {who.entity}: {sentence}", result)
    reasons = "unknown user, wrong key, no mon caps"
    if who.key is not None and not ciphers and who.key.type is KeyType.AES:
        reasons += ", or a key type that the cluster no longer allows (ours is aes; ceph mon dump tells)"
    return AuthError(f"refused {who.entity}: {reasons}. On the cluster: ceph auth get {who.entity}", result)


def _no_method(who: Identity, event: events.AuthRefused) -> str:
    """No way to authenticate, or no mode, that both sides want."""
    if who.key is not None and AuthMethod.CEPHX not in event.methods:
        return (
            "the cluster does not use cephx, and a key was given: "
            "mount without a key (auth_client_required = none in ceph.conf)"
        )
    if who.key is None and AuthMethod.NONE not in event.methods:
        return "the cluster wants a key (cephx): give secretfile= or keyring="
    if who.key is None:
        return "the cluster uses no keys (auth none), so nothing can be encrypted: use ms_mode=prefer-secure or crc"
    return f"the monitor allows none of the modes we offered ({'/'.join(who.modes)}); see ms_mode="


def key_type_refused(who: Identity, ciphers: tuple[int, ...]) -> str:
    """Say that the cluster takes no keys of our type any more; empty if it does, or does not tell."""
    if who.key is None or not ciphers or who.key.type in ciphers:
        return ""
    allowed = ", ".join(_cipher_name(cipher) for cipher in ciphers)
    return (
        f"its key is of type {_cipher_name(who.key.type)}, and the cluster takes only {allowed} "
        "(auth_allowed_ciphers): it needs a new key"
    )


def _cipher_name(cipher: int) -> str:
    return KeyType(cipher).name.lower() if cipher in KeyType.__members__.values() else f"cipher {cipher}"
