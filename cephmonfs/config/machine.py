"""What the configuration reads from this machine; a small interface, so that tests can replace it."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

# Far above any ceph.conf or keyring; keeps a mistyped device file from filling the memory.
MAX_FILE: Final = 4 << 20


class Machine(Protocol):
    """Files, environment and names of this machine."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment."""
        ...

    @property
    def euid(self) -> int:
        """Whom we run as."""
        ...

    @property
    def hostname(self) -> str:
        """The name of this machine, with its domain where it has one."""
        ...

    def read(self, path: str) -> bytes:
        """Return a file.  Raises OSError."""
        ...

    def read_secret(self, path: str) -> tuple[bytes, int]:
        """Return a file and its permission bits, both of the one opening.  Raises OSError."""
        ...


class LocalMachine:
    """The machine itself."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment."""
        return os.environ

    @property
    def euid(self) -> int:
        """Whom we run as."""
        return os.geteuid()

    @property
    def hostname(self) -> str:
        """The name of this machine."""
        return socket.gethostname()

    def read(self, path: str) -> bytes:
        """Return a file."""
        return self.read_secret(path)[0]

    def read_secret(self, path: str) -> tuple[bytes, int]:
        """Return a file and its permission bits."""
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise OSError(27, f"larger than {MAX_FILE >> 20} MiB", path)
        return data, mode
