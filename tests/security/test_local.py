"""The local side: whoever is on this machine and should not get anything that he was not given."""

from __future__ import annotations

import json
import os
import re
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

from cephmonfs.host.accounts import ACCOUNT, look_up
from tests.support.helper import (
    CEPHMONFS,
    HELPER,
    ROOT,
    Mounted,
    helper,
    is_mounted,
    processes,
    run,
    running,
    wait_gone,
)

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
    from cephmonfs.config.machine import LocalMachine
    from cephmonfs.config.mountconfig import resolve
    from cephmonfs.errors import ConfigError
    from cephmonfs.fuse.mount import fuse_options

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
        fs=None,
        pool=None,
        show_as_rw=False,
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
        argv = [
            sys.executable, "-c", "import os,sys,time\n"
             "m, o = sys.argv[1:]\n"
             "for i in range(200):\n"
             "    try:\n"
             "        os.rmdir(m); os.symlink(o, m); time.sleep(.002); os.unlink(m); os.mkdir(m); time.sleep(.003)\n"
             "    except OSError: pass\n", target, other,
        ]  # fmt: skip
        with running(argv):
            done = helper("demo:", target, "demo_mons=1")
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
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
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
    argv = ["prlimit", f"--nofile={count + 200}", "/usr/bin/python3", "-c", script, mount.path, count]
    with running(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        began = time.monotonic()
        mount.df()
        assert mount.value("session/state") == "open"
        assert time.monotonic() - began < 2.0
        assert _rss(mount.daemon) - before < 64 << 10
        _, errors = holder.communicate("", timeout=60)
    assert holder.returncode == 0, errors


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
    """A user of its own, no capability, no way to new ones, no core."""
    status = Path(f"/proc/{mount.daemon}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = look_up(ACCOUNT)
    assert user.uid not in (0, 65534)
    assert (fields["Uid"].split(), fields["Gid"].split()) == ([str(user.uid)] * 4, [str(user.gid)] * 4)
    assert all(int(fields[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"))
    assert fields["NoNewPrivs"] == "1"
    assert fields["Groups"].strip() == ""
    limits = Path(f"/proc/{mount.daemon}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


# What a process may do to another one of the same user, and no other may.  `pid` and `libc` are there.
ATTACKS = {
    **{f"read {name}": f"open(f'/proc/{{pid}}/{name}', 'rb').read(16)"
       for name in ("mem", "environ", "maps", "io", "stack", "auxv", "syscall", "personality", "smaps", "pagemap")},
    **{f"follow {name}": f"os.readlink(f'/proc/{{pid}}/{name}')"
       for name in ("cwd", "exe", "root", "ns/net", "ns/user", "fd/0")},
    "list its files": "os.listdir(f'/proc/{pid}/fd')",
    "write oom_score_adj": "os.write(os.open(f'/proc/{pid}/oom_score_adj', os.O_WRONLY), b'1000')",
    "write coredump_filter": "os.write(os.open(f'/proc/{pid}/coredump_filter', os.O_WRONLY), b'ff')",
    "write autogroup": "os.write(os.open(f'/proc/{pid}/autogroup', os.O_WRONLY), b'19')",
    "write timerslack": "os.write(os.open(f'/proc/{pid}/timerslack_ns', os.O_WRONLY), b'999999999')",
    "ptrace": "check(libc.ptrace(16, pid, 0, 0))",
    "pidfd_getfd": "check(libc.syscall(438, os.pidfd_open(pid), 5, 0))",
    "process_vm_readv": "check(libc.process_vm_readv(pid, iov, 1, iov, 1, 0))",
    "setpriority": "os.setpriority(os.PRIO_PROCESS, pid, 19)",
    "sched_setscheduler": "os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))",
    "sched_setaffinity": "os.sched_setaffinity(pid, {0})",
    "ioprio_set": "check(libc.syscall(251, 1, pid, 3 << 13))",
    "move_pages": "check(libc.syscall(279, pid, 0, 0, 0, 0, 0))",
    **{f"limit {name}": f"resource.prlimit(pid, resource.RLIMIT_{name}, (16, 16))"
       for name in ("NOFILE", "AS", "NPROC", "CPU", "CORE", "STACK")},
    **{f"signal {name}": f"os.kill(pid, signal.SIG{name})"
       for name in ("CONT", "STOP", "TSTP", "HUP", "USR1", "TERM", "SEGV", "ABRT", "KILL")},
    "pidfd_send_signal": "signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)",
}  # fmt: skip
ATTACKER = """
import ctypes, json, os, resource, signal, sys
pid, libc, iov = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True), (ctypes.c_void_p * 2)(1, 1)
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), "")
found = {}
for name, attack in json.loads(sys.stdin.read()).items():
    try: found[name] = f"done: {eval(attack)!r}"
    except OSError as exc: found[name] = exc.errno
print(json.dumps(found))
"""


_READS = ("read ", "follow ", "list ", "pidfd_getfd", "process_vm", "ptrace")
UNREADABLE = {name for name in ATTACKS if name.startswith(_READS)}


@pytest.mark.parametrize("options", [(), ("noauto_unmount",), ("allow_other", "bg")], ids=str)
@pytest.mark.parametrize("who", ["nobody", "another mount's user"])
def test_who_else_may_touch_the_daemon(tmp_path: Path, who: str, options: tuple[str, ...]) -> None:
    """Not even a process of its own user looks into it."""
    with Mounted("demo:", tmp_path / "m", "demo_mons=1", *options) as mounted:
        mine = look_up(ACCOUNT)
        uid, gid = (65534, 65534) if who == "nobody" else (mine.uid, mine.gid)
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--"]
        attacks = {name: attack for name, attack in ATTACKS.items() if who == "nobody" or name in UNREADABLE}
        done = subprocess.run(
            # named cephmon: a mount that begins meanwhile, in another test, is to take the same uid nevertheless
            [*become, "/usr/bin/python3", "-c", ATTACKER, str(mounted.daemon), "cephmon"],
            input=json.dumps(attacks), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        allowed = {name: found for name, found in json.loads(done.stdout).items() if isinstance(found, str)}
        assert allowed == {}
        assert mounted.df()[0] > 0


def test_two_mounts_have_the_same_user(mount: Mounted, tmp_path: Path) -> None:
    with Mounted("demo:", tmp_path / "m", "demo_mons=1") as other:
        first, second = (Path(f"/proc/{one.daemon}/status").read_text() for one in (mount, other))
        lines = [[line for line in text.splitlines() if line.startswith(("Uid:", "Gid:"))] for text in (first, second)]
        assert lines[0] == lines[1]


# Maps of user namespaces: lines of /proc/PID/uid_map, and whom the daemon becomes in there.
NAMESPACES = {
    "a single id": ("0 0 1", 0),
    "two ids": ("0 0 1\n54321 200000 1", 54321),
    "a hundred": ("0 200000 100", 99),
    "rootless, with a range": ("0 0 1\n1 200000 65536", 65520),
    "all but nobody": ("0 200000 65534", 65520),
}
IN_NAMESPACE = """
import ctypes, os, subprocess, sys
ready, go = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x10000000 | 0x00020000) == 0, ctypes.get_errno()  # CLONE_NEWUSER, CLONE_NEWNS
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.execvp("sh", ["sh", "-c", sys.argv[2]])
os.read(ready[0], 1)
for kind in ("uid", "gid"):
    with open(f"/proc/{pid}/{kind}_map", "w") as file:
        file.write(sys.argv[1])
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@needs_checkout
@pytest.mark.parametrize("name", NAMESPACES)
def test_in_a_user_namespace_with_few_ids(name: str) -> None:
    """As in a rootless container: mounted, and without a capability, as somebody whom nobody else is in there."""
    if not Path("/proc/self/ns/user").exists():
        pytest.skip("no user namespaces here")
    id_map, uid = NAMESPACES[name]
    look = (
        "set -e; mount -t tmpfs none /run; mkdir /run/m; "
        f"{HELPER} demo: /run/m -o demo_mons=1; cat /run/m/session/state; grep ' running as ' /run/m/log; "
        "for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/cmdline 2>/dev/null | grep -qx /run/m || continue; "
        "[ $(cat $p/comm) = mount.cephmon ] && grep -E '^(Uid|CapEff|CapPrm|CapBnd|NoNewPrivs)' $p/status; done; "
        "umount /run/m"
    )
    device = "cp -a /dev/fuse /run/fuse && chmod 666 /run/fuse && mount --bind /run/fuse /dev/fuse"  # as udev has it
    outside = f'mount --make-rprivate / && mount -t tmpfs none /run && {device} && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-ec", outside, "sh", sys.executable, "-c", IN_NAMESPACE, id_map, look]
    done = run(argv)
    assert done.returncode == 0, done.stderr
    state, log, *status = done.stdout.splitlines()
    assert state == "open"
    assert f"uid {uid}" in log
    fields = dict(line.split(":\t", 1) for line in status)
    assert fields["Uid"].split()[0] == str(uid)
    assert {fields[cap] for cap in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"


def collect(mount: Mounted, where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([*CEPHMONFS, "collect", str(mount.path), *arguments], cwd=where, env={"PYTHONPATH": str(ROOT)})


def test_a_bundle_follows_no_link(mount: Mounted, tmp_path: Path) -> None:
    """As root in a directory like /tmp, where somebody else can guess the name."""
    sticky, victim = tmp_path / "sticky", tmp_path / "victim"
    sticky.mkdir()
    sticky.chmod(0o1777)
    victim.write_text("precious")
    planted = set()
    for second in range(30):
        path = sticky / time.strftime("cephmonfs-%Y%m%d-%H%M%S.tar.gz", time.localtime(time.time() + second))
        path.symlink_to(victim if second % 2 else tmp_path / "absent")
        os.lchown(path, 12345, 12345)
        planted.add(path.name)
    done = collect(mount, sticky)
    assert done.returncode == 0, done.stderr
    (made,) = {path.name for path in sticky.iterdir()} - planted
    assert done.stdout == f"{made}\n"
    assert victim.read_text() == "precious"
    assert not (tmp_path / "absent").exists()
    info = (sticky / made).lstat()
    assert stat.S_ISREG(info.st_mode)
    assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (os.geteuid(), 0o600)


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "fifo"])
def test_a_bundle_is_a_new_file(mount: Mounted, tmp_path: Path, kind: str) -> None:
    victim, name = tmp_path / "victim", tmp_path / "bundle"
    victim.write_text("precious")
    match kind:
        case "link":
            name.symlink_to(victim)
        case "dangling link":
            name.symlink_to(tmp_path / "absent")
        case "file":
            name.write_text("precious")
        case "fifo":
            os.mkfifo(name)
    done = collect(mount, tmp_path, "-o", str(name))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr == f"cephmonfs collect: {name} is there already: name a new file by -o, or - for stdout\n"
    assert victim.read_text() == "precious"
    assert not (tmp_path / "absent").exists()
    assert collect(mount, tmp_path, "-o", str(tmp_path / "new")).returncode == 0
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_nothing_is_locked_in_a_directory_of_everybody() -> None:
    """Of our shell scripts, none names a file in /tmp that somebody else could have put there before."""
    for script in (*(ROOT / "tools").glob("*.sh"), ROOT / "Makefile"):
        for line in script.read_text().splitlines():
            assert "mktemp" in line or not re.search(r"/tmp\b|TMPDIR", line), (script, line)
