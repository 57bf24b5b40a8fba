"""cephmonfs: the command beside the mount helper."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import TYPE_CHECKING, Final, cast

from cephmonfs import __version__
from cephmonfs.cli.columns import fitted
from cephmonfs.cli.secrets import hide_secrets
from cephmonfs.daemon.fork import Exit
from cephmonfs.daemon.loading import loading
from cephmonfs.host.process import set_name
from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAM: Final = "cephmonfs"
# name -> (module with a main(argv) -> status, one line for the help).  Loaded only when called.
COMMANDS: Final = {
    "mount": ("cephmonfs.cli.mount", "mount a view of a cluster: cephmonfs mount SOURCE DIR [-o OPTIONS]"),
    "premount": ("cephmonfs.cli.premount", "for systemd: mount, and leave the serving to a service without privileges"),
    "umount": ("cephmonfs.cli.umount", "unmount, and wait until the daemon has gone: cephmonfs umount DIR [--lazy]"),
    "check": ("cephmonfs.cli.check", "say what is wrong, without mounting: cephmonfs check [SOURCE] [-o OPTIONS]"),
    "get": ("cephmonfs.cli.get", "print one of the files without mounting: cephmonfs get PATH [SOURCE] [-o OPTIONS]"),
    "watch": ("cephmonfs.cli.watch", "one live screen of a mount: cephmonfs watch DIR"),
    "collect": ("cephmonfs.cli.collect", "pack a support bundle without secrets: cephmonfs collect DIR"),
    "ceph": ("cephmonfs.cli.ceph", "the commands of `ceph` that only read: cephmonfs ceph -s -f json"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to a command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    hide_secrets()
    set_name(PROGRAM)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(_help(), end="")
        return Exit.OK if arguments else Exit.USAGE
    if name in ("-V", "--version", "version"):
        print(f"cephmonfs {__version__}")
        return Exit.OK
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f': did you mean "{near[0]}"?' if near else "; cephmonfs --help lists them"
        print(f'cephmonfs: unknown command "{shown(name)}"{hint}', file=sys.stderr)
        return Exit.USAGE
    with loading():
        command = cast("Callable[[Sequence[str]], int]", importlib.import_module(COMMANDS[name][0]).main)
    return command(arguments[1:])


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = "".join(f"  {name:<{width}}{line}\n" for name, (_, line) in COMMANDS.items())
    return fitted(f"usage: cephmonfs COMMAND ...\n\n{rows}\n`cephmonfs COMMAND --help` tells more.\n")


if __name__ == "__main__":
    sys.exit(main())
