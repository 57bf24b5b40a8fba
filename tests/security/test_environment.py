"""What the caller's environment can do to a program that root's mount(8) runs: nothing, in any entry point."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helper import HELPER, ROOT, Mounted, run

KEPT = {  # by the mount helper, if it is set, and nothing else; `cephmonfs` keeps these and MORE
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
    "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "JOURNAL_STREAM",
}  # fmt: skip
MORE = {"CEPH_ARGS", "CEPH_CONF", "CEPH_KEYRING", "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# {dir} holds a sitecustomize, a usercustomize and a module of our name that leave a mark, and a pyvenv.cfg.
HOSTILE = {
    **{f"PYTHON{name}": "{dir}" for name in (
        "PATH", "HOME", "STARTUP", "EXECUTABLE", "USERBASE", "PLATLIBDIR", "PYCACHEPREFIX", "TRACEMALLOC", "WARNINGS",
        "BREAKPOINT", "MALLOC", "IOENCODING", "CASEOK", "DUMPREFSFILE", "INSPECT", "OPTIMIZE", "UTF8", "PERFSUPPORT",
    )},
    "PYTHONEXECUTABLE": "{dir}/bin/python3",
    "__PYVENV_LAUNCHER__": "{dir}/bin/python3",
    "VIRTUAL_ENV": "{dir}",
    "GCONV_PATH": "{dir}",
    "LOCPATH": "{dir}",
    "NLSPATH": "{dir}/%N",
    "LC_ALL": "xx_XX.ISO-8859-15",
    "LANG": "xx_XX",
    "OPENSSL_CONF": "{dir}/openssl.cnf",
    "OPENSSL_MODULES": "{dir}",
    "OPENSSL_ENGINES": "{dir}",
    "SSLKEYLOGFILE": "{dir}/keys",
    "SSL_CERT_FILE": "{dir}/certificates",
    "RES_OPTIONS": "debug attempts:99 timeout:30",
    "LOCALDOMAIN": "attacker.example",
    "HOSTALIASES": "{dir}/aliases",
    "RESOLV_HOST_CONF": "{dir}/host.conf",
    "TMPDIR": "{dir}",
    "TZ": ":{dir}/zone",
    "TZDIR": "{dir}",
    "MALLOC_TRACE": "{dir}/malloc",
    "GLIBC_TUNABLES": "glibc.malloc.check=3",
    "LD_LIBRARY_PATH": "{dir}",
    "PATH": "{dir}/bin",
    "HOME": "{dir}",
    "XDG_CONFIG_HOME": "{dir}",
    "ENV": "{dir}/rc",
    "BASH_ENV": "{dir}/rc",
    "BASH_FUNC_exec%%": "() {{ touch {dir}/mark-function; }}",
    "IFS": "/",
    "PS4": "$(touch {dir}/mark-ps4)",
    "CDPATH": "{dir}",
    "SHELLOPTS": "xtrace",
    "A_B": "what nobody knows",
}  # fmt: skip


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """An environment where each variable that leads to a program of somebody's leads to one that leaves a mark."""
    where = tmp_path / "evil"
    (where / "bin").mkdir(parents=True)
    mark = f"open({str(where)!r} + '/mark-' + __name__, 'w').close()\n"
    for name in ("sitecustomize", "usercustomize", "cephmonfs", "trio", "rc"):
        (where / f"{name}.py").write_text(mark)
    (where / "rc").write_text(f"touch {where}/mark-rc\n")
    (where / "pyvenv.cfg").write_text(f"home = {where}\n")
    for name in ("python3", "env", "readlink", "fusermount3", "sh"):
        (where / "bin" / name).write_text(f"#!/bin/sh\n/usr/bin/touch {where}/mark-{name}\n")
        (where / "bin" / name).chmod(0o755)
    return {name: value.format(dir=where) for name, value in HOSTILE.items()}


def marks(tmp_path: Path) -> list[str]:
    """What ran or was written there."""
    known = {"bin", "pyvenv.cfg", "rc", "cephmonfs.py", "sitecustomize.py", "usercustomize.py", "trio.py", "rc.py"}
    return sorted(path.name for path in (tmp_path / "evil").iterdir() if path.name not in known)


def look_in(program: Path, tmp_path: Path) -> Path:
    """The same program, with a Python that shows its environment instead."""
    text = program.read_text()
    spy = tmp_path / "spy"
    spy.write_text("#!/bin/sh\nexec /usr/bin/env\n")
    spy.chmod(0o755)
    copy = tmp_path / program.name
    copy.write_text(text)
    copy.chmod(0o755)
    (tmp_path / ".venv/bin").mkdir(parents=True, exist_ok=True)
    (tmp_path / ".venv/bin/python3").unlink(missing_ok=True)
    (tmp_path / ".venv/bin/python3").symlink_to(spy)
    return copy


