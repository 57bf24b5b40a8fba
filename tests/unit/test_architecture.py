"""docs/architecture.md names the folders and files that there are, and all that one df enters."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import trio

import cephmonfs
from cephmonfs.config.machine import LocalMachine
from cephmonfs.config.mountconfig import resolve
from cephmonfs.daemon.components import real_components
from cephmonfs.files.logring import LogRing
from cephmonfs.runtime.clock import BootClock

PACKAGE = Path(cephmonfs.__file__).parent
ROOT = PACKAGE.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()
FILE = re.compile(r"`(\w+/(?:\w+/)*\w+\.py)`")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_each_folder_has_its_line() -> None:
    named = {line.split("|")[1] for line in TEXT.partition("\n## ")[0].splitlines() if line.startswith("| `")}
    named = {name for cell in named for name in re.findall(r"`(\w+)/`", cell)}
    assert named == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_files_that_are_named_exist() -> None:
    for page in ("docs/architecture.md", "docs/security.md", "docs/reliability.md", "CONTRIBUTING.md"):
        for name in FILE.findall((ROOT / page).read_text()):
            assert (PACKAGE / name).exists() or (ROOT / name).exists(), f"{page} names {name}"


def ours(frame: FrameType) -> str | None:
    path = Path(frame.f_code.co_filename)
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else None


def is_monitor(frame: FrameType | None) -> bool:
    """Whether the embedded monitors, which run in the same loop, lead here."""
    while frame is not None:
        if (ours(frame) or "").startswith("demo/"):
            return True
        frame = frame.f_back
    return False


async def files_of_a_df() -> set[str]:
    entered: set[str] = set()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and (name := ours(frame)) is not None and not is_monitor(frame):
            entered.add(name)

    config = resolve("demo:", "/mnt", ["ms_mode=secure"], LocalMachine())
    components = real_components()
    with trio.fail_after(20):
        async with components.prepare(config) as prepared, components.open_client(prepared) as client:
            await client.wait_open()
            operations = components.make_operations(client, prepared, LogRing())
            caller: Any = None  # pyfuse3 makes the context; statfs does not look at it
            await operations.statfs(caller)
            before = sys.getprofile()
            sys.setprofile(note)
            try:
                await operations.statfs(caller)
            finally:
                sys.setprofile(before)
    return entered


def test_the_walk_of_one_df_names_every_file() -> None:
    walk = section("The walk of one df")
    named = {name for name in FILE.findall(walk) if (PACKAGE / name).exists()}
    entered = trio.run(files_of_a_df, clock=BootClock())
    assert named == entered | {"fuse/workers.py"}, "docs/architecture.md: the walk of one df"
    assert f"That is {len(named)} files" in walk
