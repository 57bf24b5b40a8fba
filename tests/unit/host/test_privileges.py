"""Giving privileges up, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cephmonfs.errors import ConfigError
from cephmonfs.host.accounts import User, look_up

_STATUS = """
import os, resource
from cephmonfs.host import privileges
from cephmonfs.host import accounts
{calls}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(*(status[name].split()[0] for name in ("Uid", "Gid", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")))
print(os.getgroups(), resource.getrlimit(resource.RLIMIT_CORE), os.stat("/proc/self/stat").st_uid)
"""


def _run(calls: str) -> list[str]:
    argv = [sys.executable, "-c", _STATUS.format(calls=calls)]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_all_of_it() -> None:
    calls = "user = accounts.User('x', 12345, 54321); privileges.become(user); privileges.no_new_privs()"
    none = "0" * 16
    assert _run(calls) == [f"12345 54321 {none} {none} {none} {none} 1", _run(calls)[1]]
    assert _run(f"{calls}; privileges.keep_memory_private()")[1] == "[] (0, 0) 0"  # not dumpable: /proc is root's


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the right to mount")
def test_the_right_to_mount_is_laid_aside_and_taken_again() -> None:
    look = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff')))"
    first, inside, after, *_ = _run(f"{look}\nwith privileges.without_mounting():\n    {look}\n{look}")
    assert after == first
    assert int(inside, 16) == int(first, 16) & ~(1 << 21)


def test_what_anybody_can() -> None:
    first, second = _run("privileges.no_new_privs(); privileges.keep_memory_private()")
    assert first.endswith(" 1")
    assert "(0, 0)" in second


def test_look_up() -> None:
    assert look_up("root") == User("root", 0, 0)
    with pytest.raises(ConfigError, match='run_as: this machine has no user "no-such-user"'):
        look_up("no-such-user")
