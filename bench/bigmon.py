"""The embedded monitors with maps of any size, in a process of their own.

    python -m bench.bigmon --mons 31 --osds 10000 --every 0.5

Prints one line of JSON (addresses, fsid, entity, key) and serves until its standard input ends.  With --every, each
client is sent, in turn, a monmap and an osdmap of a new epoch so often: what arrives when a large cluster changes.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import Any
from unittest import mock

import trio

from cephmonfs.demo import cluster, osdmap
from cephmonfs.demo.content import DemoContent
from cephmonfs.demo.monitors import DemoSettings, run_monitors
from cephmonfs.messages import mon
from cephmonfs.messages.message import Message, to_message
from cephmonfs.model.entity import Epoch
from cephmonfs.monitor import listener, monitors
from cephmonfs.monitor.service import ClientSession
from cephmonfs.msgr.events import Mode
from cephmonfs.wire.crc32c import raw_crc32c
from cephmonfs.wire.encoder import Encoder

_EPOCH_AT = 6 + 6 + 16  # two block headers and the fsid
_HOSTS = 7  # as many buckets as the embedded CRUSH map has room for


class Shape:
    """What the command line asked for."""

    osds = cluster.HOSTS * cluster.OSDS_PER_HOST
    every_s = 0.0


@cache
def _blob(demo: cluster.DemoCluster) -> bytes:
    """A full osdmap of the wanted size: up, in, with all their addresses."""
    hosts = min(_HOSTS, Shape.osds)
    with ExitStack() as stack:
        for module in (cluster, osdmap):
            stack.enter_context(mock.patch.object(module, "HOSTS", hosts))
            stack.enter_context(mock.patch.object(module, "OSDS_PER_HOST", Shape.osds // hosts))
        state = replace(demo.at(demo.started), osd_up=(True,) * (Shape.osds // hosts * hosts))
        return osdmap.encode_osdmap(demo, state)


def _with_epoch(blob: bytes, epoch: int) -> bytes:
    text = blob[:_EPOCH_AT] + struct.pack("<I", epoch) + blob[_EPOCH_AT + 4 : -4]
    return text + struct.pack("<I", raw_crc32c(text, 0xFFFFFFFF))


class BigSession(ClientSession):
    """Says the same as the embedded monitors, with a map of another size."""

    _round = 0
    _due_at = 0.0

    @property
    def _demo(self) -> cluster.DemoCluster:
        assert isinstance(self._content, DemoContent)
        return self._content.cluster

    def _map_message(self, name: str, start: int, now: float) -> Message:
        if name == "osdmap":
            return self._full(self._demo.at(now).osdmap.epoch)
        return super()._map_message(name, start, now)

    def _full(self, epoch: int) -> Message:
        blob = _with_epoch(_blob(self._demo), epoch)
        return to_message(mon.MOSDMap(self._demo.fsid.bytes, {}, {epoch: blob}, epoch, epoch))

    def tick(self, now: float) -> list[Message]:
        if not Shape.every_s:
            return []  # nothing ever changes
        if not self._subs or now < self._due_at:
            return []
        self._due_at = now + Shape.every_s
        self._round += 1
        if self._round % 2:
            enc = Encoder()
            monmap = replace(self._monmap, epoch=Epoch(self._monmap.epoch + self._round))
            monmap.encode(enc, self._features)
            return [to_message(mon.MMonMap(bytes(enc)))]
        return [self._full(self._demo.at(now).osdmap.epoch + 1000 + self._round)]


async def _main(settings: DemoSettings) -> None:
    listener._TICK_S = min(0.1, Shape.every_s or 0.5)  # type: ignore[misc]
    async with run_monitors(settings) as demo:
        blob = _blob(demo.cluster)
        facts: dict[str, Any] = {
            "addrs": demo.addrs,
            "fsid": str(demo.fsid),
            "entity": demo.entity.id,
            "key": demo.key.to_base64(),
            "osdmap_bytes": len(blob),
        }
        print(json.dumps(facts), flush=True)
        ended = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def wait() -> None:
            sys.stdin.read()
            token.run_sync_soon(ended.set)

        threading.Thread(target=wait, daemon=True).start()
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bigmon")
    parser.add_argument("--mons", type=int, default=3)
    parser.add_argument("--osds", type=int, default=Shape.osds)
    parser.add_argument("--every", type=float, default=0.0)
    options = parser.parse_args()
    Shape.osds, Shape.every_s = options.osds, options.every
    with mock.patch.object(monitors, "ClientSession", BigSession):
        trio.run(_main, DemoSettings(mons=options.mons, modes=(Mode.SECURE,)))


if __name__ == "__main__":
    main()
