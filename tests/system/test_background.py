"""`bg`: the mount is there at once, and what a mount that waits would fail with is told in its files and log."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cephmonfs.host.accounts import ACCOUNT, look_up
from tests.support.cluster import Cluster
from tests.support.helper import STATE, Mounted, run

pytestmark = [pytest.mark.fuse, pytest.mark.cluster]


@pytest.mark.parametrize("caps", ["allow service mon r", "allow command fsid"])
def test_caps_without_the_space(pacific: Cluster, tmp_path: Path, caps: str) -> None:
    entity = f"client.bg{len(caps)}"
    pacific.make_key(entity, mon=caps)
    secret = f"secretfile={pacific.write_secret(entity)}"
    sentence = rf"{entity} may connect but not ask for the space: it needs mon 'allow r' .*"
    with Mounted(pacific.source(), tmp_path / "m", f"name={entity}", secret, "bg") as mount:
        assert mount.seconds < 5
        mount.wait_for("session/last_error", sentence)
        mount.wait_for("log", rf".*ERROR cephmonfs.runtime.client: {sentence}.*")
        assert "Permission denied" in run(["df", mount.path]).stderr
        assert mount.value("session/state") == "open"
        assert mount.text("log").count("ask for the space") == 1


def test_a_pool_that_is_not_there(pacific: Cluster, tmp_path: Path) -> None:
    secret = f"secretfile={pacific.write_secret('client.df')}"
    with Mounted(pacific.source(), tmp_path / "m", "name=df", secret, "pool=nosuch", "bg") as mount:
        mount.wait_for("log", r".*ERROR cephmonfs.runtime.client: .*nosuch.*")
        assert mount.value("session/state") == "open"


def test_the_monmap_is_remembered(pacific: Cluster, tmp_path: Path) -> None:
    """By a daemon that is not root by the time it has a session, in root's file; the next mount finds it there."""
    options = ("name=df", f"secretfile={pacific.write_secret('client.df')}", f"fsid={pacific.fsid}", "bg")
    with Mounted(pacific.source(), tmp_path / "m", *options) as mount:
        mount.wait_for("epoch/monmap", r"\d+")
        uid = look_up(ACCOUNT).uid
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in Path(f"/proc/{mount.daemon}/status").read_text()
        path = STATE / f"{pacific.fsid}.monmap"
        assert path.read_bytes() == (mount.path / "maps/monmap.bin").read_bytes()
        for made in (path, STATE):
            assert made.stat().st_uid == 0
            assert not made.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        mount.keep_memory = True
    with Mounted("127.0.0.1:9:/", tmp_path / "m", *options) as mount:
        mount.wait_for("session/state", "open")
        assert mount.value("fsid") == pacific.fsid
