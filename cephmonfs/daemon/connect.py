"""A session from a MountConfig: what the mount, `check`, `get` and `ceph` have in common.  Knows no FUSE."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from cephmonfs.config.monaddr import PORT_V1, MsMode
from cephmonfs.errors import NotPermitted, RequestTimeout, SessionLost
from cephmonfs.files.source import Source
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import AddrType
from cephmonfs.mon.connection import NOT_ITS_OWN
from cephmonfs.mon.snapshot import State
from cephmonfs.msgr.events import Mode
from cephmonfs.runtime.client import open_client
from cephmonfs.runtime.configured import ConfiguredMonitors, session_config
from cephmonfs.runtime.remembered import DIRECTORY, Remembered

if TYPE_CHECKING:
    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.mon.snapshot import Snapshot

E = TypeVar("E", bound=BaseException)

_FIRST_ANSWER_S: Final = 5.0
_SILENT_S: Final = 2.5  # the session needs 1.5 s to detect missing caps
_MOST_MONS: Final = 5  # whose failures one line holds
_KERNEL_MOUNT_TIMEOUT_S: Final = 60.0
_REMEMBERED_PRIORITY: Final = 1 << 16  # after everything that was given


class Client(Source, Protocol):
    """The session as this module needs it: the file system's view, and the wait for the first session."""

    @property
    def resolve_error(self) -> str:
        """Why no monitor's address is known, empty when one is."""
        ...

    async def wait_open(self) -> None:
        """Return once a session is open.  Raises AuthError or ConfigError when waiting is useless."""
        ...


@asynccontextmanager
async def prepare(config: MountConfig) -> AsyncIterator[MountConfig]:
    """For `demo:`, run the embedded monitors and use their addresses and key."""
    if config.demo is None:
        yield config
        return
    from cephmonfs.config.monaddr import MonTarget
    from cephmonfs.demo.monitors import DemoSettings, run_monitors

    settings = DemoSettings(mons=config.demo.mons, seed=config.demo.seed, key_type=KeyType[config.key_type.upper()])
    async with run_monitors(settings) as demo:
        targets = tuple(MonTarget(host, port, "v2") for _, host, port in demo.addrs)
        yield config.effective(targets=targets, entity=demo.entity, key=demo.key, fsid=str(demo.fsid))


@asynccontextmanager
async def connect(config: MountConfig) -> AsyncIterator[Client]:
    """Open the session, with what earlier mounts learned and for later ones."""
    session = session_config(config)
    if config.demo is not None:
        async with open_client(session, ConfiguredMonitors(config)) as client:
            yield client
        return
    # systemd's StateDirectory= for a service that may write nowhere else
    remembered = Remembered(config, Path(os.environ.get("STATE_DIRECTORY") or DIRECTORY))
    kind = AddrType.LEGACY if session.identity.modes == (Mode.LEGACY,) else AddrType.MSGR2
    monitors = ConfiguredMonitors(config, remembered.candidates(kind, _REMEMBERED_PRIORITY))
    if config.bg:
        remembered.open()  # when there is a session, privileges are gone
    try:
        async with open_client(session, monitors, remember=remembered, local=config.ip) as client:
            yield client
    finally:
        remembered.close()


async def first_session(client: Client, config: MountConfig) -> None:
    """Wait for it, and for a first answer.

    Raises RequestTimeout with what happened at each monitor, or the monitors' final answer: a refused key,
    caps that do not cover a statfs, no such pool or file system.
    """
    opened = False
    with trio.move_on_after(config.mount_timeout):
        await client.wait_open()
        opened = True
        with trio.move_on_after(_FIRST_ANSWER_S):
            try:
                await first_answer(client)
            except (RequestTimeout, SessionLost):
                pass  # there was a session; from here on session/last_error has the reason
    if not opened:
        raise RequestTimeout(timeout_sentence(client.snapshot(), config, client.resolve_error))


async def first_answer(client: Client) -> None:
    """Wait for a statfs.  Raises NotPermitted when the caps do not cover it.

    A monitor answers such a statfs with silence, and an error to a command that wants the same caps.  Where the caps
    cover not even small commands the session has found out by itself by then.
    """
    with trio.move_on_after(_SILENT_S):
        await client.statfs()
        return
    reply = await client.command({"prefix": "pg stat", "format": "json"})
    if reply.result == -errno.EACCES:
        entity = client.snapshot().entity
        raise NotPermitted(
            f"{entity} may connect but not ask for the space: it needs mon 'allow r' (or at least 'allow service pg r')"
        )
    await client.statfs()


def timeout_sentence(snapshot: Snapshot, config: MountConfig, resolve_error: str = "") -> str:
    """Say which monitors were tried and what each of them did; or why there were none to try."""
    if snapshot.state is State.REFUSED and snapshot.last_error:
        return snapshot.last_error
    if resolve_error and not snapshot.last_error:
        return resolve_error
    if not config.targets and config.dns_srv and not snapshot.last_error:
        return f"no monitor address: no name server answered within {config.mount_timeout:g} s for {config.dns_srv}"
    tried = list(dict.fromkeys(snapshot.errors.values()))
    tried += [f"{target}: no answer" for target in config.targets if not any(str(target) in error for error in tried)]
    tried = tried or [snapshot.last_error or "no answer"]
    count = max(len(tried), len(snapshot.mons) or len(config.targets))
    who = "the monitor did not answer" if count == 1 else f"none of {count} monitors answered"
    more = f"; and {len(tried) - _MOST_MONS} more" if len(tried) > _MOST_MONS else ""
    return f"{who} in {config.mount_timeout:g} s: {'; '.join(tried[:_MOST_MONS])}{more}{_advice(tried, config)}"


def _advice(tried: Sequence[str], config: MountConfig) -> str:
    """What to do, where that shows in what all monitors did."""
    if config.ms_mode is not MsMode.LEGACY and config.notices and any(": connect: " in error for error in tried):
        return f". Monitors that speak only the v1 protocol, at port {PORT_V1}, want ms_mode=legacy"
    if any(": auth: " in error and "closed" in error and NOT_ITS_OWN not in error for error in tried):
        return ". Monitors that break off there have no quorum: ceph daemon mon.NAME mon_status, on their hosts"
    return ""


def first_of(kind: type[E], exc: BaseException) -> E | None:
    """Find an exception of a kind in a group, or the exception itself."""
    if isinstance(exc, kind):
        return exc
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            if (found := first_of(kind, inner)) is not None:
                return found
    return None


def describe(exc: BaseException) -> str:
    """Name the innermost exceptions of a group."""
    if isinstance(exc, BaseExceptionGroup):
        return ", ".join(describe(inner) for inner in exc.exceptions)
    return f"{type(exc).__name__}: {exc}"
