"""The daemon: joins session, mount, file system, signals and systemd.

Order of a start: signals, session (unless bg), mount, privileges given up, the kernel's INIT, verdict, detached.
Order of an end, whether by umount or by a signal: the file system stops, the mount goes, the session closes.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio

from cephmonfs.daemon.connect import Client, describe, first_answer, first_of, first_session
from cephmonfs.daemon.fork import Exit, Reporter, detach
from cephmonfs.daemon.logs import start_logging
from cephmonfs.daemon.memory import return_large_blocks
from cephmonfs.daemon.notify import Notifier
from cephmonfs.errors import CephMonFSError, ConfigError
from cephmonfs.fuse import mount, workers
from cephmonfs.fuse.refusals import ReadOnly
from cephmonfs.host import accounts, privileges
from cephmonfs.mon.snapshot import State
from cephmonfs.runtime.clock import BootClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.files.logring import LogRing
    from cephmonfs.mon.snapshot import Snapshot

Ops = TypeVar("Ops", bound=ReadOnly)

log = logging.getLogger("cephmonfs")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Handlers end by their own deadlines; after this time they are cancelled, so that SIGTERM takes < 2 s.
_STOP_PATIENCE_S: Final = 1.0
_STATUS_EVERY_S: Final = 0.5  # each answered statfs is a change too


@dataclass(frozen=True, slots=True)
class Components(Generic[Ops]):
    """What `serve` joins; tests pass their own."""

    open_client: Callable[[MountConfig], AbstractAsyncContextManager[Client]]
    make_operations: Callable[[Client, MountConfig, LogRing], Ops]
    run: Callable[[Ops], Awaitable[None]]  # serve until unmounted
    prepare: Callable[[MountConfig], AbstractAsyncContextManager[MountConfig]]  # starts the monitors of demo:


def run_daemon(config: MountConfig, report: Reporter, components: Components[Any]) -> int:
    """Run until unmounted or signalled; return the exit status."""
    return_large_blocks()
    ring = start_logging(config.log_level, foreground=config.foreground)
    for notice in config.notices:
        log.info("%s", notice)
    os.chdir("/")  # never hold a directory, least of all our own mount point
    os.umask(0o077)
    try:
        return trio.run(
            partial(serve, config, report, components, ring), clock=BootClock(), strict_exception_groups=True
        )
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


async def serve(config: MountConfig, report: Reporter, components: Components[Any], ring: LogRing) -> int:
    """Connect, mount, answer.  Failures before the mount are raised."""
    notifier = Notifier()
    user = accounts.look_up(config.run_as) if config.run_as else None
    stop = _Stop()
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop.on_signal, signals)
            async with components.prepare(config) as prepared, components.open_client(prepared) as client:
                if prepared.key is not None and prepared.key.weakness:
                    log.info("%s", prepared.key.weakness)
                with stop.before_mount:
                    if not config.bg and not mount.is_handed(config):
                        await first_session(client, config)
                if stop.before_mount.cancel_called:
                    report(Exit.INTERRUPTED, "interrupted")
                    nursery.cancel_scope.cancel()
                    return Exit.INTERRUPTED
                operations = components.make_operations(client, prepared, ring)
                with workers.enabled(), mount.mounted(operations, config, client.snapshot()):
                    stop.mounted = True
                    restrict(config, user)
                    await answer(operations, config, report, client, notifier, stop, components)
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
            mount.end()
            self.main.deadline = min(self.main.deadline, trio.current_time() + _STOP_PATIENCE_S)


def restrict(config: MountConfig, user: accounts.User | None) -> None:
    """Give up privileges that the daemon no longer needs."""
    if user is not None:
        privileges.become(user)
        log.info("running as %s", user)
    if mount.leaves_unmounting(config) or mount.is_handed(config):
        privileges.no_new_privs()  # otherwise fusermount3 has yet to unmount for us
    privileges.keep_memory_private()


async def answer(
    operations: ReadOnly,
    config: MountConfig,
    report: Reporter,
    client: Client,
    notifier: Notifier,
    stop: _Stop,
    components: Components[Any],
) -> None:
    """Answer the kernel until the mount ends; report to parent and systemd once it is live."""
    live = trio.Event()
    operations.on_live = live.set
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_announce, live, config, report, client, notifier)
        with stop.main:
            await components.run(operations)
        nursery.cancel_scope.cancel()
    if not live.is_set():
        raise ConfigError(f"{config.mountpoint} was unmounted before it was live", Exit.FAILED)


async def _announce(
    live: trio.Event, config: MountConfig, report: Reporter, client: Client, notifier: Notifier
) -> None:
    await live.wait()
    if mount.is_handed(config) and not config.bg:
        await first_session(client, config)
    log.info("mounted on %s", config.mountpoint)
    report(Exit.OK, "")
    if not config.foreground:
        detach()
    notifier.send("READY=1", f"STATUS={session_status(client.snapshot())}")
    async with trio.open_nursery() as nursery:
        if config.bg:
            nursery.start_soon(_ask_first, client)
        if interval := notifier.watchdog_interval_s:
            nursery.start_soon(_watchdog, notifier, interval)
        if notifier.heard:
            nursery.start_soon(_tell_status, notifier, client)


async def _ask_first(client: Client) -> None:
    """Send the statfs of a mount without `bg`: the session then reports wrong caps, pool or file system."""
    try:
        await client.wait_open()
        await first_answer(client)
    except CephMonFSError:
        pass


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
