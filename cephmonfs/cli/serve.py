"""The daemon: session, mount, file system, signals, systemd; everything joined here and nowhere else.

Order of a start: signals, session (unless bg), mount, privileges given up, the kernel's INIT, verdict, detached.
Order of an end, whether by umount or by a signal: the file system stops, the mount goes, the session closes.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import pyfuse3
import trio

from cephmonfs.cli import privileges
from cephmonfs.cli.daemon import Exit, Reporter, detach
from cephmonfs.cli.logs import start_logging
from cephmonfs.cli.memory import return_large_blocks
from cephmonfs.cli.notify import Notifier
from cephmonfs.cli.session import Client, describe, first_answer, first_of, first_session
from cephmonfs.config.source import shown_source
from cephmonfs.errors import AuthError, CephMonFSError, ConfigError, RequestTimeout, SessionLost
from cephmonfs.fs import workers
from cephmonfs.host import accounts
from cephmonfs.host.unmount import unmount
from cephmonfs.mon.snapshot import State
from cephmonfs.runtime.clock import BootClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.fs.logring import LogRing
    from cephmonfs.mon.snapshot import Snapshot

Ops = TypeVar("Ops", bound=pyfuse3.Operations)

log = logging.getLogger("cephmonfs")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Handlers end by their own deadlines, mostly at once; past this they are cancelled, so that SIGTERM takes < 2 s.
_STOP_PATIENCE_S: Final = 1.0
_UNMOUNT_PATIENCE_S: Final = 1.5
_STATUS_EVERY_S: Final = 0.5  # each answered statfs is a change too


@dataclass(frozen=True, slots=True)
class Parts(Generic[Ops]):
    """What is joined; tests join other things."""

    open_client: Callable[[MountConfig], AbstractAsyncContextManager[Client]]
    make_operations: Callable[[Client, MountConfig, LogRing], Ops]
    run: Callable[[Ops], Awaitable[None]]  # serve until unmounted
    prepare: Callable[[MountConfig], AbstractAsyncContextManager[MountConfig]]  # starts the monitors of demo:


def run_daemon(config: MountConfig, report: Reporter, parts: Parts[Any]) -> int:
    """Run until unmounted or told to stop; returns the exit status."""
    return_large_blocks()
    ring = start_logging(config.log_level, foreground=config.foreground)
    for notice in config.notices:
        log.info("%s", notice)
    os.chdir("/")  # never hold a directory, least of all our own mount point
    os.umask(0o077)
    try:
        return trio.run(partial(serve, config, report, parts, ring), clock=BootClock(), strict_exception_groups=True)
    except BaseException as exc:
        ours = first_of(CephMonFSError, exc)
        if ours is not None:
            status = ours.status if isinstance(ours, ConfigError) else Exit.FAILED
            message = str(ours)
        elif first_of(KeyboardInterrupt, exc):
            status, message = Exit.INTERRUPTED, "interrupted"
        else:
            log.critical("the daemon fails", exc_info=exc)
            status, message = Exit.FAILED, f"internal error: {describe(exc)}"
        if report.told or not config.foreground:  # otherwise the report is the line on stderr
            log.error("%s", message)
        report(status, message)
        return status


async def serve(config: MountConfig, report: Reporter, parts: Parts[Any], ring: LogRing) -> int:
    """Connect, mount, answer.  Failures before the mount are raised."""
    notifier = Notifier()
    user = accounts.look_up(config.run_as) if config.run_as else None
    stop = _Stop()
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop.on_signal, signals)
            async with parts.prepare(config) as prepared, parts.open_client(prepared) as client:
                if prepared.key is not None and prepared.key.weakness:
                    log.info("%s", prepared.key.weakness)
                with stop.before_mount:
                    if not config.bg and not is_handed(config):
                        await first_session(client, config)
                if stop.before_mount.cancel_called:
                    report(Exit.INTERRUPTED, "interrupted")
                    nursery.cancel_scope.cancel()
                    return Exit.INTERRUPTED
                operations = parts.make_operations(client, prepared, ring)
                with workers.enabled(), mounted(operations, config, client.snapshot()):
                    stop.mounted = True
                    restrict(config, user)
                    await answer(operations, config, report, client, notifier, stop, parts)
                log.info("unmounted %s", config.mountpoint)
                notifier.send("STOPPING=1")
            nursery.cancel_scope.cancel()
    return Exit.OK


class _Stop:
    """What a signal does: before the mount it cancels, afterwards it ends the file system."""

    def __init__(self) -> None:
        self.before_mount = trio.CancelScope()
        self.mounted = False
        self.main = trio.CancelScope()

    async def on_signal(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            log.info("%s: ending", signal.Signals(number).name)
            if not self.mounted:
                self.before_mount.cancel()
                continue
            pyfuse3.terminate()
            self.main.deadline = min(self.main.deadline, trio.current_time() + _STOP_PATIENCE_S)


def fuse_options(config: MountConfig, snapshot: Snapshot) -> set[str]:
    """Return what libfuse is told.  The source has no colon: `df -l` takes one for a network file system."""
    fsid = snapshot.fsid or config.fsid or ""
    name = "demo" if config.demo else config.entity.id
    options = {
        f"fsname={shown_source(name, fsid, config.fs, config.pool)}",
        "subtype=cephmon",
        "rw" if config.show_as_rw else "ro",
        "nosuid",
        "nodev",
        "noexec",
        "default_permissions",
    }
    if config.allow_other:
        options.add("allow_other")
    if leaves_unmounting(config):
        options.add("auto_unmount")
    return options


def is_handed(config: MountConfig) -> bool:
    """Tell whether somebody else has made the mount, and gave us /dev/fuse: it answers already, and he unmounts."""
    return config.handed is not None


def leaves_unmounting(config: MountConfig) -> bool:
    """Tell whether fusermount3 stays to unmount when we end: asked for, or needed since we could not any more.

    It unmounts only what says ENOTCONN to it, and to root another user's mount without allow_other says EACCES.
    """
    if is_handed(config):
        return False
    if config.run_as is not None:
        return True
    return config.auto_unmount and (config.allow_other or os.geteuid() == 0)


@contextmanager
def mounted(operations: pyfuse3.Operations, config: MountConfig, snapshot: Snapshot) -> Iterator[None]:
    """Hold the mount.  Raises ConfigError with what libfuse and fusermount3 said."""
    before = _sockets()
    low = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    with captured_output() as said:
        try:
            # libfuse takes such a path for a mount that somebody else has made
            where = config.mountpoint if config.handed is None else f"/dev/fd/{config.handed}"
            # A libfuse (3.17) that mounts by itself starts fusermount3 without the type of the mount: at the end that
            # takes the automount below for ours, opens it, and systemd mounts again, for ever.
            with privileges.without_mounting() if leaves_unmounting(config) else nullcontext():
                pyfuse3.init(operations, where, fuse_options(config, snapshot))
        except RuntimeError as exc:
            text = " ".join(said().split()) or str(exc)
            raise ConfigError(f"mounting on {config.mountpoint} failed: {text}{_remedy(text)}", Exit.FAILED) from exc
    helper = _sockets() - before
    _move_below(low, helper)
    try:
        yield
    finally:
        if leaves_unmounting(config):
            # fusermount3 waits for its end of this socket, unmounts and leaves; it is our child.
            pyfuse3.close(unmount=False)
            for fd in (low, *helper):
                try:
                    os.close(fd)
                except OSError:
                    pass  # a libfuse that has closed it itself
            _wait_for_child()
        elif os.geteuid() == 0 and not is_handed(config):
            pyfuse3.close(unmount=False)
            try:
                unmount(config.mountpoint, lazy=True)  # libfuse would follow a link
            except OSError as exc:
                log.log(logging.DEBUG if exc.errno == errno.EINVAL else logging.WARNING, "umount: %s", exc)
        else:
            pyfuse3.close(unmount=True)


def _move_below(low: int, helper: set[int]) -> None:
    """Hold our end of fusermount3's socket at `low`, below /dev/fuse; where it was, /dev/null keeps the place.

    When we are killed, the kernel lets go of our open files from the last to the first (`exit_files`, `task_work_run`).
    fusermount3, told by the end of its socket, opens the mount and unmounts for ENOTCONN alone: were /dev/fuse still
    open then, it would read ECONNABORTED and leave a dead mount.
    """
    for fd in helper:
        os.dup2(fd, low, inheritable=False)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, fd, inheritable=False)
        os.close(null)


def _remedy(text: str) -> str:
    if "user_allow_other" in text:
        return " (or mount with noallow_other)"
    if "Permission denied" in text or "Operation not permitted" in text:
        from cephmonfs.cli import apparmor

        profile = ", or the AppArmor profile of fusermount3: see dmesg" if apparmor.confined() else ""
        return f" (a container without CAP_SYS_ADMIN{profile})"
    return ""


def _sockets() -> set[int]:
    """Return our open sockets; libfuse keeps one to fusermount3 that it does not tell about."""
    found: set[int] = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _wait_for_child() -> None:
    """Wait for fusermount3, for a moment: when it has gone, so has the mount."""
    deadline = time.monotonic() + _UNMOUNT_PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) != (0, 0):
                return
        except ChildProcessError:
            return
        time.sleep(0.005)
    log.warning("fusermount3 is still unmounting")


@contextmanager
def captured_output() -> Iterator[Callable[[], str]]:
    """Catch what C code and fusermount3 print; what they said while all went well goes to the log.

    fusermount3 stays for as long as the mount: with our own stdout it would keep a pipe of our caller's open.
    """
    memory = os.memfd_create("output", os.MFD_CLOEXEC)
    saved = {fd: os.dup(fd) for fd in (1, 2)}
    for fd in saved:
        os.dup2(memory, fd)

    def said() -> str:
        return os.pread(memory, 4096, 0).decode("utf-8", "replace")

    try:
        yield said
    finally:
        for fd, copy in saved.items():
            os.dup2(copy, fd)
            os.close(copy)
        if text := said().strip():
            log.debug("fuse: %s", text)
        os.close(memory)


def restrict(config: MountConfig, user: accounts.User | None) -> None:
    """Give up what the daemon needs no more."""
    if user is not None:
        privileges.become(user)
        log.info("running as %s", user)
    if leaves_unmounting(config) or is_handed(config):
        privileges.no_new_privs()  # otherwise fusermount3 has yet to unmount for us
    privileges.keep_memory_private()


async def answer(
    operations: pyfuse3.Operations,
    config: MountConfig,
    report: Reporter,
    client: Client,
    notifier: Notifier,
    stop: _Stop,
    parts: Parts[Any],
) -> None:
    """Answer the kernel until the mount ends; tell parent and systemd once it is live."""
    live = trio.Event()
    original = operations.init

    def init() -> None:
        original()
        live.set()

    operations.init = init  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_announce, live, config, report, client, notifier)
        with stop.main:
            await parts.run(operations)
        nursery.cancel_scope.cancel()
    if not live.is_set():
        raise ConfigError(f"{config.mountpoint} was unmounted before it was live", Exit.FAILED)


async def _announce(
    live: trio.Event, config: MountConfig, report: Reporter, client: Client, notifier: Notifier
) -> None:
    await live.wait()
    if is_handed(config) and not config.bg:
        await first_session(client, config)
    log.info("mounted on %s", config.mountpoint)
    report(Exit.OK, "")
    if not config.foreground:
        detach()
    notifier.send("READY=1", f"STATUS={session_status(client.snapshot())}")
    async with trio.open_nursery() as nursery:
        if config.bg:
            nursery.start_soon(_log_first_answer, client)
        if interval := notifier.watchdog_interval_s:
            nursery.start_soon(_watchdog, notifier, interval)
        if notifier.heard:
            nursery.start_soon(_tell_status, notifier, client)


async def _log_first_answer(client: Client) -> None:
    """What a mount that waits would fail with: caps, no such pool.  The session itself tells how connecting goes."""
    try:
        await client.wait_open()
        await first_answer(client)
    except (AuthError, RequestTimeout, SessionLost):
        pass
    except CephMonFSError as exc:
        log.error("%s", exc)


async def _watchdog(notifier: Notifier, interval_s: float) -> None:
    while True:
        notifier.send("WATCHDOG=1")
        await trio.sleep(interval_s)


async def _tell_status(notifier: Notifier, client: Client) -> None:
    seen, told = 0, ""
    while True:
        seen = await client.wait_change(seen)
        status = session_status(client.snapshot())
        if status != told:
            notifier.send(f"STATUS={status}")
            told = status
        await trio.sleep(_STATUS_EVERY_S)


def session_status(snapshot: Snapshot) -> str:
    """One line for `systemctl status`."""
    if snapshot.state is State.OPEN:
        return f"open with {snapshot.mon} ({snapshot.addr}, {snapshot.mode})"
    return f"{snapshot.state}: {snapshot.last_error}" if snapshot.last_error else str(snapshot.state)
