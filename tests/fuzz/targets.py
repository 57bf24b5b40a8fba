"""What is fuzzed: everything that reads what a monitor sent, from single structures to a whole session.

A target takes bytes and may raise the errors of this package, nothing else.  `SEEDS` are recorded bytes of four
releases.  The state machines make the same random choices as the recorded client, so that an undamaged
recording leads all the way to an open session; the structure-aware targets frame damaged contents with checksums,
tags and signatures that are right, as a hostile monitor would.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from uuid import UUID

from cephmonfs.auth.cephx import CephxHandshake
from cephmonfs.errors import CephMonFSError
from cephmonfs.messages.message import Header2, Message, MsgType
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr, EntityName, EntityType, Epoch
from cephmonfs.model.features import DEFAULT_FEATURES
from cephmonfs.model.fsmap import FSMap, FSMapUser
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.mgrmap import MgrMap
from cephmonfs.model.monmap import MonInfo, MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.model.statfs import Statfs
from cephmonfs.mon.connection import Happened, Identity, MonConnection, Offer
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import Close, Connect, MonSession, SessionConfig
from cephmonfs.mon.snapshot import Stamp
from cephmonfs.msgr.events import Mode
from cephmonfs.msgr.frames_v2 import Tag, crc_layout, secure_layouts, trim
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor, Utime
from cephmonfs.wire.encoder import Encoder
from tests.vectors import DIRECTORY, load, load_list, names

CRYPTO: Final = DIRECTORY / "crypto"
V2: Final = sorted(CRYPTO.glob("msgr2-*.json"))
V1: Final = sorted(CRYPTO.glob("msgr1-*.json"))

Target = Callable[[bytes], object]


# ---- structures


def _plain(decode: Callable[[Cursor], object]) -> Target:
    return lambda data: decode(Cursor(data))


def _osdmap(data: bytes) -> object:
    """An attacker makes the crc fit; those who pass are used as the files use them."""
    if len(data) > 4:
        data = data[:-4] + struct.pack("<I", raw_crc32c(data[:-4], 0xFFFFFFFF))
    osdmap = OSDMap.decode(Cursor(data))
    return osdmap.num_up_osds + osdmap.num_in_osds + len(osdmap.flag_names)


def _incremental(data: bytes) -> object:
    if len(data) > 8:
        crc = raw_crc32c(data[-4:], raw_crc32c(data[:-8], 0xFFFFFFFF))
        data = data[:-8] + struct.pack("<I", crc) + data[-4:]
    inc = Incremental.decode(Cursor(data))
    base = OSDMap(inc.fsid, _epoch_before(inc), inc.modified, inc.modified, {}, {}, 0, 0, 4, (3,), ())
    return base.apply(inc)


def _epoch_before(inc: Incremental) -> Any:
    return inc.epoch - 1


def _message(data: bytes) -> object:
    """le16 type, le16 version, front."""
    if len(data) < 4:
        return None
    kind, version = struct.unpack_from("<HH", data)
    return from_monitor(Message(kind, data[4:], version))


# ---- recordings


@dataclass
class Recording:
    """A session that a client of ours once had with a real monitor."""

    name: str
    identity: Identity
    target: EntityAddr
    random: list[bytes]
    to_client: bytes
    revision: int = 1
    frames: list[tuple[int, tuple[bytes, ...]]] = field(default_factory=list)  # of the server; v2 only
    secret: bytes = b""
    features: int = DEFAULT_FEATURES
    services: int = 0  # whose tickets were asked for, when not what a link asks for

    def link(self) -> MonConnection:
        """A link that makes the recorded choices."""
        choices = iter(self.random)

        def random(n: int) -> bytes:
            return next(choices, b"").ljust(n, b"\1")[:n]

        offer = Offer(features=self.features, revision=self.revision)
        link = MonConnection(1, Candidate("a", self.target), self.identity, None, random, 0.0, offer=offer)
        link.connected(0.0)
        who = self.identity
        if self.services and who.key is not None:
            link._auth = CephxHandshake(who.entity, who.key, None, random, self.services)
        return link

    def framed(self, frames: list[tuple[int, tuple[bytes, ...]]]) -> bytes:
        """The server's bytes with other contents in its frames, all checksums and tags being right."""
        out = [self.to_client[:26]]
        layout = crc_layout(self.revision)
        secure = False
        for tag, segments in frames:
            if tag == Tag.AUTH_SIGNATURE and self.secret and not secure:
                secure = True
                layout = secure_layouts(self.secret, self.revision, server=True)[1]
            out.append(layout.encode(tag, trim(segments)))
        return b"".join(out)


