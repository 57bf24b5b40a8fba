"""What `df` is about: the options fs= and pool= through the maps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cephmonfs.demo import maps, osdmap
from cephmonfs.demo.cluster import DATA_POOL, DemoCluster
from cephmonfs.errors import CephMonFSError, NoData, NotPermitted
from cephmonfs.model.fsmap import FSMap
from cephmonfs.model.mdsmap import MDSMap
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.mon.target import Target
from cephmonfs.wire.cursor import Cursor

CLUSTER = DemoCluster(1, (), 0.0)
STATE = CLUSTER.at(0.0)
OSDMAP = OSDMap.decode(Cursor(osdmap.encode_osdmap(CLUSTER, STATE)))


def fsmap(**names: int) -> FSMap:
    base = maps.fsmap(CLUSTER, STATE)
    (one,) = base.filesystems
    found = tuple(replace(one, fscid=n, mdsmap=replace(one.mdsmap, fs_name=name)) for name, n in names.items())
    return replace(base, filesystems=found, legacy_client_fscid=min(names.values(), default=-1))


def mdsmap(*data_pools: int) -> MDSMap:
    return replace(maps.mdsmap(CLUSTER, STATE), data_pools=data_pools)


def pools(**names: int) -> OSDMap:
    return replace(OSDMAP, pool_names={number: name for name, number in names.items()})


def problem(target: Target, denied: tuple[str, ...] = (), unread: tuple[str, ...] = ()) -> CephMonFSError | None:
    return target.problem(denied, unread, "client.df")


def test_nothing_asked_for_is_the_cluster() -> None:
    target = Target(None, None)
    assert target.on_fsmap(fsmap(a=1, b=2))
    target.on_mdsmap(mdsmap(DATA_POOL))
    assert (target.fscid, target.pool_id(), target.fs_missing, problem(target)) == (1, None, False, None)


@pytest.mark.parametrize(("data_pools", "wanted"), [((3,), 3), ((3, 4), None), ((), None)])
def test_a_file_system_is_its_only_data_pool(data_pools: tuple[int, ...], wanted: int | None) -> None:
    target = Target("b", None)
    target.on_fsmap(fsmap(a=1, b=2))
    target.on_mdsmap(mdsmap(*data_pools))
    assert (target.fscid, target.pool_id(), problem(target)) == (2, wanted, None)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ("rbd", 4),
        ("7", 9),
        ("4", 4),
        ("8", None),
        ("no", None),
        ("\N{SUPERSCRIPT FOUR}", None),
        ("\N{ARABIC-INDIC DIGIT FOUR}", None),
        ("+4", None),
        ("4" * 5000, None),
    ],
)
def test_a_pool_by_its_name_or_else_its_number(wanted: str, number: int | None) -> None:
    target = Target(None, wanted)
    target.on_osdmap(pools(rbd=4, **{"7": 9}))
    assert target.pool_id() == number
    assert (problem(target) is None) is (number is not None)


def test_what_became_of_a_name_is_said() -> None:
    pool, fs = Target(None, "rbd"), Target("b", None)
    pool.on_osdmap(pools(rbd=4))
    fs.on_fsmap(fsmap(b=2))
    pool.on_osdmap(pools(other=4))
    assert str(problem(pool)) == "the cluster has no pool rbd any more: it is called other now"
    pool.on_osdmap(pools())
    assert str(problem(pool)) == "the cluster has no pool rbd any more: it was removed"
    assert fs.on_fsmap(fsmap(c=2))
    assert fs.fs_missing
    assert str(problem(fs)) == "the cluster has no file system b any more: it is called c now"


def test_another_file_system_brings_its_own_pools() -> None:
    target = Target("b", None)
    target.on_fsmap(fsmap(b=2))
    target.on_mdsmap(mdsmap(3))
    assert not target.on_fsmap(fsmap(a=1, b=2))
    assert target.pool_id() == 3
    target.on_fsmap(fsmap(b=5))
    assert target.pool_id() is None


@pytest.mark.parametrize(
    ("target", "denied", "unread", "kind", "says"),
    [
        (Target(None, "rbd"), ("osdmap",), (), NotPermitted, "client.df may not read the osdmap"),
        (Target(None, "rbd"), (), ("osdmap",), NoData, "osdmap that names pools cannot be read"),
        (Target("b", None), ("fsmap",), (), NotPermitted, "client.df may not read the fsmap"),
        (Target("b", None), (), ("fsmap",), NoData, "fsmap cannot be read"),
    ],
)
def test_maps_that_do_not_come(
    target: Target, denied: tuple[str, ...], unread: tuple[str, ...], kind: type[Exception], says: str
) -> None:
    assert problem(target) is None  # they may come yet
    found = problem(target, denied, unread)
    assert type(found) is kind
    assert says in str(found)


def test_a_data_pool_that_the_osdmap_does_not_have() -> None:
    target = Target("b", None)
    target.on_fsmap(fsmap(b=2))
    target.on_mdsmap(mdsmap(3))
    target.on_osdmap(pools(rbd=4))
    assert "no pool 3, which is the data pool of file system b" in str(problem(target))
    target.on_osdmap(None)  # not ours to see any more
    assert problem(target) is None
