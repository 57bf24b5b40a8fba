"""The local side: whoever is on this machine and should not get anything that he was not given."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.helper import HELPER, Mounted, helper, is_mounted, processes, run, wait_gone

pytestmark = pytest.mark.fuse

WALK = Path(__file__).with_name("walk.py")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
REFUSALS = {
    "EROFS", "ENOENT", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "EEXIST", "EOPNOTSUPP", "ENOTTY",
    "EINVAL", "ENODATA", "EXDEV", "EBUSY", "EBADF", "ENODEV", "EAGAIN", "EFAULT", "ESPIPE", "ENOTSUP", "ERANGE", "root",
}  # fmt: skip
HARMLESS = {"getxattr", "lease for writing", "read far behind the end", "no such place", "rename away"}


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    top = Path(subprocess.check_output(["mktemp", "-d", "/tmp/cmfs-local-XXXXXX"], text=True).strip())
    top.chmod(0o755)
    try:
        with Mounted("demo:", top / "m", "demo_mons=2", "log_level=debug") as mounted:
            yield mounted
    finally:
        shutil.rmtree(top, ignore_errors=True)


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_everything_else_is_refused(mount: Mounted, who: str) -> None:
    """Every operation that changes something, on every file: refused by its right name, never as EIO."""
    argv = ["/usr/bin/python3", "-", str(mount.path)]
    done = subprocess.run(
        argv if who == "root" else [*NOBODY, *argv],
        input=WALK.read_text(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    for what, results in found.items():
        assert "EIO" not in results, what
        if what not in HARMLESS:
            assert "done" not in results, (what, results)
        assert set(results) <= REFUSALS | {"done", "ValueError"}, (what, results)
    for what in ("chmod", "mkdir", "write", "truncate", "unlink", "create"):
        assert set(found[what]) <= {"EROFS", "EACCES", "EPERM", "ENOTDIR", "EISDIR"}, (what, found[what])
    assert mount.value("session/state") == "open"


def test_files_for_some_are_not_for_others(mount: Mounted) -> None:
    for name in ("config", "log"):
        path = mount.path / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o440
        assert path.read_text()
        done = run([*NOBODY, "cat", path])
        assert done.returncode != 0
        assert "Permission denied" in done.stderr
    assert run([*NOBODY, "cat", mount.path / "fsid"]).returncode == 0


def test_mount_flags_are_ours_whatever_is_asked_for(tmp_path: Path) -> None:
    """suid, dev, exec and rw of an fstab line change nothing."""
    with Mounted("demo:", tmp_path / "m", "demo_mons=1", "suid", "dev", "exec", "rw", "user"):
        line = next(
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {tmp_path / 'm'} " in line
        )
        flags = set(line.split(" ")[5].split(","))
        assert {"ro", "nosuid", "nodev", "noexec"} <= flags
        assert "default_permissions" in line


def _as_nobody(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(
        [*NOBODY, HELPER, "demo:", directory, "-o", ",".join(("demo_mons=1", *options))],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        cwd="/",
    )


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory of nobody's."""
    top = Path(subprocess.check_output(["mktemp", "-d", "/tmp/cmfs-user-XXXXXX"], text=True).strip())
    os.chown(top, 65534, 65534)
    (top / "m").mkdir()
    os.chown(top / "m", 65534, 65534)
    yield top / "m"
    if is_mounted(top / "m"):
        run(["umount", "-l", top / "m"])
    shutil.rmtree(top, ignore_errors=True)


needs_checkout = pytest.mark.skipif(
    run([*NOBODY, HELPER, "-V"]).returncode != 0, reason="this checkout is not readable for other users"
)


@needs_checkout
@pytest.mark.parametrize(
    "options",
    [
        ("allow_other",),
        ("run_as=root",),
        ("run_as=daemon",),
        ("keyring=/etc/shadow", "name=x"),
        ("secretfile=/etc/shadow",),
        ("conf=/etc/shadow",),
    ],
    ids=lambda options: options[0],
)
def test_a_user_gets_nothing_by_options(theirs: Path, options: tuple[str, ...]) -> None:
    """mount(8) gives its rights up before it starts a helper for a `user` line: the helper has the user's own."""
    done = _as_nobody(theirs, *options)
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "root:" not in text  # a line of /etc/shadow
    if done.returncode == 0:  # an option that means nothing for demo:
        assert all(Path(f"/proc/{pid}").stat().st_uid == 65534 or _is_fusermount(pid) for pid in processes(theirs))
        run(["umount", theirs])
        wait_gone(theirs)
    else:
        assert done.returncode in (1, 2, 32)
        assert 1 <= len(done.stderr.splitlines()) <= 2  # a remark, and the error
    assert not is_mounted(theirs)


