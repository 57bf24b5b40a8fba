"""A machine made of a dictionary."""

from __future__ import annotations

import base64
import errno
import os
import struct
from dataclasses import dataclass, field

KEY = base64.b64encode(struct.pack("<HIIH", 1, 1700000000, 0, 16) + b"0123456789abcdef").decode()
KEY2 = base64.b64encode(struct.pack("<HIIH", 2, 1700000000, 0, 32) + b"0123456789abcdef" * 2).decode()
FSID = "2f5a8f1e-64d1-4d6b-9f43-0b1c2d3e4f50"


def keyring(entity: str = "client.df", key: str = KEY) -> str:
    """A keyring as `ceph auth get` prints it."""
    return f'[{entity}]\n\tkey = {key}\n\tcaps mon = "allow r"\n'


@dataclass
class FakeMachine:
    """Files by path; a mode or an OSError where a test wants one."""

    files: dict[str, str | bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    euid: int = 0
    hostname: str = "host1.example.net"
    denied: set[str] = field(default_factory=set)
    reads: list[str] = field(default_factory=list)

    def read(self, path: str) -> bytes:
        return self.read_secret(path)[0]

    def read_secret(self, path: str) -> tuple[bytes, int]:
        self.reads.append(path)
        if path in self.denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        data = self.files[path]
        return data.encode() if isinstance(data, str) else data, self.modes.get(path, 0o600)
