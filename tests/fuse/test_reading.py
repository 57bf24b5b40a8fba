"""Everyday programs on a real mount."""

from __future__ import annotations

import errno
import json
import os
import stat
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cephmonfs.wire.cursor import Utime
from tests.doubles.mount import Mount
from tests.doubles.source import FSID, KB, WALL, monmap


def test_df_shows_the_numbers_of_the_monitors(mount: Mount) -> None:
    found = os.statvfs(mount.path)
    assert (found.f_bsize, found.f_frsize) == (4 << 20, 4 << 20)
    assert found.f_blocks == KB.kb >> 12
    assert found.f_bfree == found.f_bavail == KB.kb_avail >> 12
    assert found.f_files == KB.num_objects
    assert found.f_ffree == found.f_favail == -1  # all ones, which Python shows signed
    assert found.f_namemax == 255
    line = mount.sh("df -B1 --output=fstype,size,avail .").splitlines()[1].split()
    assert line == ["fuse.cephmon", str(KB.kb >> 12 << 22), str(KB.kb_avail >> 12 << 22)]


def test_each_statfs_asks_anew(mount: Mount) -> None:
    for _ in range(5):
        os.statvfs(mount.path)
    assert mount.source.asked["statfs"] == 5


def test_cat_values(mount: Mount) -> None:
    assert mount.sh("cat fsid") == f"{FSID}\n"
    assert mount.sh("cat session/state mon/count mon/leader mon/b/in_quorum") == "open\n3\na\n1\n"
    assert mount.sh("cat health") == "HEALTH_WARN\n"
    assert mount.sh("cat capacity/total_bytes") == f"{KB.kb << 10}\n"
    assert mount.text("epoch/osdmap") == "17\n"


def test_json_files_are_json(mount: Mount) -> None:
    assert json.loads(mount.text("session.json"))["global_id"] == 4152
    assert json.loads(mount.text("monmap.json"))["quorum"] == [0, 1, 2]


def test_readme_fits_a_screen_and_names_every_file(mount: Mount) -> None:
    text = mount.text("README")
    assert len(text.splitlines()) <= 40
    for name in os.listdir(mount.path):
        assert name in text


def test_sizes_are_real(mount: Mount) -> None:
    mount.text("status")  # has the answers that it is made from
    for name in ("fsid", "monmap", "session.json", "status", "health", "capacity/objects", "README"):
        content = (mount.path / name).read_bytes()
        assert mount.sh(f"wc -c < {name}").strip() == str(len(content)), name
        assert (mount.path / name).stat().st_size == len(content), name


def test_a_command_runs_for_readers_and_not_for_ls(mount: Mount) -> None:
    mount.sh("ls -lR $(ls | grep -v '^ceph$')")
    mount.sh("find . -path ./ceph -prune -o -size +1M")
    assert set(mount.source.asked) <= {"health", "quorum_status", "statfs"}  # the mount's own, and find's
    assert (mount.path / "ceph/osd/tree").stat().st_size == 4096  # unknown, and no reason not to open it
    for _ in range(3):
        mount.sh("cat ceph/osd/tree")
    assert mount.source.asked["osd tree"] == 1
    assert (mount.path / "ceph/osd/tree").stat().st_size == len("ID  CLASS\n")
    mount.sh("ls -lR ceph")  # each runs once in each format, for a directory does not list what is refused
    asked = dict(mount.source.asked)
    mount.sh("ls -lR ceph")
    assert mount.source.asked == asked
    assert asked["slow"] == asked["osd tree"] == 2  # plain and JSON


def test_mtime_is_when_the_data_arrived(mount: Mount) -> None:
    assert (mount.path / "monmap").stat().st_mtime == WALL
    assert (mount.path / "epoch/osdmap").stat().st_mtime == WALL


