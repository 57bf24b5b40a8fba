"""The commands that the embedded monitors know."""

from __future__ import annotations

import json

import pytest

from cephmonfs.demo import maps
from cephmonfs.demo.cluster import DemoCluster
from cephmonfs.demo.commands import descriptions, run_command
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import AddrType, EntityAddr

START = 1_800_000_000.0


ADDRS = tuple(EntityAddr.of("127.0.0.1", 3300 + rank, AddrType.MSGR2) for rank in range(3))


def cluster(seed: int = 0) -> DemoCluster:
    return DemoCluster(seed, ADDRS, START)


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
