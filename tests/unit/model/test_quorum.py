from __future__ import annotations

import pytest

from cephmonfs.errors import NoData
from cephmonfs.model.quorum import Quorum


def test_quorum() -> None:
    answer = b'\n{"quorum":[0,2],"quorum_names":["a","c"],"quorum_leader_name":"a","quorum_age":5}\n'
    assert Quorum.parse(answer) == Quorum(("a", "c"), (0, 2), "a")


def test_odd_input_gives_less() -> None:
    answer = b'{"quorum":7,"quorum_names":["a\\u001b[2J",7],"quorum_leader_name":"l\\nroot:x:0"}'
    assert Quorum.parse(answer) == Quorum(("a?[2J",), None, "l?root:x:0")
    with pytest.raises(NoData, match="names no quorum"):
        Quorum.parse(b'{"quorum_names": {}}')