@cache
def recordings_v2() -> tuple[Recording, ...]:
    found = []
    for path in V2:
        doc = json.loads(path.read_text())
        ours = [f for f in doc["frames"] if f["dir"].startswith("client")]
        theirs = [f for f in doc["frames"] if f["dir"].startswith("server")]
        hello = Cursor(bytes.fromhex(ours[0]["segments"][0]))
        hello.u8()
        target = EntityAddr.decode(hello)
        ident = Cursor(bytes.fromhex(next(f for f in ours if f["tag"] == "CLIENT_IDENT")["segments"][0]))
        ident.skip(5)
        nonce = EntityAddr.decode(ident).nonce
        request = Cursor(bytes.fromhex(next(f for f in ours if f["tag"] == "AUTH_REQUEST")["segments"][0]))
        request.u32()
        modes = tuple({1: Mode.CRC, 2: Mode.SECURE}[m] for m in request.items(Cursor.u32, each=4))
        entity = EntityName(EntityType.CLIENT, doc["entity"].partition(".")[2])
        key = CryptoKey.from_base64(doc["THROWAWAY_key"])
        challenge = int(doc["client_challenge"], 16).to_bytes(8, "little")
        later = [f["tag"] for f in theirs].index("AUTH_SIGNATURE")
        wire = bytes.fromhex(doc["preauth_server_to_client"])
        wire += b"".join(bytes.fromhex(f["wire"]) for f in theirs[later:])
        frames = [(Tag[f["tag"]].value, tuple(bytes.fromhex(s) for s in f["segments"])) for f in theirs]
        found.append(
            Recording(
                path.stem,
                Identity(entity, key, modes),
                target,
                [nonce.to_bytes(4, "little"), challenge],
                wire,
                doc["rev"],
                frames,
                bytes.fromhex(doc["connection_secret"]),
                services=0x15,
            )
        )
    return tuple(found)


@cache
def recordings_v1() -> tuple[Recording, ...]:
    found = []
    for path in V1:
        doc = json.loads(path.read_text())
        host, _, port = doc["target"].rpartition(":")
        identity = Identity(
            EntityName(EntityType.CLIENT, doc["entity"].partition(".")[2]),
            CryptoKey.from_base64(doc["THROWAWAY_key"]),
            (Mode.LEGACY,),
        )
        random = [bytes.fromhex(word) for word in doc["random"]]
        target = EntityAddr.of(host, int(port), AddrType.LEGACY)
        wire, mask = bytes.fromhex(doc["server_to_client"]), int(doc["features"], 16)
        found.append(Recording(path.stem, identity, target, random, wire, features=mask))
    return tuple(found)


def play(recording: Recording, data: bytes) -> MonConnection:
    """Feed a client the bytes of a monitor.  Raises what the link raises."""
    link = recording.link()
    link.receive_data(data, 0.0)
    while link.messages:
        item = link.messages.popleft()
        if not isinstance(item, Happened):
            from_monitor(item)
    link.data_to_send()
    return link


def _chosen(data: bytes, among: tuple[Recording, ...]) -> tuple[Recording, bytes]:
    """The first byte says which recording."""
    return among[data[0] % len(among)], data[1:]


def _stream_v2(data: bytes) -> object:
    return play(*_chosen(data, recordings_v2())) if data else None


def _stream_v1(data: bytes) -> object:
    return play(*_chosen(data, recordings_v1())) if data else None


def _framed_v2(data: bytes) -> object:
    """u8 recording, u8 frame, u8 tag (0: as it was), then the content of its first segment."""
    if len(data) < 3:
        return None
    recording, rest = _chosen(data, recordings_v2())
    frames = list(recording.frames)
    index = rest[0] % len(frames)
    tag, segments = frames[index]
    frames[index] = (rest[1] % 25 or tag, (rest[2:], *segments[1:]))
    try:
        wire = recording.framed(frames)
    except RuntimeError:
        return None
    return play(recording, wire)


# ---- a whole session, its monitors in auth none so that no cipher slows it down

_ADDR: Final = EntityAddr.of("127.0.0.1", 3300, AddrType.MSGR2)
_START: Final = Stamp(1000.0, 1_800_000_000.0)


