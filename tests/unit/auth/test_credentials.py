"""What an authentication leaves behind."""

from __future__ import annotations

from cephmonfs.auth.credentials import Credentials, Ticket
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Utime

KEY = CryptoKey(KeyType.AES, Utime(1, 0), Secret(b"k" * 16))


def ticket(service: int, validity_s: float) -> Ticket:
    return Ticket(service, KEY, validity_s, 7, Secret(b"the blob"))


def test_the_ticket_that_ends_first_decides() -> None:
    assert Credentials(5, {1: ticket(1, 600.0), 2: ticket(2, 60.0)}).shortest_validity_s() == 60.0


def test_without_tickets_nothing_ends() -> None:
    assert Credentials(5, {}).shortest_validity_s() is None


def test_what_is_secret_is_not_shown() -> None:
    shown = repr(Credentials(5, {1: ticket(1, 600.0)}))
    assert "kkkk" not in shown
    assert "the blob" not in shown
