"""The imagined cluster: the same story whoever watches, and maps that decode to what the commands say."""

from __future__ import annotations

import itertools
from uuid import UUID

import pytest

from cephmonfs.demo import osdmap
from cephmonfs.demo.cluster import DemoCluster, Track
from cephmonfs.model.entity import AddrType, EntityAddr

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


def test_uuid_is_one() -> None:
    assert isinstance(cluster().fsid, UUID)
    assert osdmap.osd_uuid(cluster(), 0) != osdmap.osd_uuid(cluster(), 1)
