"""Monitors whose every text is hostile, with a real mount and each of our programs on top.

tests/unit/files/test_hostile_text.py has every file with every scenario; here is what only a whole daemon can show:
that it lives on, that the programs print nothing that a terminal obeys, and that nothing grows.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import from_monitor
from cephmonfs.model.monmap import MonMap
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.doubles import monitor as fm
from tests.support.helper import CEPHMONFS, ROOT, Mounted, run
from tests.support.hostile import ANSWERS, CONTROL, RAW, encoded

pytestmark = pytest.mark.fuse

SCENARIOS = ("text", "lone surrogates", "integers of 400 digits", "too many", "a bomb", "errors")
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
PROMTOOL = shutil.which("promtool")
GROWTH_KIB = 64 << 10


def hostile(scenario: str, message: Message) -> list[Message]:
    """The answer that a monitor gives instead."""
    if message.type == MsgType.MON_MAP:
        return [_named(message)]
    if message.type != MsgType.MON_COMMAND_ACK:
        return [message]
    ack = from_monitor(message)
    assert isinstance(ack, mon.MMonCommandAck)
    answer = ANSWERS[scenario].get(json.loads("".join(ack.command))["prefix"], b"")
    if answer == b"":
        return [message]
    result, data = (answer, b"") if isinstance(answer, int) else (0, encoded(answer))
    return [to_message(mon.MMonCommandAck(result, RAW, ack.command), message.tid, data)]


def _named(message: Message) -> Message:
    payload = from_monitor(message)
    assert isinstance(payload, mon.MMonMap)
    monmap = MonMap.decode(Cursor(payload.monmap))
    mons = tuple(replace(info, name=name) for info, name in zip(monmap.mons, (RAW, "../b\n"), strict=True))
    enc = Encoder()
    replace(monmap, mons=mons).encode(enc, (1 << 62) - 1)
    return replace(message, front=to_message(mon.MMonMap(bytes(enc))).front)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_mount_and_the_programs(scenario: str, tmp_path: Path) -> None:
    async with fm.fake_cluster(DemoSettings(mons=2)) as cluster:
        for one in cluster.mons:
            one.faults = (fm.Reply(partial(hostile, scenario)),)
        secret = tmp_path / "secret"
        secret.write_text(cluster.key.to_base64() + "\n")
        secret.chmod(0o600)
        source = ",".join(addr.hostport for addr in cluster.addrs) + ":/"
        options = (f"name={cluster.entity.id}", f"secretfile={secret}", "refresh=1")
        with trio.fail_after(150):
            await trio.to_thread.run_sync(_look, source, tmp_path / "m", options)


def _look(source: str, directory: Path, options: tuple[str, ...]) -> None:
    with Mounted(source, directory, *options) as mount:
        _read_all(mount)
        before = _rss_kib(mount.daemon)
        for _ in range(3):
            _read_all(mount)
        assert _rss_kib(mount.daemon) < before + GROWTH_KIB
        total, _, _ = mount.df()
        assert total > 0
        _programs(mount, source, options)
        assert os.getxattr(directory, "ceph.cluster_fsid").decode() == mount.fsid
        assert mount.value("session/state") == "open"
        assert mount.value("session/sessions") == "1"
        log = mount.text("log")
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
        for line in mount.text("events").splitlines():
            json.loads(line)


def _read_all(mount: Mounted) -> None:
    """Every file: no EIO, nothing raw but below ceph/, and the pages are whole."""
    for top, directories, files in os.walk(mount.path):
        for name in (*directories, *files):
            assert name.isprintable(), name
            assert Path(top, name).resolve().is_relative_to(mount.path.resolve())
        for name in files:
            if name != "events_pipe":
                _read(Path(top, name), raw="ceph" in Path(top).relative_to(mount.path).parts or name.endswith(".bin"))
    status = mount.text("status")
    for label in ("cluster", "health", "capacity", "monitors", "maps", "session"):
        assert f"\n  {label}" in "\n" + status
    assert "</html>" in mount.text("dashboard.html")
    metrics = mount.text("metrics")
    names = {family.name for family in text_string_to_metric_families(metrics)}
    assert {"cephmonfs_up", "ceph_osd_up"} <= names
    if PROMTOOL is not None:
        said = subprocess.run(
            [PROMTOOL, "check", "metrics"], input=metrics, capture_output=True, text=True, check=False
        )
        assert "error while linting" not in said.stderr, said.stderr
        assert said.returncode in (0, 3), said.stderr  # 3: names that are Ceph's, such as ceph_pg_total


def _read(path: Path, *, raw: bool) -> None:
    code, data = 0, b""
    try:
        data = path.read_bytes()
    except OSError as exc:
        code = exc.errno or -1
    assert code in (0, errno.ENODATA, errno.EACCES, errno.ETIMEDOUT), (path, errno.errorcode.get(code))
    if not raw:
        assert not CONTROL.search(data.decode()), path


def _rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _programs(mount: Mounted, source: str, options: tuple[str, ...]) -> None:
    given = [source, "-o", ",".join(options)]
    conf = mount.path.parent / "ceph.conf"
    conf.write_text(f"[global]\nmon_host = {source.removesuffix(':/')}\n")
    keyring = mount.path.parent / "keyring"
    name, secret = (option.partition("=")[2] for option in options[:2])
    keyring.write_text(f"[client.{name}]\nkey = {Path(secret).read_text()}")
    keyring.chmod(0o600)
    as_ceph: list[str | Path] = ["ceph", "-c", conf, "-k", keyring, "--id", name]
    runs: list[list[str | Path]] = [
        ["watch", mount.path, "--count", "1"],
        ["check", *given],
        ["check", "--json", *given],
        ["get", "status", *given],
        ["get", "health", *given],
        ["get", "/", *given],
        ["get", "mon", *given],
        ["get", "ceph/health", *given],
        [*as_ceph, "health"],
        [*as_ceph, "no", "such", "command"],
        ["collect", mount.path, "-o", mount.path.parent / "bundle.tar.gz"],
    ]
    for words in runs:
        done = run([*CEPHMONFS, *words], env=ENV, cwd="/", errors="surrogateescape")
        # what is below ceph/ is not known where the monitors do not say it: 32
        allowed = (0, 1, 13, 22, 32) if "ceph/health" in words else (0, 1, 13, 22)
        assert done.returncode in allowed, (words, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr, (words, done.stderr)
        assert not CONTROL.search(done.stderr), (words, done.stderr)
        if "ceph" not in words and "ceph/health" not in words:  # there stdout is the monitor's own reply
            assert not CONTROL.search(done.stdout), (words, done.stdout)
            assert done.stdout, (words, done.stderr)
        if "--json" in words:
            json.loads(done.stdout)
