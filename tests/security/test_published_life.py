"""Published holes of a Ceph client in how connections, waits and the daemon live and end (T32, T34, T36 to T44)."""

from __future__ import annotations

import ast
import gc
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import cephmonfs
from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import MsgType, to_message
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName, EntityType
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import Close, Connect, MonSession, SessionConfig
from cephmonfs.mon.snapshot import Stamp, State
from cephmonfs.monitor.authserver import Answer, Refused
from cephmonfs.monitor.server_v2 import Piece
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.cursor import Cursor
from tests.doubles import monitor as fm
from tests.doubles.attack import Lying, attacked, identity
from tests.fuzz.targets import recordings_v1, recordings_v2
from tests.security.published import published
from tests.vectors import load

PACKAGE = Path(cephmonfs.__file__).parent


@published(32, "CVE-2024-42232", "a timer is armed again while the client stops")
async def test_T32_nothing_is_left() -> None:
    """One nursery owns sockets and timers: after the end there is no task, no socket and no descriptor of ours."""
    fds = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with attacked(fm.Silent(Piece.AUTH_DONE), measure=False) as attack:
            await attack.statfs()
        tasks = [t.name for t in _tasks() if "cephmonfs.runtime" in t.name or "doubles.monitor" in t.name]
        assert tasks == []
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= fds + 1


