"""The real `ceph` program against the embedded monitors: librados decodes what they say, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from cephmonfs.demo import maps, osdmap
from cephmonfs.demo.__main__ import write_files
from cephmonfs.demo.cluster import DemoCluster
from cephmonfs.demo.monitors import Demo, DemoSettings, run_monitors
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import AddrType, EntityAddr
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.encoder import Encoder
from tests.conftest import unavailable

CEPH = shutil.which("ceph")
COMMANDS = ["mon dump", "status", "df", "health", "fs dump", "osd dump", "mds stat", "quorum_status", "versions"]

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def _needs_ceph() -> None:
    if CEPH is None:
        unavailable("the ceph program (ceph-common) is not installed")


def ceph(conf: Path, demo: Demo, *args: str) -> str:
    """Run the program; it must say nothing on stderr but what the monitors have it say."""
    command = [CEPH or "ceph", "-c", str(conf), "-n", str(demo.entity), "--connect-timeout", "10", *args]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if not line.startswith("dumped ")], done.stderr
    return done.stdout


async def with_demo(where: Path, settings: DemoSettings, body: Callable[[Path, Demo], None]) -> None:
    async with run_monitors(settings) as demo:
        conf, _ = write_files(demo, where)
        await trio.to_thread.run_sync(body, conf, demo)


@pytest.mark.parametrize("mode", [Mode.SECURE, Mode.CRC])
@pytest.mark.parametrize("revision", [0, 1])
async def test_ceph_runs(tmp_path: Path, mode: Mode, revision: int) -> None:
    def body(conf: Path, demo: Demo) -> None:
        assert ceph(conf, demo, "fsid").strip() == str(demo.fsid)
        assert ceph(conf, demo, "health").startswith("HEALTH_")

    await with_demo(tmp_path, DemoSettings(modes=(mode,), revision=revision), body)


async def test_ceph_understands_the_commands(tmp_path: Path) -> None:
    def body(conf: Path, demo: Demo) -> None:
        said: dict[str, Any] = {}
        for command in COMMANDS:
            assert ceph(conf, demo, *command.split()).strip(), command
            said[command] = json.loads(ceph(conf, demo, *command.split(), "-f", "json"))
        assert said["mon dump"]["fsid"] == said["status"]["fsid"] == str(demo.fsid)
        addrs = [m["public_addrs"]["addrvec"][0]["addr"] for m in said["mon dump"]["mons"]]
        assert addrs == [f"{host}:{port}" for _, host, port in demo.addrs]
        assert said["health"]["status"] in ("HEALTH_OK", "HEALTH_WARN")
        assert said["df"]["stats"]["total_bytes"] == 48 << 40
        assert said["osd dump"]["fsid"] == str(demo.fsid)

    await with_demo(tmp_path, DemoSettings(seed=2), body)


@pytest.mark.parametrize("name", ["osdmaptool", "monmaptool"])
def test_ceph_tools_read_the_maps(tmp_path: Path, name: str) -> None:
    tool = shutil.which(name)
    if tool is None:
        unavailable(f"{name} is not installed")
        return
    addrs = (EntityAddr.of("127.0.0.1", 3300, AddrType.MSGR2),)
    cluster = DemoCluster(9, addrs, 1_800_000_000.0)
    enc = Encoder()
    maps.monmap(cluster, KeyType.AES).encode(enc, (1 << 62) - 1)
    file = tmp_path / "map"
    file.write_bytes(osdmap.encode_osdmap(cluster, cluster.at(cluster.started)) if "osd" in name else bytes(enc))
    done = subprocess.run([tool, "--print", str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert str(cluster.fsid) in done.stdout
