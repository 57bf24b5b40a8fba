"""The same attacks with a mount on top: df answers, files say what happened, umount ends it."""

from __future__ import annotations

import errno
import os
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.monmap import MonMap
from cephmonfs.monitor.server_v2 import Piece
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.doubles import monitor as fm
from tests.doubles.attack import instead
from tests.support.helper import Mounted

pytestmark = pytest.mark.fuse


def _named(message: Message) -> list[Message]:
    payload = from_monitor(message)
    assert isinstance(payload, mon.MMonMap)
    monmap = MonMap.decode(Cursor(payload.monmap))
    mons = tuple(replace(info, name=name) for info, name in zip(monmap.mons, ("../x\x1b[2J", "a\n/b"), strict=True))
    enc = Encoder()
    replace(monmap, mons=mons).encode(enc, (1 << 62) - 1)
    return [to_message(mon.MMonMap(bytes(enc)))]


def _deep(message: Message) -> list[Message]:
    return [replace(message, data=b"[" * 300_000)] if message.data[:1] == b"{" else [message]


def _impossible(message: Message) -> list[Message]:
    top = (1 << 64) - 1
    return [replace(message, front=message.front[:24] + struct.pack("<QQQQ", 1, top, top, top))]


def _count(message: Message) -> list[Message]:
    return [replace(message, front=message.front[:74] + b"\xff\xff\xff\xff" + message.front[78:])]


ATTACKS: dict[str, tuple[fm.Fault, str | None]] = {
    "T15 an impostor": (fm.Impostor(), "prove"),
    "T11 4 GiB": (fm.huge_length(Piece.AUTH_DONE), "limit"),
    "T19 2^32 monitors": (instead(MsgType.MON_MAP, _count), "count"),
    "T27 a mangled map": (
        instead(MsgType.FS_MAP, lambda m: [replace(m, front=m.front[: len(m.front) // 2])]), "FSMap|fsmap",
    ),
    "T24 impossible numbers": (instead(MsgType.STATFS_REPLY, _impossible), None),
    "answers nested 300,000 deep": (instead(MsgType.MON_COMMAND_ACK, _deep), None),
    "names that are paths": (instead(MsgType.MON_MAP, _named), None),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ATTACKS))
async def test_mounted_under_attack(name: str, tmp_path: Path) -> None:
    fault, blame = ATTACKS[name]
    async with fm.fake_cluster(DemoSettings(mons=2)) as cluster:
        cluster.mons[0].faults = (fault,)
        secret = tmp_path / "secret"
        secret.write_text(cluster.key.to_base64() + "\n")
        secret.chmod(0o600)
        source = ",".join(addr.hostport for addr in cluster.addrs) + ":/"
        options = (f"name={cluster.entity.id}", f"secretfile={secret}", "log_level=debug")
        look = partial(_look, source, tmp_path / "m", options, blame)
        with trio.fail_after(90):
            # a worker thread, for the monitors run in this one
            for _ in range(2):  # which of the two is tried first is chance
                if await trio.to_thread.run_sync(look):
                    break
        assert cluster.mons[0].connections or cluster.mons[1].connections


def _look(source: str, directory: Path, options: tuple[str, ...], blame: str | None) -> bool:
    """Mount, read everything, unmount; returns whether the attack was seen."""
    with Mounted(source, directory, *options) as mount:
        deadline = time.monotonic() + 5
        seen = blame is None
        while time.monotonic() < deadline:
            began = time.monotonic()
            mount.df()
            assert time.monotonic() - began < 3.0
            session = mount.json("session.json")
            if session["state"] == "open" and (seen or _blamed(mount, str(blame))):
                seen = True
                break
            time.sleep(0.1)
        for path in _walk(directory):
            assert path.resolve().is_relative_to(directory.resolve())
            assert path.name.isprintable()
            if path.is_file() and path.name != "events_pipe" and "ceph" not in path.parts[-3:]:
                _read(path)
        assert (directory / "mon").is_dir()
        assert mount.value("session/state") == "open"
        assert mount.value("session/last_error").isprintable()
        log = mount.text("log")
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
    return seen


def _blamed(mount: Mounted, blame: str) -> bool:
    errors = [mount.value("session/last_error")]
    errors += [path.read_text() for path in (mount.path / "mon").glob("*/last_error")]
    return any(re.search(blame, text) for text in errors) or re.search(blame, mount.text("log")) is not None


def _walk(directory: Path) -> Iterator[Path]:
    for top, directories, files in os.walk(directory):  # a directory without data (ceph/) is passed over
        yield from (Path(top, name) for name in (*directories, *files))


def _read(path: Path) -> None:
    """No data, or no permission, is an answer; EIO is not."""
    code = 0
    try:
        path.read_bytes()
    except OSError as exc:
        code = exc.errno or -1
    assert code in (0, errno.ENODATA, errno.EACCES, errno.ETIMEDOUT), (path, code)
