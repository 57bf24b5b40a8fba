"""Starting bench.bigmon, and a client of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import PYTHON, ROOT
from cephmonfs.auth.keyring import parse_key
from cephmonfs.model.entity import AddrType, EntityAddr, EntityName
from cephmonfs.mon.connection import Identity
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.session import SessionConfig
from cephmonfs.msgr.events import Mode


@dataclass(frozen=True, slots=True)
class Where:
    """Monitors, and a name and key for them."""

    hostports: tuple[str, ...]
    entity: str
    key: str
    osdmap_bytes: int = 0
    pid: int = 0  # of the process that they are in

    @property
    def source(self) -> str:
        return ",".join(self.hostports) + ":/"

    def config(self, mode: Mode = Mode.SECURE) -> SessionConfig:
        name = EntityName.parse(f"client.{self.entity}")
        return SessionConfig(Identity(name, parse_key(self.key, "key"), (mode,)), hostname="bench")

    async def resolve(self) -> tuple[Candidate, ...]:
        return self.candidates()

    def candidates(self) -> tuple[Candidate, ...]:
        pairs = [hostport.rsplit(":", 1) for hostport in self.hostports]
        return tuple(Candidate("", EntityAddr.of(host, int(port), AddrType.MSGR2)) for host, port in pairs)

    def secretfile(self, directory: Path) -> Path:
        path = directory / "secret"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.key + "\n")
        return path


@contextmanager
def embedded(*, mons: int = 3, osds: int = 12, every_s: float = 0.0) -> Iterator[Where]:
    """Monitors in a process that ends with the block."""
    argv = [PYTHON, "-m", "bench.bigmon", "--mons", str(mons), "--osds", str(osds), "--every", str(every_s)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            facts = json.loads(process.stdout.readline())
            where = tuple(f"{host}:{port}" for _, host, port in facts["addrs"])
            yield Where(where, facts["entity"], facts["key"], facts["osdmap_bytes"], process.pid)
        finally:
            process.terminate()
