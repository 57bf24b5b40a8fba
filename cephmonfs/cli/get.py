"""cephmonfs get: one of the files without mounting, with the same tree and the same renderers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import trio

from cephmonfs.cli.program import add_source, configure, parser, run, run_trio, say, session
from cephmonfs.config.filesettings import fs_settings
from cephmonfs.daemon.connect import first_session
from cephmonfs.daemon.fork import Exit
from cephmonfs.daemon.logs import start_logging
from cephmonfs.errors import NoData, NotPermitted
from cephmonfs.files.tree import Kind
from cephmonfs.fuse.reader import Reader, no_such_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.files.tree import Node

PROGRAM = "get"


def main(argv: Sequence[str]) -> int:
    """Print a file, or list a directory."""
    return run(PROGRAM, lambda: _main(argv))


def _main(argv: Sequence[str]) -> int:
    arguments = parser(PROGRAM, "Prints one of the files of a mount without mounting; lists a directory.")
    arguments.add_argument("path", metavar="PATH", help="as below the mount point: status, mon/a/rtt_ms, ceph/df.json")
    add_source(arguments)
    given = arguments.parse_intermixed_args(argv)
    return run_trio(_get, given.path, configure(given.source, given.options))


async def _get(path: str, config: MountConfig) -> int:
    ring = start_logging("info", foreground=False, syslog="")
    async with session(config) as (client, prepared), trio.open_nursery() as nursery:
        await first_session(client, prepared)
        reader = Reader(client, fs_settings(prepared), ring)
        await nursery.start(reader.run)
        node = await reader.find(path)
        if node is None:
            raise no_such_file(path)
        try:
            await _print(reader, node)
            status: int = Exit.OK
        except (NoData, NotPermitted) as exc:
            say(PROGRAM, f"{node}: {exc}")
            status = Exit.USAGE
        nursery.cancel_scope.cancel()
    return status


async def _print(reader: Reader, node: Node) -> None:
    if node.is_directory:
        children = await reader.listed(node)
        _write("".join(f"{name}{'/' if child.is_directory else ''}\n" for name, child in sorted(children.items())))
    elif node.row.kind is Kind.STREAM:
        async for chunk in reader.events():
            _write(chunk)
    else:
        _write(await reader.read(node))


def _write(content: str | bytes) -> None:
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
