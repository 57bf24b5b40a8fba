"""Messages: recorded fronts of four releases, every class there and back, older forms, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephmonfs.errors import CephMonFSError, DecodeError
from cephmonfs.messages import mon
from cephmonfs.messages.auth import MAuth, MAuthReply
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.messages.registry import for_peer, from_monitor, to_monitor
from cephmonfs.model.features import DEFAULT_FEATURES, Feature
from cephmonfs.model.statfs import Statfs
from cephmonfs.wire.encoder import Encoder
from tests.vectors import RELEASES, load, load_json

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

FSID = bytes(range(16))


def front(release: str, name: str) -> bytes:
    return load(release, f"{name}.bin")


def printed(release: str, name: str) -> Any:
    return load_json(release, f"{name}.json")


@pytest.mark.parametrize("release", RELEASES)
class TestRecorded:
    def test_statfs(self, release: str) -> None:
        total_kb = printed(release, "df")["stats"]["total_bytes"] // 1024
        for name in ("statfs-reply-front", "statfs-v1-reply-front"):
            data = front(release, name)
            reply = from_monitor(Message(MsgType.STATFS_REPLY, data))
            assert isinstance(reply, mon.MStatfsReply)
            assert reply.stats.kb == total_kb
            assert bytes(encoded(reply)) == data
        pool = from_monitor(Message(MsgType.STATFS_REPLY, front(release, "statfs-pool1-reply-front")))
        assert isinstance(pool, mon.MStatfsReply)
        assert pool.stats.kb < total_kb

    def test_version(self, release: str) -> None:
        data = front(release, "getversion-osdmap-reply-front")
        reply = from_monitor(Message(MsgType.MON_GET_VERSION_REPLY, data, 2))
        assert isinstance(reply, mon.MMonGetVersionReply)
        assert reply.handle == 0x1122334455667788
        assert bytes(encoded(reply)) == data

    def test_command(self, release: str) -> None:
        data = front(release, "moncommand-mondump-ack-front")
        ack = from_monitor(Message(MsgType.MON_COMMAND_ACK, data))
        assert isinstance(ack, mon.MMonCommandAck)
        assert ack.result == 0
        assert '"mon dump"' in ack.command[0]
        assert bytes(encoded(ack))[8:] == data[8:]  # paxos' version is not ours to keep

    def test_maps(self, release: str) -> None:
        monmap = from_monitor(Message(MsgType.MON_MAP, front(release, "fronts/monmap-message-front")))
        assert isinstance(monmap, mon.MMonMap)
        version = 1 if release.startswith("nautilus") else 2
        mdsmap = from_monitor(Message(MsgType.MDS_MAP, front(release, "fronts/mdsmap-message-front"), version))
        assert isinstance(mdsmap, mon.MMDSMap)
        assert mdsmap.fs_name == ("cephfs" if release.startswith("pacific") else "")
        osdmap = from_monitor(Message(MsgType.OSD_MAP, front(release, "fronts/osdmap-message-front"), 4, 3))
        assert isinstance(osdmap, mon.MOSDMap)
        assert list(osdmap.full) == [osdmap.newest]
        fsmap = from_monitor(Message(MsgType.FS_MAP, front(release, "fsmap-message-front")))
        assert isinstance(fsmap, mon.MFSMap)
        user = from_monitor(Message(MsgType.FS_MAP_USER, front(release, "fsmap_user-message-front")))
        assert isinstance(user, mon.MFSMapUser)
        assert user.epoch == fsmap.epoch == printed(release, "fs_dump")["epoch"]
        mgrmap = from_monitor(Message(MsgType.MGR_MAP, front(release, "mgrmap-message-front")))
        assert isinstance(mgrmap, mon.MMgrMap)
        assert mgrmap.epoch == printed(release, "mgr_dump")["epoch"]

    def test_config(self, release: str) -> None:
        config = from_monitor(Message(MsgType.CONFIG, front(release, "config-message-front")))
        assert config == mon.MConfig({})


def encoded(payload: Payload) -> Encoder:
    enc = Encoder()
    payload.encode(enc)
    return enc


MGRMAP = bytes(Encoder().u8(9).u8(6).blob(bytes(Encoder().u32(17).raw(b"rest"))))
FROM_MONITOR = [
    mon.MMonMap(b"map"),
    mon.MStatfsReply(FSID, 9, Statfs(4, 3, 2, 1)),
    mon.MMonSubscribeAck(300, FSID),
    mon.MMonGetVersionReply(1, 2, 3),
    mon.MMDSMap(FSID, 7, b"map", "cephfs"),
    mon.MOSDMap(FSID, {5: b"inc"}, {4: b"full"}, 1, 5),
    mon.MFSMap(3, b"map"),
    mon.MFSMapUser(3, b"map"),
    mon.MMgrMap(17, MGRMAP),
    mon.MMonCommandAck(-22, "no", ('{"prefix": "x"}',)),
    mon.MConfig({"a": "b"}),
    MAuthReply(2, -13, 5, b"payload", "text"),
]
TO_MONITOR = [
    mon.MMonGetMap(),
    mon.MStatfs(FSID),
    mon.MStatfs(FSID, 3),
    mon.MMonSubscribe({"monmap": SubscribeItem(3), "osdmap": SubscribeItem(0, onetime=True)}, "host"),
    mon.MMonGetVersion(7, "osdmap"),
    mon.MMonCommand.of(FSID, {"prefix": "df", "format": "json"}),
    MAuth(2, b"payload", 6),
]


@pytest.mark.parametrize("payload", FROM_MONITOR, ids=lambda p: type(p).__name__)
def test_from_monitor(payload: Payload) -> None:
    message = to_message(payload, 5, b"data")
    assert (message.tid, message.data) == (5, b"data")
    assert from_monitor(message) == payload


@pytest.mark.parametrize("payload", TO_MONITOR, ids=lambda p: type(p).__name__)
def test_to_monitor(payload: Payload) -> None:
    assert to_monitor(to_message(payload)) == payload


EXTENSIBLE = (mon.MMonMap, mon.MFSMap, mon.MFSMapUser, mon.MMgrMap)
"""Whatever they hold is looked at by the map's own decoder."""


