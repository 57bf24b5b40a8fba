"""The whole exception tree; imports nothing.

Whatever bytes, options or files come in, the package raises these and nothing else.
Our own misuse of an interface is `RuntimeError`.
"""

from __future__ import annotations


class CephMonFSError(Exception):
    """Base of everything this package raises on purpose."""


class ProtocolError(CephMonFSError):
    """The peer broke the rules: drop the connection, hunt on."""


class DecodeError(ProtocolError):
    """Bytes do not parse.

    `what` is Ceph's name of the structure, `offset` counts from the start of the buffer
    that was being read, `reason` says what was wanted and what was there.
    """

    def __init__(self, what: str, offset: int, reason: str) -> None:
        super().__init__(f"{what} at byte {offset}: {reason}")
        self.what = what
        self.offset = offset
        self.reason = reason


class UnknownEncoding(DecodeError):
    """Bytes of a version that this program does not read: older, or too new.  Nothing is wrong with them."""


class TooLarge(UnknownEncoding):
    """A list that is longer than what this program keeps.  Nothing needs to be wrong with it."""


class IntegrityError(ProtocolError):
    """A crc, GCM tag or signature does not match."""


class UnexpectedMessage(ProtocolError):
    """Well formed, but not in this state."""


class WrongProtocol(ProtocolError):
    """The peer speaks the other messenger protocol (v1 where v2 was meant, or the reverse)."""


class MissingFeatures(ProtocolError):
    """One side lacks feature bits that the other requires.

    `missing` is a mask of the bits (src/include/ceph_features.h).
    """

    def __init__(self, who: str, missing: int) -> None:
        super().__init__(f"{who} lacks required feature bits 0x{missing:x}")
        self.missing = missing


class AuthError(CephMonFSError):
    """We are refused, or the peer cannot prove itself: never retry in a tight loop.

    `result` is the negative errno that the monitor gave, 0 when the refusal is ours.
    """

    def __init__(self, message: str, result: int = 0) -> None:
        super().__init__(message)
        self.result = result


class WeakKey(AuthError):
    """A key or a ticket is of a weaker type than was asked for."""


class Unproven(AuthError, IntegrityError):
    """The peer does not prove that it knows our key: what it sealed with it, or signed, does not match."""


class ForeignCluster(AuthError):
    """The monitor belongs to another fsid than the one asked for, or than the mount began with."""


class StaleTicket(CephMonFSError):
    """The ticket that we claimed our old global_id with is no longer good: start afresh, once, at once."""


class RequestTimeout(CephMonFSError):
    """No reply before the deadline."""


class SessionLost(CephMonFSError):
    """No monitor reachable: keep hunting; the FUSE boundary decides what a caller gets."""


class NotPermitted(CephMonFSError):
    """The key's caps do not cover this."""


class NoData(CephMonFSError):
    """Nothing has arrived yet that this could be answered from."""


class TooManyOpen(CephMonFSError):
    """A user holds more open than his share: ENFILE."""


class ConfigError(CephMonFSError):
    """An option, address, keyring or mount point: one line on stderr and a mount(8) exit status.

    `status`: 1 wrong usage, 2 this machine, 32 the mount failed.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
