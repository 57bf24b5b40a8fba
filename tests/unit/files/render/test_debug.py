"""`debug/`: the kernel client's formats, letter for letter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cephmonfs.config.filesettings import default_settings
from cephmonfs.errors import NoData
from cephmonfs.files.render.debug import pr_addr
from cephmonfs.files.tree import Tree
from cephmonfs.files.view import View
from cephmonfs.model.entity import BLANK_ADDR, AddrType, AddrVec, EntityAddr
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.osdmap import OSDMap, Pool
from cephmonfs.model.placement import PgId, Placement
from cephmonfs.mon.snapshot import MapRecord, RequestView, Stamp
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder
from tests.doubles.source import WALL, map_record, snapshot
from tests.vectors import load, load_json, load_list

AT = Stamp(990.0, WALL)


def content(name: str, view: View) -> str:
    node = Tree().find(f"debug/{name}", view)
    assert node is not None
    return node.render(view).decode()


def maps(**blobs: bytes) -> dict[str, MapRecord]:
    return {name: map_record(name, 5, blob, AT) for name, blob in blobs.items()}


@pytest.mark.parametrize(
    ("host", "kind", "shown"),
    [
        ("10.0.0.1", AddrType.MSGR2, "(2)10.0.0.1:3300"),
        ("10.0.0.1", AddrType.LEGACY, "(1)10.0.0.1:3300"),
        ("fe80::12:0:1", AddrType.MSGR2, "(2)[fe80::12:0:1]:3300"),
        ("::ffff:10.0.0.1", AddrType.MSGR2, "(2)[::ffff:10.0.0.1]:3300"),
    ],
)
def test_addresses(host: str, kind: AddrType, shown: str) -> None:
    assert pr_addr(EntityAddr.of(host, 3300, kind)) == shown


def test_addresses_that_are_none() -> None:
    assert pr_addr(BLANK_ADDR) == "(unknown sockaddr family 0)"
    assert pr_addr(EntityAddr(2, 0, bytes([7, 0, 1]))) == "(unknown sockaddr family 7)"


def test_monmap(view_of: Callable[..., View]) -> None:
    lines = ["epoch 3", *(f"\tmon{i}\t(2)10.0.0.1:{3300 + i}" for i in range(3))]
    assert content("monmap", view_of()) == "\n".join(lines) + "\n"
    assert content("monmap", view_of(mode="legacy")).endswith("\tmon2\t(1)10.0.0.1:6791\n")


def test_mdsmap(view_of: Callable[..., View]) -> None:
    blob = mdsmap_blob()
    m = MDSMap.decode(Cursor(blob))
    view = view_of(maps=maps(mdsmap=blob), denied=frozenset())
    lines = content("mdsmap", view).splitlines()
    assert lines[:5] == [
        f"epoch {m.epoch}",
        f"root {m.root}",
        f"max_mds {m.max_mds}",
        f"session_timeout {m.session_timeout}",
        f"session_autoclose {m.session_autoclose}",
    ]
    assert len(lines) == 5 + max(len(m.infos), m.max_mds)
    (active,) = (info for info in m.infos if info.rank == 0 and info.state == 13)
    addr = active.addrs.of_type(AddrType.MSGR2)
    assert addr is not None
    assert lines[5] == f"\tmds0\t(2){addr.host}:{addr.port}\t(up:active)"


def mdsmap_blob() -> bytes:
    """That of the first file system of a recorded fsmap."""
    enc = Encoder()
    FSMap.decode(Cursor(load("tentacle-20.2.4", "cli-fsmap.bin"))).filesystems[0].mdsmap.encode(enc)
    return bytes(enc)


def test_a_rank_without_a_daemon(view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    m = MDSMap.decode(Cursor(mdsmap_blob()))
    replaying = replace(m.infos[0], rank=0, state=-8)
    monkeypatch.setattr(View, "mdsmap", replace(m, max_mds=1000, infos=(replaying,)))
    lines = content("mdsmap", view_of()).splitlines()
    assert len(lines) == 5 + 256
    assert lines[5] == "\tmds0\t(unknown sockaddr family 0)\t(down:dne)"


@pytest.mark.parametrize("release", ["nautilus-14.2.21", "pacific-16.2.15", "reef-18.2.7", "tentacle-20.2.4"])
def test_osdmap(view_of: Callable[..., View], release: str) -> None:
    view = view_of(maps=maps(osdmap=load(release, "rich-osdmap-all.bin")))
    shown = load_json(release, "rich-osd_dump.json")
    lines = content("osdmap", view).splitlines()
    assert lines[0] == f"epoch {shown['epoch']} barrier 0 flags 0x{shown['flags_num']:x}"
    for line, pool in zip(lines[1:], shown["pools"], strict=False):
        mask = 1
        while mask < pool["pg_num"]:
            mask *= 2
        assert line == (
            f"pool {pool['pool']} '{pool['pool_name']}' type {pool['type']} size {pool['size']} "
            f"min_size {pool['min_size']} pg_num {pool['pg_num']} pg_num_mask {mask - 1} flags 0x{pool['flags']:x} "
            f"lfor {pool.get('last_force_op_resend_prenautilus', 0)} read_tier {pool['read_tier']} "
            f"write_tier {pool['write_tier']}"
        )
    osds = lines[1 + len(shown["pools"]) :]
    for line, osd in zip(osds, shown["osds"], strict=True):
        (v2,) = (a["addr"] for a in osd["public_addrs"]["addrvec"] if a["type"] == "v2")
        assert line == f"osd{osd['osd']}\t(2){v2}\t{int(osd['weight'] * 100):3}%\t(exists, up)\t100%\t-1"


def test_osdmap_in_full(view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch) -> None:
    base = OSDMap.decode(Cursor(load("pacific-16.2.15", "osdmap-all.bin")))
    pool = Pool(type=3, size=6, min_size=4, pg_num=12, flags=0x21, last_force_op_resend=77, read_tier=4, write_tier=-1)
    osdmap = replace(
        base, flags=0x8018C000, pools={3: pool, 2: Pool()}, pool_names={3: "ec pool"}, states=(3, 1, 2, 0),
        weights=(0x10000, 0x8000, 0, 655),
    )  # fmt: skip
    addrs = (AddrVec((EntityAddr.of("10.1.1.1", 6800, AddrType.LEGACY),)), AddrVec((BLANK_ADDR,)))
    placement = Placement(
        addrs, (0x10000, 0x8000), {PgId(2, 31): (3, 1), PgId(2, 3): (1,)}, {PgId(1, 255): 2}, {}, {PgId(1, 0): (1, 2)},
        {PgId(1, 1): ((0, 1), (2, 3))},
    )  # fmt: skip
    monkeypatch.setattr(View, "osdmap", osdmap)
    monkeypatch.setattr(View, "placement", placement)
    assert content("osdmap", view_of()) == (
        f"epoch {base.epoch} barrier 0 flags 0x8018c000\n"
        "pool 2 '' type 1 size 1 min_size 1 pg_num 1 pg_num_mask 0 flags 0x0 lfor 0 read_tier -1 write_tier -1\n"
        "pool 3 'ec pool' type 3 size 6 min_size 4 pg_num 12 pg_num_mask 15 flags 0x21 lfor 77 "
        "read_tier 4 write_tier -1\n"
        "osd0\t(1)10.1.1.1:6800\t100%\t(exists, up)\t100%\t-1\n"
        "osd1\t(unknown sockaddr family 0)\t 50%\t(exists)\t 50%\t-1\n"
        "osd2\t(unknown sockaddr family 0)\t  0%\t(up)\t100%\t-1\n"
        "osd3\t(unknown sockaddr family 0)\t  0%\t(doesn't exist)\t100%\t-1\n"
        "pg_temp 2.3 [1]\npg_temp 2.1f [3,1]\nprimary_temp 1.ff 2\npg_upmap 1.0 [1,2]\npg_upmap_items 1.1 [0->1,2->3]\n"
    )


def test_the_osdmap_follows_incrementals(view_of: Callable[..., View]) -> None:
    incs = load_list("pacific-16.2.15", "osdmap-incrementals.bin")
    fulls = load_list("pacific-16.2.15", "osdmap-fulls.bin")
    view = view_of()
    memo = view.memo
    for count in (3, 9, len(fulls) - 1):
        record = map_record("osdmap", count + 1, fulls[0], AT, tuple(incs[1 : count + 1]))
        wanted = view_of(maps=maps(osdmap=fulls[count]))
        view = view_of(maps={"osdmap": record})
        view = replace(view, memo=memo)
        assert content("osdmap", view).splitlines()[0] == content("osdmap", wanted).splitlines()[0]
        exists = [line for line in content("osdmap", view).splitlines() if "doesn't exist" not in line]
        assert exists == [line for line in content("osdmap", wanted).splitlines() if "doesn't exist" not in line]


def test_monc(view_of: Callable[..., View]) -> None:
    known = dict(snapshot().maps) | maps(fsmap=b"x")
    requests = (RequestView(9, "mon_get_version", 0, "a", 1), RequestView(8, "mon_command", 0, "a", 1))
    view = view_of(maps=known, requests=(*requests, RequestView(7, "statfs", 0, "a", 1)))
    assert content("monc", view) == (
        "have monmap 3 want 4+\nhave osdmap 17 want 18+\nhave fsmap.user 5 want 6+\nhave mdsmap 0 want 0+\n"
        "fs_cluster_id 1\n7 statfs\n8 unknown\n9 mon_get_version"
    )
    nothing = view_of(maps={}, requests=(), fscid=None, fs_missing=True)
    assert content("monc", nothing).splitlines()[-2:] == ["have mdsmap 0", "fs_cluster_id -1"]


def test_client_options(view_of: Callable[..., View]) -> None:
    settings = default_settings(client_options="name=df,secret=<hidden>,ms_mode=prefer-secure")
    assert content("client_options", view_of(settings=settings)) == "name=df,secret=<hidden>,ms_mode=prefer-secure\n"


def test_status(view_of: Callable[..., View]) -> None:
    addr = EntityAddr.of("10.9.9.9", 40000, AddrType.MSGR2, 123456)
    assert content("status", view_of(my_addr=addr)) == (
        "instance: client.4152 (3)10.9.9.9:0/123456\nblocklisted: false\n"
    )
    blank = view_of(my_addr=EntityAddr(2, 5, b""))
    assert content("status", blank).startswith("instance: client.4152 (unknown sockaddr family 0)/5\n")
    with pytest.raises(NoData):
        content("status", view_of())