@pytest.mark.parametrize("payload", [*FROM_MONITOR, *TO_MONITOR], ids=lambda p: type(p).__name__)
def test_every_strict_prefix(payload: Payload) -> None:
    message = to_message(payload)
    decode = from_monitor if payload in FROM_MONITOR else to_monitor
    optional_tail = {MAuth: 4, mon.MOSDMap: 4}.get(type(payload), 0)  # bytes that may be missing
    for end in range(len(message.front) - optional_tail):
        if isinstance(payload, EXTENSIBLE[1:]) and end >= 4 and not (isinstance(payload, mon.MMgrMap) and end < 14):
            continue
        with pytest.raises(DecodeError):
            decode(Message(message.type, message.front[:end], message.version, message.compat))


def test_unknown_types() -> None:
    assert from_monitor(Message(9999, b"")) is None
    assert to_monitor(Message(9999, b"")) is None


def test_newer_than_we_are() -> None:
    """A newer version is read as far as we know it; one that says we cannot is refused."""
    enc = encoded(mon.MMonSubscribeAck(1, FSID)).raw(b"more")
    assert from_monitor(Message(MsgType.MON_SUBSCRIBE_ACK, bytes(enc), 9, 1)) == mon.MMonSubscribeAck(1, FSID)
    with pytest.raises(DecodeError, match="needs decoder v2"):
        from_monitor(Message(MsgType.MON_SUBSCRIBE_ACK, bytes(enc), 9, 2))
    with pytest.raises(DecodeError, match="needs decoder v4"):
        to_monitor(Message(MsgType.MON_SUBSCRIBE, b"", 4, 4))


