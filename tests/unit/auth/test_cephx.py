"""CephxHandshake against a scripted monitor, with both key types."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephmonfs.auth.cephx import GET_AUTH_SESSION_KEY, CephxHandshake
from cephmonfs.auth.credentials import AuthMethod, Credentials, Ticket
from cephmonfs.auth.envelope import Usage, challenge_proof, seal
from cephmonfs.auth.none import NoneHandshake
from cephmonfs.errors import AuthError, CephMonFSError, DecodeError, IntegrityError, UnexpectedMessage, WeakKey
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.wire import limits
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder

WHO = EntityName(EntityType.CLIENT, "df")
CHALLENGE = 0x1122334455667788
KINDS = list(KeyType)


def make_key(kind: KeyType, fill: int) -> CryptoKey:
    return CryptoKey(kind, Utime(5, 0), Secret(bytes((fill,)) * (16 if kind is KeyType.AES else 32)))


def counted(n: int) -> bytes:
    return bytes(range(n))


def ticket(kind: KeyType, service: int = EntityType.AUTH, fill: int = 9) -> Ticket:
    return Ticket(service, make_key(kind, fill), 3600.0, 77, Secret(b"opaque"))


class Mon:
    """The monitor's end; every field may be made wrong before `reply`."""

    def __init__(self, kind: KeyType, prior: Credentials | None = None) -> None:
        self.key = make_key(kind, 1)
        self.session_key = make_key(kind, 2)
        self.prior = prior
        self.client = CephxHandshake(WHO, self.key, prior, counted)
        self.kind = GET_AUTH_SESSION_KEY
        self.status = 0
        self.reply_v = self.ticket_v = self.inner_v = self.blob_v = 1
        self.tickets: list[Ticket] = [
            Ticket(EntityType.AUTH, self.session_key, 259200.0, 5, Secret(b"auth ticket blob")),
        ]
        self.services: list[Ticket] = [Ticket(EntityType.MON, make_key(kind, 3), 3600.0, 6, Secret(b"mon ticket blob"))]
        self.old_key: CryptoKey | None = None  # seal the blob with it
        self.secret: bytes | None = b"s" * 64
        self.secret_key = self.session_key

    def challenge(self) -> Mon:
        self.request = self.client.more(bytes(Encoder().u8(1).u64(CHALLENGE)))
        return self

    def _blob(self, enc: Encoder, one: Ticket) -> None:
        blob = bytes(Encoder().u8(self.blob_v).u64(one.secret_id).blob(one.blob.reveal()))
        if self.old_key is None:
            enc.boolean(False).blob(blob)
        else:
            inner = bytes(Encoder().blob(blob))
            enc.boolean(True).blob(seal(self.old_key, Usage.TICKET_BLOB, inner, counted))

    def _tickets(self, tickets: list[Ticket], key: CryptoKey) -> bytes:
        enc = Encoder().u8(self.reply_v).u32(len(tickets))
        for one in tickets:
            inner = Encoder().u8(self.inner_v)
            one.session_key.encode(inner)
            inner.utime(Utime(int(one.validity_s), 0))
            enc.u32(one.service).u8(self.ticket_v)
            enc.blob(seal(key, Usage.TICKET_SESSION_KEY, bytes(inner), counted))
            self._blob(enc, one)
        return bytes(enc)

    def reply(self) -> bytes:
        enc = Encoder().u16(self.kind).s32(self.status).raw(self._tickets(self.tickets, self.key))
        if self.secret is None:
            enc.blob(b"")
        else:
            inner = bytes(Encoder().blob(self.secret))
            enc.blob(bytes(Encoder().blob(seal(self.secret_key, Usage.CONNECTION_SECRET, inner, counted))))
        self.old_key = None
        enc.blob(self._tickets(self.services, self.session_key) if self.services else b"")
        return bytes(enc)

    def fails(self, error: type[CephMonFSError], match: str | None = None) -> None:
        with pytest.raises(error, match=match):
            self.client.done(self.reply(), 4711)


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_send(kind: KeyType) -> None:
    mon = Mon(kind).challenge()
    cur = Cursor(mon.request)
    assert (cur.u16(), cur.u8()) == (GET_AUTH_SESSION_KEY, 3)
    client_challenge = cur.u64()
    assert client_challenge == int.from_bytes(counted(8), "little")
    assert cur.u64() == challenge_proof(mon.key, CHALLENGE, client_challenge)
    assert (cur.u8(), cur.u64(), cur.blob()) == (1, 0, b"")
    assert cur.u32() == EntityType.MON  # other_keys
    cur.finish()
    assert (mon.client.global_id, mon.client.method, mon.client.entity) == (0, AuthMethod.CEPHX, WHO)


def test_other_keys_is_never_zero() -> None:
    """Monitors do not survive that well: it cannot be asked for."""
    with pytest.raises(RuntimeError):
        CephxHandshake(WHO, make_key(KeyType.AES, 1), None, counted, services=0)


