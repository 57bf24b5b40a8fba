"""The embedded monitors over real TCP."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path

import pytest
import trio

from cephmonfs.demo.__main__ import _settings, write_files
from cephmonfs.demo.monitors import Demo, DemoSettings, run_monitors
from cephmonfs.messages import mon
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import AddrType, EntityAddr
from cephmonfs.msgr.events import Mode
from tests.doubles.client import Driver


async def enter(demo: Demo, rank: int = 0) -> tuple[Driver, trio.SocketStream]:
    """Connect and come to the point where messages flow."""
    _, host, port = demo.addrs[rank]
    stream = await trio.open_tcp_stream(host, port)
    driver = Driver(EntityAddr.of(host, port, AddrType.MSGR2), demo.entity, demo.key)
    await stream.send_all(driver.feed(b""))
    while driver.ready is None:
        data = await stream.receive_some(65536)
        assert data
        if answer := driver.feed(data):
            await stream.send_all(answer)
    return driver, stream


@pytest.mark.parametrize("kind", list(KeyType))
async def test_a_session_with_each_monitor(kind: KeyType) -> None:
    with trio.fail_after(20):
        async with run_monitors(DemoSettings(seed=4, key_type=kind)) as demo:
            assert [name for name, _, _ in demo.addrs] == ["a", "b", "c"]
            for rank in range(3):
                driver, stream = await enter(demo, rank)
                async with stream:
                    await stream.send_all(driver.say(mon.MStatfs(demo.fsid.bytes), 3))
                    while not driver.messages:
                        driver.feed(await stream.receive_some(65536))
                    assert isinstance(driver.messages[0], mon.MStatfsReply)


async def test_subscriptions_are_pushed() -> None:
    now = 1_800_000_000.0
    with trio.fail_after(20):
        async with run_monitors(DemoSettings(mons=1), lambda: now) as demo:
            driver, stream = await enter(demo)
            async with stream:
                await stream.send_all(driver.say(mon.MMonSubscribe({"osdmap": mon.SubscribeItem(0)})))
                while len(driver.messages) < 2:
                    driver.feed(await stream.receive_some(65536))
                    now += 200
            first, second = driver.messages
            assert isinstance(first, mon.MOSDMap)
            assert isinstance(second, mon.MOSDMap)
            assert second.newest > first.newest


async def test_rubbish_costs_the_connection_alone() -> None:
    with trio.fail_after(20):
        async with run_monitors(DemoSettings(mons=1)) as demo:
            _, host, port = demo.addrs[0]
            stream = await trio.open_tcp_stream(host, port)
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some(65536):
                    pass
            await stream.aclose()
            _, stream = await enter(demo)
            await stream.aclose()


async def test_too_many_monitors() -> None:
    with pytest.raises(BaseExceptionGroup):
        async with run_monitors(DemoSettings(mons=32)):
            pass


async def test_files_for_trying(tmp_path: Path) -> None:
    async with run_monitors(DemoSettings(mons=2)) as demo:
        conf, keyring = write_files(demo, tmp_path / "new")
        assert f"[v2:127.0.0.1:{demo.addrs[1][2]}]" in conf.read_text()
        assert demo.key.to_base64() in keyring.read_text()
        assert stat.S_IMODE(keyring.stat().st_mode) == 0o600


def test_options() -> None:
    settings, where = _settings(["--mons", "5", "--key-type", "aes256k", "--mode", "crc", "--rev", "0", "--dir", "d"])
    assert settings == DemoSettings(mons=5, key_type=KeyType.AES256K, modes=(Mode.CRC,), revision=0)
    assert where == Path("d")
