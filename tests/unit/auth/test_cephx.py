"""CephxHandshake against a scripted monitor, with both key types."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephmonfs.auth.cephx import GET_AUTH_SESSION_KEY, CephxHandshake
from cephmonfs.auth.credentials import NO_SECRET, SECRET_SIZES, AuthMethod, Credentials, Ticket
from cephmonfs.auth.envelope import Usage, challenge_proof, seal
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
        self.validity: Utime | None = None
        self.tail = b""  # of every sealed ticket
        self.secret_tail = self.blob_tail = self.extra_tail = b""
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
            inner = bytes(Encoder().blob(blob)) + self.blob_tail
            enc.boolean(True).blob(seal(self.old_key, Usage.TICKET_BLOB, inner, counted))

    def _tickets(self, tickets: list[Ticket], key: CryptoKey) -> bytes:
        enc = Encoder().u8(self.reply_v).u32(len(tickets))
        for one in tickets:
            inner = Encoder().u8(self.inner_v)
            one.session_key.encode(inner)
            inner.utime(self.validity or Utime(int(one.validity_s), 0)).raw(self.tail)
            enc.u32(one.service).u8(self.ticket_v)
            enc.blob(seal(key, Usage.TICKET_SESSION_KEY, bytes(inner), counted))
            self._blob(enc, one)
        return bytes(enc)

    def reply(self) -> bytes:
        enc = Encoder().u16(self.kind).s32(self.status).raw(self._tickets(self.tickets, self.key))
        if self.secret is None:
            enc.blob(b"")
        else:
            inner = bytes(Encoder().blob(self.secret)) + self.secret_tail
            enc.blob(bytes(Encoder().blob(seal(self.secret_key, Usage.CONNECTION_SECRET, inner, counted))))
        self.old_key = None
        enc.blob((self._tickets(self.services, self.session_key) if self.services else b"") + self.extra_tail)
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
    mon.validity = Utime(0, 1)
    assert mon.client.done(mon.reply(), 1).credentials.shortest_validity_s() == 1.0
    mon.validity = Utime(366 * 86400, 0)
    assert mon.client.done(mon.reply(), 1).credentials.shortest_validity_s() == 30 * 86400.0


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
    mon.session_key = mon.secret_key = weak
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
    [("kind", 0x200), ("reply_v", 2), ("ticket_v", 2), ("blob_v", 2)],
)
def test_versions(field: str, value: int) -> None:
    mon = Mon(KeyType.AES).challenge()
    setattr(mon, field, value)
    mon.fails(DecodeError)


BAD = "^decryption failed: wrong key or damaged bytes$"
ODD_CONTENTS: dict[str, dict[str, object]] = {
    "older": {"inner_v": 0},
    "newer": {"inner_v": 2},
    "bytes behind a ticket": {"tail": b"x"},
    "a block behind a ticket": {"tail": bytes(16)},
    "many blocks behind a ticket": {"tail": bytes(4096)},
    "no validity": {"validity": Utime(0, 0)},
    "validity of a century": {"validity": Utime(100 * 366 * 86400 & 0xFFFFFFFF, 0)},
    "validity just too long": {"validity": Utime(366 * 86400, 1)},
    "nanoseconds of validity": {"validity": Utime(60, 10**9)},
    "a secret of another size": {"secret": b"s" * 63},
    "a longer secret": {"secret": b"s" * 65},
    "bytes behind the secret": {"secret_tail": b"x"},
    "a block behind the secret": {"secret_tail": bytes(16)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", list(ODD_CONTENTS.values()), ids=list(ODD_CONTENTS))
def test_whatever_is_wrong_inside_an_envelope_is_one_error(kind: KeyType, fields: dict[str, object]) -> None:
    mon = Mon(kind).challenge()
    for name, value in fields.items():
        setattr(mon, name, value)
    mon.fails(IntegrityError, BAD)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("created", [Utime(0, 0), Utime(0, 5), Utime(7, 10**9), Utime(7, 2**32 - 1)], ids=str)
@pytest.mark.parametrize("service", [False, True], ids=["AUTH", "MON"])
def test_times_of_creation_that_cannot_be(kind: KeyType, created: Utime, service: bool) -> None:
    mon = Mon(kind).challenge()
    if service:
        mon.services = [replace(mon.services[0], session_key=replace(make_key(kind, 3), created=created))]
    else:
        mon.tickets = [replace(mon.tickets[0], session_key=replace(mon.session_key, created=created))]
    mon.fails(IntegrityError, BAD)


@pytest.mark.parametrize("size", [0, 8, 15, 17, 24, 32, 4096])
@pytest.mark.parametrize("service", [False, True], ids=["AUTH", "MON"])
def test_an_aes_secret_has_16_bytes(size: int, service: bool) -> None:
    mon = Mon(KeyType.AES).challenge()
    odd = CryptoKey(KeyType.AES, Utime(5, 0), Secret(bytes(size)))
    if service:
        mon.services = [replace(mon.services[0], session_key=odd)]
    else:
        mon.tickets = [replace(mon.tickets[0], session_key=odd)]
    mon.fails(IntegrityError, BAD)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"x", bytes(16)])
def test_bytes_behind_a_claimed_ticket(kind: KeyType, tail: bytes) -> None:
    old = ticket(kind)
    mon = Mon(kind, Credentials(99, {EntityType.AUTH: old})).challenge()
    mon.old_key, mon.blob_tail = old.session_key, tail
    mon.fails(IntegrityError, BAD)


def test_the_session_key_is_not_optional_knowledge() -> None:
    """A reply without anything sealed with it would tell a forger that his ticket is good, whatever its key is."""
    mon = Mon(KeyType.AES).challenge()
    mon.services = []
    mon.fails(IntegrityError, BAD)
    mon.services = [ticket(KeyType.AES, EntityType.AUTH)]
    mon.fails(DecodeError, "AUTH ticket among")
    mon.services = [ticket(KeyType.AES, EntityType.MON)] * 2
    mon.fails(DecodeError, "two tickets")
    mon = Mon(KeyType.AES).challenge()
    mon.tickets *= 2
    mon.fails(DecodeError, "two tickets")
    mon = Mon(KeyType.AES).challenge()
    mon.extra_tail = b"x"
    mon.fails(DecodeError, "too many")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SECRET_SIZES)
def test_the_mode_says_which_connection_secret_there_is(kind: KeyType, size: int) -> None:
    for wanted in SECRET_SIZES:
        mon = Mon(kind).challenge()
        mon.secret = None if size == NO_SECRET else bytes(range(size))
        if wanted == size:
            mon.client.done(mon.reply(), 1, (wanted,))
        else:
            with pytest.raises(IntegrityError, match=BAD):
                mon.client.done(mon.reply(), 1, (wanted,))


def test_limits() -> None:
    mon = Mon(KeyType.AES).challenge()
    mon.tickets = [ticket(KeyType.AES, 1 << n) for n in range(limits.MAX_TICKETS + 1)]
    mon.fails(DecodeError, "limit")
    mon = Mon(KeyType.AES).challenge()
    mon.tickets = [replace(mon.tickets[0], blob=Secret(bytes(limits.MAX_TICKET_BLOB + 1)))]
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