@pytest.mark.parametrize("kind", KINDS)
def test_success(kind: KeyType) -> None:
    mon = Mon(kind).challenge()
    result = mon.client.done(mon.reply(), 4711)
    assert result.session_key == mon.session_key.secret
    assert result.connection_secret == Secret(b"s" * 64)
    credentials = result.credentials
    assert credentials.global_id == 4711
    assert credentials.tickets == {EntityType.AUTH: mon.tickets[0], EntityType.MON: mon.services[0]}
    assert credentials.shortest_validity_s() == 3600.0


def test_upgraded_cluster_has_service_tickets_of_the_old_type() -> None:
    mon = Mon(KeyType.AES256K).challenge()
    mon.services = [ticket(KeyType.AES, EntityType.MON)]
    assert mon.client.done(mon.reply(), 1).credentials.tickets[EntityType.MON] == mon.services[0]


@pytest.mark.parametrize("secret", [None, b""])
def test_no_connection_secret(secret: bytes | None) -> None:
    """msgr1 sends nothing at all, crc mode an empty one."""
    mon = Mon(KeyType.AES).challenge()
    mon.secret = secret
    mon.services = []
    assert mon.client.done(mon.reply(), 1).connection_secret is None


@pytest.mark.parametrize("kind", KINDS)
def test_reclaim(kind: KeyType) -> None:
    old = ticket(kind)
    mon = Mon(kind, Credentials(99, {EntityType.AUTH: old})).challenge()
    cur = Cursor(mon.request)
    cur.skip(3 + 16)
    assert (cur.u8(), cur.u64(), cur.blob()) == (1, 77, b"opaque")
    assert mon.client.global_id == 99
    mon.old_key = old.session_key
    assert mon.client.done(mon.reply(), 99).credentials.tickets[EntityType.AUTH] == mon.tickets[0]


@pytest.mark.parametrize("prior", [None, Credentials(99, {})])
def test_sealed_ticket_without_an_old_one(prior: Credentials | None) -> None:
    mon = Mon(KeyType.AES, prior).challenge()
    mon.old_key = make_key(KeyType.AES, 9)
    mon.fails(DecodeError, "presented none")


def test_ticket_sealed_with_another_key() -> None:
    mon = Mon(KeyType.AES256K, Credentials(9, {EntityType.AUTH: ticket(KeyType.AES256K)})).challenge()
    mon.old_key = make_key(KeyType.AES256K, 55)
    mon.fails(IntegrityError)


@pytest.mark.parametrize("kind", KINDS)
def test_renewal(kind: KeyType) -> None:
    mon = Mon(kind).challenge()
    now = mon.client.done(mon.reply(), 4711).credentials
    cur = Cursor(mon.client.renew(now))
    cur.skip(3 + 16 + 1)
    assert (cur.u64(), cur.blob()) == (5, b"auth ticket blob")
    mon.old_key = mon.session_key
    mon.session_key = mon.secret_key = make_key(kind, 12)
    mon.tickets = [replace(mon.tickets[0], session_key=mon.session_key, secret_id=6)]
    assert mon.client.done(mon.reply(), 4711).credentials.tickets[EntityType.AUTH].secret_id == 6


def test_validity_is_clamped() -> None:
    mon = Mon(KeyType.AES).challenge()
    mon.tickets = [replace(mon.tickets[0], validity_s=0.0)]
    mon.services = [replace(mon.services[0], validity_s=4e9)]
    tickets = mon.client.done(mon.reply(), 1).credentials.tickets
    assert tickets[EntityType.AUTH].validity_s == 1.0
    assert tickets[EntityType.MON].validity_s == 30 * 86400.0


# ---- lies


def test_order_of_things() -> None:
    mon = Mon(KeyType.AES)
    with pytest.raises(UnexpectedMessage, match="never saw our proof"):
        mon.client.done(mon.reply(), 1)
    with pytest.raises(RuntimeError):
        mon.client.renew(Credentials(1, {}))
    mon.challenge()
    with pytest.raises(UnexpectedMessage, match="second cephx challenge"):
        mon.challenge()


