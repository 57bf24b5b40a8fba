"""Published holes of a Ceph client in maps and replies (T19, T20, T23 to T31)."""

from __future__ import annotations

import ast
import dataclasses
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

import cephmonfs
from cephmonfs.demo import maps as demo_maps
from cephmonfs.errors import DecodeError, IntegrityError, ProtocolError
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.entity import BLANK_ADDR, AddrVec, Epoch
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MdsInfo, MDSMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.model.statfs import Statfs
from cephmonfs.msgr.events import Mode
from cephmonfs.wire import limits
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.doubles.attack import BOTH_MODES, attacked, instead
from tests.security.published import published
from tests.vectors import load, load_list, names

_SEED = 0xFFFFFFFF
_MONS_AT = 4 + 6 + 16 + 4 + 8 + 8 + 28  # where the count of monitors stands in a message with a MonMap of version 6+
COUNTS = (0x80000001, 0xFFFFFFFF, 0x7FFFFFFF, limits.MAX_MONS + 1)


def _with_count(message: Message, count: int, at: int = _MONS_AT) -> Message:
    front = message.front
    return replace(message, front=front[:at] + struct.pack("<I", count) + front[at + 4 :])


@published(19, "CVE-2026-43405", "2^31 + 1 monitors pass for a small number")
@BOTH_MODES
async def test_T19_number_of_monitors(modes: tuple[Mode, ...]) -> None:
    """Counts are unsigned, at most 256 monitors, and no more than the bytes that are there can hold."""
    for count in COUNTS:
        for release, name in names("monmap-msgr2-all.bin"):
            data = bytearray(load(release, name))
            data[_MONS_AT - 4 : _MONS_AT] = struct.pack("<I", count)
            with pytest.raises(DecodeError, match="count"):
                MonMap.decode(Cursor(bytes(data)))
        lie = instead(MsgType.MON_MAP, lambda m, n=count: [_with_count(m, n)])  # type: ignore[misc]
        async with attacked(lie, modes=modes) as attack:
            await attack.survives("count")


def _monmap(message: Message, change: Callable[[MonMap], MonMap]) -> list[Message]:
    payload = from_monitor(message)
    assert isinstance(payload, mon.MMonMap)
    enc = Encoder()
    change(MonMap.decode(Cursor(payload.monmap))).encode(enc, (1 << 62) - 1)
    return [to_message(mon.MMonMap(bytes(enc)))]


@published(20, "CVE-2026-68155", "a monmap without monitors, and the next hunt finds nobody")
@BOTH_MODES
async def test_T20_no_monitors(modes: tuple[Mode, ...]) -> None:
    """A map without monitors, or of another cluster, is refused and the old one stays; one with no usable address
    leaves the configured ones to be tried."""

    async def lies(change: Callable[[MonMap], MonMap], blame: str) -> None:
        lie = instead(MsgType.MON_MAP, lambda m: _monmap(m, change))
        async with attacked(lie, modes=modes, config=lambda c: replace(c, fsid=_fsid_of_demo())) as attack:
            await attack.survives(blame)

    await lies(lambda m: replace(m, mons=()), "no monitors")
    await lies(lambda m: replace(m, fsid=UUID(int=7)), "belongs to cluster")
    blank = AddrVec((BLANK_ADDR,))
    lie = instead(
        MsgType.MON_MAP,
        lambda m: _monmap(m, lambda c: replace(c, mons=tuple(replace(i, addrs=blank) for i in c.mons))),
    )
    async with attacked(lie, modes=modes) as attack:
        await attack.opened()
        attack.hostile.refuse = True
        attack.hostile.kill_connections()
        await attack.survives(None, left=False)


def _fsid_of_demo() -> UUID:
    from cephmonfs.demo.cluster import DemoCluster
    from cephmonfs.demo.monitors import DemoSettings

    return DemoCluster(DemoSettings().seed, (), 0.0).fsid


@published(23, "CVE-2026-68433", "a truncated get-version reply is read from the end of an old buffer")
async def test_T23_truncated_reply() -> None:
    """Only the bytes of a message itself are read; a short one is an error."""
    whole = bytes(Encoder().u64(1).u64(2).u64(3))
    for length in range(24):
        with pytest.raises(DecodeError):
            mon.MMonGetVersionReply.decode(Cursor(whole[:length]), 2)
    short = Message(MsgType.MON_GET_VERSION_REPLY, whole[:12], 2)
    async with attacked(instead(MsgType.STATFS_REPLY, lambda m: [short])) as attack:
        await attack.opened()
        await attack.statfs()
        await attack.survives("MMonGetVersionReply")


