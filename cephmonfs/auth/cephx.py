"""cephx towards a monitor: challenge, proof, tickets, reclaim of the global_id, renewal.

    monitor  u8 1, le64 server challenge
    client   le16 0x0100, CephXAuthenticate with the proof and the old AUTH ticket
    monitor  le16 0x0100, le32 status, AUTH ticket sealed with our key, connection secret and
             service tickets sealed with the new AUTH session key

That the monitor can seal with our key is its proof to us; the messenger's AUTH_SIGNATURE, keyed by what was inside,
is the second.  With a key of type aes the first is weak (CVE-2025-30156): AES-CBC without a MAC can be rearranged.
So a reply is read in two steps.  First everything that anybody can see: counts, lengths, sizes.  Then all envelopes
are opened, the later ones too if an earlier one was bad, and any fault in any of them is the same error: an attacker
without the session key does not learn whether the ticket alone was acceptable.  For the same reason
the service tickets, which are sealed with the session key, are not optional.
Ceph v20.2.4: src/auth/cephx/CephxProtocol.h, CephxClientHandler.cc, CephxServiceHandler.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cephmonfs.auth.credentials import NO_SECRET, SECRET_SIZES, AuthMethod, AuthResult, Credentials, Ticket
from cephmonfs.auth.envelope import RandomBytes, Usage, challenge_proof, opened, sealed_size
from cephmonfs.errors import AuthError, IntegrityError, UnexpectedMessage, WeakKey
from cephmonfs.model.cryptokey import SECRET_BYTES, CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.wire import limits
from cephmonfs.wire.crypto import BAD, Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

GET_AUTH_SESSION_KEY: Final = 0x0100
_AUTHENTICATE_V: Final = 3  # since 2021: "I present my old ticket when I claim a global_id"
_MIN_VALIDITY_S: Final = 1.0
_MAX_VALIDITY_S: Final = 30 * 86400.0  # renewed then at the latest
_PLAUSIBLE_VALIDITY_S: Final = 366 * 86400  # real: three days and an hour
_NSEC: Final = 10**9
_ALL_KINDS: Final = tuple(KeyType)
_TICKET_BYTES: Final = 1 + 2 + 8 + 2 + 8  # struct_v, CryptoKey without its secret, validity

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Blob:
    """CephXTicketBlob: u8 1, le64 secret_id, blob."""

    secret_id: int
    blob: Secret

    @classmethod
    def decode(cls, cur: Cursor) -> _Blob:
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        blob = cls(cur.u64(), Secret(cur.blob(limits.MAX_TICKET_BLOB)))
        cur.finish()
        return blob


@dataclass(frozen=True, slots=True)
class _Content:
    """What is sealed of a ticket: u8 1, CryptoKey, utime validity."""

    session_key: CryptoKey
    validity: Utime

    @classmethod
    def decode(cls, cur: Cursor) -> _Content:
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        content = cls(CryptoKey.decode(cur), cur.utime())
        # Not compared with our clock: a machine whose clock is wrong has to mount, too.
        created, validity = content.session_key.created, content.validity
        if not created.sec or created.nsec >= _NSEC:
            raise cur.error("no time of creation")
        if validity.nsec >= _NSEC or not 0 < validity.sec * _NSEC + validity.nsec <= _PLAUSIBLE_VALIDITY_S * _NSEC:
            raise cur.error("no validity")
        return content


@dataclass(frozen=True, slots=True)
class _SealedTicket:
    """A ticket as anybody can see it.  `blob` is sealed with the old session key where we presented one."""

    service: int
    sealed: bytes
    blob: _Blob | bytes

    @classmethod
    def decode(cls, cur: Cursor) -> _SealedTicket:
        """le32 service, u8 1, blob sealed content, u8 flag, blob the (perhaps sealed) CephXTicketBlob."""
        service = cur.u32()
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        sealed = cur.blob(limits.MAX_PREAUTH_FRAME)
        if cur.boolean():
            return cls(service, sealed, cur.blob(2 * limits.MAX_TICKET_BLOB))
        return cls(service, sealed, _Blob.decode(cur.sub_blob("CephXTicketBlob", limits.MAX_TICKET_BLOB)))

    @classmethod
    def decode_all(cls, cur: Cursor) -> tuple[_SealedTicket, ...]:
        """u8 1, le32 count, tickets."""
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        tickets = cur.items(cls.decode, each=10, limit=limits.MAX_TICKETS)
        if len({ticket.service for ticket in tickets}) != len(tickets):
            raise cur.error("two tickets for one service")
        return tickets


class _Envelopes:
    """Opens one after the other, and remembers no more than whether all were good."""

    def __init__(self) -> None:
        self.good = True

    def open(
        self, key: CryptoKey, usage: Usage, data: bytes, sizes: Sequence[int] | None, read: Callable[[Cursor], T]
    ) -> T | None:
        """Return the decoded content, None if it is not what a monitor writes."""
        if sizes is None or len(data) in sizes:
            try:
                return opened(key, usage, data, usage.name, read)
            except IntegrityError:
                pass
        self.good = False
        return None


class CephxHandshake:
    """One authentication.  Raises AuthError, IntegrityError, DecodeError; none of them may be ignored.

    Keys of a type below `weakest` are refused: our own before it is used, session keys when they arrive.
    """

    def __init__(
        self,
        entity: EntityName,
        key: CryptoKey,
        prior: Credentials | None,
        random: RandomBytes,
        services: int = EntityType.MON,
        weakest: KeyType = KeyType.AES,
    ) -> None:
        if not services:
            raise RuntimeError("other_keys is never 0: monitors do not survive that well")
        self.method = AuthMethod.CEPHX
        self.entity = entity
        self.global_id = prior.global_id if prior else 0
        self._key = key
        self._prior = prior
        self._random = random
        self._services = int(services)
        self._weakest = weakest
        self._server_challenge: int | None = None

    def more(self, payload: bytes) -> bytes:
        """Answer the server challenge.  A second challenge is refused."""
        if self._server_challenge is not None:
            raise UnexpectedMessage("a second cephx challenge on one connection")
        if self._key.type < self._weakest:
            raise self._too_weak(f"the key of {self.entity}", self._key.type)
        cur = Cursor(payload, "CephXServerChallenge")
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        self._server_challenge = cur.u64()
        return self._authenticate()

    def renew(self, current: Credentials) -> bytes:
        """Ask for fresh tickets inside an open session, against the challenge that began it."""
        self._prior = current
        return self._authenticate()

    def _authenticate(self) -> bytes:
        """CephXAuthenticate: u8 3, le64 client challenge, le64 proof, old ticket, le32 other_keys."""
        if self._server_challenge is None:
            raise RuntimeError("no server challenge yet")
        client_challenge = Cursor(self._random(8)).u64()
        enc = Encoder().u16(GET_AUTH_SESSION_KEY).u8(_AUTHENTICATE_V).u64(client_challenge)
        enc.u64(challenge_proof(self._key, self._server_challenge, client_challenge))
        ticket = self._prior.tickets.get(EntityType.AUTH) if self._prior else None
        enc.u8(1).u64(ticket.secret_id if ticket else 0).blob(ticket.blob.reveal() if ticket else b"")
        enc.u32(self._services)
        return bytes(enc)

    def done(self, payload: bytes, global_id: int, secret_sizes: Sequence[int] = SECRET_SIZES) -> AuthResult:
        """Check the monitor's answer and return its content.

        `secret_sizes` are those that the connection secret may have in this mode.  Raises IntegrityError, always with
        the same text, for anything that is wrong with or in an envelope.
        """
        if self._server_challenge is None:
            raise UnexpectedMessage("authenticated without a challenge: the monitor never saw our proof")
        if not global_id:
            raise AuthError("the monitor gave global_id 0")
        cur = Cursor(payload, "cephx reply")
        if (kind := cur.u16()) != GET_AUTH_SESSION_KEY:
            raise cur.error(f"request type 0x{kind:x}, wanted 0x{GET_AUTH_SESSION_KEY:x}")
        if status := cur.s32():
            raise AuthError(f"cephx status {status}", status)
        tickets = _SealedTicket.decode_all(cur)
        if [ticket.service for ticket in tickets] != [EntityType.AUTH]:
            raise AuthError("the monitor's reply has no AUTH ticket")
        sealed_secret = self._sealed_secret(cur)
        extra = cur.sub_blob("cephx service tickets", 2 * limits.MAX_TICKET_BLOB)
        services = _SealedTicket.decode_all(extra) if extra.remaining else ()
        extra.finish()
        if any(ticket.service == EntityType.AUTH for ticket in services):
            raise cur.error("an AUTH ticket among those of services")
        old_key = self._old_session_key()
        if old_key is None and any(isinstance(ticket.blob, bytes) for ticket in (*tickets, *services)):
            raise cur.error("a ticket sealed with an old session key, and we presented none")
        # from here on nothing may depend on how far it got
        envelopes = _Envelopes()
        envelopes.good = bool(services)  # without them nothing shows that the session key is known
        kinds = (KeyType.AES,) if self._key.type is KeyType.AES else _ALL_KINDS
        auth = self._ticket(envelopes, tickets[0], self._key, kinds, old_key)
        session_key = auth.session_key
        if session_key.type is not self._key.type:  # behind a MAC: with aes the size alone decides
            self._must_be_strong(auth)
            raise AuthError(
                f"the monitor gave a session key of type {session_key.type.name.lower()}, ours is "
                f"{self._key.type.name.lower()}: a downgrade"
            )
        secret = self._secret(envelopes, sealed_secret, session_key, secret_sizes)
        given = [auth, *(self._ticket(envelopes, one, session_key, _ALL_KINDS, old_key) for one in services)]
        if not envelopes.good:
            raise IntegrityError(BAD)
        for one in given:
            self._must_be_strong(one)
        credentials = Credentials(global_id, {one.service: one for one in (*given[1:], auth)})
        return AuthResult(credentials, session_key.secret, Secret(secret) if secret else None)

    def _too_weak(self, what: str, kind: KeyType) -> WeakKey:
        return WeakKey(f"{what} is of type {kind.name.lower()}: key_type={self._weakest.name.lower()} refuses that")

    def _must_be_strong(self, ticket: Ticket) -> None:
        if ticket.session_key.type < self._weakest:
            what = f"the session key that the monitor gave for {_service(ticket.service)}"
            raise self._too_weak(what, ticket.session_key.type)

    def _old_session_key(self) -> CryptoKey | None:
        ticket = self._prior.tickets.get(EntityType.AUTH) if self._prior else None
        return ticket.session_key if ticket else None

    def _sealed_secret(self, cur: Cursor) -> bytes:
        """Blob { blob sealed { blob secret } }; empty on msgr1."""
        outer = cur.sub_blob("connection secret", limits.MAX_PREAUTH_FRAME)
        sealed = outer.blob() if outer.remaining else b""
        outer.finish()
        return sealed

    def _secret(self, envelopes: _Envelopes, sealed: bytes, key: CryptoKey, sizes: Sequence[int]) -> bytes:
        if not sealed:
            envelopes.good &= NO_SECRET in sizes
            return b""
        wanted = [sealed_size(key.type, 4 + size) for size in sizes if size != NO_SECRET]
        secret = envelopes.open(key, Usage.CONNECTION_SECRET, sealed, wanted, Cursor.blob) or b""
        envelopes.good &= len(secret) in sizes  # padding makes several sizes one
        return secret

    def _ticket(
        self,
        envelopes: _Envelopes,
        ticket: _SealedTicket,
        key: CryptoKey,
        kinds: Sequence[KeyType],
        old_key: CryptoKey | None,
    ) -> Ticket:
        """Open one.  After a failure our own key takes its place, so that the next steps take the same time."""
        sizes = [sealed_size(key.type, _TICKET_BYTES + SECRET_BYTES[kind]) for kind in kinds]
        content = envelopes.open(key, Usage.TICKET_SESSION_KEY, ticket.sealed, sizes, _Content.decode)
        if content is None:
            content = _Content(self._key, Utime(0, 0))
        blob: _Blob | bytes | None = ticket.blob
        if isinstance(blob, bytes) and old_key is not None:
            blob = envelopes.open(old_key, Usage.TICKET_BLOB, blob, None, _sealed_blob)
        if not isinstance(blob, _Blob):
            blob = _Blob(0, Secret(b""))
        validity = min(max(content.validity.as_seconds(), _MIN_VALIDITY_S), _MAX_VALIDITY_S)
        return Ticket(ticket.service, content.session_key, validity, blob.secret_id, blob.blob)


def _sealed_blob(cur: Cursor) -> _Blob:
    return _Blob.decode(cur.sub_blob("CephXTicketBlob", limits.MAX_TICKET_BLOB))


def _service(number: int) -> str:
    try:
        return f"service {EntityType(number).name.lower()}"
    except ValueError:
        return f"service {number}"