@pytest.mark.parametrize("payload", [b"", bytes(8), b"\x02" + bytes(8), b"\x01" + bytes(7)])
def test_bad_challenges(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        Mon(KeyType.AES).client.more(payload)


@pytest.mark.parametrize("kind", KINDS)
def test_monitor_that_does_not_know_the_key(kind: KeyType) -> None:
    mon = Mon(kind).challenge()
    mon.key = make_key(kind, 99)
    mon.fails(IntegrityError)


def test_connection_secret_of_another_session_key() -> None:
    mon = Mon(KeyType.AES256K).challenge()
    mon.secret_key = make_key(KeyType.AES256K, 99)
    mon.fails(IntegrityError)


def test_downgrade_of_the_session_key() -> None:
    mon = Mon(KeyType.AES256K).challenge()
    mon.session_key = mon.secret_key = make_key(KeyType.AES, 2)
    mon.tickets = [replace(mon.tickets[0], session_key=mon.session_key)]
    mon.fails(AuthError, "downgrade")


def demanding(mon: Mon) -> Mon:
    mon.client = CephxHandshake(WHO, mon.key, None, counted, weakest=KeyType.AES256K)
    return mon


def test_a_key_of_the_old_type_proves_nothing_where_it_is_refused() -> None:
    with pytest.raises(WeakKey, match=r"^the key of client\.df is of type aes: key_type=aes256k refuses that$"):
        demanding(Mon(KeyType.AES)).challenge()


def test_session_keys_of_the_old_type_are_refused_where_that_is_asked() -> None:
    demanding(mon := Mon(KeyType.AES256K)).challenge()
    mon.client.done(mon.reply(), 4711)
    weak = make_key(KeyType.AES, 2)
    for service, name in ((EntityType.MON, "mon"), (EntityType.OSD, "osd"), (0x40000, "262144")):
        mon = demanding(Mon(KeyType.AES256K)).challenge()
        mon.services = [replace(mon.services[0], service=service, session_key=weak)]
        mon.fails(WeakKey, f"monitor gave for service {name} is of type aes: key_type=aes256k refuses that")
    mon = demanding(Mon(KeyType.AES256K)).challenge()
    mon.tickets = [replace(mon.tickets[0], session_key=weak)]
    mon.fails(WeakKey, "for service auth is of type aes")


def test_other_refusals() -> None:
    mon = Mon(KeyType.AES).challenge()
    with pytest.raises(AuthError, match="global_id 0"):
        mon.client.done(mon.reply(), 0)
    mon.status = -13
    with pytest.raises(AuthError, match="status -13") as caught:
        mon.client.done(mon.reply(), 1)
    assert caught.value.result == -13
    mon.status = 0
    mon.tickets = [ticket(KeyType.AES, EntityType.MON)]
    mon.fails(AuthError, "no AUTH ticket")


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", 0x200), ("reply_v", 2), ("ticket_v", 2), ("inner_v", 0), ("blob_v", 2)],
)
def test_versions(field: str, value: int) -> None:
    mon = Mon(KeyType.AES).challenge()
    setattr(mon, field, value)
    mon.fails(DecodeError)


def test_limits() -> None:
    mon = Mon(KeyType.AES).challenge()
    mon.tickets = mon.tickets * (limits.MAX_TICKETS + 1)
    mon.fails(DecodeError, "limit")
    mon = Mon(KeyType.AES).challenge()
    mon.tickets = [replace(mon.tickets[0], blob=Secret(bytes(limits.MAX_TICKET_BLOB + 1)))]
    mon.fails(DecodeError, "limit")
    mon = Mon(KeyType.AES).challenge()
    mon.secret = bytes(limits.MAX_SECRET + 1)
    mon.fails(DecodeError, "limit")


@pytest.mark.parametrize("kind", KINDS)
def test_every_prefix_and_every_flipped_bit(kind: KeyType) -> None:
    """With aes256k all of the key material is authenticated; with aes only what the magic covers."""
    whole = Mon(kind).challenge().reply()
    for end in range(len(whole)):
        with pytest.raises(CephMonFSError):
            Mon(kind).challenge().client.done(whole[:end], 1)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x04
        try:
            Mon(kind).challenge().client.done(bytes(damaged), 1)
        except CephMonFSError:
            pass


@given(st.binary(max_size=200), st.binary(max_size=9))
def test_junk_raises_only_our_errors(payload: bytes, challenge: bytes) -> None:
    mon = Mon(KeyType.AES).challenge()
    with pytest.raises(CephMonFSError):
        mon.client.done(payload, 1)
    with pytest.raises(CephMonFSError):
        mon.client.more(challenge)


def test_no_secret_shows() -> None:
    mon = Mon(KeyType.AES).challenge()
    text = repr(mon.client.done(mon.reply(), 4711))
    assert "opaque" not in text
    assert "blob of" not in text
    assert repr(b"s" * 64)[2:20] not in text


# ---- auth none


def test_none() -> None:
    client = NoneHandshake(WHO, None)
    assert (client.method, client.entity, client.global_id) == (AuthMethod.NONE, WHO, 0)
    with pytest.raises(UnexpectedMessage):
        client.more(b"")
    with pytest.raises(AuthError, match="global_id 0"):
        client.done(b"", 0)
    result = client.done(b"", 5)
    assert (result.session_key, result.connection_secret) == (None, None)
    assert result.credentials.shortest_validity_s() is None
    assert NoneHandshake(WHO, result.credentials).global_id == 5
