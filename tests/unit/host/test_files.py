"""What root writes where others may write."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cephmonfs.host import files

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
OTHER = 12345

Plant = Callable[[Path, Path], object]
PLANTS: dict[str, Plant] = {
    "link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("absent")),
    "hard link": lambda path, victim: path.hardlink_to(victim),
    "file": lambda path, victim: path.write_bytes(b""),
    "fifo": lambda path, victim: os.mkfifo(path),
    "directory": lambda path, victim: path.mkdir(),
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "victim").write_text("precious")
    return tmp_path / "victim"


@pytest.mark.parametrize("plant", PLANTS)
def test_a_new_file_is_new(tmp_path: Path, victim: Path, plant: str) -> None:
    PLANTS[plant](tmp_path / "new", victim)
    with pytest.raises(FileExistsError):
        files.create(str(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "victim"]
    assert victim.read_text() == "precious"


def test_a_new_file_is_its_owners(tmp_path: Path) -> None:
    fd = files.create(str(tmp_path / "new"))
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    os.close(fd)


def test_what_was_named_is_written_anew_but_no_link_followed(tmp_path: Path, victim: Path) -> None:
    for path, done in ((victim, True), (tmp_path / "fresh", True), (tmp_path / "link", False)):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(victim)
        if done:
            os.close(files.overwrite(str(path)))
            assert path.read_text() == ""
        else:
            with pytest.raises(OSError, match="symbolic links"):
                files.overwrite(str(path))
    os.close(files.overwrite("/dev/fd/1" if os.path.exists("/dev/fd/1") else "/dev/null"))


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o777])
def test_root_takes_its_directory_back(tmp_path: Path, victim: Path, mode: int) -> None:
    """As an older version may have left it: owned by nobody."""
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    (state / "theirs.monmap").write_text("a lie")
    (state / "link.monmap").symlink_to(victim)
    (state / "folder").mkdir()
    (state / "ours.monmap").write_text("true")
    os.chown(state / "theirs.monmap", 65534, 65534)
    os.chown(state, 65534, 65534)
    os.close(files.open_state(str(state)))
    assert (state.stat().st_uid, state.stat().st_gid, stat.S_IMODE(state.stat().st_mode)) == (0, 0, 0o755)
    assert sorted(path.name for path in state.iterdir()) == ["folder", "ours.monmap"]
    assert victim.read_text() == "precious"


@as_root
@pytest.mark.parametrize("plant", ["theirs", "others may write"])
def test_a_file_of_others_is_not_ours(tmp_path: Path, plant: str) -> None:
    path = tmp_path / "x.monmap"
    path.write_text("a lie")
    if plant == "theirs":
        os.chown(path, OTHER, OTHER)
    else:
        path.chmod(0o666)
    with pytest.raises(PermissionError):
        files.read(str(path), 100)
    directory = files.open_state(str(tmp_path))
    fd = files.open_file("x.monmap", directory)
    assert os.read(fd, 100) == b""
    assert (os.fstat(fd).st_uid, stat.S_IMODE(os.fstat(fd).st_mode) & 0o022) == (0, 0)
    os.close(fd)
    os.close(directory)
    assert files.read(str(path), 100) == b""


@pytest.mark.parametrize("plant", ["link", "dangling link"])
def test_a_link_is_not_ours(tmp_path: Path, victim: Path, plant: str) -> None:
    PLANTS[plant](tmp_path / "x.monmap", victim)
    with pytest.raises(OSError, match="symbolic links"):
        files.read(str(tmp_path / "x.monmap"), 100)
    directory = files.open_state(str(tmp_path))
    with pytest.raises(OSError, match="symbolic links"):
        files.open_file("x.monmap", directory)
    os.close(directory)
    assert victim.read_text() == "precious"


def test_a_fifo_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.monmap")
    with pytest.raises(PermissionError):
        files.read(str(tmp_path / "x.monmap"), 100)
