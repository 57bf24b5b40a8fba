"""Giving up what root has, once the mount is there.

Everything must be imported, opened and looked up before: afterwards the daemon may not even reach its own code.
"""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cephmonfs.host.accounts import User

# linux/prctl.h
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_LAST_CAPABILITY: Final = 63
_CAP_SYS_ADMIN: Final = 21


def no_new_privs() -> None:
    """No program that we start gains anything by its set-user-id bit.  Holds for threads started from now on."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def keep_memory_private() -> None:
    """No core dump, no ptrace, no /proc/PID/mem for the user we run as: the key is in our memory."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except OSError:
        pass  # a system call filter; not dumpable is enough, and such a unit says LimitCORE=0
    _prctl(_PR_SET_DUMPABLE, 0)


def become(user: User) -> None:
    """Give up groups, bounding set, ids and with them all capabilities; checks that it worked."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_LAST_CAPABILITY + 1):
        # May be refused in a container without CAP_SETPCAP; without ids and new privileges it hardly matters.
        if _prctl(_PR_CAPBSET_READ, capability, check=False) == 1:
            _prctl(_PR_CAPBSET_DROP, capability, check=False)
    try:
        os.setgroups([])
    except PermissionError:
        if user.uid != 0:  # a user namespace with a single id: its groups cannot be given up, nor used
            raise
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    _clear_capabilities()
    if user.uid != 0 and (os.getresuid() != (user.uid,) * 3 or os.getresgid() != (user.gid,) * 3 or os.getgroups()):
        raise RuntimeError("privileges are still there after giving them up")


@contextmanager
def without_mounting() -> Iterator[None]:
    """Lay the right to mount aside; a set-user-id program that is started has it all the same."""
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the upper halves after them
    _capabilities("capget", data)
    effective = data[0]
    data[0] = effective & ~(1 << _CAP_SYS_ADMIN)
    _capabilities("capset", data)
    try:
        yield
    finally:
        data[0] = effective
        _capabilities("capset", data)


def _clear_capabilities() -> None:
    _capabilities("capset", (ctypes.c_uint32 * 6)())


def _capabilities(call: str, data: ctypes.Array[ctypes.c_uint32]) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(header, data) != 0:
        raise OSError(ctypes.get_errno(), call)


def _prctl(option: int, value: int, *, check: bool = True) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(number) for number in (value, 0, 0, 0)]
    result = int(libc.prctl(ctypes.c_int(option), *arguments))
    if check and result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")
    return result