def _server_hello() -> bytes:
    layout = crc_layout(1)
    hello = Encoder().u8(EntityType.MON)
    _ADDR.encode(hello)
    done = Encoder().u64(4100).u32(1).blob(b"")
    ident = Encoder()
    AddrVec((_ADDR,)).encode(ident)
    ident.s64(0).u64(0).u64(DEFAULT_FEATURES).u64(0).u64(1).u64(0)
    frames = ((Tag.HELLO, hello), (Tag.AUTH_DONE, done))
    out = b"ceph v2\n" + struct.pack("<HQQ", 16, 1, 0)
    out += b"".join(layout.encode(tag, (bytes(enc),)) for tag, enc in frames)
    out += layout.encode(Tag.AUTH_SIGNATURE, (bytes(32),))
    return out + layout.encode(Tag.SERVER_IDENT, (bytes(ident),))


_HELLO: Final = _server_hello()
_WHO: Final = Identity(EntityName(EntityType.CLIENT, "df"), None, (Mode.CRC,))


def _our_monmap() -> bytes:
    mons = (MonInfo("a", AddrVec((_ADDR,))),)
    enc = Encoder()
    MonMap(9, UUID(int=0), Epoch(1), Utime(1, 0), Utime(1, 0), mons).encode(enc, DEFAULT_FEATURES)
    return bytes(enc)


_MONMAP: Final = bytes(Encoder().blob(_our_monmap()))


def _ours(osdmap: bytes) -> bytes:
    """The same map of the cluster with fsid 0."""
    body = osdmap[:12] + bytes(16) + osdmap[28:-4]
    return body + struct.pack("<I", raw_crc32c(body, 0xFFFFFFFF))


def _epoch(name: tuple[str, str]) -> int:
    return OSDMap.decode(Cursor(load(*name))).epoch


@cache
def fronts() -> tuple[tuple[int, int, bytes], ...]:
    """(type, version, front) of whatever monitors sent in the recordings."""
    found: dict[tuple[int, bytes], int] = {}
    for recording in recordings_v2():
        for tag, segments in recording.frames:
            if tag == Tag.MESSAGE:
                header = Header2.decode(segments[0])
                found[header.type, segments[1] if len(segments) > 1 else b""] = header.version
    maps = {
        MsgType.MON_MAP: [
            Encoder().raw(_MONMAP),
            *(Encoder().blob(load(*n)) for n in names("monmap-msgr2-all.bin")),
        ],
        MsgType.MDS_MAP: [
            Encoder().raw(bytes(16)).u32(MDSMap.decode(Cursor(load(*n))).epoch).blob(load(*n))
            for n in names("rich-mdsmap-all.bin")
        ],
        MsgType.OSD_MAP: [
            Encoder().raw(bytes(16)).u32(0).u32(1).u32(_epoch(n)).blob(_ours(load(*n))).u32(1).u32(9).u32(0)
            for n in names("osdmap-all.bin")
        ],
    }
    for kind, encoders in maps.items():
        for enc in encoders:
            found[kind, bytes(enc)] = 4 if kind == MsgType.OSD_MAP else 1
    for n in names("rich-fsmap-message-front.bin"):
        found[MsgType.FS_MAP, load(*n)] = 1
    for n in names("mgrmap-message-front.bin"):
        found[MsgType.MGR_MAP, load(*n)] = 1
    found[MsgType.STATFS_REPLY, bytes(56)] = 1
    found[MsgType.AUTH_REPLY, bytes(Encoder().u32(2).s32(0).u64(4100).blob(b"\0" * 20).text(""))] = 1
    found[MsgType.MON_COMMAND_ACK, bytes(18) + bytes(Encoder().s32(0).text("ok").u32(0))] = 1
    return tuple((kind, version, front) for (kind, front), version in found.items())


def session(data: bytes) -> MonSession:
    """Any number of messages, each u16 type, u8 version, u24 length, front; then time passes."""
    calls = iter(range(1, 1 << 30))
    client = MonSession(SessionConfig(_WHO, fs="cephfs"), lambda n: next(calls).to_bytes(n, "little"), _START)
    client.set_candidates([Candidate("a", _ADDR)], _START)
    seq = 0
    link = _open(client)
    client.request_statfs(_START)
    client.request_command({"prefix": "health"}, _START)
    layout = crc_layout(1)
    data = as_session((MsgType.MON_MAP, 1, _MONMAP)) + data
    cur = Cursor(data)
    while cur.remaining >= 6 and link is not None:
        kind, version = cur.u16(), cur.u8()
        size = min(cur.u8() << 16 | cur.u16(), cur.remaining)
        front = cur.raw(size)
        seq += 1
        header = Message(kind, front, version, 1, seq % 4, priority=196).header2(seq, 0)
        client.receive_data(link, layout.encode(Tag.MESSAGE, trim((header, front))), _START)
        link = _pump(client, link)
    for later in (0.4, 2.0, 31.0):
        client.handle_timeout(Stamp(_START.mono + later, _START.wall + later))
        _pump(client, link)
    client.snapshot(_START)
    return client


