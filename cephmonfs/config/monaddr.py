"""Where monitors may be: every spelling that ceph.conf and mount.ceph have, down to what to connect to.

A port tells the protocol: 3300 is v2, 6789 is v1.  Without a port both are meant, each at its own;
any other port is used with the protocol of the mount.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from cephmonfs.errors import ConfigError
from cephmonfs.model.entity import AddrType
from cephmonfs.model.usertext import could_be_key, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

PORT_V2: Final = 3300
PORT_V1: Final = 6789

_PROTOCOL_OF_PORT: Final[dict[int, Literal["v2", "v1"]]] = {PORT_V2: "v2", PORT_V1: "v1"}
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?\Z")
_IPV4_PORT: Final = re.compile(r"[0-9]+(\.[0-9]+){3}(:|/|\Z)")
_SEPARATORS: Final = ", ;\t\r\n"


class MsMode(StrEnum):
    """`ms_mode=`: the protocol and its protection."""

    LEGACY = "legacy"
    CRC = "crc"
    SECURE = "secure"
    PREFER_CRC = "prefer-crc"
    PREFER_SECURE = "prefer-secure"


@dataclass(frozen=True, slots=True)
class MonTarget:
    """A monitor as it was written down.  `host` is a name or a literal address, without brackets."""

    host: str
    port: int | None
    protocol: Literal["v2", "v1"] | None  # None: the protocol of the mount
    spelled: bool = field(default=False, compare=False)  # given by "v1:" or "v2:", not by the port

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        explicit = self.protocol and (self.port is None or protocol_of_port(self.port) != self.protocol)
        return f"{self.protocol}:{host}{port}" if explicit else f"{host}{port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and port to connect to; `host` may be a name that has yet to be resolved."""

    host: str
    port: int
    type: AddrType

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def protocol_of_port(port: int) -> Literal["v2", "v1"] | None:
    """Return the protocol that a port stands for, None for any other port."""
    return _PROTOCOL_OF_PORT.get(port)


def parse_targets(text: str, what: str) -> tuple[MonTarget, ...]:
    """Parse a list separated by commas, blanks or semicolons; `what` names it in the message."""
    return _unique(target for item in _split(text, _SEPARATORS, what) for target in _item(item, what))


def parse_slash_list(text: str, what: str = "mon_addr") -> tuple[MonTarget, ...]:
    """Parse `mon_addr=a/b/c`.  Commas and the nonces of "v2:1.2.3.4:3300/0" are fine too."""
    items: list[str] = []
    for item in _split(text, _SEPARATORS + "/", what):
        if item.isdecimal() and items:
            continue  # the nonce of the address in front
        items.append(item)
    return _unique(target for item in items for target in _item(item, what))


def all_spelled_v1(targets: tuple[MonTarget, ...]) -> bool:
    """Return whether "v1:" stands before every address, as the kernel's default is spelled."""
    return bool(targets) and all(target.spelled and target.protocol == "v1" for target in targets)


def targets_for_mode(targets: tuple[MonTarget, ...], mode: MsMode) -> tuple[Endpoint, ...]:
    """Expand to what can be connected to in a mode.

    Raises ConfigError when nothing is left, which would only show as a timeout otherwise.
    """
    wanted: Literal["v2", "v1"] = "v1" if mode is MsMode.LEGACY else "v2"
    kind = AddrType.LEGACY if wanted == "v1" else AddrType.MSGR2
    default = PORT_V1 if wanted == "v1" else PORT_V2
    found = dict.fromkeys(
        Endpoint(target.host, default if target.port is None else target.port, kind)
        for target in targets
        if target.protocol in (None, wanted)
    )
    if targets and not found:
        raise _wrong_protocol(targets[0], mode)
    return tuple(found)


def on_v2(targets: tuple[MonTarget, ...]) -> tuple[MonTarget, ...]:
    """Take hosts that were only named at v1's own port at v2's.

    For a mount without ms_mode: a line of fstab that was made for the kernel client has `HOST:6789`.
    An explicit "v1:" stays, and `targets_for_mode` refuses it, since v1 is only spoken where
    ms_mode asks for it.
    """
    others = {target.host for target in targets if target.protocol != "v1"}
    return _unique(
        MonTarget(target.host, PORT_V2, "v2")
        if target.protocol == "v1" and not target.spelled and target.port == PORT_V1 and target.host not in others
        else target
        for target in targets
    )


