"""Fresh Debian roots, made by mmdebstrap once and copied for every use."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from tests.support.chroot import cache_dir, mirror

SUITES = {"bookworm": "12", "trixie": "13"}


class Root:
    """A copy of a freshly installed Debian.  Commands run in it with a mount and a pid namespace of their own.

    Packages that this machine lends are there read-only, its settings and certificates are copied: nothing that is
    installed in there may write into our own /opt or /etc.
    """

    def __init__(self, suite: str, path: Path) -> None:
        self.suite = suite
        self.path = path
        self._binds = _local_indexes()
        for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf"):
            if Path(name).exists():
                shutil.copy(name, path / name[1:])
        # certificates of this machine's own: installing ca-certificates adds them to Debian's
        for folder in ("/etc/xdg/pip", str(Path.home() / ".config/pip"), "/usr/local/share/ca-certificates"):
            if Path(folder).exists():
                shutil.copytree(folder, path / folder[1:], dirs_exist_ok=True)
        self("apt-get -q update")

    def __call__(self, script: str, *, check: bool = True, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """Run a script; everything it started has ended afterwards, and its mounts are gone."""
        root = shlex.quote(str(self.path))
        begin = ["mount --make-rprivate /", f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
        for bind in self._binds:
            quoted = shlex.quote(bind)
            begin.append(f"mkdir -p {root}{quoted} && mount -o bind,ro {quoted} {root}{quoted}")
        begin.append(f'exec chroot {root} sh -eu -c "$1"')
        argv = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            " && ".join(begin),
            "root",
            script,
        ]
        env = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        env |= {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, timeout=timeout_s, check=False
        )
        if check:
            assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done


def _local_indexes() -> list[str]:
    """Folders on this machine that its pip takes packages from."""
    done = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    paths = re.findall(r"(?:file://|')(/(?!etc)[^' \n]+)", done.stdout)
    found = {Path(*Path(path).parts[:3]) for path in paths}  # of /opt/pypi/simple all of /opt/pypi
    return sorted(str(path) for path in found if path.is_dir() and not path.is_relative_to("/usr"))


def fresh(suite: str, target: Path) -> Root:
    """Copy a root with nothing but apt."""
    base = cache_dir() / f"clean-{suite}"
    if not base.exists():
        temporary = base.with_name(f"{base.name}.tmp.{os.getpid()}")
        argv = ["mmdebstrap", "--variant=apt", "--mode=root", "--components=main", "--dpkgopt=force-unsafe-io"]
        argv += ['--aptopt=Acquire::Check-Valid-Until "false"', suite, str(temporary), mirror()]
        subprocess.run(argv, check=True, capture_output=True, timeout=600)
        temporary.rename(base)
    subprocess.run(["cp", "-a", str(base), str(target)], check=True)
    return Root(suite, target)
