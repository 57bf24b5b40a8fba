"""Minimal Debian roots that hold the Ceph of another suite.

A root is made once by mmdebstrap, kept in the user's cache folder and only read afterwards.  Programs run inside it
in a mount namespace of their own (see `enter`), so nothing is ever mounted on the host and nothing is left to undo.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGES = ("ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds", "ceph-common", "ceph-fuse")
RECIPE = "1"  # raise it and every cached root is built anew

_FALLBACK_MIRROR = "http://deb.debian.org/debian"
_ARCHIVE_MIRROR = "http://archive.debian.org/debian"  # where suites go when they leave the mirrors


class ChrootUnavailable(RuntimeError):
    """This machine cannot have that root; the text says why."""


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "cephmonfs" / "chroots"


def _apt_sources(apt_dir: Path) -> Iterator[str]:
    for path in [apt_dir / "sources.list", *sorted((apt_dir / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            if path.suffix == ".sources":
                if match := re.match(r"URIs:\s*(.+)", line):
                    yield from match[1].split()
            elif match := re.match(r"deb\s+(?:\[[^]]*\]\s*)?(\S+)", line):
                yield match[1]


def mirror(apt_dir: Path = Path("/etc/apt")) -> str:
    """The Debian mirror this machine's apt uses, or the public one."""
    for uri in _apt_sources(apt_dir):
        if uri.startswith(("http://", "https://", "file:")) and uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    return _FALLBACK_MIRROR


def ensure(suite: str) -> Path:
    """Path of the root of `suite`, built now if the cache has none.  One builder at a time, others wait for it."""
    target = cache_dir() / suite
    stamp = target / ".cephmonfs-recipe"
    if _is_current(stamp):
        return target
    if os.geteuid() != 0:
        raise ChrootUnavailable(f"a root of {suite} needs root rights to build and enter")
    if shutil.which("mmdebstrap") is None:
        raise ChrootUnavailable("mmdebstrap is not installed (tools/setup.sh cluster)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_current(stamp):
            _build(suite, target)
    return target


def _is_current(stamp: Path) -> bool:
    try:
        return stamp.read_text().strip() == RECIPE
    except OSError:
        return False


def _build(suite: str, target: Path) -> None:
    began = time.monotonic()
    temporary = target.with_name(f"{suite}.tmp.{os.getpid()}")
    log_path = target.with_name(f"{suite}.log")
    for leftover in target.parent.glob(f"{suite}.tmp.*"):  # of a build that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    problem = ""
    for uri in dict.fromkeys((mirror(), _ARCHIVE_MIRROR)):
        _say(f"{suite}: building a root with its Ceph from {uri} (once, about a minute)")
        with log_path.open("w") as log:
            done = subprocess.run(_mmdebstrap(suite, temporary, uri), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            break
        problem = "; ".join(log_path.read_text(errors="replace").strip().splitlines()[-3:])
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        raise ChrootUnavailable(f"mmdebstrap could not build {suite}: {problem} (whole log: {log_path})")
    (temporary / ".cephmonfs-recipe").write_text(RECIPE + "\n")
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    _say(f"{suite}: ready after {time.monotonic() - began:.0f} s in {target}")


def _mmdebstrap(suite: str, target: Path, uri: str) -> list[str]:
    return [
        "mmdebstrap",
        "--variant=apt",
        "--mode=root",
        "--components=main",
        "--include=" + ",".join(PACKAGES),
        '--aptopt=Acquire::Check-Valid-Until "false"',  # old suites keep an old Release file
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale", "info")),
        suite,
        str(target),
        uri,
    ]


def enter(root: Path, shared: Path, argv: Sequence[str]) -> list[str]:
    """A command line that runs `argv` inside `root`, where `shared` is at the same path as outside.

    Every step is an exec, so the process that Popen returns *is* the program: its pid can be signalled.
    """
    inside = root / shared.relative_to("/")
    script = (
        # Ours alone, so that nothing of it shows outside.  Where / is no mount (we are in a chroot) it cannot be said.
        # And without copies of the mounts under test: a daemon in here would keep them alive after their umount.
        "{ { mount --make-rprivate / && umount -a -l -t fuse.cephmon; } 2>/dev/null || :; }"
        f" && mkdir -p {shlex.quote(str(inside))} && mount --bind {shlex.quote(str(shared))} {shlex.quote(str(inside))}"
        f" && mount --rbind /proc {shlex.quote(str(root / 'proc'))}"
        f' && exec chroot {shlex.quote(str(root))} "$@"'
    )
    return ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script, "enter", *argv]


def forget(root: Path, shared: Path) -> None:
    """Remove the empty mount point that `enter` left in the root (no parents: others may want them now)."""
    with contextlib.suppress(OSError):
        (root / shared.relative_to("/")).rmdir()


def _say(text: str) -> None:
    print(f"chroot: {text}", file=sys.stderr, flush=True)
