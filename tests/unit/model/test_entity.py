"""Names and addresses."""

from __future__ import annotations

import socket

import pytest

from cephmonfs.errors import DecodeError
from cephmonfs.model.entity import (
    BLANK_ADDR,
    AddrType,
    AddrVec,
    EntityAddr,
    EntityInstName,
    EntityName,
    EntityType,
)
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder

V2 = EntityAddr.of("127.0.0.1", 41300, AddrType.MSGR2)
V1 = EntityAddr.of("127.0.0.1", 41301, AddrType.LEGACY)
V6 = EntityAddr.of("2001:db8::1", 3300, AddrType.MSGR2, 7)
GOLDEN = bytes.fromhex("0101011c000000020000000000000010000000" + "0200a1547f0000010000000000000000")


def encoded(addr: EntityAddr | AddrVec) -> bytes:
    enc = Encoder()
    addr.encode(enc)
    return bytes(enc)


def legacy(addr: EntityAddr) -> bytes:
    enc = Encoder()
    addr.encode_legacy(enc)
    return bytes(enc)


def test_an_address_is_encoded_as_ceph_does() -> None:
    assert encoded(V2) == GOLDEN
    assert EntityAddr.decode(Cursor(GOLDEN)) == V2


@pytest.mark.parametrize(
    ("addr", "text", "host", "port", "family"),
    [
        (V2, "v2:127.0.0.1:41300/0", "127.0.0.1", 41300, 4),
        (V1, "v1:127.0.0.1:41301/0", "127.0.0.1", 41301, 4),
        (V6, "v2:[2001:db8::1]:3300/7", "2001:db8::1", 3300, 6),
        (EntityAddr.of("::1", 0, AddrType.ANY), "[::1]:0/0", "::1", 0, 6),
        (BLANK_ADDR, "-", "", 0, 0),
        (EntityAddr(AddrType.LEGACY, 3, b""), "v1:(unrecognized address family 0)/3", "", 0, 0),
        (EntityAddr(9, 3, b"\x01\x00abc"), "???:(unrecognized address family 1)/3", "", 0, 0),
        (EntityAddr(AddrType.MSGR2, 0, V2.sockaddr[:-1]), "v2:(unrecognized address family 2)/0", "", 0, 0),
    ],
)
def test_an_address_prints_as_ceph_does(addr: EntityAddr, text: str, host: str, port: int, family: int) -> None:
    assert str(addr) == text
    assert (addr.host, addr.port, addr.family) == (host, port, family)
    assert addr.blank == (not family)
    assert EntityAddr.decode(Cursor(encoded(addr))) == addr


@pytest.mark.parametrize(
    "addr", [V1, EntityAddr.of("::1", 6789, AddrType.LEGACY, 5), BLANK_ADDR], ids=["v4", "v6", "blank"]
)
def test_the_legacy_form_comes_back(addr: EntityAddr) -> None:
    data = legacy(addr)
    assert len(data) == 136
    assert EntityAddr.decode(Cursor(data)) == addr
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            EntityAddr.decode(Cursor(data[:cut]))


def test_the_legacy_form_is_always_of_type_legacy() -> None:
    assert EntityAddr.decode(Cursor(legacy(V2))) == EntityAddr(AddrType.LEGACY, 0, V2.sockaddr)


def test_a_legacy_address_of_another_family_is_blank() -> None:
    data = bytearray(legacy(V1))
    data[8:10] = b"\0\x01"
    addr = EntityAddr.decode(Cursor(data))
    assert addr == EntityAddr(AddrType.LEGACY, 0, b"")
    assert addr.blank


@pytest.mark.parametrize("marker", [2, 3, 255])
def test_other_markers_are_refused(marker: int) -> None:
    cur = Cursor(bytes([marker]) + GOLDEN)
    with pytest.raises(DecodeError, match="marker"):
        EntityAddr.decode(cur)
    assert cur.offset == 0