def _is_fusermount(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == "fusermount3"


def test_words_in_the_source_do_not_become_options(tmp_path: Path) -> None:
    """What stands in SOURCE goes to the kernel as a name, with its commas and blanks made harmless."""
    from cephmonfs.cli.serve import fuse_options
    from cephmonfs.config.machine import LocalMachine
    from cephmonfs.config.mountconfig import resolve
    from cephmonfs.errors import ConfigError

    with pytest.raises(ConfigError, match="no user of a cluster"):
        resolve("10.0.0.1:/", str(tmp_path), ["name=a;b c\\"], LocalMachine(), sloppy=True)
    who = SimpleNamespace(id="a,suid,dev b\\,fd=3\n")
    config = SimpleNamespace(
        fsid=None,
        demo=None,
        entity=who,
        allow_other=False,
        auto_unmount=False,
        run_as=None,
        mountpoint="/",
        handed=None,
    )
    options = fuse_options(config, SimpleNamespace(fsid=""))  # type: ignore[arg-type]
    (name,) = [option for option in options if option.startswith("fsname=")]
    assert not set(name) & set(", \\;\n\t'\"")
    assert {"ro", "nosuid", "nodev", "noexec", "default_permissions"} <= options


def test_symlinks_at_the_mount_point(tmp_path: Path) -> None:
    """A link is followed once, before anything else; dangling, in a circle, or to a file: an error in one line."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    done = helper("demo:", link, "demo_mons=1")
    assert done.returncode == 0, done.stderr
    assert is_mounted(real)
    run(["umount", real])
    wait_gone(real)
    loop, dangling, file = tmp_path / "loop", tmp_path / "dangling", tmp_path / "file"
    loop.symlink_to(loop)
    dangling.symlink_to(tmp_path / "nowhere")
    file.touch()
    for bad in (loop, dangling, file, tmp_path / "absent"):
        done = helper("demo:", bad, "demo_mons=1")
        assert done.returncode == 32, (bad, done.stderr)
        assert len(done.stderr.splitlines()) == 1
        assert "Traceback" not in done.stderr


def test_a_mount_point_that_is_swapped_meanwhile(tmp_path: Path) -> None:
    """A race between check and mount ends with a mount where the path leads, or an error: never with a second mount,
    a process left behind, or a link followed by umount."""
    target, other = tmp_path / "m", tmp_path / "other"
    other.mkdir()
    for _ in range(3):
        target.mkdir(exist_ok=True)
        swap = subprocess.Popen(
            [sys.executable, "-c", "import os,sys,time\n"
             "m, o = sys.argv[1:]\n"
             "for i in range(200):\n"
             "    try:\n"
             "        os.rmdir(m); os.symlink(o, m); time.sleep(.002); os.unlink(m); os.mkdir(m); time.sleep(.003)\n"
             "    except OSError: pass\n", target, other],
        )  # fmt: skip
        done = helper("demo:", target, "demo_mons=1")
        swap.wait()
        assert "Traceback" not in done.stderr
        mounted = [path for path in (target, other) if is_mounted(path)]
        assert len(mounted) <= 1
        for path in mounted:
            assert run(["umount", path]).returncode == 0
        deadline = time.monotonic() + 10
        while processes(target) or processes(other):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if target.is_symlink():
            target.unlink()


def test_ten_thousand_open_files(mount: Mounted) -> None:
    """df answers, files open, and the daemon grows by little."""
    count = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 500:
        pytest.skip("the limit of open files is too low")
    before = _rss(mount.daemon)
    script = (
        "import os,sys,time\n"
        "d, n = sys.argv[1], int(sys.argv[2])\n"
        "names = ['fsid', 'health', 'session/state', 'capacity/total_bytes', 'monmap.json', 'epoch/osdmap']\n"
        "fds = [os.open(f'{d}/{names[i % 6]}', os.O_RDONLY) for i in range(n)]\n"
        "print('open', flush=True); sys.stdin.read()\n"
        "assert all(os.pread(fd, 10, 0) for fd in fds[::50])\n"
    )
    holder = subprocess.Popen(
        ["prlimit", f"--nofile={count + 200}", "/usr/bin/python3", "-c", script, mount.path, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    began = time.monotonic()
    mount.df()
    assert mount.value("session/state") == "open"
    assert time.monotonic() - began < 2.0
    assert _rss(mount.daemon) - before < 64 << 10
    _, errors = holder.communicate("", timeout=60)
    assert holder.returncode == 0, errors
    assert soft


def _rss(pid: int) -> int:
    """KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.mark.parametrize(
    "unshare",
    [["--user", "--map-root-user"], ["--pid", "--fork"], ["--pid", "--fork", "--user"], ["--mount", "--net", "--ipc"]],
    ids=" ".join,
)
def test_callers_in_other_namespaces(mount: Mounted, unshare: list[str]) -> None:
    """A caller without a pid or a user that we could name reads what others may read, and no more."""
    probe = run(["unshare", *unshare, "true"])
    if probe.returncode != 0:
        pytest.skip(f"no such namespaces here: {probe.stderr.strip()}")
    done = run(["unshare", *unshare, "cat", mount.path / "fsid"])
    assert done.stdout.strip() == mount.fsid, done.stderr
    assert run(["unshare", *unshare, "df", mount.path]).returncode == 0
    done = run(["unshare", *unshare, "sh", "-c", f"echo x > {mount.path}/fsid"])
    assert done.returncode != 0
    as_nobody = run(["unshare", "--user", *NOBODY[:1], "--reuid=65534", "cat", mount.path / "log"])
    assert as_nobody.returncode != 0


def test_the_daemon_is_nowhere_near_its_own_mount(mount: Mounted) -> None:
    """It would wait for itself: neither working directory nor root, no open file, no mapped file is inside."""
    inside = str(mount.path)
    for pid in processes(mount.path):
        proc = Path(f"/proc/{pid}")
        for name in ("cwd", "root", "exe"):
            assert not os.readlink(proc / name).startswith(inside)
        for fd in (proc / "fd").iterdir():
            assert not os.readlink(fd).startswith(inside)
        assert inside not in (proc / "maps").read_text()


def test_privileges(mount: Mounted) -> None:
    """nobody, no capability, no way to new ones, no core, and not to be looked into by another nobody."""
    status = Path(f"/proc/{mount.daemon}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65534"] * 4
    assert all(int(fields[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"))
    assert fields["NoNewPrivs"] == "1"
    assert fields["Groups"].strip() == ""
    limits = Path(f"/proc/{mount.daemon}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    for name in ("mem", "environ", "maps", "fd/0"):
        done = run([*NOBODY, "cat", f"/proc/{mount.daemon}/{name}"])
        assert done.returncode != 0
    assert errno.EPERM
