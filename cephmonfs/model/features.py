"""Feature bits: what a peer says it can encode and decode.

A bit that was retired came back with another meaning in a later incarnation: the feature is there
only if its own bit and the bits that mark that incarnation are set.  So each constant here is the
whole mask.  Ceph v20.2.4: src/include/ceph_features.h.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

_INC2: Final = 1 << 57
_INC3: Final = _INC2 | 1 << 28


class Feature(IntFlag):
    """CEPH_FEATUREMASK_*: a feature's bit together with its incarnation's."""

    NOSRCADDR = 1 << 1
    SERVER_NAUTILUS = 1 << 2 | _INC3
    SUBSCRIBE2 = 1 << 4
    MONNAMES = 1 << 5
    RECONNECT_SEQ = 1 << 6
    PGID64 = 1 << 9
    PGPOOL3 = 1 << 11
    OSDENC = 1 << 13
    MONENC = 1 << 15
    SERVER_OCTOPUS = 1 << 16 | _INC3
    CRUSH_TUNABLES = 1 << 18
    SERVER_LUMINOUS = 1 << 21 | _INC2
    MSG_AUTH = 1 << 23
    CRUSH_TUNABLES2 = 1 << 25
    SERVER_MIMIC = 1 << 28 | _INC2
    MDSENC = 1 << 29
    OSDHASHPSPOOL = 1 << 30
    OSD_CACHEPOOL = 1 << 35
    CRUSH_V2 = 1 << 36
    OSD_ERASURE_CODES = 1 << 38
    OSDMAP_ENC = 1 << 39
    CRUSH_TUNABLES3 = 1 << 41
    MSGR_KEEPALIVE2 = 1 << 42
    ERASURE_CODE_PLUGINS_V2 = 1 << 44
    CRUSH_V4 = 1 << 48
    SERVER_SQUID = 1 << 49 | _INC2
    SERVER_TENTACLE = 1 << 50 | _INC2
    NEW_OSDOP_ENCODING = 1 << 56
    SERVER_JEWEL = 1 << 57
    CRUSH_TUNABLES5 = 1 << 58
    MSG_ADDR2 = 1 << 59
    CEPHX_V2 = 1 << 61


DEFAULT_FEATURES: Final = 0x3F07FFFFFFFDFFFF
"""What we claim to support: all that Tentacle claims.

A monitor's list of required bits grows with what its cluster uses (CRUSH forms, erasure codes), so a
short list is turned away one day; structures of newer forms are skipped by their lengths.
"""

REQUIRED: Final = int(Feature.MSG_ADDR2)

# An incarnation's bits lie above those that came back in it; iteration over the class would skip such members.
_BIT_NAMES: Final = {(mask & -mask).bit_length() - 1: name for name, mask in Feature.__members__.items()}


def has(features: int, feature: int) -> bool:
    """Tell whether all bits of a feature are there."""
    return features & feature == feature


def names(mask: int) -> tuple[str, ...]:
    """Name the bits of a mask, lowest first; "bit N" where we know no name."""
    return tuple(_BIT_NAMES.get(bit, f"bit {bit}") for bit in range(mask.bit_length()) if mask >> bit & 1)
