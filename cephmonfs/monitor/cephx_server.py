"""cephx, the monitor's half: challenge, proof, tickets, reclaim of a global_id, renewal.

A ticket is opaque to its client: here, as in Ceph, it holds the identity and the session key under a secret that only
the monitors share and that rotates.  A monitor opens a ticket as long as it still holds the secret of its id: the
present one and the two before.  A global_id is only given back together with a ticket that names it.
Ceph v20.2.4: src/auth/cephx/CephxServiceHandler.cc, CephxProtocol.cc.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cephmonfs.auth.credentials import AuthMethod
from cephmonfs.auth.envelope import RandomBytes, Usage, challenge_proof, opened, seal
from cephmonfs.errors import IntegrityError, UnexpectedMessage
from cephmonfs.model.cryptokey import SECRET_BYTES, CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.monitor.authserver import EACCES, EINVAL, Answer, Challenge, Granted, Refused
from cephmonfs.msgr.events import Mode
from cephmonfs.wire import crypto, limits
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

_GET_AUTH_SESSION_KEY: Final = 0x0100
_GET_PRINCIPAL_SESSION_KEY: Final = 0x0200
_SECURE_SECRET: Final = 64
_SECRETS_KEPT: Final = 3
_SERVICES: Final = (EntityType.MON, EntityType.MDS, EntityType.OSD, EntityType.MGR)


@dataclass(frozen=True, slots=True)
class TicketInfo:
    """What a ticket's blob holds, for the monitors' eyes."""

    entity: EntityName
    global_id: int
    session_key: CryptoKey

    def encode(self, enc: Encoder) -> None:
        """Append it."""
        enc.u8(1)
        self.entity.encode(enc)
        enc.u64(self.global_id)
        self.session_key.encode(enc)

    @classmethod
    def decode(cls, cur: Cursor) -> TicketInfo:
        """Read it."""
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"struct_v {struct_v}, wanted 1")
        return cls(EntityName.decode(cur), cur.u64(), CryptoKey.decode(cur))


@dataclass(slots=True)
class CephxServer:
    """What the monitors of one cluster share: the clients' keys, the rotating secrets, the next global_id."""

    keys: Mapping[str, CryptoKey]  # by entity, "client.admin"
    random: RandomBytes
    auth_validity_s: float = 72 * 3600.0
    service_validity_s: float = 3600.0
    next_global_id: int = 4100
    _rotating: dict[int, CryptoKey] = field(default_factory=dict)

    def new_key(self, kind: KeyType, now: float) -> CryptoKey:
        """Make a key."""
        return CryptoKey(kind, Utime.of(now), Secret(self.random(SECRET_BYTES[kind])))

    def new_global_id(self) -> int:
        """Return a global_id never given before."""
        self.next_global_id += 1
        return self.next_global_id

    def current_secret_id(self, now: float) -> int:
        """Return the id of the present secret; a new one begins with every validity."""
        return 1 + int(now / self.auth_validity_s)

    def secret(self, secret_id: int, now: float) -> CryptoKey | None:
        """Return a rotating secret, None when it is gone or yet to come."""
        current = self.current_secret_id(now)
        for old in [i for i in self._rotating if i <= current - _SECRETS_KEPT]:
            del self._rotating[old]
        if not current - _SECRETS_KEPT < secret_id <= current:
            return None
        if secret_id == current and current not in self._rotating:
            self._rotating[current] = self.new_key(KeyType.AES256K, now)
        return self._rotating.get(secret_id)

    def seal_ticket(self, info: TicketInfo, now: float) -> tuple[int, bytes]:
        """Return (secret_id, blob)."""
        secret_id = self.current_secret_id(now)
        secret = self.secret(secret_id, now)
        if secret is None:
            raise RuntimeError("the present secret is always there")
        enc = Encoder()
        info.encode(enc)
        return secret_id, seal(secret, Usage.TICKET_INFO, bytes(enc), self.random)

    def open_ticket(self, secret_id: int, blob: bytes, now: float) -> TicketInfo | None:
        """Return the content of a ticket, None if it is not one of ours."""
        secret = self.secret(secret_id, now)
        if secret is None:
            return None
        try:
            return opened(secret, Usage.TICKET_INFO, blob, "ticket", TicketInfo.decode)
        except IntegrityError:
            return None


