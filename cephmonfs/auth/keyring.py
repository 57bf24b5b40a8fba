"""Keyrings: text in, keys out.

    [client.df]
        key = AQ...==
        caps mon = "allow r"

No message repeats any of the text.  A damaged or unknown key in a keyring is an error only for its own entity.
Ceph v20.2.4: src/auth/KeyRing.cc.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cephmonfs.errors import ConfigError, DecodeError
from cephmonfs.model.cryptokey import CryptoKey
from cephmonfs.model.initext import parse_ini
from cephmonfs.model.usertext import is_key, other_format, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN_ENTITIES = 5
_PLAIN = "write it anew with: ceph auth get client.NAME, without -f"


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """One section.  `key` is None when it has no valid key; `fault` then says why."""

    entity: str
    key: CryptoKey | None
    caps: Mapping[str, str]
    line: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Keyring:
    """A parsed keyring.  `origin` is its file name for messages."""

    origin: str
    entries: Mapping[str, KeyringEntry]

    @classmethod
    def parse(cls, text: str, origin: str) -> Keyring:
        """Parse a keyring.  Raises ConfigError for text that is none; faults of single keys wait for `key_of`."""
        if "\0" in text:
            raise ConfigError(f"{origin} is not a keyring: it holds binary data")
        if found := other_format(text):
            raise ConfigError(f"{origin} is {found}, not a keyring: {_PLAIN}")
        if is_key(text) and len(text.split()) == 1:
            raise ConfigError(f"{origin} holds a bare key, and is no keyring: say secretfile={origin}")
        parsed = parse_ini(text, origin)
        if not parsed.headers:
            raise ConfigError(
                f'{origin} is not a keyring: it has no [client.NAME] section (for a bare key: "secretfile=")'
            )
        keys: dict[str, str] = {}
        caps: dict[str, dict[str, str]] = {}
        lines: dict[str, int] = {}
        faults: dict[str, str] = {}
        for entity, line in parsed.headers:
            if entity in lines:
                faults[entity] = f"{origin} has [{shown(entity)}] twice, in lines {lines[entity]} and {line}: keep one"
            lines.setdefault(entity, line)
            caps.setdefault(entity, {})
        for item in parsed.settings:
            if item.section not in lines:
                raise ConfigError(f"{origin} line {item.line}: wanted a [client.NAME] section first")
            if item.key == "key":
                if item.section in keys and item.section not in faults:
                    faults[item.section] = (
                        f"{origin} line {item.line}: a second key for {shown(item.section)}: keep one"
                    )
                keys[item.section] = item.value
            elif item.key.startswith("caps_"):
                caps[item.section][item.key.removeprefix("caps_")] = item.value
        entries: dict[str, KeyringEntry] = {}
        for entity, line in lines.items():
            key: CryptoKey | None = None
            fault = faults.get(entity, "")
            if not fault and entity not in keys:
                fault = f"{origin} has [{shown(entity)}] without a key"
            if not fault:
                try:
                    key = parse_key(keys[entity], f"the key of {shown(entity)} in {origin}")
                except ConfigError as exc:
                    fault = str(exc)
            entries[entity] = KeyringEntry(entity, key, caps[entity], line, fault)
        return cls(origin, entries)

    def key_of(self, entity: str) -> CryptoKey:
        """Return the key of an entity.  Raises ConfigError that says what is wrong with it, or that it is not here."""
        entry = self.entries.get(entity)
        if entry is None:
            names = list(map(shown, self.entries))
            some = ", ".join(names[:_SHOWN_ENTITIES]) + (", ..." if len(names) > _SHOWN_ENTITIES else "")
            raise ConfigError(f"{self.origin} has no key for {shown(entity)}; it has {some}")
        if entry.key is None:
            raise ConfigError(entry.fault)
        return entry.key


def parse_key(text: str, what: str) -> CryptoKey:
    """Read one base64 key; `what` names it in the message.  Raises ConfigError, never with a part of the text."""
    text = text.strip()
    if not text:
        raise ConfigError(f"{what} is empty")
    if found := other_format(text):
        raise ConfigError(f"{what} is {found}: wanted what ceph auth get-key prints")
    try:
        return CryptoKey.from_base64(text)
    except DecodeError as exc:
        raise ConfigError(f"{what} is damaged: {_fault(exc)}; copy it again from: ceph auth get-key") from None


def parse_secretfile(text: str, path: str, instead: str) -> CryptoKey:
    """Read the text of a file that holds a key and nothing else, but for comments, blanks and quotes.

    `instead` is what takes a whole keyring.  Raises ConfigError that says what else the file holds.
    """
    if "\0" in text:
        raise ConfigError(f"{path} holds binary data, not a key")
    if found := other_format(text):
        raise ConfigError(f"{path} is {found}, not a key: write it anew with: ceph auth get-key client.NAME")
    lines = [line for line in map(str.strip, text.removeprefix("\ufeff").splitlines()) if line and line[0] not in "#;"]
    if any(line.startswith("[") for line in lines):
        raise ConfigError(f"{path} is a keyring: use {instead}")
    if len(lines) > 1:
        raise ConfigError(f"{path} holds {len(lines)} lines: wanted one, the key and nothing else")
    line = re.sub(r"\s+[#;].*", "", lines[0]) if lines else ""
    if re.match(r"\w+\s*[=:]\s*[\w\"']", line):
        raise ConfigError(f'{path} holds a line "NAME = VALUE": wanted the key and nothing else')
    return parse_key(line.strip("\"' "), f"the key in {path}")


def _fault(exc: DecodeError) -> str:
    if exc.reason.startswith("wanted "):
        return f"it is cut off ({exc.reason})"
    if exc.reason.endswith("too many"):
        return f"it is too long ({exc.reason})"
    if exc.reason.startswith("is "):
        return f"it {exc.reason}"
    return exc.reason
