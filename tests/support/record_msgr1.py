"""Records msgr1 sessions with real monitors: `python -m tests.support.record_msgr1 [RELEASE...]`.

Writes tests/vectors/crypto/msgr1-RELEASE-FORM.json: the bytes both ways of authentication, subscription, statfs and
keepalive, the random bytes that the client used, and the key, which was made for this and is worth nothing.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from cephmonfs.messages.mon import MMonMap, MMonSubscribe, MStatfs, MStatfsReply, SubscribeItem
from cephmonfs.model.features import DEFAULT_FEATURES
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.connection import Offer
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.cursor import Cursor
from tests.support.cluster import Cluster
from tests.support.release import RELEASES
from tests.support.wire import Wire, identity

VECTORS = Path(__file__).parents[1] / "vectors" / "crypto"
ENTITY = "client.df"
STATFS_TID = 0x1122

OLD_BITS = (1, 2, 4, 5, 6, 9, 11, 13, 15, 21, 23, 28, 29, 39, 42, 49, 50, 56, 57, 59, 61)
"""What monitors of 2010 did not know yet, as far as today's do without it."""

FORMS = {"all": DEFAULT_FEATURES, "2010": DEFAULT_FEATURES & ~sum(1 << bit for bit in OLD_BITS)}


def record(cluster: Cluster, features: int) -> dict[str, object]:
    addrs = next(iter(cluster.mon_addrs().values()))
    assert addrs.v1 is not None
    key = cluster.keys[ENTITY]
    drawn: list[bytes] = []

    def draw(n: int) -> bytes:
        drawn.append(os.urandom(n))
        return drawn[-1]

    with Wire(addrs.v1, identity(ENTITY, key, Mode.LEGACY), offer=Offer(features), random=draw) as wire:
        wire.send(MMonSubscribe({"monmap": SubscribeItem(0)}, "recorder"))
        monmap = MonMap.decode(Cursor(wire.expect(MMonMap).monmap))
        wire.silent(0.3)
        wire.send(MStatfs(monmap.fsid.bytes), STATFS_TID)
        wire.expect(MStatfsReply)
        wire.ping()
        return {
            "release": cluster.runner.run(["ceph-mon", "--version"]).stdout.split()[2],
            "target": addrs.v1,
            "entity": ENTITY,
            "THROWAWAY_key": key,
            "features": f"{features:#x}",
            "fsid": monmap.fsid.hex,
            "monmap_version": monmap.version,
            "global_id": wire.link.result.credentials.global_id if wire.link.result else 0,
            "random": [one.hex() for one in drawn],
            "client_to_server": bytes(wire.sent).hex(),
            "server_to_client": bytes(wire.got).hex(),
        }


def main(releases: list[str]) -> None:
    for release in releases:
        with tempfile.TemporaryDirectory(prefix="rec-") as directory:
            with Cluster.create(release=release, directory=directory, mons=1) as cluster:
                for form, features in FORMS.items():
                    data = record(cluster, features)
                    path = VECTORS / f"msgr1-{release}-{data['release']}-{form}.json"
                    path.write_text(json.dumps(data, indent=1) + "\n")
                    print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:] or list(RELEASES))