@published(24, "net/ceph/mon_client.c (Linux)", "statfs replies of a wrong size, for nobody, of numbers that cannot be")
@BOTH_MODES
async def test_T24_statfs_reply(modes: tuple[Mode, ...]) -> None:
    """56 bytes exactly; a reply that nobody waits for is counted and dropped; used above total is counted, and 2^64 of
    anything is still a number; versions that go back are not believed at once."""
    for front in (bytes(55), bytes(57), b"", bytes(56 * 2)):
        with pytest.raises(DecodeError):
            mon.MStatfsReply.decode(Cursor(front), 1)
    for change in (lambda f: f[:-1], lambda f: f + b"\0", lambda f: b""):
        lie = instead(MsgType.STATFS_REPLY, lambda m, c=change: [replace(m, front=c(m.front))])  # type: ignore[misc]
        async with attacked(lie, modes=modes) as attack:
            await attack.opened()
            await attack.statfs()
            await attack.survives("MStatfsReply|ceph_statfs")
    stray = instead(MsgType.STATFS_REPLY, lambda m: [replace(m, tid=m.tid + 1000)])
    async with attacked(stray, modes=modes) as attack:
        await attack.opened()
        await attack.statfs()
        await attack.survives("did not answer")
        assert attack.snapshot.counters["replies_unasked"] >= 1


async def test_T24_impossible_numbers() -> None:
    """They are counted, shown as they are, and break nothing that is made of them."""
    from cephmonfs.files.statvfs import to_statvfs

    top = (1 << 64) - 1

    def lie(message: Message) -> list[Message]:
        front = message.front[:24] + struct.pack("<QQQQ", 1000, top, top, top)
        return [replace(message, front=front)]

    async with attacked(instead(MsgType.STATFS_REPLY, lie)) as attack:
        await attack.opened()
        record = await attack.statfs()
        assert record.stats == Statfs(1000, top, top, top)
        assert attack.snapshot.counters["statfs_implausible"] == 1
        assert all(0 <= number < 1 << 64 for number in to_statvfs(record))


# ---- mdsmap


def _mdsmap_with(message: Message, change: Callable[[bytes], bytes]) -> list[Message]:
    payload = from_monitor(message)
    assert isinstance(payload, mon.MMDSMap)
    return [to_message(replace(payload, mdsmap=change(payload.mdsmap)))]


def _info(rank: int = 0, targets: tuple[int, ...] = ()) -> MdsInfo:
    return MdsInfo(4711, "m", rank, 1, 13, 1, AddrVec((BLANK_ADDR,)), export_targets=targets)


def _mdsmap(message: Message, info: MdsInfo) -> bytes:
    payload = from_monitor(message)
    assert isinstance(payload, mon.MMDSMap)
    mdsmap = MDSMap.decode(Cursor(payload.mdsmap))
    return demo_maps.encoded(replace(mdsmap, infos=(info,)))


@published(25, "CVE-2026-89650, CVE-2026-89653", "mdsmap: export targets past the end, ranks above the maximum")
async def test_T25_mdsmap_counts() -> None:
    """Every count is bounded by the bytes of its own envelope; a rank is a number, not an index."""
    mark = struct.pack("<II", 1, 0x11223344)

    def lie(message: Message, count: int) -> list[Message]:
        blob = _mdsmap(message, _info(targets=(0x11223344,)))
        payload = from_monitor(message)
        assert isinstance(payload, mon.MMDSMap)
        return [to_message(replace(payload, mdsmap=blob.replace(mark, struct.pack("<II", count, 0x11223344))))]

    for count in (2, 1000, 0x40000000, 0x80000000, 0xFFFFFFFF):
        data = _encoded_info(_info(targets=(0x11223344,))).replace(mark, struct.pack("<II", count, 0x11223344))
        if count > 2:
            with pytest.raises(DecodeError, match="count"):
                MdsInfo.decode(Cursor(data))
            async with attacked(instead(MsgType.MDS_MAP, lambda m, n=count: lie(m, n))) as attack:  # type: ignore[misc]
                await attack.survives("mds_info_t")
    for rank in (0x7FFFFFFF, -(1 << 31), 1 << 20):
        assert MdsInfo.decode(Cursor(_encoded_info(_info(rank)))).rank == rank


