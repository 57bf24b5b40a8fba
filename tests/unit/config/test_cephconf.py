"""ceph.conf."""

from __future__ import annotations

import pytest

from cephmonfs.config.cephconf import CephConf, cluster_name
from cephmonfs.errors import ConfigError
from cephmonfs.model.entity import EntityName
from tests.doubles.machine import FakeMachine

DF = EntityName.parse("df")


def test_nearest_section_wins_and_later_of_equals() -> None:
    conf = CephConf.parse(
        "[client.df]\nd = df\n[global]\na = 1\nb = 1\nc-c = 1\nd = 1\n[client]\nb = 2\nc c = 2\n[global]\na = 9\n"
        "[client.other]\nc_c = 3\n",
        "/etc/ceph/ceph.conf",
    )
    assert [conf.get(key, DF) for key in ("a", "b", "c_c", "c c", "d", "e")] == ["9", "2", "2", "2", "df", None]


def test_metavariables() -> None:
    conf = CephConf.parse("k = $cluster/$name/$type/$id/$host/${id}x/$fsid/$", "/etc/ceph/blue.conf", "h.example")
    assert conf.get("k", DF) == "blue/client.df/client/df/h/dfx/$fsid/$"


@pytest.mark.parametrize(
    ("path", "name"),
    [("/etc/ceph/ceph.conf", "ceph"), ("/x/blue.conf", "blue"), ("/dev/null", "ceph"), ("/x/.conf", "ceph")],
)
def test_cluster_name(path: str, name: str) -> None:
    assert cluster_name(path) == name


def test_monitor_sections() -> None:
    conf = CephConf.parse(
        "[mon]\nmon addr = no\n[mon.a]\nhost = ha\nmon addr = 1.2.3.4:6789\n[mon.b]\nhost = hb\n[mon.c]\nx = 1\n", "f"
    )
    assert conf.monitor_addresses() == ("1.2.3.4:6789", "hb")


def test_load() -> None:
    machine = FakeMachine({"/c": "a = 1", "/bad": "[global]\noops"}, denied={"/no"})
    assert CephConf.load(machine, "/c").get("a", DF) == "1"
    with pytest.raises(FileNotFoundError):
        CephConf.load(machine, "/missing")
    with pytest.raises(ConfigError, match="cannot read /no: Permission denied"):
        CephConf.load(machine, "/no")
    with pytest.raises(ConfigError, match="/bad line 2: wanted"):
        CephConf.load(machine, "/bad")
