"""ClientSession: what a monitor answers to one authenticated client; messages in, messages out.

Silence is an answer too: to STATFS with a wrong fsid or a missing pool, to GET_VERSION of an unknown map, to an
unknown subscription.  Ceph v16.2.15: src/mon/Monitor.cc, src/mon/Session.h.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cephmonfs.demo import maps, osdmap
from cephmonfs.demo.cluster import FS_NAME, FSCID, DemoCluster, State
from cephmonfs.demo.commands import run_command
from cephmonfs.errors import UnexpectedMessage
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.registry import to_monitor
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.features import Feature, has
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Renew = Callable[[bytes, float], tuple[int, bytes]]

_SUBSCRIBE_INTERVAL_S: Final = 86400
_EPERM: Final = -1
_MDSMAPS: Final = ("mdsmap", f"mdsmap.{FSCID}")


@dataclass(frozen=True, slots=True)
class _Subscription:
    start: int
    onetime: bool


class ClientSession:
    """One client's session with the monitor of `rank`.  `renew` answers its MAuth messages."""

    def __init__(
        self,
        cluster: DemoCluster,
        rank: int,
        kind: KeyType,
        features: int,
        global_id: int,
        renew: Renew,
        *,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._cluster = cluster
        self._rank = rank
        self._features = features
        self._global_id = global_id
        self._renew = renew
        self._config = dict(config or {})
        self._monmap = maps.monmap(cluster, kind)
        self._subs: dict[str, _Subscription] = {}
        self._epochs: tuple[int, ...] = ()

    def handle(self, message: Message, now: float) -> list[Message]:
        """Answer one message.  Raises ProtocolError for one that a monitor would hang up on."""
        payload = to_monitor(message)
        fsid = self._cluster.fsid.bytes
        match payload:
            case mon.MMonGetMap():
                return [self._monmap_message()]
            case mon.MStatfs():
                stats = self._cluster.at(now).statfs(payload.pool)
                if payload.fsid != fsid or stats is None:
                    return []
                version = self._cluster.at(now).osdmap.epoch
                return [to_message(mon.MStatfsReply(fsid, version, stats), message.tid)]
            case mon.MMonSubscribe():
                return self._subscribe(payload, now)
            case mon.MMonGetVersion():
                return self._get_version(payload, message.tid, now)
            case mon.MMonCommand():
                return [self._command(payload, message.tid, now)]
            case auth.MAuth():
                result, reply = self._renew(payload.payload, now)
                return [to_message(auth.MAuthReply(payload.protocol, result, self._global_id, reply), message.tid)]
            case None:
                raise UnexpectedMessage(f"message type {message.type} from a client")

    def tick(self, now: float) -> list[Message]:
        """Send what subscriptions are due; cheap when no epoch has changed."""
        if not self._subs:
            return []
        state = self._cluster.at(now)
        epochs = (state.osdmap.epoch, state.fsmap.epoch, state.mgrmap.epoch)
        if epochs == self._epochs:
            return []
        self._epochs = epochs
        return self._due(state)

    def _monmap_message(self) -> Message:
        enc = Encoder()
        self._monmap.encode(enc, self._features)
        return to_message(mon.MMonMap(bytes(enc)))

    def _subscribe(self, payload: mon.MMonSubscribe, now: float) -> list[Message]:
        for name, item in payload.what.items():
            self._subs[name] = _Subscription(item.start, item.onetime)
        out = self._due(self._cluster.at(now), set(payload.what))
        if not has(self._features, Feature.SERVER_JEWEL):
            out.append(to_message(mon.MMonSubscribeAck(_SUBSCRIBE_INTERVAL_S, self._cluster.fsid.bytes)))
        return out

    def _due(self, state: State, only: set[str] | None = None) -> list[Message]:
        out = []
        for name, sub in list(self._subs.items()):
            if only is not None and name not in only:
                continue
            epoch = self._epoch(name, state)
            if epoch is None or (sub.start > epoch and name != "config"):
                continue
            out.append(self._map_message(name, sub.start, epoch, state))
            if sub.onetime or name == "config":
                del self._subs[name]
            else:
                self._subs[name] = replace(sub, start=epoch + 1)
        return out

    def _epoch(self, name: str, state: State) -> int | None:
        """The present epoch of what can be subscribed to; None for what cannot."""
        if name in _MDSMAPS:
            return state.mdsmap_epoch
        return {
            "monmap": self._monmap.epoch,
            "osdmap": state.osdmap.epoch,
            "fsmap": state.fsmap.epoch,
            "fsmap.user": state.fsmap.epoch,
            "mgrmap": state.mgrmap.epoch,
            "config": 0,
        }.get(name)

    def _map_message(self, name: str, start: int, epoch: int, state: State) -> Message:
        cluster = self._cluster
        fsid = cluster.fsid.bytes
        match name:
            case "monmap":
                return self._monmap_message()
            case "config":
                return to_message(mon.MConfig(self._config))
            case "osdmap":
                return self._osdmap_message(start, epoch, state)
            case "fsmap":
                return to_message(mon.MFSMap(epoch, maps.encoded(maps.fsmap(cluster, state))))
            case "fsmap.user":
                return to_message(mon.MFSMapUser(epoch, maps.encoded(maps.fsmap(cluster, state).for_user())))
            case "mgrmap":
                return to_message(mon.MMgrMap(epoch, maps.encoded(maps.mgrmap(cluster, state))))
            case _:
                blob = maps.encoded(maps.mdsmap(cluster, state))
                return to_message(mon.MMDSMap(fsid, epoch, blob, FS_NAME))

    def _osdmap_message(self, start: int, epoch: int, state: State) -> Message:
        """Start 0: the newest full map.  Start n: the incremental to the newest, which brings all in between."""
        incrementals, full = {}, {}
        if start == epoch:
            incrementals[epoch] = osdmap.encode_incremental(self._cluster, state)
        else:
            full[epoch] = osdmap.encode_osdmap(self._cluster, state)
        return to_message(mon.MOSDMap(self._cluster.fsid.bytes, incrementals, full, epoch, epoch))

    def _get_version(self, payload: mon.MMonGetVersion, tid: int, now: float) -> list[Message]:
        state = self._cluster.at(now)
        epochs = {
            "monmap": self._monmap.epoch,
            "osdmap": state.osdmap.epoch,
            "mdsmap": state.fsmap.epoch,
            "fsmap": state.fsmap.epoch,
        }
        epoch = epochs.get(payload.what)
        if epoch is None:
            return []
        return [to_message(mon.MMonGetVersionReply(payload.handle, epoch, 1), tid)]

    def _command(self, payload: mon.MMonCommand, tid: int, now: float) -> Message:
        if payload.fsid != self._cluster.fsid.bytes:
            return to_message(mon.MMonCommandAck(_EPERM, "wrong fsid", payload.command), tid)
        result, text, output = run_command(self._cluster, self._monmap, self._cluster.at(now), payload.command)
        return to_message(mon.MMonCommandAck(result, text, payload.command), tid, output)
