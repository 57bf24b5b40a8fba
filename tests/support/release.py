"""How the programs of a Ceph release are run on this machine, and the keys that releases make."""

from __future__ import annotations

import base64
import dataclasses
import functools
import re
import secrets
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from tests.support import chroot

KeyType = Literal["aes", "aes256k"]

SUITES: Mapping[str, str] = {
    "nautilus": "bullseye",
    "pacific": "bookworm",
    "reef": "trixie",
    "tentacle": "forky",
}
RELEASES = tuple(SUITES)
NUMBERS: Mapping[str, int] = {"nautilus": 14, "pacific": 16, "reef": 18, "tentacle": 20}

_KEY_TYPES: Mapping[KeyType, tuple[int, int]] = {"aes": (1, 16), "aes256k": (2, 32)}
_PROGRAMS = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph", "monmaptool")


class ClusterUnavailable(RuntimeError):
    """This machine cannot run that release; the text says why.  Tests skip on it."""


class ClusterError(RuntimeError):
    """A daemon or command of the cluster failed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Runner:
    """How programs of one release are run: natively (`root` None) or inside a root."""

    release: str
    root: Path | None
    shared: Path

    def argv(self, argv: Sequence[str]) -> list[str]:
        return list(argv) if self.root is None else chroot.enter(self.root, self.shared, argv)

    def run(
        self, argv: Sequence[str], *, check: bool = True, stdin: str = "", timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(argv), input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout_s
        )
        if check and done.returncode != 0:
            raise ClusterError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done

    @classmethod
    def find(cls, release: str, shared: Path) -> Self:
        if release not in SUITES:
            raise ValueError(f"unknown release {release!r}: one of {', '.join(RELEASES)}")
        if host_release() == release:
            return cls(release, None, shared)
        try:
            return cls(release, chroot.ensure(SUITES[release]), shared)
        except chroot.ChrootUnavailable as exc:
            raise ClusterUnavailable(str(exc)) from exc


@functools.cache
def host_release() -> str | None:
    """The release whose daemons this machine has installed, None if they are not all there."""
    if any(shutil.which(program) is None for program in _PROGRAMS):
        return None
    text = subprocess.run(["ceph-mon", "--version"], capture_output=True, text=True).stdout
    match = re.search(r"\) ([a-z]+) \(", text)
    return match[1] if match else None


def new_key(key_type: KeyType = "aes") -> str:
    """A fresh key as key rings hold it: base64 of type, creation time, length, secret."""
    number, length = _KEY_TYPES[key_type]
    return base64.b64encode(
        struct.pack("<HIIH", number, int(time.time()), 0, length) + secrets.token_bytes(length)
    ).decode()