def test_a_sockaddr_beyond_its_storage_is_refused() -> None:
    with pytest.raises(DecodeError, match="limit"):
        EntityAddr.decode(Cursor(encoded(EntityAddr(2, 0, bytes(129)))))


def test_a_host_is_a_literal_address() -> None:
    with pytest.raises(ValueError):
        EntityAddr.of("mon.example", 3300, AddrType.MSGR2)


def test_an_addrvec_in_its_three_forms() -> None:
    vec = AddrVec((V2, V1))
    assert encoded(vec)[:5] == b"\x02\x02\0\0\0"
    assert AddrVec.decode(Cursor(encoded(vec))) == vec
    assert AddrVec.decode(Cursor(encoded(V2))) == AddrVec((V2,))
    assert AddrVec.decode(Cursor(legacy(V1))) == AddrVec((V1,))
    for cut in range(len(encoded(vec))):
        with pytest.raises(DecodeError):
            AddrVec.decode(Cursor(encoded(vec)[:cut]))


def test_an_addrvec_of_too_many_is_refused() -> None:
    with pytest.raises(DecodeError, match="limit"):
        AddrVec.decode(Cursor(encoded(AddrVec((V2,) * 33))))


def test_choosing_from_an_addrvec() -> None:
    vec = AddrVec((V2, V1))
    assert vec.of_type(AddrType.MSGR2) == V2
    assert vec.of_type(AddrType.ANY) is None
    assert vec.legacy == vec.legacy_or_front == V1
    assert AddrVec((V2,)).legacy == BLANK_ADDR
    assert AddrVec((V2,)).legacy_or_front == V2
    assert AddrVec(()).legacy_or_front == BLANK_ADDR


def test_an_addrvec_prints_as_ceph_does() -> None:
    assert str(AddrVec((V2, V1))) == "[v2:127.0.0.1:41300/0,v1:127.0.0.1:41301/0]"
    assert str(AddrVec((V6,))) == "v2:[2001:db8::1]:3300/7"
    assert str(AddrVec(())) == ""


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("::ffff:10.0.0.3", "::ffff:10.0.0.3"),
        ("::10.0.0.3", "::10.0.0.3"),
        ("::1", "::1"),
        ("::", "::"),
        ("::2:1", "::0.2.0.1"),
        ("2001:db8:0:1::", "2001:db8:0:1::"),
    ],
)
def test_ipv6_is_written_as_inet_ntop_does(host: str, shown: str) -> None:
    addr = EntityAddr.of(host, 1, AddrType.MSGR2)
    assert addr.host == shown == socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    assert EntityAddr.of(addr.host, 1, AddrType.MSGR2) == addr


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("admin", EntityName(EntityType.CLIENT, "admin")),
        ("client.admin", EntityName(EntityType.CLIENT, "admin")),
        ("mon.", EntityName(EntityType.MON, "")),
        ("osd.3", EntityName(EntityType.OSD, "3")),
        ("bob.smith", EntityName(EntityType.CLIENT, "bob.smith")),
        ("mon", EntityName(EntityType.CLIENT, "mon")),
        ("client.a.b", EntityName(EntityType.CLIENT, "a.b")),
    ],
)
def test_entity_names_parse(text: str, name: EntityName) -> None:
    assert EntityName.parse(text) == name
    assert EntityName.parse(str(name)) == name


def test_entity_names_on_the_wire() -> None:
    enc = Encoder()
    EntityName(EntityType.CLIENT, "admin").encode(enc)
    EntityInstName(EntityType.CLIENT, 4152).encode(enc)
    data = bytes(enc)
    assert data == b"\x08\0\0\0\x05\0\0\0admin" + b"\x08\x38\x10\0\0\0\0\0\0"
    cur = Cursor(data)
    assert str(EntityName.decode(cur)) == "client.admin"
    assert str(EntityInstName.decode(cur)) == "client.4152"
    cur.finish()


def test_names_of_what_we_do_not_know() -> None:
    assert str(EntityName(77, "x")) == "unknown.x"
    assert str(EntityInstName(EntityType.MON, -1)) == "mon.?"
