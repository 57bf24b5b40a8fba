"""The real programs beside the mount: librados of the cluster's release, kept open, and its `ceph` program."""

from __future__ import annotations

import base64
import errno
import json
import select
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.cluster import Cluster
from tests.support.release import ClusterError

# Runs inside the release's own Python: a command or a write for each line.
_WORKER = """
import base64, json, rados, sys
conf = {'keyring': sys.argv[2], 'rados_mon_op_timeout': '4', 'rados_osd_op_timeout': '4'}
c = rados.Rados(conffile=sys.argv[1], name='client.admin', conf=conf)
c.connect(timeout=15)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        if 'write' in asked:
            pool, name, size = asked['write']
            with c.open_ioctx(pool) as io:
                io.write_full(name, b'x' * size)
            rc, data, text = 0, b'', ''
        else:
            rc, data, text = c.mon_command(json.dumps(asked), b'')
    except Exception as exc:
        rc, data, text = -110, b'', str(exc)
    sys.stdout.write(json.dumps([rc, base64.b64encode(data).decode(), text]) + chr(10))
    sys.stdout.flush()
"""
_PATIENCE_S = 8.0
_START_S = 25.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the real client got."""

    result: int  # 0 or a negative errno
    data: bytes
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def is_silence(self) -> bool:
        return self.result in (-errno.ETIMEDOUT, -errno.EINTR, -errno.EAGAIN)


SILENCE = Told(-errno.ETIMEDOUT, b"", "no answer")


class Reference:
    """Asks the monitors by librados; started again when it hangs, for it does not come back from a stopped monitor."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, **command: object) -> Told:
        """One monitor command (`prefix=...`), or `write=[pool, name, size]`."""
        with self._lock:
            if self._worker is None:
                self._worker = self._start()
                patience_s = _START_S
            else:
                patience_s = _PATIENCE_S
            line = self._exchange(json.dumps(command).encode() + b"\n", patience_s)
            if not line:
                self._end()
                return SILENCE
        result, data, text = json.loads(line)
        return Told(result, base64.b64decode(data), text)

    def program(self, *words: str) -> str | None:
        """What `ceph WORDS` prints; None when it fails or hangs."""
        try:
            return str(self._cluster.ceph("--connect-timeout", "5", *words, timeout_s=15))
        except (ClusterError, subprocess.TimeoutExpired):
            return None

    def _start(self) -> subprocess.Popen[bytes]:
        runner = self._cluster.runner
        python = "/usr/bin/python3" if runner.root is None else "python3"
        argv = [python, "-c", _WORKER, str(self._cluster.conf_path), str(self._cluster.admin_keyring)]
        return subprocess.Popen(
            runner.argv(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def _exchange(self, line: bytes, patience_s: float) -> bytes:
        assert self._worker is not None
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        try:
            self._worker.stdin.write(line)
            self._worker.stdin.flush()
        except OSError:
            return b""
        ready, _, _ = select.select([self._worker.stdout], [], [], patience_s)
        return self._worker.stdout.readline() if ready else b""

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
            for pipe in (self._worker.stdin, self._worker.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        pass
            self._worker = None


def command(words: str, fmt: str = "plain", **arguments: object) -> Mapping[str, object]:
    """`ceph WORDS` as the monitors take it."""
    return {"prefix": words, "format": fmt, **arguments}