def test_every_reader_of_trees_gets_every_file(mount: Mount, tmp_path: Path) -> None:
    mount.do(lambda: mount.source.publish(maps={k: v for k, v in mount.source.snap.maps.items() if k == "monmap"}))
    readable = mount.sh("find . -type f").splitlines()
    without_data = {f"./{name}{end}" for name in ("mdsmap", "osdmap") for end in ("", ".json")}
    without_data |= {f"./epoch/{name}" for name in ("mdsmap", "osdmap", "fsmap", "mgrmap")}
    without_data |= {f"./maps/{name}.bin" for name in ("mdsmap", "fsmap", "osdmap")}
    without_data |= {f"./debug/{name}" for name in ("mdsmap", "osdmap", "status")}
    files = sorted(set(readable) - without_data)
    assert len(files) > 40
    (tmp_path / "list").write_text("\n".join(files))
    mount.sh(f"tar cf {tmp_path}/all.tar -T {tmp_path}/list")
    with tarfile.open(tmp_path / "all.tar") as tar:
        for member in tar:
            assert member.size > 0 or member.name in ("./log", "./config", "./session/last_error"), member.name
            stored = tar.extractfile(member)
            assert stored is not None
            assert len(stored.read()) == member.size
    changing = (
        *("status", "session.json", "session/requests", "session/stats", "capacity/age_seconds", "log", "metrics"),
        *("dashboard.html", "debug/monc"),
    )
    for name in files:
        mount.sh(f"cp -a {name} {tmp_path}/copy")
        if name.removeprefix("./") not in changing:
            mount.sh(f"cmp {tmp_path}/copy {name}")
    mount.sh("grep -rl b9a32a5e . 2>/dev/null | grep -q fsid")
    mount.sh("tail -n 1 fsid; tail -c 3 fsid; head -c 3 fsid; md5sum fsid; dd if=fsid bs=1 count=4 status=none")


@pytest.mark.parametrize("read_only", [True, False])
def test_nothing_can_be_written(mount_with: Callable[..., Mount], read_only: bool) -> None:
    mount = mount_with(read_only=read_only)
    acts: list[Callable[[], object]] = [
        lambda: os.open(mount.path / "fsid", os.O_WRONLY),
        lambda: os.open(mount.path / "fsid", os.O_RDWR),
        lambda: os.open(mount.path / "new", os.O_CREAT | os.O_WRONLY),
        lambda: os.mkdir(mount.path / "new"),
        lambda: os.mknod(mount.path / "new"),
        lambda: os.unlink(mount.path / "fsid"),
        lambda: os.rmdir(mount.path / "mon"),
        lambda: os.rename(mount.path / "fsid", mount.path / "new"),
        lambda: os.symlink("x", mount.path / "new"),
        lambda: os.link(mount.path / "fsid", mount.path / "new"),
        lambda: os.chmod(mount.path / "fsid", 0o777),
        lambda: os.truncate(mount.path / "fsid", 0),
        lambda: os.utime(mount.path / "fsid"),
        lambda: os.setxattr(mount.path / "fsid", "user.x", b"1"),
        lambda: os.removexattr(mount.path / "fsid", "user.x"),
    ]
    for act in acts:
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == errno.EROFS
    assert not (read_only and os.access(mount.path / "fsid", os.W_OK))


def test_what_is_not_there(mount: Mount) -> None:
    for name, number in (("mdsmap", errno.EACCES), ("maps/fsmap.bin", errno.ENODATA), ("nosuch", errno.ENOENT)):
        with pytest.raises(OSError) as caught:
            mount.text(name)
        assert caught.value.errno == number, name
    with pytest.raises(OSError) as caught:
        mount.text("osdmap")  # only its epoch is known
    assert caught.value.errno == errno.ENODATA
    assert (mount.path / "mdsmap").stat().st_size == 0