def _tasks() -> list[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    found, waiting = [], [root] if root else []
    while waiting:
        task = waiting.pop()
        found.append(task)
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return found


@published(
    34,
    "CVE-2026-23047, -23136, -89651, -89657, CVE-2023-53867, CVE-2024-26689, CVE-2025-21737, CVE-2026-23189",
    "holes in sessions with OSDs and MDSs",
)
async def test_T34_only_monitors(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no code for such sessions: nothing but addresses of the monmap or the configuration is ever dialled,
    whatever other maps say."""
    dialled: set[tuple[str, int]] = set()
    original = socket.socket.connect_ex

    def connect_ex(self: socket.socket, address: tuple[str, int]) -> int:
        dialled.add((address[0], address[1]))
        return original(self, address)

    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    async with attacked(measure=False) as attack:
        for name in ("osdmap", "mdsmap", "mgrmap", "fsmap"):
            await attack.until(lambda name=name: name in attack.snapshot.maps, f"no {name}")  # type: ignore[misc]
        await attack.statfs()
        for fake in attack.cluster.mons:
            fake.kill_connections()
        await attack.survives(None, left=False)
        assert dialled == {(addr.host, addr.port) for addr in attack.cluster.addrs}
    calls = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if not {"demo", "monitor"} & set(path.parts)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("connect", "connect_ex", "open_tcp_stream")
    }
    assert calls <= {"client.py", "notify.py", "parts.py", "srv.py", "mount.py", "main.py", "monitor_probe.py"}


@published(36, "ceph pull 1756", "the hunt ends before authentication does; a reset at the wrong moment, and silence")
async def test_T36_cut_after_each_byte() -> None:
    """A connection cut after any byte of the handshake leads to a session with the next monitor."""
    sizes = {Piece.BANNER: 26, Piece.HELLO: 72, Piece.AUTH_REPLY_MORE: 49, Piece.AUTH_SIGNATURE: 96}
    cuts = [(at, keep) for at, size in sizes.items() for keep in range(0, size, 5)]
    cuts += [(Piece.AUTH_DONE, keep) for keep in range(0, 600, 40)]
    cuts += [(Piece.SERVER_IDENT, keep) for keep in range(0, 200, 20)]
    settings = DemoSettings(mons=2)
    async with fm.fake_cluster(settings) as cluster:
        for at, keep in cuts:
            cluster.mons[0].faults = (fm.Cut(at, keep),)
            await _opens(cluster, 5.0)


async def _opens(cluster: fm.FakeCluster, seconds: float) -> None:
    from cephmonfs.runtime.client import open_client

    where = [Candidate(str(addr), addr, rank) for rank, addr in enumerate(cluster.addrs)]

    async def resolve() -> list[Candidate]:
        return where

    with trio.fail_after(seconds):
        async with open_client(SessionConfig(identity(cluster)), resolve) as client:
            await client.wait_open()


def test_T36_every_byte_of_recorded_handshakes() -> None:
    """Sans-IO: cut after each single byte, the session connects to the next monitor at once."""
    recording = next(r for r in recordings_v2() if "tentacle" in r.name and "secure-rev1" in r.name)
    other = EntityAddr.of("127.0.0.9", 3300, AddrType.MSGR2)
    for end in range(0, len(recording.to_client), 3):
        now = Stamp(0.0, 1.8e9)
        session = MonSession(SessionConfig(recording.identity), _choices(recording.random), now)
        session.set_candidates([Candidate("a", recording.target, 0), Candidate("b", other, 1)], now)
        connect = session.next_event()
        assert isinstance(connect, Connect)
        session.connected(connect.conn_id, now)
        session.receive_data(connect.conn_id, recording.to_client[:end], now)
        session.closed(connect.conn_id, "cut", now)
        again = [event.addr for event in iter(session.next_event, None) if isinstance(event, Connect)]
        assert again == [other]


def _choices(random: list[bytes]) -> Callable[[int], bytes]:
    left = iter(random)
    return lambda n: next(left, b"\1").ljust(n, b"\1")[:n]


@published(37, "ceph pull 40978", "`mon host` without a port gives two entries that race, and an error is lost")
async def test_T37_two_entries() -> None:
    """Of two addresses of one monitor the one that speaks our protocol is tried; the winner killed before its monmap
    is followed by the next."""
    from cephmonfs.config.monaddr import MonTarget, MsMode, targets_for_mode

    found = targets_for_mode((MonTarget("10.0.0.1", None, None),), MsMode.PREFER_SECURE)
    assert [(e.host, e.port) for e in found] == [("10.0.0.1", 3300)]
    async with attacked(fm.Reset(Piece.MESSAGE)) as attack:  # its first message is the monmap
        await attack.survives("closed|reset")


@published(38, "ceph pulls 9259, 52124", "time-outs with a wrong sign; the mount's is not honoured")
def test_T38_every_wait_ends() -> None:
    """Each wait of the session ends at its own time, on a clock that tests move; so do those of statfs and mount."""
    now = Stamp(0.0, 1.8e9)
    session = MonSession(_config(), lambda n: bytes(n), now)
    session.set_candidates([Candidate("a", _addr(1)), Candidate("b", _addr(2))], now)
    events = list(iter(session.next_event, None))
    assert len([e for e in events if isinstance(e, Connect)]) == 1
    closed, connects, clock = 0, 1, 0.0
    while clock < 60.0:
        due = session.next_timeout()
        assert due is not None
        assert due > clock - 1e-9, "a time-out in the past, again and again"
        clock = max(due, clock + 1e-4)
        session.handle_timeout(Stamp(clock, 1.8e9 + clock))
        for event in iter(session.next_event, None):
            closed += isinstance(event, Close)
            connects += isinstance(event, Connect)
    assert closed >= 8  # two monitors, ten seconds each, a minute
    assert connects <= 2 + 60 * 3


def _config() -> SessionConfig:
    from cephmonfs.mon.connection import Identity

    return SessionConfig(Identity(EntityName(EntityType.CLIENT, "df"), None, (Mode.CRC,)))


def _addr(number: int) -> EntityAddr:
    return EntityAddr.of(f"127.0.0.{number}", 3300, AddrType.MSGR2)


async def _accept_and_wait(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def _one_byte(stream: trio.abc.Stream) -> None:
    for byte in b"ceph v2\n\x10\0" + struct.pack("<QQ", 1, 0) + b"\1" * 100:
        await stream.send_all(bytes((byte,)))
        await trio.sleep(1)


async def _half_banner(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"ceph")
    await trio.sleep_forever()


async def _endless_banner(stream: trio.abc.Stream) -> None:
    while True:
        await stream.send_all(b"ceph v2\n" * 1000)


async def _http(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[2Jevil")


async def _reset(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


LISTENERS = {
    "silent": (_accept_and_wait, None),
    "one byte a second": (_one_byte, None),
    "half a banner": (_half_banner, None),
    "endless banner": (_endless_banner, "payload of|banner"),
    "another protocol": (_http, "not a Ceph monitor"),
    "reset": (_reset, "reset|closed"),
}


@published(39, "ceph test_monclient_retry.cc", "a listener that accepts and never speaks")
@pytest.mark.parametrize("name", list(LISTENERS))
async def test_T39_listeners(name: str) -> None:
    """Silent, slow, half, endless and foreign listeners: the next monitor is asked after 0.3 s, beside them."""
    serve, blame = LISTENERS[name]
    began = time.monotonic()
    async with attacked(serve=serve) as attack:
        await attack.statfs()
        assert time.monotonic() - began < 3.0
        await attack.survives(blame)
        assert "\x1b" not in attack.blame()


@published(40, "ceph pulls 26958, 33799", "assertions on what a peer sends, or on there being a session")
async def test_T40_no_assertions() -> None:
    """No assert statement in the package; stray replies of every kind are counted and nothing else."""
    for path in PACKAGE.rglob("*.py"):
        assert not [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Assert)], path
    async with attacked() as attack:
        await attack.opened()
        fsid = attack.cluster.fsid
        stray = [
            to_message(auth.MAuthReply(2, 0, 4100, b"x" * 40), 99),
            to_message(auth.MAuthReply(2, -13, 0, b"", "no"), 0),
            to_message(mon.MMonCommandAck(0, "", ()), 4711, b"out"),
            to_message(mon.MMonGetVersionReply(1, 2, 3), 5),
            to_message(mon.MFSMapUser(9, b"junk")),
            to_message(mon.MConfig({"a": "b"})),
            to_message(mon.MMonSubscribeAck(0, fsid)),
        ]
        for message in stray * 20:
            attack.hostile.send(message)
        await attack.until(lambda: attack.snapshot.counters.get("replies_unasked", 0) >= 60, "not counted")
        await attack.survives(None, left=False)
        assert attack.snapshot.counters["connects"] == 1


@published(41, "ceph pull 12611", "decoding into an old map leaves old entries in it")
def test_T41_new_objects() -> None:
    """A decoder always makes a new, frozen object."""
    rich, plain = (
        OSDMap.decode(Cursor(load("pacific-16.2.15", name))) for name in ("rich-osdmap-all.bin", "osdmap-all.bin")
    )
    assert OSDMap.decode(Cursor(load("pacific-16.2.15", "osdmap-all.bin"))) == plain != rich
    data = load("pacific-16.2.15", "rich-fsmap-message-front.bin")[4:]
    assert FSMap.decode(Cursor(data)) == FSMap.decode(Cursor(data))


def _refusing(result: int) -> type[Lying]:
    def more(self: Lying, payload: bytes, now: float) -> Answer:
        return Refused(result)

    return type("_Refusing", (Lying,), {"more": more})


@published(42, "ceph pull 34075", "a monitor that still recovers refuses, or says that it is busy")
@pytest.mark.parametrize("result", [-16, -11, -13, -1, -22, -110])
async def test_T42_one_refusal_is_not_final(result: int) -> None:
    """A refusal counts when every monitor was asked; until then the next one is tried."""
    async with attacked(auth=_refusing(result)) as attack:
        await attack.survives("refused")
        assert attack.snapshot.state is State.OPEN


@published(43, "ceph pulls 25343, 63413, 26965", "cookies and session resets on reconnect")
async def test_T43_always_a_new_session() -> None:
    """Sessions with monitors are lossy: cookie 0, seq from 1, no reconnect; requests go out again under their own
    tid."""
    for tag in (11, 12, 13, 14, 15, 16):
        lie = fm.Wire(Piece.SERVER_IDENT, lambda _, t=tag: _frame(t, bytes(16)))  # type: ignore[misc]
        async with attacked(lie, modes=(Mode.CRC,)) as attack:
            await attack.survives("while in IDENT")
    silent = fm.no_answer(MsgType.STATFS_REPLY)
    async with attacked(silent) as attack:
        await attack.opened()
        await attack.statfs()
        tids = [{m.tid for m in fake.received if m.type == MsgType.STATFS} for fake in attack.cluster.mons]
        assert tids[0] == tids[1] != set()


def _frame(tag: int, segment: bytes) -> bytes:
    from cephmonfs.msgr.frames_v2 import crc_layout

    return crc_layout(1).encode(tag, (segment,))


@pytest.mark.fuse
@published(44, "measured: ceph-fuse 20.2.4", "no `mount` program, and a dead mount stays behind")
def test_T44_no_dead_mount(tmp_path: Path) -> None:
    """The daemon needs no helper but fusermount3; killed, it leaves no dead mount."""
    from tests.support.helper import HELPER, is_mounted, processes, wait_gone

    bare = tmp_path / "bin"
    bare.mkdir()
    directory = tmp_path / "m"
    directory.mkdir()
    for name in ("fusermount3", "env"):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (bare / name).symlink_to(found)
    done = subprocess.run(
        [HELPER, "demo:", directory, "-o", "demo_mons=2"],
        capture_output=True,
        text=True,
        env={"PATH": str(bare)},
        cwd="/",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert is_mounted(directory)
    time.sleep(0.5)
    assert os.statvfs(directory).f_blocks > 0
    for pid in processes(directory):
        if Path(f"/proc/{pid}/comm").read_text().strip() != "fusermount3":
            os.kill(pid, 9)
    wait_gone(directory)
    assert os.listdir(directory) == []


def test_published_table_is_complete() -> None:
    """All of T01 to T44, and the document has the present table."""
    from tests.security.published import DOCUMENT, holes, updated

    assert sorted({hole.number for hole, *_ in holes()}) == list(range(1, 45))
    assert all(answer for _, answer, *_ in holes())
    assert updated(DOCUMENT.read_text()) == DOCUMENT.read_text(), "make security-table"


def test_recordings_of_both_protocols_are_there() -> None:
    assert len(recordings_v2()) >= 10
    assert len(recordings_v1()) >= 8
