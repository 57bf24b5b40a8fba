"""The imagined cluster: the same story whoever watches, and maps that decode to what the commands say."""

from __future__ import annotations

import itertools
import json
from uuid import UUID

import pytest

from cephmonfs.demo import maps, osdmap
from cephmonfs.demo.cluster import DemoCluster, Track
from cephmonfs.demo.commands import descriptions, run_command
from cephmonfs.demo.texts import age, number, size
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


def test_the_seed_decides() -> None:
    assert cluster(5).at(START + 777) == cluster(5).at(START + 777)
    assert cluster(5).fsid == cluster(5).fsid != cluster(6).fsid
    assert cluster(5).at(START).osdmap.epoch != cluster(6).at(START).osdmap.epoch


@pytest.mark.parametrize("seed", range(4))
def test_the_story(seed: int) -> None:
    """An hour: epochs only grow, health comes and goes, the MDS fails over, the space moves and stays in bounds."""
    demo = cluster(seed)
    assert demo.at(START).health == "HEALTH_OK"
    assert demo.at(START - 100).osdmap == demo.at(START).osdmap
    states = [demo.at(START + t) for t in range(0, 3600)]
    for pick in ("osdmap", "fsmap", "mgrmap"):
        epochs = [getattr(state, pick).epoch for state in states]
        assert epochs == sorted(epochs)
        assert epochs[-1] > epochs[0]
    mds = [state.mdsmap_epoch for state in states]
    assert mds == sorted(mds)
    assert all(state.mdsmap_epoch <= state.fsmap.epoch for state in states)
    assert {state.health for state in states} == {"HEALTH_OK", "HEALTH_WARN"}
    assert {state.mds_active.name for state in states} == {"a", "b"}
    for before, after in itertools.pairwise(states):
        if before.mds_active.gid != after.mds_active.gid:
            assert after.mds_active == before.mds_standby or after.mds_active.gid == before.mds_standby.gid  # type: ignore[union-attr]
            assert after.mds_standby is None
    used = [state.used_kb / state.total_kb for state in states]
    assert 0.3 < min(used) < max(used) < 0.75
    assert max(used) - min(used) > 0.1
    assert all(state.avail_kb > 0 and state.statfs(99) is None for state in states)


def test_track() -> None:
    track = Track(10, 100.0, (20.0, 50.0))
    assert [track.at(t).epoch for t in (-5, 0, 19, 20, 50, 99, 100, 120, 199)] == [10, 10, 10, 11, 12, 12, 12, 13, 14]
    assert track.at(0).since == -50.0
    assert track.at(130).since == 120.0


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


def test_every_described_command_answers_in_every_format() -> None:
    demo = cluster()
    monmap = maps.monmap(demo, KeyType.AES)
    for at in (1.0, 50.0, 111.0, 125.0, 310.0):
        state = demo.at(START + at)
        for described in descriptions().values():
            assert isinstance(described, dict)
            words = [word for word in described["sig"] if isinstance(word, str)]
            options = {w["name"]: w["strings"] for w in described["sig"] if isinstance(w, dict)}
            for args in ({}, options):
                command = {"prefix": " ".join(words), **args}
                plain, pretty, dense = (
                    run_command(demo, monmap, state, (json.dumps(command | form),))
                    for form in ({}, {"format": "json-pretty"}, {"format": "json"})
                )
                assert (plain[0], pretty[0], dense[0]) == (0, 0, 0)
                assert plain[2]
                assert json.loads(pretty[2]) == json.loads(dense[2])


@pytest.mark.parametrize("words", [("{",), ('{"prefix": "auth ls"}',), ("[]",), ("{}",), ('{"prefix": 4}',)])
def test_commands_that_are_none(words: tuple[str, ...]) -> None:
    demo = cluster()
    result, text, output = run_command(demo, maps.monmap(demo, KeyType.AES), demo.at(START), words)
    assert result == -22
    assert text
    assert not output


def test_uuid_is_one() -> None:
    assert isinstance(cluster().fsid, UUID)
    assert osdmap.osd_uuid(cluster(), 0) != osdmap.osd_uuid(cluster(), 1)


def test_numbers_for_people() -> None:
    assert [size(n) for n in (0, 1023, 1024, 6.23 * 2**40, 18.7 * 2**40, 48 * 2**40, 118.2 * 2**20)] == [
        "0 B",
        "1023 B",
        "1 KiB",
        "6.2 TiB",
        "19 TiB",
        "48 TiB",
        "118 MiB",
    ]
    assert [number(n) for n in (22, 2_860_000, 262_900)] == ["22", "2.86M", "262.90k"]
    assert [age(n) for n in (5, 119, 300, 10000, 300000, 40 * 86400, 900 * 86400)] == [
        "5s",
        "119s",
        "5m",
        "2h",
        "3d",
        "5w",
        "2y",
    ]
