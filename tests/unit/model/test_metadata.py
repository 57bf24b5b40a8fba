from __future__ import annotations

import pytest

from cephmonfs.errors import NoData
from cephmonfs.model.metadata import DaemonMetadata, parse_metadata


def test_metadata() -> None:
    answer = b'[{"name":"a","hostname":"h\\"\\n# HELP","ceph_version":"ceph version 18.2.7"},7,{"name":"b"}]'
    assert parse_metadata(answer) == {
        "a": DaemonMetadata('h"?# HELP', "ceph version 18.2.7"),
        "b": DaemonMetadata("", ""),
    }
    with pytest.raises(NoData):
        parse_metadata(b'{"name": "a"}')
