"""sd_notify(3): one datagram to the socket that systemd names; and the file descriptors that systemd passes."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FUSE_NAME: Final = "cephmonfs-fuse"  # of /dev/fuse, in systemd's store of file descriptors
_BARRIER_S: Final = 5.0
_FIRST_FD: Final = 3  # SD_LISTEN_FDS_START


class Notifier:
    """Sends our state to systemd; does nothing without NOTIFY_SOCKET."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self._path = env.get("NOTIFY_SOCKET", "")
        self._watchdog_s: float | None = None
        usec, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
        if usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid())):
            self._watchdog_s = int(usec) / 1e6

    @property
    def heard(self) -> bool:
        """Whether there is a NOTIFY_SOCKET."""
        return self._path.startswith(("/", "@"))

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often WATCHDOG=1 is due: half of what systemd allows; None without a watchdog."""
        return self._watchdog_s / 2 if self._path and self._watchdog_s else None

    def send(self, *lines: str) -> bool:
        """Send state lines such as "READY=1"; newlines inside one are replaced.  Returns whether it left."""
        return self._send(lines, ())

    def store(self, fd: int, name: str) -> bool:
        """Leave a descriptor in systemd's keeping, for the next process of this service; returns once it is there."""
        if not self._send(("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0"), (fd,)):
            return False
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            # systemd closes its copy when it has read everything before it: sd_notify_barrier(3)
            left = self._send(("BARRIER=1",), (writing,))
            os.close(writing)
            ready, _, _ = select.select([reading], [], [], _BARRIER_S)
            return left and bool(ready)
        finally:
            os.close(reading)

    def _send(self, lines: Sequence[str], fds: Sequence[int]) -> bool:
        if not self.heard:
            return False
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        message = "\n".join(line.replace("\n", " ") for line in lines).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.connect(address)
                if fds:
                    socket.send_fds(sock, [message], list(fds))
                else:
                    sock.send(message)
        except OSError:
            return False
        return True


def handed_over(env: Mapping[str, str] | None = None) -> int | None:
    """Return the descriptor of /dev/fuse that systemd hands to this very process, None if it hands over none.

    The copy in systemd's store is removed: it would keep the mount of a dead daemon waiting for ever.
    """
    env = os.environ if env is None else env
    if env.get("LISTEN_PID") != str(os.getpid()) or not env.get("LISTEN_FDS", "").isdecimal():
        return None
    names = env.get("LISTEN_FDNAMES", "").split(":")
    for index in range(min(int(env["LISTEN_FDS"]), len(names))):
        if names[index] == FUSE_NAME:
            fd = _FIRST_FD + index
            os.set_inheritable(fd, False)
            Notifier(env).send("FDSTOREREMOVE=1", f"FDNAME={FUSE_NAME}")
            return fd
    return None