def _read_ticket_blob(cur: Cursor) -> tuple[int, bytes]:
    """u8 1, le64 secret_id, blob."""
    if (struct_v := cur.u8()) != 1:
        raise cur.error(f"struct_v {struct_v}, wanted 1")
    return cur.u64(), cur.blob(limits.MAX_TICKET_BLOB)


def _read_authorizer(cur: Cursor) -> None:
    """u8 2, le64 nonce, bool have_challenge, le64 challenge + 1."""
    if (struct_v := cur.u8()) != 2:
        raise cur.error(f"struct_v {struct_v}, wanted 2")
    cur.skip(8 + 1 + 8)


class CephxAuth:
    """One client on one connection."""

    method: AuthMethod = AuthMethod.CEPHX
    modes: tuple[Mode, ...] = (Mode.SECURE, Mode.CRC)

    def __init__(self, server: CephxServer) -> None:
        self._server = server
        self._challenge: int | None = None
        self._entity = EntityName(EntityType.CLIENT, "")
        self._claimed = 0
        self._mode = Mode.CRC
        self._granted: TicketInfo | None = None

    def start(self, entity: EntityName, global_id: int, mode: Mode, now: float) -> Answer:
        """Ask: u8 1, le64 challenge.  An unknown entity gets a challenge as well."""
        self._entity, self._claimed, self._mode = entity, global_id, mode
        self._challenge = Cursor(self._server.random(8)).u64()
        return Challenge(bytes(Encoder().u8(1).u64(self._challenge)))

    def more(self, payload: bytes, now: float) -> Answer:
        """Check CephXAuthenticate, le16 0x0100 in front."""
        cur = Cursor(payload, "CephXAuthenticate")
        if (kind := cur.u16()) != _GET_AUTH_SESSION_KEY:
            raise cur.error(f"request type 0x{kind:x}, wanted 0x{_GET_AUTH_SESSION_KEY:x}")
        answer = self._authenticate(cur, _SECURE_SECRET if self._mode is Mode.SECURE else 0, now)
        return answer

    def renew(self, payload: bytes, now: float) -> tuple[int, bytes]:
        """Answer le16 0x0100 (the AUTH ticket anew) or le16 0x0200 (service tickets)."""
        if self._granted is None:
            raise UnexpectedMessage("a renewal without a session")
        cur = Cursor(payload, "cephx renewal")
        match cur.u16():
            case 0x0100:
                self._claimed = self._granted.global_id
                answer = self._authenticate(cur, 0, now)
                return (0, answer.payload) if isinstance(answer, Granted) else (EACCES, b"")
            case 0x0200:
                return self._service_tickets(cur, self._granted, now)
            case kind:
                raise cur.error(f"request type 0x{kind:x}")

    def _authenticate(self, cur: Cursor, secret_size: int, now: float) -> Granted | Refused:
        if self._challenge is None:
            raise UnexpectedMessage("a proof before the challenge")
        struct_v = cur.u8()
        if not 1 <= struct_v <= 3:
            raise cur.error(f"struct_v {struct_v}")
        client_challenge, proof = cur.u64(), cur.u64()
        secret_id, blob = _read_ticket_blob(cur)
        services = cur.u32() if struct_v >= 2 else 0
        key = self._server.keys.get(str(self._entity))
        if key is None:
            return Refused(EACCES)
        wanted = challenge_proof(key, self._challenge, client_challenge)
        if not crypto.same(proof.to_bytes(8, "little"), wanted.to_bytes(8, "little")):
            return Refused(EACCES)
        old: TicketInfo | None = None
        if blob:
            if not self._claimed:
                return Refused(EINVAL)
            old = self._server.open_ticket(secret_id, blob, now)
            if old is None or old.global_id != self._claimed or old.entity != self._entity:
                return Refused(EACCES)
        elif self._claimed:
            return Refused(EACCES)  # a global_id without the ticket that proves it: CVE-2021-20288
        global_id = self._claimed or self._server.new_global_id()
        return self._grant(key, global_id, old, services, secret_size, now)

    def _grant(
        self, key: CryptoKey, global_id: int, old: TicketInfo | None, services: int, secret_size: int, now: float
    ) -> Granted:
        server = self._server
        info = TicketInfo(self._entity, global_id, server.new_key(key.type, now))
        enc = Encoder().u16(_GET_AUTH_SESSION_KEY).s32(0)
        validity = server.auth_validity_s
        self._tickets(enc, key, [(EntityType.AUTH, info, validity)], old.session_key if old else None, now)
        secret = server.random(secret_size)
        sealed = seal(info.session_key, Usage.CONNECTION_SECRET, bytes(Encoder().blob(secret)), server.random)
        enc.blob(bytes(Encoder().blob(sealed)))
        extra = Encoder()
        if services:
            self._tickets(extra, info.session_key, self._for_services(services, global_id, key.type, now), None, now)
        enc.blob(bytes(extra))
        self._granted = info
        return Granted(global_id, bytes(enc), info.session_key.secret, Secret(secret) if secret else None)

    def _for_services(
        self, services: int, global_id: int, kind: KeyType, now: float
    ) -> list[tuple[EntityType, TicketInfo, float]]:
        server = self._server
        return [
            (service, TicketInfo(self._entity, global_id, server.new_key(kind, now)), server.service_validity_s)
            for service in _SERVICES
            if services & service
        ]

    def _tickets(
        self,
        enc: Encoder,
        key: CryptoKey,
        tickets: list[tuple[EntityType, TicketInfo, float]],
        old: CryptoKey | None,
        now: float,
    ) -> None:
        """u8 1, le32 count, then per ticket its service, the sealed session key, and the (perhaps sealed) blob."""
        enc.u8(1).u32(len(tickets))
        for service, info, validity in tickets:
            inner = Encoder().u8(1)
            info.session_key.encode(inner)
            inner.utime(Utime.of(validity))
            enc.u32(service).u8(1).blob(seal(key, Usage.TICKET_SESSION_KEY, bytes(inner), self._server.random))
            secret_id, blob = self._server.seal_ticket(info, now)
            ticket = bytes(Encoder().u8(1).u64(secret_id).blob(blob))
            enc.boolean(old is not None)
            if old is None:
                enc.blob(ticket)
            else:
                enc.blob(seal(old, Usage.TICKET_BLOB, bytes(Encoder().blob(ticket)), self._server.random))

    def _service_tickets(self, cur: Cursor, granted: TicketInfo, now: float) -> tuple[int, bytes]:
        """Take an authorizer for the AUTH service and u8 1, le32 wanted services."""
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"authorizer struct_v {struct_v}, wanted 1")
        global_id, _service = cur.u64(), cur.u32()
        info = self._server.open_ticket(*_read_ticket_blob(cur), now)
        sealed = cur.blob(limits.MAX_PREAUTH_FRAME)
        if (struct_v := cur.u8()) != 1:
            raise cur.error(f"request struct_v {struct_v}, wanted 1")
        services = cur.u32()
        if info is None or info.global_id != global_id or info.entity != granted.entity:
            return EACCES, b""
        try:
            opened(info.session_key, Usage.AUTHORIZER, sealed, "authorizer", _read_authorizer)
        except IntegrityError:
            return EACCES, b""
        enc = Encoder().u16(_GET_PRINCIPAL_SESSION_KEY).s32(0)
        tickets = self._for_services(services, global_id, info.session_key.type, now)
        self._tickets(enc, info.session_key, tickets, None, now)
        return 0, bytes(enc)
