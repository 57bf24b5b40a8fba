"""The hostile monitor itself: each fault ends as it should in the client's machine."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing

from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.errors import CephMonFSError, DecodeError, IntegrityError, ProtocolError, UnexpectedMessage
from cephmonfs.messages import mon
from cephmonfs.messages.message import MsgType
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.monitor.server_v2 import Piece
from cephmonfs.msgr.events import Mode
from tests.doubles import monitor as fm
from tests.doubles.client import Driver

HANDSHAKE = [
    Piece.BANNER,
    Piece.HELLO,
    Piece.AUTH_REPLY_MORE,
    Piece.AUTH_DONE,
    Piece.AUTH_SIGNATURE,
    Piece.SERVER_IDENT,
]
SECURE, CRC = (Mode.SECURE,), (Mode.CRC,)


async def converse(
    *faults: fm.Fault,
    modes: tuple[Mode, ...] = SECURE,
    say: tuple[object, ...] = (),
    settings: DemoSettings | None = None,
) -> tuple[Driver, str]:
    """Connect over a memory stream, say something; return how it ended: "eof", "silence" or raises."""
    fake = fm.in_memory(settings)
    fake.mons[0].faults = faults
    driver = Driver(fake.addrs[0], fake.entity, fake.key, modes=modes)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fake.mons[0].serve, theirs)
        error, end = None, "silence"
        try:
            await ours.send_all(driver.feed(b""))
            said = False
            with trio.move_on_after(5):
                while True:
                    data = await ours.receive_some(65536)
                    if not data:
                        end = "eof"
                        break
                    if answer := driver.feed(bytes(data)):
                        await ours.send_all(answer)
                    if driver.ready is not None and not said:
                        said = True
                        for payload in say:
                            text = payload(fake.fsid) if callable(payload) else payload
                            await ours.send_all(driver.say(text, 21))  # type: ignore[arg-type]
        except CephMonFSError as exc:
            error = exc
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error
    return driver, end


async def test_without_faults(autojump_clock: object) -> None:
    driver, end = await converse(say=(mon.MStatfs,))
    assert end == "silence"
    assert driver.ready is not None
    assert isinstance(driver.messages[0], mon.MStatfsReply)


@pytest.mark.parametrize("at", HANDSHAKE)
async def test_silent(autojump_clock: object, at: Piece) -> None:
    driver, end = await converse(fm.Silent(at))
    assert (driver.ready, end) == (None, "silence")


@pytest.mark.parametrize("at", HANDSHAKE)
async def test_reset_and_cut(autojump_clock: object, at: Piece) -> None:
    for fault in (fm.Reset(at), fm.Cut(at, 7)):
        driver, end = await converse(fault)
        assert (driver.ready, end) == (None, "eof")


@pytest.mark.parametrize("modes", [SECURE, CRC])
@pytest.mark.parametrize("at", HANDSHAKE[1:])
async def test_flipped_bytes(autojump_clock: object, at: Piece, modes: tuple[Mode, ...]) -> None:
    for offset in (0, 5, 33, -1):
        with pytest.raises(ProtocolError):
            await converse(fm.Flip(at, offset), modes=modes)


@pytest.mark.parametrize("at", HANDSHAKE)
async def test_replayed(autojump_clock: object, at: Piece) -> None:
    with pytest.raises(CephMonFSError):
        await converse(fm.Replay(at))


@pytest.mark.parametrize("at", HANDSHAKE[1:4])
async def test_huge_lengths(autojump_clock: object, at: Piece) -> None:
    with pytest.raises(ProtocolError, match="limit"):
        await converse(fm.huge_length(at))


async def test_lies_with_right_checksums(autojump_clock: object) -> None:
    with pytest.raises(UnexpectedMessage, match="mode"):
        await converse(fm.wrong_mode(1), modes=SECURE)
    with pytest.raises(UnexpectedMessage, match="mode"):
        await converse(fm.wrong_mode(77), modes=CRC)
    with pytest.raises(IntegrityError, match="signature"):
        await converse(fm.bad_signature())
    with pytest.raises(DecodeError):
        await converse(fm.Segments(Piece.AUTH_REPLY_MORE, lambda s: (s[0][:6],)))


@pytest.mark.parametrize("kind", list(KeyType))
async def test_impostor(autojump_clock: object, kind: KeyType) -> None:
    with pytest.raises(IntegrityError):
        await converse(fm.Impostor(), settings=DemoSettings(mons=1, key_type=kind))


async def test_trickle_is_slow_and_right(autojump_clock: object) -> None:
    driver, _ = await converse(fm.Trickle(Piece.HELLO, chunk=16, delay_s=0.01))
    assert driver.ready is not None


async def test_answers_changed(autojump_clock: object) -> None:
    driver, _ = await converse(fm.wrong_fsid(), say=(mon.MStatfs,))
    (reply,) = driver.messages
    assert isinstance(reply, mon.MStatfsReply)
    driver, _ = await converse(fm.wrong_tid(), say=(mon.MStatfs,))
    assert driver.raw[0].tid == 22
    driver, _ = await converse(fm.no_answer(MsgType.STATFS_REPLY), say=(mon.MStatfs, mon.MMonGetMap()))
    assert [type(m) for m in driver.messages] == [mon.MMonMap]
    driver, _ = await converse(fm.twice(MsgType.MON_MAP), fm.foreign_monmap(), say=(mon.MMonGetMap(),))
    assert len(driver.messages) == 2


async def test_over_tcp_with_a_script() -> None:
    with trio.fail_after(20):
        async with fm.fake_cluster(DemoSettings(mons=2)) as fake:
            bad = fake.mons[0]
            bad.script = [[fm.Reset(Piece.HELLO)], []]
            for wanted in (False, True):
                driver = Driver(fake.addrs[0], fake.entity, fake.key)
                stream = await trio.open_tcp_stream(fake.addrs[0].host, fake.addrs[0].port)
                await stream.send_all(driver.feed(b""))
                # closed with bytes of ours unread, a socket says reset instead of end
                with contextlib.suppress(trio.BrokenResourceError):
                    while driver.ready is None and (data := await stream.receive_some(65536)):
                        if answer := driver.feed(data):
                            await stream.send_all(answer)
                assert (driver.ready is not None) is wanted
                if wanted:
                    assert bad.open == 1
                    bad.kill_connections()
                    assert await stream.receive_some(65536) == b""
                await stream.aclose()
            assert bad.connections == 2
            assert bad.errors == []