def test_older_forms_that_peers_send() -> None:
    old = Message(MsgType.MON_GET_VERSION_REPLY, bytes(Encoder().u64(1).u64(2)), 1)
    assert from_monitor(old) == mon.MMonGetVersionReply(1, 2, 0)
    old = Message(MsgType.MDS_MAP, bytes(Encoder().raw(FSID).u32(7).blob(b"map")), 1)
    assert from_monitor(old) == mon.MMDSMap(FSID, 7, b"map")
    old = Message(MsgType.OSD_MAP, bytes(Encoder().raw(FSID).u32(0).u32(0)), 1)
    assert from_monitor(old) == mon.MOSDMap(FSID, {}, {})
    old = Message(MsgType.AUTH, bytes(encoded(MAuth(0, b"p")))[:-4])
    assert to_monitor(old) == MAuth(0, b"p")
    old = Message(MsgType.MON_SUBSCRIBE, bytes(Encoder().u32(1).text("osdmap").u64(4).u8(1)), 2)
    assert to_monitor(old) == mon.MMonSubscribe({"osdmap": SubscribeItem(4, onetime=True)})


# ---- the forms of 2010


OLD = DEFAULT_FEATURES & ~Feature.SUBSCRIBE2 & ~Feature.SERVER_LUMINOUS


def test_subscribe_of_2010() -> None:
    what = {"monmap": SubscribeItem(0), "osdmap": SubscribeItem(8, onetime=True)}
    payload = for_peer(mon.MMonSubscribe(what, "host"), OLD)
    message = to_message(payload)
    assert (message.type, message.version, message.compat) == (MsgType.MON_SUBSCRIBE, 1, 1)
    assert message.front.hex() == (
        "02000000"
        "06000000" + b"monmap".hex() + "00" * 8 + "00" * 8 + "00"
        "06000000" + b"osdmap".hex() + "00" * 8 + "0700000000000000" + "01"
    )
    assert to_monitor(message) == mon.MMonSubscribe(what)
    assert to_monitor(Message(MsgType.MON_SUBSCRIBE, message.front, 0)) == mon.MMonSubscribe(what)


def test_epoch_1_cannot_be_said_in_2010() -> None:
    payload = for_peer(mon.MMonSubscribe({"osdmap": SubscribeItem(1)}), OLD)
    assert to_monitor(to_message(payload)) == mon.MMonSubscribe({"osdmap": SubscribeItem(0)})


def test_statfs_of_2010() -> None:
    message = to_message(for_peer(mon.MStatfs(FSID), OLD))
    assert (message.version, message.compat) == (1, 1)
    assert message.front == bytes(8) + b"\xff\xff" + bytes(8) + FSID
    assert to_monitor(message) == mon.MStatfs(FSID)
    pool = mon.MStatfs(FSID, 4)
    assert for_peer(pool, OLD) is pool  # its compat is 1: an older monitor answers for the whole cluster


@pytest.mark.parametrize("payload", TO_MONITOR, ids=lambda p: type(p).__name__)
def test_todays_peers_get_todays_forms(payload: Payload) -> None:
    assert for_peer(payload, DEFAULT_FEATURES) is payload


# ---- header and junk


@given(st.sampled_from(MsgType), st.binary(max_size=120), st.integers(0, 5))
def test_junk_raises_only_our_errors(kind: MsgType, data: bytes, version: int) -> None:
    for decode in (from_monitor, to_monitor):
        try:
            decode(Message(kind, data, version))
        except CephMonFSError:
            pass


@pytest.mark.parametrize("payload", [*FROM_MONITOR, *TO_MONITOR], ids=lambda p: type(p).__name__)
def test_absurd_counts_are_refused_at_once(payload: Payload) -> None:
    """Every le32 of every message set to the greatest value: a value or one of our errors, and no allocation."""
    message = to_message(payload)
    for at in range(len(message.front) - 3):
        data = bytearray(message.front)
        data[at : at + 4] = b"\xff\xff\xff\xff"
        for decode in (from_monitor, to_monitor):
            try:
                decode(Message(message.type, bytes(data), message.version))
            except CephMonFSError:
                pass
