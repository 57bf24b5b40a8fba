"""Which class decodes which message type, and which form of a message an older peer is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.errors import DecodeError
from cephmonfs.messages import auth, mon
from cephmonfs.messages.message import Message, MsgType
from cephmonfs.model.features import Feature, has
from cephmonfs.wire.cursor import Cursor

if TYPE_CHECKING:
    from cephmonfs.messages.message import Payload

FromMonitor = (
    mon.MMonMap
    | mon.MStatfsReply
    | mon.MMonSubscribeAck
    | mon.MMonGetVersionReply
    | mon.MMDSMap
    | mon.MOSDMap
    | mon.MFSMap
    | mon.MFSMapUser
    | mon.MMgrMap
    | mon.MMonCommandAck
    | mon.MConfig
    | auth.MAuthReply
)
ToMonitor = mon.MMonGetMap | mon.MStatfs | mon.MMonSubscribe | mon.MMonGetVersion | mon.MMonCommand | auth.MAuth

_FROM_MONITOR: Final[dict[int, type[FromMonitor]]] = {
    MsgType.MON_MAP: mon.MMonMap,
    MsgType.STATFS_REPLY: mon.MStatfsReply,
    MsgType.MON_SUBSCRIBE_ACK: mon.MMonSubscribeAck,
    MsgType.MON_GET_VERSION_REPLY: mon.MMonGetVersionReply,
    MsgType.MDS_MAP: mon.MMDSMap,
    MsgType.OSD_MAP: mon.MOSDMap,
    MsgType.FS_MAP: mon.MFSMap,
    MsgType.FS_MAP_USER: mon.MFSMapUser,
    MsgType.MGR_MAP: mon.MMgrMap,
    MsgType.MON_COMMAND_ACK: mon.MMonCommandAck,
    MsgType.CONFIG: mon.MConfig,
    MsgType.AUTH_REPLY: auth.MAuthReply,
}
_TO_MONITOR: Final[dict[int, type[ToMonitor]]] = {
    MsgType.MON_GET_MAP: mon.MMonGetMap,
    MsgType.STATFS: mon.MStatfs,
    MsgType.MON_SUBSCRIBE: mon.MMonSubscribe,
    MsgType.MON_GET_VERSION: mon.MMonGetVersion,
    MsgType.MON_COMMAND: mon.MMonCommand,
    MsgType.AUTH: auth.MAuth,
}

_SUBSCRIBE2: Final = int(Feature.SUBSCRIBE2)  # the enum's own & is slow, and each message needs it
_SERVER_LUMINOUS: Final = int(Feature.SERVER_LUMINOUS)


def _too_new(message: Message, cls: type[FromMonitor] | type[ToMonitor]) -> DecodeError:
    return DecodeError(cls.__name__, 0, f"needs decoder v{message.compat}, ours is v{cls.VERSION}")


def from_monitor(message: Message) -> FromMonitor | None:
    """Decode what a monitor sent; None for a type that we have no use for.  Raises DecodeError."""
    cls = _FROM_MONITOR.get(message.type)
    if cls is None:
        return None
    if message.compat > cls.VERSION:
        raise _too_new(message, cls)
    return cls.decode(Cursor(message.front, cls.__name__), message.version)


def to_monitor(message: Message) -> ToMonitor | None:
    """Decode what a client sent, for the embedded monitors.  Raises DecodeError."""
    cls = _TO_MONITOR.get(message.type)
    if cls is None:
        return None
    if message.compat > cls.VERSION:
        raise _too_new(message, cls)
    return cls.decode(Cursor(message.front, cls.__name__), message.version)


def is_current(features: int) -> bool:
    """Whether a peer with these features is sent every payload as it is."""
    return has(features, _SUBSCRIBE2) and has(features, _SERVER_LUMINOUS)


def for_peer(payload: Payload, features: int) -> Payload:
    """Return what to send instead to a peer with these features: itself, unless they ask for the form of 2010."""
    match payload:
        case mon.MMonSubscribe(what) if not has(features, _SUBSCRIBE2):
            return mon.MMonSubscribe1(what)
        case mon.MStatfs(fsid, None) if not has(features, _SERVER_LUMINOUS):
            return mon.MStatfs1(fsid)
        case _:
            return payload
