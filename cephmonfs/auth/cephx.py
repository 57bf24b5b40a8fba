"""cephx towards a monitor: challenge, proof, tickets, reclaim of the global_id, renewal.

    monitor  u8 1, le64 server challenge
    client   le16 0x0100, CephXAuthenticate with the proof and the old AUTH ticket
    monitor  le16 0x0100, le32 status, AUTH ticket sealed with our key, connection secret and
             service tickets sealed with the new AUTH session key

That the monitor can seal with our key, with the envelope's magic inside, is its proof to us; the messenger's
AUTH_SIGNATURE, keyed by what was inside, is the second.
Ceph v20.2.4: src/auth/cephx/CephxProtocol.h, CephxClientHandler.cc.
"""

from __future__ import annotations

from typing import Final

from cephmonfs.auth.credentials import AuthMethod, AuthResult, Credentials, Ticket
from cephmonfs.auth.envelope import RandomBytes, Usage, challenge_proof, unseal
from cephmonfs.errors import AuthError, DecodeError, UnexpectedMessage, WeakKey
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.wire import limits
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder

GET_AUTH_SESSION_KEY: Final = 0x0100
_AUTHENTICATE_V: Final = 3  # since 2021: "I present my old ticket when I claim a global_id"
_MIN_VALIDITY_S: Final = 1.0
_MAX_VALIDITY_S: Final = 30 * 86400.0


class CephxHandshake:
    """One authentication.  Raises AuthError, IntegrityError, DecodeError; none of them may be ignored.

    Keys of a type below `weakest` are refused: ours before it proves anything, session keys as they come.
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

    def done(self, payload: bytes, global_id: int) -> AuthResult:
        """Check the monitor's answer and take what is in it."""
        if self._server_challenge is None:
            raise UnexpectedMessage("authenticated without a challenge: the monitor never saw our proof")
        if not global_id:
            raise AuthError("the monitor gave global_id 0")
        cur = Cursor(payload, "cephx reply")
        if (kind := cur.u16()) != GET_AUTH_SESSION_KEY:
            raise cur.error(f"request type 0x{kind:x}, wanted 0x{GET_AUTH_SESSION_KEY:x}")
        if status := cur.s32():
            raise AuthError(f"cephx status {status}", status)
        tickets = self._ticket_reply(cur, self._key)
        auth = tickets.get(EntityType.AUTH)
        if auth is None:
            raise AuthError("the monitor's reply has no AUTH ticket")
        if auth.session_key.type is not self._key.type:
            raise AuthError(
                f"the monitor gave a session key of type {auth.session_key.type.name.lower()}, ours is "
                f"{self._key.type.name.lower()}: a downgrade"
            )
        secret = self._connection_secret(cur, auth.session_key)
        extra = cur.sub_blob("cephx service tickets", 2 * limits.MAX_TICKET_BLOB)
        if extra.remaining:
            tickets = self._ticket_reply(extra, auth.session_key) | tickets
        return AuthResult(Credentials(global_id, tickets), auth.session_key.secret, secret)

    def _too_weak(self, what: str, kind: KeyType) -> WeakKey:
        return WeakKey(f"{what} is of type {kind.name.lower()}: key_type={self._weakest.name.lower()} refuses that")

    def _connection_secret(self, cur: Cursor, session_key: CryptoKey) -> Secret | None:
        """Blob { le32 length, sealed { blob secret } }; empty on msgr1, an empty secret in crc mode."""
        outer = cur.sub_blob("connection secret", limits.MAX_PREAUTH_FRAME)
        if not outer.remaining:
            return None
        inner = unseal(session_key, Usage.CONNECTION_SECRET, outer.blob(), "connection secret")
        secret = inner.blob(limits.MAX_SECRET)
        return Secret(secret) if secret else None

    def _ticket_reply(self, cur: Cursor, key: CryptoKey) -> dict[int, Ticket]:
        """u8 1, le32 count, then per ticket its service, the sealed session key, and the (perhaps sealed) blob."""
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        tickets = {}
        for _ in range(cur.count(each=10, limit=limits.MAX_TICKETS)):
            ticket = self._ticket(cur, key)
            tickets[ticket.service] = ticket
        return tickets

    def _ticket(self, cur: Cursor, key: CryptoKey) -> Ticket:
        service = cur.u32()
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        inner = unseal(key, Usage.TICKET_SESSION_KEY, cur.blob(limits.MAX_PREAUTH_FRAME), "CephXServiceTicket")
        if (struct_v := inner.u8()) < 1:
            raise DecodeError("CephXServiceTicket", 0, f"struct_v {struct_v}, wanted 1")
        session_key = CryptoKey.decode(inner)
        if session_key.type < self._weakest:
            raise self._too_weak(f"the session key that the monitor gave for {_service(service)}", session_key.type)
        validity = min(max(inner.utime().as_seconds(), _MIN_VALIDITY_S), _MAX_VALIDITY_S)
        if cur.boolean():
            old = self._prior.tickets.get(EntityType.AUTH) if self._prior else None
            if old is None:
                raise cur.error("a ticket sealed with an old session key, and we presented none")
            sealed = cur.blob(2 * limits.MAX_TICKET_BLOB)
            blob = unseal(old.session_key, Usage.TICKET_BLOB, sealed, "CephXTicketBlob").sub_blob("CephXTicketBlob")
        else:
            blob = cur.sub_blob("CephXTicketBlob", limits.MAX_TICKET_BLOB)
        if (struct_v := blob.u8()) != 1:
            raise blob.error(f"struct_v {struct_v}, wanted 1")
        return Ticket(service, session_key, validity, blob.u64(), Secret(blob.blob(limits.MAX_TICKET_BLOB)))


def _service(number: int) -> str:
    try:
        return f"service {EntityType(number).name.lower()}"
    except ValueError:
        return f"service {number}"
