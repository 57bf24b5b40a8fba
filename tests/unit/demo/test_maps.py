"""Maps of the pretended cluster decode to what its commands say."""

from __future__ import annotations

import json

import pytest

from cephmonfs.demo import maps, osdmap
from cephmonfs.demo.cluster import DemoCluster
from cephmonfs.demo.commands import run_command
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import AddrType, EntityAddr
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import state_name
from cephmonfs.model.mgrmap import MgrMap
from cephmonfs.model.monmap import MonMap
from cephmonfs.model.osdmap import Incremental, OSDMap
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.encoder import Encoder

START = 1_800_000_000.0


ADDRS = tuple(EntityAddr.of("127.0.0.1", 3300 + rank, AddrType.MSGR2) for rank in range(3))


def cluster(seed: int = 0) -> DemoCluster:
    return DemoCluster(seed, ADDRS, START)


@pytest.mark.parametrize("at", [0.0, 30.0, 50.0, 111.0, 113.0, 120.0, 310.0, 5000.0])
def test_maps_decode_to_what_the_commands_say(at: float) -> None:
    demo = cluster(3)
    state = demo.at(START + at)
    monmap = maps.monmap(demo, KeyType.AES)

    def command(prefix: str) -> object:
        words = (json.dumps({"prefix": prefix, "format": "json"}),)
        result, _, output = run_command(demo, monmap, state, words)
        assert result == 0
        return json.loads(output)

    fsmap = FSMap.decode(Cursor(maps.encoded(maps.fsmap(demo, state))))
    (fs,) = fsmap.filesystems
    said = command("fs dump")
    assert isinstance(said, dict)
    assert said["epoch"] == fsmap.epoch
    assert said["filesystems"][0]["mdsmap"]["epoch"] == fs.mdsmap.epoch
    (info,) = fs.mdsmap.infos
    (said_info,) = said["filesystems"][0]["mdsmap"]["info"].values()
    assert (said_info["name"], said_info["state"]) == (info.name, state_name(info.state))
    assert [s["name"] for s in said["standbys"]] == [s.name for s in fsmap.standbys]

    full = OSDMap.decode(Cursor(osdmap.encode_osdmap(demo, state)))
    said = command("osd dump")
    assert isinstance(said, dict)
    assert (said["epoch"], said["fsid"]) == (full.epoch, str(full.fsid))
    assert [p["pool_name"] for p in said["pools"]] == [full.pool_names[p["pool"]] for p in said["pools"]]
    assert sum(osd["up"] for osd in said["osds"]) == full.num_up_osds == sum(state.osd_up)
    assert Incremental.decode(Cursor(osdmap.encode_incremental(demo, state))).fullmap == full

    mgr = MgrMap.decode(Cursor(maps.encoded(maps.mgrmap(demo, state))))
    said = command("mgr dump")
    assert isinstance(said, dict)
    assert (said["epoch"], said["active_name"], len(said["standbys"])) == (
        mgr.epoch,
        mgr.active_name,
        len(mgr.standbys),
    )
    stats = state.statfs(None)
    said = command("df")
    assert isinstance(said, dict)
    assert stats is not None
    assert said["stats"]["total_bytes"] == stats.kb << 10
    assert said["stats"]["total_avail_bytes"] == stats.kb_avail << 10
    assert sum(p["stats"]["objects"] for p in said["pools"]) == stats.num_objects


@pytest.mark.parametrize("kind", list(KeyType))
def test_monmap(kind: KeyType) -> None:
    demo = cluster()
    enc = Encoder()
    maps.monmap(demo, kind).encode(enc, (1 << 64) - 1)
    decoded = MonMap.decode(Cursor(bytes(enc)))
    assert decoded == maps.monmap(demo, kind)
    assert decoded.auth_ciphers.allowed == ((2,) if kind is KeyType.AES256K else ())
