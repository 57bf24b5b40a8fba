"""MonConnection: which protocol it speaks, what its refusals say, what it does with an old ticket."""

from __future__ import annotations

import pytest

from cephmonfs.auth.credentials import Credentials
from cephmonfs.errors import AuthError, WrongProtocol
from cephmonfs.messages.mon import MMonGetMap
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from cephmonfs.mon.connection import Identity, MonConnection, Phase, key_type_refused, refusal
from cephmonfs.mon.hunt import Candidate
from cephmonfs.msgr.events import AuthRefused, Mode
from cephmonfs.wire.crypto import Secret
from cephmonfs.wire.cursor import Utime

WHO = EntityName(EntityType.CLIENT, "df")
V1 = EntityAddr.of("10.0.0.1", 6789, AddrType.LEGACY)
V2 = EntityAddr.of("10.0.0.1", 3300, AddrType.MSGR2)
AES = CryptoKey(KeyType.AES, Utime(0, 0), Secret(bytes(16)))
AES256K = CryptoKey(KeyType.AES256K, Utime(0, 0), Secret(bytes(32)))


def conn(
    addr: EntityAddr, *modes: Mode, key: CryptoKey | None = AES, prior: Credentials | None = None
) -> MonConnection:
    return MonConnection(1, Candidate("a", addr), Identity(WHO, key, modes), prior, bytes, 0.0)


@pytest.mark.parametrize(
    ("modes", "addr", "banner"),
    [
        ((Mode.LEGACY,), V1, b"ceph v027"),
        ((Mode.CRC,), V2, b"ceph v2\n"),
        ((Mode.SECURE, Mode.CRC), V2, b"ceph v2\n"),
    ],
)
def test_which_protocol(modes: tuple[Mode, ...], addr: EntityAddr, banner: bytes) -> None:
    one = conn(addr, *modes)
    assert one.data_to_send() == b""
    one.connected(1.0)
    assert one.describe("x").endswith(f"{Phase.BANNER}: x")
    assert one.data_to_send().startswith(banner)
    assert not one.ready


@pytest.mark.parametrize(
    ("modes", "addr"),
    [((Mode.LEGACY,), V2), ((Mode.SECURE, Mode.CRC), V1), ((Mode.CRC, Mode.SECURE), V1), ((Mode.CRC,), V1)],
)
def test_never_the_other_one(modes: tuple[Mode, ...], addr: EntityAddr) -> None:
    one = conn(addr, *modes)
    with pytest.raises(WrongProtocol, match="ms_mode asks for another"):
        one.connected(1.0)
    assert one.data_to_send() == b""


def test_calls_before_the_connection() -> None:
    one = conn(V2, Mode.CRC)
    with pytest.raises(RuntimeError):
        one.receive_data(b"", 0.0)
    with pytest.raises(RuntimeError):
        one.send(MMonGetMap())
    with pytest.raises(RuntimeError):
        one.send_keepalive(0.0, Utime(0, 0))


def test_auth_none_has_no_tickets_to_renew() -> None:
    assert conn(V2, Mode.CRC, key=None).renewal(Credentials(1, {})) is None


def test_describe() -> None:
    assert conn(V2, Mode.CRC).describe("reason") == "monitor a at v2:10.0.0.1:3300/0: connect: reason"


def said(key: CryptoKey | None, *modes: Mode, result: int, ciphers: tuple[int, ...] = (), **lists: list[int]) -> str:
    event = AuthRefused(result, tuple(lists.get("methods", [])), tuple(lists.get("modes", [])), "text")
    error = refusal(Identity(WHO, key, modes), event, ciphers)
    assert isinstance(error, AuthError)
    assert error.result == result
    return str(error)


@pytest.mark.parametrize("methods", [[], [1]])
def test_no_cephx(methods: list[int]) -> None:
    assert "does not use cephx, and a key was given" in said(AES, Mode.CRC, result=-95, methods=methods)


@pytest.mark.parametrize("methods", [[], [2]])
def test_key_wanted(methods: list[int]) -> None:
    assert "wants a key (cephx)" in said(None, Mode.CRC, result=-95, methods=methods)


def test_no_mode_in_common() -> None:
    assert "(secure)" in said(AES, Mode.SECURE, result=-95, methods=[2], modes=[1])
    assert "auth none" in said(None, Mode.SECURE, result=-95, methods=[1], modes=[2, 1])


@pytest.mark.parametrize("result", [-1, -13])
def test_refused(result: int) -> None:
    text = said(AES, Mode.CRC, result=result)
    assert text.startswith("refused client.df: unknown user, wrong key, no mon caps, or a key type")
    assert text.endswith("ceph auth get client.df")
    assert "key type" not in said(AES256K, Mode.CRC, result=result)
    assert "key type" not in said(None, Mode.CRC, result=result)
    assert "key type" not in said(AES, Mode.CRC, result=result, ciphers=(1, 2))
    assert "takes only aes256k" in said(AES, Mode.CRC, result=result, ciphers=(2,))


def test_other_errors() -> None:
    assert said(AES, Mode.CRC, result=-22) == "refused client.df: error -22 text"


def test_key_types() -> None:
    who = Identity(WHO, AES256K, (Mode.CRC,))
    assert key_type_refused(who, ()) == ""
    assert key_type_refused(who, (1, 2)) == ""
    assert "of type aes256k, and the cluster takes only aes, cipher 3 " in key_type_refused(who, (1, 3))
    assert key_type_refused(Identity(WHO, None, (Mode.CRC,)), (1,)) == ""