def _wrong_protocol(target: MonTarget, mode: MsMode) -> ConfigError:
    host = f"[{target.host}]" if ":" in target.host else target.host
    if mode is MsMode.LEGACY:
        at = f"{host}:{target.port or PORT_V2}"
        return ConfigError(f"{at} speaks the v2 protocol; use port {PORT_V1} or leave ms_mode=legacy away")
    at = f"{host}:{target.port or PORT_V1}"
    return ConfigError(
        f"{at} speaks the v1 protocol; use port {PORT_V2} or ms_mode=legacy (v1 is neither encrypted nor signed)"
    )


def _unique(targets: Iterable[MonTarget]) -> tuple[MonTarget, ...]:
    return tuple(dict.fromkeys(targets))


def _split(text: str, separators: str, what: str) -> list[str]:
    """Split at separators outside brackets."""
    items: list[str] = []
    current, depth = "", 0
    for char in text:
        if char == "[":
            if depth == 0 and current.endswith("]"):  # two vectors with nothing between them
                items.append(current)
                current = ""
            depth += 1
        elif char == "]":
            depth -= 1
            if depth < 0:
                raise ConfigError(f'{what}: "]" without "[" in "{shown(text)}"')
        if depth == 0 and char in separators:
            items.append(current)
            current = ""
        else:
            current += char
    if depth:
        raise ConfigError(f'{what}: "[" without "]" in "{shown(text)}"')
    items.append(current)
    return [item for item in items if item]


def _item(text: str, what: str) -> tuple[MonTarget, ...]:
    """One item of a list: an address, or a vector of addresses in brackets."""
    if text[0] == "[" and text[-1] == "]" and not _is_ipv6(text[1:-1]):
        inner = text[1:-1].strip()
        if inner.startswith(("v1:", "v2:", "any:")) or "," in inner or _IPV4_PORT.match(inner):
            return tuple(_address(part.strip(), what) for part in _split(inner, _SEPARATORS, what))
    return (_address(text, what),)


def _address(text: str, what: str) -> MonTarget:
    protocol: Literal["v2", "v1"] | None = None
    if text.startswith("v2:"):
        protocol = "v2"
    elif text.startswith("v1:"):
        protocol = "v1"
    rest = re.sub("^(v1|v2|any):", "", text)
    rest, slash, nonce = rest.partition("/")
    if slash and not (nonce.isdecimal() and nonce.isascii()):
        raise ConfigError(f'{what}: wanted a number after "/" in "{shown(text)}"')
    host, port = _host_port(rest, text, what)
    spelled = protocol is not None
    if protocol is None and port is not None:
        protocol = protocol_of_port(port)
    return MonTarget(host, port, protocol, spelled)


def _host_port(rest: str, text: str, what: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        if not _is_ipv6(host):
            raise ConfigError(f'{what}: "{shown(text)}" has no IPv6 address in its brackets')
        if tail and not tail.startswith(":"):
            raise ConfigError(f'{what}: wanted ":PORT" after "]" in "{shown(text)}"')
        return _plain_ipv6(host), _port(tail[1:], text, what) if tail else None
    if rest.count(":") > 1:
        if not _is_ipv6(rest):
            raise ConfigError(f'{what}: an IPv6 address with a port stands in brackets: "[::1]:3300"')
        return _plain_ipv6(rest), None  # as Ceph: all of it is the address
    host, colon, port = rest.partition(":")
    if could_be_key(text):  # a key that is cut is a good name, and would be asked of a name server
        raise ConfigError(f'{what}: "{shown(text)}" could be a key, and is no host name or address')
    if not _HOST_NAME.match(host):
        raise ConfigError(f'{what}: "{text}" is no host name or address')
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ConfigError(f'{what}: "{host}" is no IPv4 address') from None
    return host, _port(port, text, what) if colon else None


def _port(text: str, whole: str, what: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 5 or not 0 < int(text) < 65536:
        raise ConfigError(f'{what}: wanted a port of 1 to 65535 in "{shown(whole)}"')
    return int(text)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text  # Ceph knows no zones


def _plain_ipv6(text: str) -> str:
    return str(ipaddress.IPv6Address(text))
