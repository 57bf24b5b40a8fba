"""Shared by the programs beside the mount: command lines, a short session, errors as one line."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import trio

from cephmonfs.config.machine import LocalMachine
from cephmonfs.config.mountconfig import MountConfig, resolve
from cephmonfs.daemon.connect import Client, connect, describe, first_of, prepare
from cephmonfs.daemon.fork import Exit
from cephmonfs.errors import CephMonFSError, ConfigError
from cephmonfs.host import journal
from cephmonfs.model.usertext import censored, shown
from cephmonfs.wire import limits
from cephmonfs.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    T = TypeVar("T")

DEFAULT_SOURCE: Final = "ceph"
SOURCE_HELP: Final = "whom to ask, as for the mount (default: ceph, everything from ceph.conf)"
ASK_TIMEOUT_S: Final = 15.0  # a person waits


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        what, colon, words = message.partition(": ")
        raise ConfigError(f"{what}{colon}{shown(words)}; {' '.join(self.format_usage().split())}")


def parser(program: str, about: str) -> argparse.ArgumentParser:
    """Make a parser that raises ConfigError."""
    return _Parser(prog=f"cephmonfs {program}", description=about)


def add_source(arguments: argparse.ArgumentParser) -> None:
    """Add SOURCE and -o."""
    arguments.add_argument("source", metavar="SOURCE", nargs="?", default=DEFAULT_SOURCE, help=SOURCE_HELP)
    arguments.add_argument(
        "-o", dest="options", metavar="OPTIONS", action="append", default=[], help="options, as for the mount"
    )


def configure(source: str, options: Sequence[str], timeout_s: float = ASK_TIMEOUT_S) -> MountConfig:
    """Resolve for a program that does not mount: what only a mount needs counts for nothing."""
    return resolve(source, "", [f"mount_timeout={timeout_s:g},noallow_other", *options], LocalMachine())


@asynccontextmanager
async def session(config: MountConfig) -> AsyncIterator[tuple[Client, MountConfig]]:
    """Run a client on a config; it is not connected yet."""
    async with prepare(config) as prepared, connect(prepared) as client:
        yield client, prepared


def run(program: str, work: Callable[[], int]) -> int:
    """Run a program's body; errors become a line on stderr and a status."""
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        return work()
    except BrokenPipeError:
        sys.stderr.close()  # Python would complain at exit that stdout cannot be flushed
        return Exit.OK
    except BaseException as exc:
        if first_of(SystemExit, exc) is not None:
            raise
        ours = first_of(CephMonFSError, exc)
        if ours is not None:
            say(program, str(ours))
            return ours.status if isinstance(ours, ConfigError) else Exit.FAILED
        if first_of(KeyboardInterrupt, exc) is not None:
            return Exit.INTERRUPTED
        if first_of(BrokenPipeError, exc) is not None:
            sys.stderr.close()
            return Exit.OK
        if (os_error := first_of(OSError, exc)) is not None:
            say(
                program,
                f"{shown(str(os_error.filename))}: {os_error.strerror}" if os_error.filename else describe(os_error),
            )
            return Exit.FAILED
        raise


def run_trio(work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run an async function."""
    return trio.run(work, *arguments, strict_exception_groups=True)


def say(program: str, line: str, priority: int = journal.ERROR) -> None:
    """Tell the user one line."""
    text = one_line(f"cephmonfs {program}: {censored(line)}", limits.MAX_NAME)
    print(journal.marked(text, priority) if journal.listens() else text, file=sys.stderr, flush=True)
