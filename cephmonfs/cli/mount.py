"""mount.cephmon: from a command line or a line of fstab to a daemon that answers."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cephmonfs import __version__
from cephmonfs.cli.args import help_text, parse_args
from cephmonfs.cli.remount import asks_remount, remount
from cephmonfs.cli.secrets import hide_secrets
from cephmonfs.config.machine import LocalMachine
from cephmonfs.config.mountconfig import MountConfig, resolve
from cephmonfs.daemon.fork import Exit, Reporter, start_daemon
from cephmonfs.daemon.loading import loading
from cephmonfs.daemon.notify import handed_over
from cephmonfs.errors import ConfigError
from cephmonfs.host import journal
from cephmonfs.host.mountpoint import check_fuse, check_mountpoint, is_mounted_already, set_path, settle
from cephmonfs.host.process import set_name
from cephmonfs.model.usertext import censored
from cephmonfs.wire import limits
from cephmonfs.wire.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Serve = Callable[[MountConfig, Reporter], int]

PROGRAM: Final = "mount.cephmon"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the helper; returns mount(8)'s exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    hide_secrets()
    set_name(PROGRAM)
    set_path()
    try:
        return run(arguments, _serve)
    except ConfigError as exc:
        say(str(exc))
        return exc.status
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED


def run(argv: Sequence[str], serve: Serve) -> int:
    """Do what the command line says; `serve` mounts and answers, in the daemon.  Raises ConfigError."""
    args = parse_args(argv)
    if args.help or args.version:
        print(help_text() if args.help else f"{PROGRAM} {__version__}", end="" if args.help else "\n")
        return Exit.OK
    if asks_remount(args):
        remount(args)
        return Exit.OK
    handed = handed_over()
    config = resolve(
        args.source, settle(args.mountpoint), args.option_lists, LocalMachine(), sloppy=args.sloppy, handed=handed
    )
    for warning in config.warnings:
        say(warning, journal.WARNING)
    if args.verbose and config.ignored:
        say(f"without effect here: {', '.join(config.ignored)}", journal.INFO)
    if handed is not None:
        return serve(replace(config, foreground=True), _ForegroundReporter())
    check_fuse()
    if is_mounted_already(config.mountpoint):
        return Exit.OK
    if not args.fake and (note := check_mountpoint(config.mountpoint)):
        say(note, journal.WARNING)
    if args.fake:
        return Exit.OK
    if config.foreground:
        return serve(config, _ForegroundReporter())
    gc.freeze()  # so that neither the daemon nor the end of this process, which mount(8) waits for, goes through it all
    verdict = start_daemon(lambda report: serve(config, report))
    if verdict.status != Exit.OK:
        say(verdict.message)
    elif args.verbose:
        say(f"{config.source} is mounted on {config.mountpoint}", journal.INFO)
    return verdict.status


def say(line: str, priority: int = journal.ERROR) -> None:
    """Tell the user one line."""
    text = one_line(f"{PROGRAM}: {censored(line)}", limits.MAX_NAME)
    print(journal.marked(text, priority) if journal.listens() else text, file=sys.stderr, flush=True)


class _ForegroundReporter(Reporter):
    """Report a failure on stderr: in the foreground no parent waits at a pipe."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.told = False

    def __call__(self, status: int, message: str) -> None:
        if status != Exit.OK and not self.told:
            say(message)
        self.told = True


def _serve(config: MountConfig, report: Reporter) -> int:
    # trio and pyfuse3 are loaded only in the process that will use them, after the fork.
    with loading():
        from cephmonfs.daemon.components import real_components
        from cephmonfs.daemon.serve import run_daemon

    return run_daemon(config, report, real_components())


if __name__ == "__main__":
    sys.exit(main())
