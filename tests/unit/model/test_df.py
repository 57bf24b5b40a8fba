from __future__ import annotations

import json

import pytest

from cephmonfs.errors import NoData
from cephmonfs.model.df import Df, parse_odd_objects
from cephmonfs.wire import limits


def test_df() -> None:
    stats = {"stored": 5, "percent_used": 0.25, "max_avail": 10**400, "objects": "many", "unheard_of": 1}
    pools = [{"id": 3, "name": "x", "stats": stats}, {"id": 3, "stats": {}}, {"id": "4\n"}, {"id": 5}, 7, None]
    df = Df.parse(json.dumps({"stats": {"total_bytes": 7, "total_used_bytes": True}, "pools": pools}).encode())
    assert df.cluster == {"total_bytes": 7}
    assert df.pools == {3: {"stored": 5, "percent_used": 0.25}, 5: {}}
    assert Df.parse(b"{}") == Df({}, {})


def test_objects_that_are_not_as_they_should_be() -> None:
    answer = {"pgmap": {"num_pgs": 33, "degraded_objects": 4, "misplaced_objects": None}}
    assert parse_odd_objects(json.dumps(answer).encode()) == {"degraded": 4, "misplaced": 0, "unfound": 0}
    for odd in (b"{}", b'{"pgmap": []}', b'{"pgmap": {"num_pgs": "1"}}'):
        with pytest.raises(NoData):
            parse_odd_objects(odd)


def test_pools_are_bounded() -> None:
    answer = json.dumps({"pools": [{"id": i} for i in range(limits.MAX_POOLS_TOLD + 1)]}).encode()
    assert len(Df.parse(answer).pools) == limits.MAX_POOLS_TOLD
