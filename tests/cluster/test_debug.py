"""`debug/` and the two attributes of the root, on real clusters."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.helper import Mounted, run

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module")
def mount(any_release: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    directory = tmp_path_factory.mktemp("debug")
    any_release.make_key("client.monitor", mon="allow r")
    secret = any_release.write_secret("client.monitor", directory / "secret")
    with Mounted(any_release.source(), directory / "mnt", "name=monitor", f"secretfile={secret}") as found:
        yield found


def v2(addrs: dict[str, list[dict[str, str]]]) -> str:
    (found,) = (addr["addr"] for addr in addrs["addrvec"] if addr["type"] == "v2")
    return f"(2){found}"


def test_maps(any_release: Cluster, mount: Mounted) -> None:
    dump = any_release.command("mon dump")
    mons = [f"\tmon{mon['rank']}\t{v2(mon['public_addrs'])}" for mon in dump["mons"]]
    assert mount.text("debug/monmap").splitlines() == [f"epoch {dump['epoch']}", *mons]
    osds = any_release.command("osd dump")
    lines = mount.text("debug/osdmap").splitlines()
    assert lines[0] == f"epoch {osds['epoch']} barrier 0 flags 0x{osds['flags_num']:x}"
    assert [line.split()[1] for line in lines if line.startswith("pool ")] == [str(p["pool"]) for p in osds["pools"]]
    assert f"osd0\t{v2(osds['osds'][0]['public_addrs'])}\t100%\t(exists, up)\t100%\t-1" in lines
    mdsmap = any_release.command("fs dump")["filesystems"][0]["mdsmap"]
    (active,) = (info for info in mdsmap["info"].values() if info["rank"] == 0)
    lines = mount.text("debug/mdsmap").splitlines()
    assert lines[0] == f"epoch {mdsmap['epoch']}"
    assert lines[5] == f"\tmds0\t{v2(active['addrs'])}\t({active['state']})"


def test_client(mount: Mounted) -> None:
    global_id = mount.value("session/global_id")
    form = rf"instance: client\.{global_id} \(3\)127\.0\.0\.1:0/\d+\nblocklisted: false\n"
    assert re.fullmatch(form, mount.text("debug/status"))
    assert mount.text("debug/client_options") == "name=monitor,secret=<hidden>,ms_mode=prefer-secure,abort_on_full\n"
    monc = mount.text("debug/monc").splitlines()
    osdmap = int(mount.value("epoch/osdmap"))
    assert f"have osdmap {osdmap} want {osdmap + 1}+" in monc


def test_attributes_of_the_root(any_release: Cluster, mount: Mounted) -> None:
    assert os.listxattr(mount.path) == []
    assert os.getxattr(mount.path, "ceph.cluster_fsid").decode() == any_release.fsid
    wanted = f"client{mount.value('session/global_id')}"
    assert os.getxattr(mount.path, "ceph.client_id").decode() == wanted
    if shutil.which("getfattr"):
        said = run(["getfattr", "--only-values", "--absolute-names", "-n", "ceph.client_id", mount.path])
        assert said.stdout == wanted
        assert run(["getfattr", "-d", "-m", "-", mount.path]).stdout == ""
    assert os.getxattr(mount.path, "ceph.cluster_fsid") == mount.value("fsid").encode()
