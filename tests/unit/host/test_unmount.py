"""umount2(2) that follows no link."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cephmonfs

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")

SCRIPT = """
import os, sys
from cephmonfs.host.unmount import unmount
try:
    unmount(sys.argv[1], lazy=True)
except OSError as exc:
    print(exc.strerror, end=" ")
print(os.path.ismount(sys.argv[2]))
"""


def tried(tmp_path: Path, path: str) -> str:
    """Mount something at real/m, in a namespace of its own, unmount a path, and look."""
    script = f"mount -t tmpfs none {tmp_path}/real/m && exec {sys.executable} -c '{SCRIPT}' {path} {tmp_path}/real/m"
    argv = ["unshare", "--mount", "sh", "-ec", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(cephmonfs.__file__).parents[1])
    return done.stdout.strip()


@as_root
@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("real/m", "False"),
        ("link", "Invalid argument True"),  # the last part is a link
        ("parent/m", "Not a directory True"),  # one before it
        ("real/absent", "No such file or directory True"),
        ("real", "Invalid argument True"),  # not mounted
    ],
)
def test_links_are_not_followed(tmp_path: Path, path: str, outcome: str) -> None:
    (tmp_path / "real/m").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/m")
    (tmp_path / "parent").symlink_to("real")
    assert tried(tmp_path, f"{tmp_path}/{path}") == outcome


def test_there_is_no_other_umount() -> None:
    """Neither the system call nor the program, which follow links, is used anywhere else."""
    found = []
    for file in Path(cephmonfs.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("umount", "umount2"):
                found.append(file.name)
            if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "'umount'":
                found.append(file.name)
    assert found == ["unmount.py"]