def test_no_value_is_an_argument(tmp_path: Path) -> None:
    """CEPH_ARGS may hold a key, and arguments are shown to everybody."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    program = look_in(ROOT / "contrib/bin/cephmonfs", tmp_path)
    env = {"CEPH_ARGS": "--key secret-1", "NOTIFY_SOCKET": "secret-2", "FOO": "secret-3", "odd 'name'\n": "secret-4"}
    done = run([strace, "-f", "-qq", "-e", "execve", "-s", "9999", program], env=env, cwd="/")
    assert "CEPH_ARGS=--key secret-1\n" in done.stdout
    assert "NOTIFY_SOCKET=secret-2\n" in done.stdout
    assert "execve(" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"]], ids=" ".join)
def test_by_any_shell(shell: list[str], tmp_path: Path, hostile: dict[str, str]) -> None:
    """/bin/sh is bash in many places, and bash takes functions from the environment."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    program = look_in(ROOT / "contrib/bin/cephmonfs", tmp_path)
    names = ("awk", "env", "readlink", "echo", "printf")
    functions = {f"BASH_FUNC_{name}%%": f"() {{ touch {tmp_path}/evil/mark-x; }}" for name in names}
    odd = {"odd 'name'\n$(touch x)": "1", "a b": "2", "-u": "3", "x-y": "4"}
    env = {name: value for name, value in hostile.items() if name not in ("BASH_FUNC_exec%%", "SHELLOPTS", "PATH")}
    done = run([*shell, program], env=env | functions | odd | {"TERM": "vt100"}, cwd=tmp_path)
    found = [line for line in done.stdout.splitlines() if not line.startswith(("PWD=", "_=", "SHLVL=", "OLDPWD="))]
    assert sorted(found) == [f"PATH={PATH}", "TERM=vt100"], done.stderr
    done = run([*shell, program], env=hostile | {"SHELLOPTS": "", "PATH": PATH}, cwd=tmp_path)
    assert done.returncode == 0 or "exec': is a special builtin" in done.stderr  # then nothing runs at all
    assert marks(tmp_path) == []


@pytest.mark.parametrize("name", ["mount.cephmon", "cephmon", "cephmonfs"])
def test_python_begins_with_nothing_but_what_is_named(name: str, tmp_path: Path, hostile: dict[str, str]) -> None:
    program = look_in(ROOT / "contrib/bin" / name, tmp_path)
    wanted = {variable: f"value of {variable} * $x" for variable in KEPT | MORE}
    seen = run([program], env=hostile | wanted, cwd="/").stdout.splitlines()
    # these are the shell's own
    found = dict(line.split("=", 1) for line in seen if not line.startswith(("PWD=", "_=", "SHLVL=")))
    kept = KEPT | MORE if name == "cephmonfs" else KEPT
    assert found == {"PATH": PATH, **{variable: wanted[variable] for variable in kept}}
    assert marks(tmp_path) == []


@pytest.mark.fuse
@pytest.mark.parametrize("variable", [*HOSTILE, "all"])
def test_no_variable_reaches_a_program(variable: str, tmp_path: Path, hostile: dict[str, str]) -> None:
    env = hostile if variable == "all" else {variable: hostile[variable]}
    done = run([HELPER, "-V"], env=env, cwd="/")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert marks(tmp_path) == []


@pytest.mark.fuse
def test_the_daemon_has_none_of_it(tmp_path: Path, hostile: dict[str, str]) -> None:
    (tmp_path / "m").mkdir()
    argv = ["/usr/bin/env", *(f"{name}={value}" for name, value in hostile.items()), str(HELPER), "demo:"]
    with Mounted("demo:", tmp_path / "m", argv=[*argv, str(tmp_path / "m"), "-o", "demo_mons=1"]) as mounted:
        environ = Path(f"/proc/{mounted.daemon}/environ").read_bytes()
        assert environ == f"PATH={PATH}\0".encode()
        assert Path(f"/proc/{mounted.daemon}/comm").read_text() == "mount.cephmon\n"
    assert marks(tmp_path) == []


@pytest.fixture(scope="module")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that leaves a mark in each process that is a Python."""
    if shutil.which("gcc") is None:
        pytest.skip("no compiler")
    where = tmp_path_factory.mktemp("preload")
    (where / "mark.c").write_text(
        "#include <fcntl.h>\n#include <string.h>\n#include <unistd.h>\n"
        "__attribute__((constructor)) static void mark(void) { char exe[256] = {0};\n"
        'if (readlink("/proc/self/exe", exe, 255) > 0 && strstr(exe, "python"))\n'
        f'open("{where}/mark", O_CREAT | O_WRONLY, 0600); }}\n'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", where / "mark.so", where / "mark.c"], check=True)
    return where


@pytest.mark.parametrize("name", ["mount.cephmon", "cephmon", "cephmonfs"])
def test_what_is_loaded_into_every_program_ends_at_the_shell(name: str, preload: Path) -> None:
    mark = preload / "mark"
    env = {"LD_PRELOAD": str(preload / "mark.so")}
    run([sys.executable, "-c", ""], env=env)
    assert mark.exists()  # it works
    mark.unlink()
    link = preload / name
    link.unlink(missing_ok=True)
    link.symlink_to(HELPER)
    done = run([link, "--version"], env=env, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cephmonfs" if name == "cephmonfs" else "mount.cephmon")
    assert not mark.exists()


def test_all_entry_points_are_that_one() -> None:
    """In the wheel, by `make install` and in the .deb: the same text but for where Python is."""
    for name in ("mount.cephmon", "cephmon", "cephmonfs"):
        assert (ROOT / "contrib/bin" / name).resolve() == HELPER
    made = run([ROOT / "tools/program.sh", "/opt/x y/python3"]).stdout
    assert "python='/opt/x y/python3'\n" in made
    mine = HELPER.read_text()
    begin, end = mine.index("here=$("), mine.index("cleared=")
    assert made == mine[:begin] + "python='/opt/x y/python3'\n" + mine[end:]
    assert "[project.scripts]\n" not in (ROOT / "pyproject.toml").read_text()
    assert os.access(HELPER, os.X_OK)