def _open(client: MonSession) -> int | None:
    link: int | None = None
    while (event := client.next_event()) is not None:
        if isinstance(event, Connect):
            link = event.conn_id
    if link is not None:
        client.connected(link, _START)
        client.receive_data(link, _HELLO, _START)
        link = _pump(client, link)
    return link


def _pump(client: MonSession, link: int | None) -> int | None:
    while (event := client.next_event()) is not None:
        if isinstance(event, Close) and event.conn_id == link:
            link = None
    client.data_to_send()
    client.next_timeout()
    return link


def as_session(*messages: tuple[int, int, bytes]) -> bytes:
    """The input of `session` for these messages."""
    return b"".join(
        struct.pack("<HBBH", kind, version, len(front) >> 16, len(front) & 0xFFFF) + front
        for kind, version, front in messages
        if len(front) < 1 << 24
    )


# ---- the table


def _after_epoch(data: bytes) -> bytes:
    return data[4:]


def _all(pattern: str) -> list[bytes]:
    return [load(*name) for name in names(pattern)]


def _addresses() -> list[bytes]:
    out = []
    for host in ("10.0.0.1", "fd00::1"):
        enc = Encoder()
        EntityAddr.of(host, 3300, AddrType.MSGR2).encode(enc)
        out.append(bytes(enc))
    enc = Encoder()
    AddrVec((_ADDR, EntityAddr.of("10.0.0.1", 6789, AddrType.LEGACY))).encode(enc)
    return [*out, bytes(enc)]


def _key_seeds() -> list[bytes]:
    import base64

    return [base64.b64decode(json.loads(path.read_text())["THROWAWAY_key"]) for path in V2[:1] + V2[-1:]]


@cache
def targets() -> dict[str, tuple[Target, tuple[bytes, ...]]]:
    """Name -> (target, seeds)."""
    one_frame = []
    for number, recording in enumerate(recordings_v2()):
        for index, (_, segments) in enumerate(recording.frames):
            one_frame.append(bytes((number, index, 0)) + segments[0])
    table: dict[str, tuple[Target, list[bytes]]] = {
        "addr": (_plain(AddrVec.decode), _addresses()),
        "cryptokey": (_plain(CryptoKey.decode), _key_seeds()),
        "statfs": (_plain(Statfs.decode), [bytes(32)]),
        "monmap": (_plain(MonMap.decode), _all("*monmap-*.bin")),
        "mdsmap": (_plain(MDSMap.decode), _all("*mdsmap-*.bin")),
        "fsmap": (_plain(FSMap.decode), [_after_epoch(data) for data in _all("*fsmap-message-front.bin")]),
        "fsmap_user": (_plain(FSMapUser.decode), [_after_epoch(d) for d in _all("*fsmap_user-message-front.bin")]),
        "mgrmap": (_plain(MgrMap.decode), _all("*mgrmap-*.bin")),
        "osdmap": (_osdmap, _all("*osdmap-all.bin")),
        "incremental": (_incremental, load_list("pacific-16.2.15", "osdmap-incrementals.bin")),
        "message": (_message, [struct.pack("<HH", kind, version) + front for kind, version, front in fronts()]),
        "msgr2": (_stream_v2, [bytes((i,)) + r.to_client for i, r in enumerate(recordings_v2())]),
        "msgr2-frames": (_framed_v2, one_frame),
        "msgr1": (_stream_v1, [bytes((i,)) + r.to_client for i, r in enumerate(recordings_v1())]),
        "session": (session, [as_session(one) for one in fronts()] + [as_session(*fronts()[:6])]),
    }
    return {name: (target, tuple(seeds)) for name, (target, seeds) in table.items()}


def attempt(target: Target, data: bytes) -> object | None:
    """Run one input; our own errors are an answer, any other exception escapes."""
    try:
        return target(data)
    except CephMonFSError:
        return None
