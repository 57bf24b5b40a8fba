"""ClientSession: what a monitor answers to one authenticated client; messages in, messages out.

Silence is an answer too: to STATFS with a wrong fsid or a missing pool, to GET_VERSION of an unknown map, to an
unknown subscription.  Ceph v16.2.15: src/mon/Monitor.cc, src/mon/Session.h.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import UnexpectedMessage
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message, to_message
from cephmonfs.messages.registry import to_monitor
from cephmonfs.model.features import Feature, has
from cephmonfs.wire.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cephmonfs.monitor.content import Content

    Renew = Callable[[bytes, float], tuple[int, bytes]]

_SUBSCRIBE_INTERVAL_S: Final = 86400
_EPERM: Final = -1
_CONFIG: Final = "config"  # has no epoch


@dataclass(frozen=True, slots=True)
class _Subscription:
    start: int
    onetime: bool


class ClientSession:
    """One client's session with a monitor.  `renew` answers its MAuth messages."""

    def __init__(
        self,
        content: Content,
        features: int,
        global_id: int,
        renew: Renew,
        *,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._content = content
        self._features = features
        self._global_id = global_id
        self._renew = renew
        self._config = dict(config or {})
        self._monmap = content.monmap
        self._subs: dict[str, _Subscription] = {}
        self._epochs: Mapping[str, int] = {}

    def handle(self, message: Message, now: float) -> list[Message]:
        """Answer one message.  Raises ProtocolError for one that a monitor would hang up on."""
        payload = to_monitor(message)
        fsid = self._content.fsid.bytes
        match payload:
            case mon.MMonGetMap():
                return [self._monmap_message()]
            case mon.MStatfs():
                space = self._content.statfs(payload.pool, now)
                if payload.fsid != fsid or space is None:
                    return []
                return [to_message(mon.MStatfsReply(fsid, *space), message.tid)]
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
        epochs = self._content.epochs(now)
        if epochs == self._epochs:
            return []
        self._epochs = epochs
        return self._due(now)

    def _monmap_message(self) -> Message:
        enc = Encoder()
        self._monmap.encode(enc, self._features)
        return to_message(mon.MMonMap(bytes(enc)))

    def _subscribe(self, payload: mon.MMonSubscribe, now: float) -> list[Message]:
        for name, item in payload.what.items():
            self._subs[name] = _Subscription(item.start, item.onetime)
        out = self._due(now, set(payload.what))
        if not has(self._features, Feature.SERVER_JEWEL):
            out.append(to_message(mon.MMonSubscribeAck(_SUBSCRIBE_INTERVAL_S, self._content.fsid.bytes)))
        return out

    def _due(self, now: float, only: set[str] | None = None) -> list[Message]:
        out = []
        epochs = {"monmap": self._monmap.epoch, _CONFIG: 0, **self._content.epochs(now)}
        for name, sub in list(self._subs.items()):
            if only is not None and name not in only:
                continue
            epoch = epochs.get(name)
            if epoch is None or (sub.start > epoch and name != _CONFIG):
                continue
            out.append(self._map_message(name, sub.start, now))
            if sub.onetime or name == _CONFIG:
                del self._subs[name]
            else:
                self._subs[name] = replace(sub, start=epoch + 1)
        return out

    def _map_message(self, name: str, start: int, now: float) -> Message:
        if name == "monmap":
            return self._monmap_message()
        if name == _CONFIG:
            return to_message(mon.MConfig(self._config))
        return to_message(self._content.map_payload(name, start, now))

    def _get_version(self, payload: mon.MMonGetVersion, tid: int, now: float) -> list[Message]:
        epoch = self._content.version(payload.what, now)
        if epoch is None:
            return []
        return [to_message(mon.MMonGetVersionReply(payload.handle, epoch, 1), tid)]

    def _command(self, payload: mon.MMonCommand, tid: int, now: float) -> Message:
        if payload.fsid != self._content.fsid.bytes:
            return to_message(mon.MMonCommandAck(_EPERM, "wrong fsid", payload.command), tid)
        result, text, output = self._content.command(payload.command, now)
        return to_message(mon.MMonCommandAck(result, text, payload.command), tid, output)
