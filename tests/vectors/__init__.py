"""The recorded bytes; README.md says what each file is and how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parent
RELEASES: Final = ("nautilus-14.2.21", "pacific-16.2.15", "reef-18.2.7", "tentacle-20.2.4")
STATES: Final = ("", "rich-")  # prefixes of the two states of each cluster


def load(release: str, name: str) -> bytes:
    """The bytes of one vector."""
    return (DIRECTORY / release / name).read_bytes()


def load_json(release: str, name: str) -> Any:
    """What the release's own `ceph -f json` printed."""
    return json.loads((DIRECTORY / release / name).read_text())


def load_text(release: str, name: str) -> str:
    """What the release's own `ceph` printed."""
    return (DIRECTORY / release / name).read_text()


def load_list(release: str, name: str) -> list[bytes]:
    """A file that holds several vectors, each behind a le32 length."""
    data, at, out = load(release, name), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        out.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return out


def names(pattern: str) -> list[tuple[str, str]]:
    """(release, file name) of all vectors that match a glob."""
    paths = sorted(DIRECTORY.glob(f"*-*/{pattern}"))
    return [(path.parent.name, path.name) for path in paths]


def printed(pattern: str) -> list[tuple[str, str]]:
    """(release, name without its ending) of all maps that were put into a store to see how they print."""
    paths = sorted(DIRECTORY.glob(f"*-*/printed/{pattern}.bin"))
    return [(path.parent.parent.name, f"printed/{path.stem}") for path in paths]