def _encoded_info(info: MdsInfo) -> bytes:
    enc = Encoder()
    info.encode(enc)
    return bytes(enc)


@published(26, "11a102de53a7 (Linux)", "a valid mdsmap with a rank beyond max_mds is refused")
async def test_T26_valid_maps() -> None:
    """Every recorded map of four releases is read; a rank beyond max_mds costs nothing."""
    for release, name in names("*mdsmap-all.bin"):
        MDSMap.decode(Cursor(load(release, name)))
    for release, name in names("*fsmap-message-front.bin"):
        FSMap.decode(Cursor(load(release, name)[4:]))

    def odd(message: Message) -> list[Message]:
        return _mdsmap_with(message, lambda _: _mdsmap(message, _info(rank=90)))

    async with attacked(instead(MsgType.MDS_MAP, odd)) as attack:
        await attack.until(lambda: "mdsmap" in attack.snapshot.maps, "no mdsmap")
        assert attack.snapshot.mon == attack.names[0]


@published(27, "tracker 52303", "a mangled map ends the client")
@pytest.mark.parametrize("kind", [MsgType.MDS_MAP, MsgType.FS_MAP, MsgType.OSD_MAP, MsgType.MON_MAP, MsgType.MGR_MAP])
async def test_T27_bad_map(kind: MsgType) -> None:
    """A map is decoded before it replaces a good one; damage costs the monitor its session, and the good map stays."""
    sent = 0

    def lie(message: Message) -> list[Message]:
        nonlocal sent
        sent += 1
        return [message] if sent == 1 else [replace(message, front=message.front[: len(message.front) // 2])]

    # the same monitor first sends a good map, and a bad one when it is asked again
    async with attacked(instead(kind, lie)) as attack:
        await attack.opened()
        name = {MsgType.MDS_MAP: "mdsmap", MsgType.FS_MAP: "fsmap", MsgType.OSD_MAP: "osdmap"}.get(kind, "")
        name = name or {MsgType.MON_MAP: "monmap", MsgType.MGR_MAP: "mgrmap"}[kind]
        await attack.until(lambda: name in attack.snapshot.maps, f"no {name}")
        good = attack.snapshot.maps[name].blob
        bad = replace(_newer(attack, kind), front=_newer(attack, kind).front[:40])
        attack.hostile.send(bad)
        await attack.survives("at byte|wanted|count|length|left")
        assert attack.snapshot.maps[name].blob == good


def _newer(attack: object, kind: MsgType) -> Message:
    """The next epoch of a map, cut by the caller."""
    fsid = attack.cluster.fsid  # type: ignore[attr-defined]
    match kind:
        case MsgType.MDS_MAP:
            return to_message(mon.MMDSMap(fsid, 1 << 20, bytes(100)))
        case MsgType.FS_MAP:
            return to_message(mon.MFSMap(1 << 20, b"\x07\x06" + struct.pack("<I", 94) + bytes(94)))
        case MsgType.OSD_MAP:
            return to_message(mon.MOSDMap(fsid, {}, {1 << 20: bytes(100)}))
        case MsgType.MON_MAP:
            return to_message(mon.MMonMap(b"\x09\x06" + bytes(100)))
        case _:
            return to_message(mon.MMgrMap(1 << 20, b"\x08\x06" + bytes(2)))


async def test_T27_what_the_whole_cluster_says_is_no_reason_to_leave_it() -> None:
    """The same unreadable map from everybody: df goes on, that one map is left out."""
    blob = b"\x07\x06" + struct.pack("<I", 20) + bytes(20)
    lie = instead(MsgType.FS_MAP, lambda m: [to_message(mon.MFSMap(77, blob))])
    async with attacked(lie) as attack:
        attack.honest.faults = (lie,)
        await attack.until(lambda: attack.snapshot.counters.get("maps_bad", 0) >= 2, "nobody sent it")
        await attack.survives(None, left=False)
        await attack.statfs()
        assert "fsmap" not in attack.snapshot.maps
        assert attack.snapshot.counters["maps_bad"] <= 6
        connects = attack.snapshot.counters["connects"]
        await attack.statfs()
        assert attack.snapshot.counters["connects"] == connects


# ---- osdmap


def _crc(body: bytes) -> bytes:
    return body[:-4] + struct.pack("<I", raw_crc32c(body[:-4], _SEED))


def _osdmap_parts() -> tuple[bytes, int]:
    """A recorded map, and where its first pool's envelope stands."""
    data = load("pacific-16.2.15", "rich-osdmap-all.bin")
    return data, 12 + 16 + 4 + 8 + 8 + 4 + 8  # two envelopes, fsid, epoch, stamps, count, pool id


def _osdmap_lies() -> list[bytes]:
    data, pool = _osdmap_parts()
    lies = []
    for length in (0, 1, 40, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        lies.append(data[: pool + 2] + struct.pack("<I", length) + data[pool + 6 :])
    for count in (0x10000000, 0xFFFFFFFF, limits.MAX_MAP_ITEMS + 1):
        lies.append(data[: pool - 12] + struct.pack("<I", count) + data[pool - 8 :])
    osdmap = OSDMap.decode(Cursor(data))
    states = struct.pack("<I", len(osdmap.states)) + struct.pack(f"<{len(osdmap.states)}I", *osdmap.states)
    at = data.index(states)
    for count in (0x3FFFFFFF, 0x40000001, 0xFFFFFFFF):
        lies.append(data[:at] + struct.pack("<I", count) + data[at + 4 :])
    return [_crc(lie) for lie in lies]


def _send_osdmap(blob: bytes) -> Callable[[Message], list[Message]]:
    def how(message: Message) -> list[Message]:
        payload = from_monitor(message)
        assert isinstance(payload, mon.MOSDMap)
        epoch = max((*payload.full, *payload.incrementals))
        return [to_message(mon.MOSDMap(payload.fsid, {}, {epoch: blob}, epoch, epoch))]

    return how


@published(
    28,
    "CVE-2025-71116, CVE-2026-52958, CVE-2026-68158, CVE-2026-68159",
    "osdmap: a pool's envelope too short, more OSDs than content, products that overflow",
)
async def test_T28_osdmap() -> None:
    """Each pool is read inside its envelope; counts times size is checked in numbers without end; placement is skipped
    by its length."""
    for blob in _osdmap_lies():
        began = time.perf_counter()
        with pytest.raises((DecodeError, IntegrityError)):
            OSDMap.decode(Cursor(blob))
        assert time.perf_counter() - began < 0.5
    for blob in _osdmap_lies()[::4]:
        async with attacked(instead(MsgType.OSD_MAP, _send_osdmap(blob))) as attack:
            await attack.survives("osdmap|pg_pool_t|count|announced")


@published(29, "CVE-2025-68283, CVE-2026-22990", "an OSD's number above max_osd; an incremental of a wrong epoch")
async def test_T29_incremental() -> None:
    """No assert on what a peer sends; an incremental that does not follow is answered by asking for the whole map, and
    one that names OSDs beyond the map's is refused."""
    whole = OSDMap.decode(Cursor(load("pacific-16.2.15", "osdmap-all.bin")))
    for osd in (whole.max_osd, 0x7FFFFFFF, -1, -(1 << 31)):
        for field in ("new_weight", "new_state"):
            inc = Incremental(whole.fsid, Epoch(whole.epoch + 1), **{field: {osd: 1}})  # type: ignore[arg-type]
            with pytest.raises(DecodeError, match="max_osd"):
                whole.apply(inc)
    for new_max in (0x7FFFFFFF, limits.MAX_OSDS + 1):
        with pytest.raises(DecodeError, match="max_osd"):
            whole.apply(Incremental(whole.fsid, Epoch(whole.epoch + 1), new_max_osd=new_max))
    for epoch in (whole.epoch, whole.epoch + 2, 0):
        with pytest.raises(DecodeError, match="follow"):
            whole.apply(Incremental(whole.fsid, Epoch(epoch)))

    async with attacked(modes=(Mode.CRC,)) as attack:
        await attack.until(lambda: "osdmap" in attack.snapshot.maps, "no osdmap")
        epoch = attack.snapshot.maps["osdmap"].epoch
        skipped = _incremental(attack.cluster.fsid, epoch + 5)
        attack.hostile.send(to_message(mon.MOSDMap(attack.cluster.fsid, {epoch + 5: skipped}, {})))
        await attack.until(lambda: attack.snapshot.counters.get("osdmap_full_asked", 0) > 0, "nothing asked")
        assert attack.snapshot.mon == attack.names[0]
        wrong = _incremental(attack.cluster.fsid, epoch + 1, new_weight={1 << 20: 1})
        attack.hostile.send(to_message(mon.MOSDMap(attack.cluster.fsid, {epoch + 1: wrong}, {})))
        await attack.survives("max_osd")
        assert attack.snapshot.maps["osdmap"].epoch == epoch


def _incremental(fsid: bytes, epoch: int, **fields: object) -> bytes:
    enc = Encoder()
    Incremental(UUID(bytes=fsid), Epoch(epoch), **fields).encode(enc)  # type: ignore[arg-type]
    return bytes(enc)


async def test_T29_incrementals_without_end() -> None:
    """A chain that is never closed by the full map that is asked for ends the session before it fills memory."""
    async with attacked(modes=(Mode.CRC,)) as attack:
        await attack.until(lambda: "osdmap" in attack.snapshot.maps, "no osdmap")
        epoch = attack.snapshot.maps["osdmap"].epoch
        names_ = dict.fromkeys(range(250), "n" * 4000)
        for step in range(1, 30):
            blob = _incremental(attack.cluster.fsid, epoch + step, new_pool_names=names_)
            attack.hostile.send(to_message(mon.MOSDMap(attack.cluster.fsid, {epoch + step: blob}, {})))
            # what is asked for comes, and is what we had before
            await attack.until(
                lambda step=step: (  # type: ignore[misc]
                    attack.snapshot.maps["osdmap"].epoch >= epoch + step or "without end" in attack.blame()
                ),
                "incremental not taken",
            )
            if "without end" in attack.blame():
                break
        await attack.survives("without end")


@published(
    30,
    "CVE-2026-52955, CVE-2026-68154, CVE-2026-68157, CVE-2026-89656, CVE-2026-22991",
    "CRUSH maps that contradict themselves",
)
async def test_T30_crush() -> None:
    """CRUSH is not decoded at all: junk in its place changes nothing."""
    data = load("pacific-16.2.15", "rich-osdmap-all.bin")
    good = OSDMap.decode(Cursor(data))
    weights = struct.pack("<I", len(good.weights)) + struct.pack(f"<{len(good.weights)}I", *good.weights)
    after = data.index(weights, data.index(weights[:4]) + 4) + len(weights)
    client_end = 12 + struct.unpack_from("<I", data, 8)[0]
    junk = data[:after] + b"\xff" * (client_end - after) + data[client_end:]
    assert OSDMap.decode(Cursor(_crc(junk))) == good
    package = Path(cephmonfs.__file__).parent
    for path in (package / "model").glob("*.py"):
        defined = [n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)]
        assert not [name for name in defined if "crush" in name.lower()]


@published(31, "CVE-2025-68285", "a map is freed while somebody reads it")
async def test_T31_maps_do_not_change() -> None:
    """Maps and snapshots are immutable and replaced whole; who holds an old one reads on."""
    for cls in (MonMap, MDSMap, OSDMap, FSMap):
        assert vars(cls)["__dataclass_params__"].frozen
    async with attacked(measure=False) as attack:
        await attack.until(lambda: "osdmap" in attack.snapshot.maps, "no osdmap")
        held = attack.snapshot
        before = dict(held.maps)
        attack.hostile.kill_connections()
        await attack.survives(None, left=False)
        assert dict(held.maps) == before
        with pytest.raises(dataclasses.FrozenInstanceError):
            held.state = attack.snapshot.state  # type: ignore[misc]


def test_real_incrementals_still_apply() -> None:
    """The strictness above costs nothing real."""
    fulls = load_list("pacific-16.2.15", "osdmap-fulls.bin")
    osdmap = OSDMap.decode(Cursor(fulls[0]))
    for blob in load_list("pacific-16.2.15", "osdmap-incrementals.bin"):
        inc = Incremental.decode(Cursor(blob))
        if inc.epoch == osdmap.epoch + 1:
            osdmap = osdmap.apply(inc)
    assert osdmap.epoch > OSDMap.decode(Cursor(fulls[0])).epoch
    with pytest.raises(ProtocolError):
        osdmap.apply(Incremental.decode(Cursor(load_list("pacific-16.2.15", "osdmap-incrementals.bin")[0])))
