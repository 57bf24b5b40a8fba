"""What the tests with real mounts share."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cephmonfs.config.filesettings import default_settings
from tests.doubles.mount import Mount


@pytest.fixture
def shared_directory(tmp_path: Path) -> Iterator[Path]:
    """A place for mounts whose umount reaches copies of it too.

    A test cluster that is started meanwhile in a mount namespace of its own gets a copy of our mount; the file system
    lives until the last copy is gone.
    """
    place = tmp_path / "shared"
    place.mkdir()
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "--make-shared", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def mount_with(shared_directory: Path) -> Iterator[Callable[..., Mount]]:
    """`mount_with(stale_after=5)`: one mount (pyfuse3 has room for one a process), unmounted at the end."""
    with ExitStack() as stack:

        def make(*, read_only: bool = True, **settings: object) -> Mount:
            directory = shared_directory / "mnt"
            directory.mkdir()
            mount = stack.enter_context(Mount(directory, default_settings(**settings), read_only=read_only))
            log = logging.getLogger("cephmonfs")
            stack.callback(log.setLevel, log.level)
            log.addHandler(mount.ring)
            log.setLevel("INFO")
            stack.callback(log.removeHandler, mount.ring)
            return mount

        yield make


@pytest.fixture
def mount(mount_with: Callable[..., Mount]) -> Mount:
    """A mount with the default options."""
    return mount_with()
