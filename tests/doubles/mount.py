"""Real mounts of the file system, served by a thread of the test process."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pyfuse3
import trio

from cephmonfs.config.filesettings import default_settings
from cephmonfs.files.logring import LogRing
from cephmonfs.fuse import workers
from cephmonfs.fuse.handlers import FsSettings, make_operations, run_mounted
from tests.doubles.source import FakeSource
from tests.support.helper import held_elsewhere, unmount

T = TypeVar("T")

PATIENCE_S = 10.0


class Mount:
    """A mount with a FakeSource behind it.  Leaving the block unmounts it and waits for its loop to end."""

    def __init__(self, directory: Path, settings: FsSettings | None = None, *, read_only: bool = True) -> None:
        self.path = directory
        self._settings = settings or default_settings()
        self._options = {"fsname=df@test", "subtype=cephmon", "default_permissions", "allow_other"}
        self._options |= {"ro"} if read_only else set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="mount", daemon=True)
        self._failure: BaseException | None = None
        self._token: trio.lowlevel.TrioToken
        self.source: FakeSource
        self.ring = LogRing()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        result = unmount(self.path)
        self._thread.join(PATIENCE_S)
        lives = self._thread.is_alive()
        elsewhere = lives and held_elsewhere(self.path)
        if lives:  # pragma: no cover
            self.do(lambda: _print_tasks(trio.lowlevel.current_root_task()))
            self.do(pyfuse3.terminate)  # or it would meddle with the mount of the next test
            subprocess.run(["umount", "-l", self.path], check=False)
        if kind is None:
            assert result.returncode == 0, f"{result.stderr} (and the loop {'lives' if lives else 'has ended'})"
            assert elsewhere or not lives, "the loop does not end after umount"
            if self._failure is not None:
                raise self._failure

    def _serve(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as exc:
            self._failure = exc
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self.source = FakeSource()
        operations = make_operations(self.source, self._settings, self.ring)
        self.operations = operations
        operations.on_live = self._ready.set
        with workers.enabled(guarded=False):  # signals are for the main thread, which this is not
            pyfuse3.init(operations, str(self.path), self._options)
            try:
                await run_mounted(operations)
            finally:
                pyfuse3.close(unmount=True)

    def do(self, act: Callable[[], T]) -> T:
        """Run something in the loop of the mount."""
        return trio.from_thread.run_sync(act, trio_token=self._token)

    def text(self, name: str) -> str:
        return (self.path / name).read_text()

    def sh(self, command: str, timeout: float = 30) -> str:
        """Run a shell command in the mount and return what it printed; it must succeed."""
        # Not cwd=: the child would change into our mount while this process holds its breath, and we serve it.
        # timeout(1) ends what the shell started as well; a survivor would keep the mount busy.
        result = subprocess.run(
            ["timeout", "-k", "1", str(timeout), "sh", "-c", f"cd {self.path} && {command}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}: {result.stderr}"
        assert not result.stderr, f"{command}: {result.stderr}"
        return result.stdout


def _print_tasks(task: trio.lowlevel.Task | None, depth: int = 0) -> None:
    """Show where everybody waits."""
    if task is None:
        return
    where: list[str] = []
    coro: Any = task.coro
    while getattr(coro, "cr_frame", None) is not None:
        where.append(f"{coro.cr_frame.f_code.co_name}:{coro.cr_frame.f_lineno}")
        coro = coro.cr_await
    print("  " * depth, task.name, *where)
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            _print_tasks(child, depth + 1)