def test_a_refused_command_is_eacces_and_a_failed_one_enodata(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(refresh=0.0)
    mount.source.answers["health"] = -13
    mount.source.answers["quorum_status"] = b"{nonsense"
    for name, number in (("health", errno.EACCES), ("mon/leader", errno.ENODATA)):
        with pytest.raises(OSError) as caught:
            mount.text(name)
        assert caught.value.errno == number, name
    assert "health" in mount.text("log")


def test_one_handle_keeps_its_rendering_and_offset_0_renders_anew(mount: Mount) -> None:
    fd = os.open(mount.path / "epoch/osdmap", os.O_RDONLY)
    try:
        assert os.pread(fd, 100, 0) == b"17\n"
        record = mount.source.snap.maps["osdmap"]
        maps = dict(mount.source.snap.maps) | {"osdmap": type(record)(1234, record.blob, record.at)}
        mount.do(lambda: mount.source.publish(maps=maps))
        assert os.pread(fd, 100, 1) == b"7\n"
        assert os.fstat(fd).st_size == 3  # of what this reader is reading
        assert os.pread(fd, 100, 0) == b"1234\n"
        assert os.fstat(fd).st_size == 5
        assert os.pread(fd, 100, 1) == b"234\n"
    finally:
        os.close(fd)


def test_the_size_is_of_the_present_content_once_a_reader_took_its_time(mount: Mount, tmp_path: Path) -> None:
    with (mount.path / "epoch/osdmap").open() as file:
        time.sleep(1.1)
        record = mount.source.snap.maps["osdmap"]
        maps = dict(mount.source.snap.maps) | {"osdmap": type(record)(1234, record.blob, record.at)}
        mount.do(lambda: mount.source.publish(maps=maps))
        assert os.fstat(file.fileno()).st_size == 5  # tail -f asks so


def test_a_stream_is_found_by_its_name_and_not_listed(mount: Mount) -> None:
    assert stat.S_ISREG((mount.path / "events_pipe").lstat().st_mode)
    assert [name for name in os.listdir(mount.path) if "pipe" in name] == []
    assert "events_pipe" in mount.text("README")
    for name in (".fsid", ".events_pipe", "mon/events_pipe"):
        assert not os.path.lexists(mount.path / name)


def test_what_does_not_exist_by_nature_is_an_empty_file(mount: Mount) -> None:
    mons = tuple(replace(mon, rtt_s=None) if mon.name == "b" else mon for mon in mount.source.snap.mons)
    mount.do(lambda: mount.source.publish(mons=mons))
    assert mount.text("mon/b/rtt_ms") == ""
    assert (mount.path / "mon/b/rtt_ms").stat().st_size == 0
    assert mount.text("mon/a/rtt_ms") == "0.300\n"


def test_a_directory_changes_with_its_names(mount: Mount, tmp_path: Path) -> None:
    directories = [path for path in (mount.path, *mount.path.rglob("*")) if path.is_dir()]
    before = {path: path.stat().st_mtime for path in directories}
    os.statvfs(mount.path)
    mount.do(lambda: mount.source.publish(failovers=2, history=(), last_contact=mount.source.now()))
    assert {path: path.stat().st_mtime for path in directories} == before
    mount.do(lambda: mount.source.publish(monmap=replace(monmap(), last_changed=Utime(1_800_000_000, 0))))
    assert (mount.path / "mon").stat().st_mtime == 1_800_000_000


def test_inode_numbers_last(mount: Mount) -> None:
    def numbers() -> dict[str, int]:
        walk = [Path(top) / name for top, dirs, files in os.walk(mount.path) for name in (*dirs, *files)]
        return {str(path): path.lstat().st_ino for path in walk}

    before = numbers()
    gone = tuple(mon for mon in mount.source.snap.mons if mon.name != "b")
    all_mons = mount.source.snap.mons
    mount.do(lambda: mount.source.publish(mons=gone))
    assert "b" not in os.listdir(mount.path / "mon")
    mount.do(lambda: mount.source.publish(mons=all_mons))
    assert numbers() == before
    assert len(set(before.values())) == len(before)


def test_owner_and_modes(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(uid=12, gid=34, mode=0o440)
    info = (mount.path / "fsid").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (12, 34, 0o440)
    assert (mount.path / "mon").stat().st_mode & 0o7777 == 0o550


def test_log_and_config_are_not_for_everybody(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(config_lines=("name df option",))
    assert mount.text("config") == "name df option\n"
    for name in ("config", "log"):
        assert (mount.path / name).stat().st_mode & 0o7777 == 0o440


def test_xattrs_of_the_kernel_client(mount: Mount) -> None:
    assert os.getxattr(mount.path, "ceph.cluster_fsid") == FSID.encode()
    assert os.getxattr(mount.path, "ceph.client_id") == b"client4152"
    assert os.listxattr(mount.path) == []
    with pytest.raises(OSError) as caught:
        os.getxattr(mount.path, "ceph.other")
    assert caught.value.errno == errno.ENODATA


@pytest.mark.parametrize("name", ["status", "metrics", "dashboard.html"])
def test_a_page_is_as_new_as_its_answers_though_somebody_looked_at_it_first(
    mount_with: Callable[..., Mount], name: str
) -> None:
    """The kernel asks for attributes before it opens, and what is printed for those must not do for the opener."""
    mount = mount_with(refresh=0.1)
    mount.text(name)
    for word, number in (("HEALTH_ERR", 2), ("HEALTH_OK", 0)):
        mount.source.answers["health"] = json.dumps({"status": word, "checks": {}}).encode()
        time.sleep(0.2)
        (mount.path / name).stat()
        text = mount.text(name)
        assert word in text or f"ceph_health_status {number}.0" in text


def test_an_answer_that_comes_once_more_has_a_new_time(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(refresh=0.1)
    times = []
    for _ in range(3):
        with (mount.path / "ceph/osd/tree").open() as file:
            file.read()
            times.append(os.fstat(file.fileno()).st_mtime)
        time.sleep(0.2)
        times.append((mount.path / "ceph/osd/tree").stat().st_mtime)
    assert times == sorted(times)
    assert times[1] == times[0] < times[2] < times[4]
