"""`key_type=aes256k` with a real Tentacle that takes keys of both types."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from cephmonfs.errors import AuthError, WeakKey
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import open_client
from tests.conftest import ClusterFactory
from tests.support.cluster import Cluster
from tests.support.helper import Mounted, helper, is_mounted
from tests.support.wire import Wire

SENTENCE = r"the key of client\.old is of type aes: key_type=aes256k refuses that"

pytestmark = [pytest.mark.cluster, pytest.mark.fuse]


@pytest.fixture
def both(cluster_factory: ClusterFactory) -> Cluster:
    cluster = cluster_factory(release="tentacle", mons=1, mgr=False, osds=0, mds=0)
    cluster.allow_ciphers("aes", "aes256k")
    cluster.make_key("client.old", key_type="aes", mon="allow r")
    cluster.make_key("client.new", key_type="aes256k", mon="allow r")
    return cluster


async def test_the_old_type_is_refused_and_the_new_one_is_not(both: Cluster, tmp_path: Path) -> None:
    host, _, port = both.source().removesuffix(":/").rpartition(":")
    candidates = [Candidate("a", EntityAddr.of(host, int(port), AddrType.MSGR2))]

    async def resolve() -> list[Candidate]:
        return candidates

    key = CryptoKey.from_base64(both.keys["client.old"])
    who = Identity(EntityName.parse("client.old"), key, (Mode.SECURE,), KeyType.AES256K)
    async with open_client(SessionConfig(who), resolve) as client:
        with trio.fail_after(20), pytest.raises(AuthError, match=f"auth: {SENTENCE}"):
            await client.wait_open()
    with pytest.raises(WeakKey, match=SENTENCE):
        await trio.to_thread.run_sync(Wire, f"{host}:{port}", who)
    await trio.to_thread.run_sync(_mounts, both, tmp_path)


def _mounts(both: Cluster, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    old = both.write_secret("client.old")
    done = helper(both.source(), tmp_path / "m", "name=old", f"secretfile={old}", "key_type=aes256k")
    assert done.returncode == 1
    assert done.stderr.startswith(f"mount.cephmon: the key of client.old (option {old}) is of type aes, and key_type=")
    assert not is_mounted(tmp_path / "m")
    secret = both.write_secret("client.new")
    with Mounted(both.source(), tmp_path / "n", "name=new", f"secretfile={secret}", "key_type=aes256k") as mount:
        assert "aes256k" in mount.text("session/tickets")
        assert " aes " not in mount.text("session/tickets")
        assert "\nkey_type aes256k  # " in mount.text("config")
