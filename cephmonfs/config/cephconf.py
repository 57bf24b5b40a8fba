"""ceph.conf: which monitors, which key files.

Only what a client of the monitors needs: sections `[global]` < `[client]` < `[client.NAME]`, the
`[mon.X]` sections for addresses, and the metavariables `$cluster $name $type $id $host`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cephmonfs.config.textfile import decode_text
from cephmonfs.errors import ConfigError
from cephmonfs.model.initext import normal_key, parse_ini
from cephmonfs.model.usertext import is_key, other_format, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.config.machine import Machine
    from cephmonfs.model.entity import EntityName

_METAVARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def cluster_name(path: str) -> str:
    """Return the cluster's name as Ceph takes it from the name of the file; "ceph" for any other name."""
    stem, dot, suffix = os.path.basename(path).rpartition(".")
    return stem if dot and stem and suffix == "conf" else "ceph"


def _type_of(entity: EntityName) -> str:
    return str(entity).partition(".")[0]


@dataclass(frozen=True, slots=True)
class CephConf:
    """A parsed ceph.conf.  `sections` holds merged sections; of two equal keys the later won."""

    path: str
    sections: Mapping[str, Mapping[str, str]]
    hostname: str = ""

    @classmethod
    def parse(cls, text: str, path: str, hostname: str = "") -> CephConf:
        """Parse.  Raises ConfigError with file and line."""
        if "\0" in text:
            raise ConfigError(f"{shown(path)} is not a ceph.conf: it holds binary data")
        if found := other_format(text):
            raise ConfigError(f"{shown(path)} is {found}, not a ceph.conf")
        if is_key(text) and "[" not in text and len(text.split()) == 1:
            raise ConfigError(f"{shown(path)} holds a key, and is no ceph.conf: say secretfile=, not conf=")
        sections: dict[str, dict[str, str]] = {}
        parsed = parse_ini(text, shown(path))
        for name, _ in parsed.headers:
            sections.setdefault(name, {})
        for item in parsed.settings:
            sections.setdefault(item.section, {})[item.key] = item.value
        return cls(path, sections, hostname)

    @classmethod
    def load(cls, machine: Machine, path: str) -> CephConf:
        """Read and parse.  Raises ConfigError when it cannot be read; FileNotFoundError passes."""
        try:
            data = machine.read(path)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise ConfigError(f"cannot read {shown(path)}: {exc.strerror or exc}") from exc
        return cls.parse(decode_text(data, shown(path)), path, machine.hostname)

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return cluster_name(self.path)

    def get(self, key: str, entity: EntityName) -> str | None:
        """Look a key up for an entity, the nearest section first, with metavariables filled in."""
        key = normal_key(key)
        for name in (str(entity), _type_of(entity), "global"):
            value = self.sections.get(name, {}).get(key)
            if value is not None:
                return self.expand(value, entity)
        return None

    def expand(self, value: str, entity: EntityName) -> str:
        """Fill in the metavariables; unknown ones stay as they are."""
        known = {
            "cluster": self.cluster,
            "name": str(entity),
            "type": _type_of(entity),
            "id": entity.id,
            "host": self.hostname.partition(".")[0],
        }
        return _METAVARIABLE.sub(lambda m: known.get(m[1] or m[2], m[0]), value)

    def monitor_addresses(self) -> tuple[str, ...]:
        """Return the `mon addr` of all `[mon.X]` sections, in file order; `host` where a section has no address."""
        found: list[str] = []
        for name, section in self.sections.items():
            if name.startswith("mon."):
                address = section.get("mon_addr") or section.get("public_addr") or section.get("host")
                if address:
                    found.append(address)
        return tuple(found)
