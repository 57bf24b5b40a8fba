"""Loading: what a mount waits for most."""

from __future__ import annotations

import ctypes.util
import gc
import subprocess
import sys

import pytest

from cephmonfs.daemon.loading import loading
from tests.support.helper import ROOT

_NAMES = """
import sys
started = []
def hook(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn", "os.system"):
        started.append(event)
sys.addaudithook(hook)
from cephmonfs.daemon.loading import loading
with loading():
    import trio
async def name():
    read = lambda: open("/proc/thread-self/comm").read().strip()
    return await trio.to_thread.run_sync(read, thread_name="a name")
print(started, trio.run(name))
"""


def _python(code: str) -> str:
    """Run it in a fresh process; in this one everything is loaded."""
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_trio_names_its_threads_and_no_program_is_run_for_it() -> None:
    started, _, name = _python(_NAMES).partition(" ")
    assert started == "[]"
    assert name == "a name"


def test_the_parent_loads_nothing_of_what_only_the_daemon_uses() -> None:
    loaded = set(_python("import sys, cephmonfs.cli.mount; print(*sys.modules)").split())
    assert "cephmonfs.config.mountconfig" in loaded
    assert not loaded & {"trio", "pyfuse3", "ssl", "asyncio", "argparse", "difflib", "prometheus_client", "dns"}
    assert not [name for name in loaded if name.startswith(("cephmonfs.mon.", "cephmonfs.fs.", "cephmonfs.runtime."))]


def test_afterwards_everything_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> str:
        return f"found {name}"

    monkeypatch.setattr(ctypes.util, "find_library", find)
    assert gc.isenabled()
    try:
        with loading():
            assert not gc.isenabled()
            assert ctypes.util.find_library("pthread") == "libpthread.so.0"
            assert ctypes.util.find_library("c") == "found c"
            raise ImportError
    except ImportError:
        gc.unfreeze()
    assert gc.isenabled()
    assert ctypes.util.find_library is find
