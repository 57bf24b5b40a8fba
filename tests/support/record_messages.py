"""Records one message of each type with a real monitor: `python -m tests.support.record_messages [RELEASE...]`.

Writes tests/vectors/RELEASE/messages.json: type, version and compat as they stood on the wire, and the front.  What we
sent counts as recorded because the monitor answered it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.mon import SubscribeItem
from cephmonfs.messages.registry import for_peer
from cephmonfs.mon.connection import Offer
from cephmonfs.msgr.events import Mode
from tests.support.cluster import Cluster
from tests.support.record_msgr1 import ENTITY, FORMS
from tests.support.release import RELEASES
from tests.support.wire import Wire, identity
from tests.vectors import DIRECTORY
from tests.vectors import RELEASES as VECTORS

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

NEW_FS = (("osd", "pool", "create", "m", "1"), ("osd", "pool", "create", "d", "1"), ("fs", "new", "x", "m", "d"))
MAPS = ("monmap", "mdsmap", "fsmap", "fsmap.user", "osdmap", "mgrmap", "config")


def _form(message: Message, sender: str) -> dict[str, object]:
    head = {"from": sender, "type": int(message.type), "version": message.version, "compat": message.compat}
    return head | {"front": message.front.hex()}


class Recorder:
    """Sends, takes what comes, and keeps the first message of each type and version."""

    def __init__(self, cluster: Cluster, form: str) -> None:
        addrs = next(iter(cluster.mon_addrs().values()))
        assert addrs.v1 is not None
        self.features = FORMS[form]
        self.wire = Wire(addrs.v1, identity(ENTITY, cluster.keys[ENTITY], Mode.LEGACY), offer=Offer(self.features))
        self.kept: dict[tuple[str, int, int], dict[str, object]] = {}

    def ask(self, payload: Payload, *answers: int, tid: int = 7) -> None:
        """Send, and wait until messages of these types have come."""
        self._keep(to_message(for_peer(payload, self.features), tid), "client")
        self.wire.send(payload, tid)
        left = set(answers)

        def come() -> bool | None:
            while self.wire.received:
                message = self.wire.received.pop(0)
                self._keep(message, "monitor")
                left.discard(message.type)
            return None if left else True

        self.wire.until(come, 10, f"messages of the types {left}")

    def _keep(self, message: Message, sender: str) -> None:
        self.kept.setdefault((sender, int(message.type), message.version), _form(message, sender))


def record(cluster: Cluster) -> list[dict[str, object]]:
    """Everything that today's client sends and gets, and what differs for one of 2010."""
    fsid = bytes.fromhex(cluster.fsid.replace("-", ""))
    now = Recorder(cluster, "all")
    with now.wire:
        now.ask(mon.MMonGetMap(), 4)
        now.ask(mon.MMonSubscribe({name: SubscribeItem(0) for name in MAPS}, "recorder"), 4, 21, 41, 45, 62, 103, 0x704)
        now.ask(mon.MStatfs(fsid), 14)
        now.ask(mon.MMonGetVersion(7, "osdmap"), 20)
        now.ask(mon.MMonCommand(fsid, ('{"prefix": "mon stat"}',)), 51)
    then = Recorder(cluster, "2010")
    with then.wire:
        then.ask(mon.MMonSubscribe({"monmap": SubscribeItem(0)}, ""), 4, 16)
        then.ask(mon.MStatfs(fsid), 14)
    return [*now.kept.values(), *then.kept.values()]


def main(releases: list[str]) -> None:
    for release in releases:
        vectors = next(name for name in VECTORS if name.startswith(release))
        with tempfile.TemporaryDirectory(prefix="rec-", dir="/tmp") as directory:
            with Cluster.create(release=release, directory=directory, mons=1) as cluster:
                for words in NEW_FS:
                    cluster.ceph(*words)
                messages = record(cluster)
        path = Path(DIRECTORY / vectors / "messages.json")
        path.write_text("[\n" + ",\n".join(json.dumps(message) for message in messages) + "\n]\n")


if __name__ == "__main__":
    main(sys.argv[1:] or list(RELEASES))
