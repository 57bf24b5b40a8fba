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
OURS = f"{PACKAGE}/"
MONITORS = (f"{OURS}demo/", f"{OURS}monitor/")
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


def is_monitor(frame: FrameType | None) -> bool:
    """Whether the embedded monitors, which run in the same loop, lead here."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(MONITORS):
            return True
        frame = frame.f_back
    return False


async def files_of_a_df() -> set[str]:
    """The files that each of several enters: maps come in between, too."""
    entered: set[str] = set()
    each: list[set[str]] = []

    def note(frame: FrameType, event: str, arg: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path not in entered and path.startswith(OURS) and not is_monitor(frame):
            entered.add(path)

    config = resolve("demo:", "/mnt", ["ms_mode=secure,statfs_timeout=30"], LocalMachine())
    components = real_components()
    with trio.fail_after(60):
        async with components.prepare(config) as prepared, components.open_client(prepared) as client:
            await client.wait_open()
            operations = components.make_operations(client, prepared, LogRing())
            caller: Any = None  # pyfuse3 makes the context; statfs does not look at it
            await operations.statfs(caller)
            before = sys.getprofile()
            for _ in range(5):
                entered.clear()
                sys.setprofile(note)
                try:
                    await operations.statfs(caller)
                finally:
                    sys.setprofile(before)
                each.append({path.removeprefix(OURS) for path in entered})
                await trio.sleep(0.01)
    return set.intersection(*each)


def test_the_walk_of_one_df_names_every_file() -> None:
    walk = section("The walk of one df")
    named = {name for name in FILE.findall(walk) if (PACKAGE / name).exists()}
    entered = trio.run(files_of_a_df, clock=BootClock())
    assert named == entered | {"fuse/workers.py"}, "docs/architecture.md: the walk of one df"
    assert f"That is {len(named)} files" in walk
