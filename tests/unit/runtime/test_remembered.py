from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from cephmonfs.config.mountconfig import MountConfig, resolve
from cephmonfs.model.entity import AddrType
from cephmonfs.model.monmap import MonMap
from cephmonfs.mon.hunt import Candidate
from cephmonfs.runtime.remembered import Remembered
from cephmonfs.wire.cursor import Cursor
from tests.doubles.machine import FSID, KEY, FakeMachine
from tests.vectors import load

BLOB = load("reef-18.2.7", "monmap-msgr2-all.bin")
MONMAP = MonMap.decode(Cursor(BLOB))


def config(source: str = "a:/", *options: str, conf: str = "") -> MountConfig:
    machine = FakeMachine({"/etc/ceph/ceph.conf": f"[global]\n{conf}\n"} if conf else {})
    return resolve(source, "/mnt", [f"name=df,secret={KEY}", *options], machine)


def remember(directory: Path, of: MountConfig, *blobs: bytes) -> None:
    memory = Remembered(of, directory)
    memory.open()
    for blob in blobs:
        memory.save(blob)
    memory.close()


def found(directory: Path, of: MountConfig) -> tuple[Candidate, ...]:
    return Remembered(of, directory).candidates(AddrType.MSGR2, 7)


@pytest.mark.parametrize("options", [(), (f"fsid={MONMAP.fsid}",)])
def test_the_next_mount_knows_them(tmp_path: Path, options: tuple[str, ...]) -> None:
    line = config("a:/", *options)
    assert found(tmp_path / "state", line) == ()
    remember(tmp_path / "state", line, bytes(5000), BLOB)
    assert [(one.name, one.priority, one.remembered) for one in found(tmp_path / "state", line)] == [
        (info.name, 7, True) for info in MONMAP.mons
    ]
    (file,) = (tmp_path / "state").iterdir()
    assert file.read_bytes() == BLOB
    assert not stat.S_IMODE(file.stat().st_mode) & 0o022
    assert (file.name == f"{MONMAP.fsid}.monmap") is bool(options)


def test_what_is_opened_stays_writable(tmp_path: Path) -> None:
    """As for a daemon that is nobody by the time it has a session."""
    memory = Remembered(config(), tmp_path / "state")
    memory.open()
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    memory.save(BLOB)
    memory.close()
    (file,) = (tmp_path / "elsewhere").iterdir()
    assert file.read_bytes() == BLOB


def test_opened_and_never_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The mount before had no session: that is nothing to tell, and what an earlier one knew is still there."""
    remember(tmp_path, config())
    assert found(tmp_path, config()) == ()
    remember(tmp_path, config(), BLOB)
    remember(tmp_path, config())
    assert len(found(tmp_path, config())) == len(MONMAP.mons)
    assert caplog.records == []


def test_each_line_has_its_own(tmp_path: Path) -> None:
    lines = [
        config("a:/"),
        config("b:/"),
        config("a:/", f"fsid={MONMAP.fsid}"),
        config("ceph", conf="mon_host = a"),
        config("ceph", conf="mon_host = b"),
    ]
    for number, line in enumerate(lines):
        assert found(tmp_path, line) == ()
        remember(tmp_path, line, BLOB)
        assert len(list(tmp_path.iterdir())) == number + 1


def test_with_an_fsid_addresses_do_not_matter(tmp_path: Path) -> None:
    remember(tmp_path, config("a:/", f"fsid={MONMAP.fsid}"), BLOB)
    assert len(found(tmp_path, config("b:/", f"fsid={MONMAP.fsid}"))) == len(MONMAP.mons)


def test_one_of_another_cluster_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{FSID}.monmap").write_bytes(BLOB)
    assert found(tmp_path, config("a:/", f"fsid={FSID}")) == ()
    (record,) = caplog.records
    assert record.getMessage().endswith(f"{FSID}.monmap holds cluster {MONMAP.fsid}")
    caplog.clear()


def test_half_of_one_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    remember(tmp_path, config(), BLOB[:-40])
    assert found(tmp_path, config()) == ()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    caplog.clear()


def test_one_that_is_too_long_is_not_kept(tmp_path: Path) -> None:
    remember(tmp_path, config(), BLOB, bytes((1 << 20) + 1))
    assert len(found(tmp_path, config())) == len(MONMAP.mons)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    line = config("a:/", f"fsid={FSID}")
    (tmp_path / "other").write_bytes(b"precious")
    (tmp_path / f"{FSID}.monmap").symlink_to("other")
    remember(tmp_path, line, BLOB)
    assert (tmp_path / "other").read_bytes() == b"precious"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    remember(tmp_path / "state", config(), BLOB)
    assert (tmp_path / "state").read_text() == "a file"
