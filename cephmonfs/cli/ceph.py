"""cephmonfs ceph: the commands of `ceph` that only read, for monitoring tools that want the path of a ceph program.

What may be asked is the monitors' own word: their description of all commands says which need no more than `r`.
stdout and exit status are those of `ceph`.  When no monitor answers it fails; nothing is served from memory.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import shlex
import sys
from typing import TYPE_CHECKING, Final

import trio

from cephmonfs.cli.program import configure, parser, run, run_trio, say, session
from cephmonfs.config.monaddr import parse_targets
from cephmonfs.daemon.connect import first_of, timeout_sentence
from cephmonfs.daemon.fork import Exit
from cephmonfs.errors import AuthError, CephMonFSError, ConfigError, RequestTimeout
from cephmonfs.host import files
from cephmonfs.model.descriptions import parse_descriptions
from cephmonfs.model.signature import NoSuchCommandError, WrongArgumentError, find_command
from cephmonfs.model.usertext import censored, shown
from cephmonfs.wire import limits
from cephmonfs.wire.text import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.daemon.connect import Client
    from cephmonfs.model.descriptions import CommandDescription
    from cephmonfs.model.signature import Request
    from cephmonfs.mon.snapshot import CommandReply

PROGRAM: Final = "ceph"
FORMATS: Final = ("json", "json-pretty", "xml", "xml-pretty", "plain", "yaml")
_TIMEOUT_S: Final = 15.0  # ceph's own is five minutes; a check that hangs is worse than one that fails
_ANSWER_S: Final = 15.0
_USAGE: Final = 2


def main(argv: Sequence[str]) -> int:
    """Run one command."""
    return run(PROGRAM, lambda: _main(argv))


def _parser() -> argparse.ArgumentParser:
    arguments = parser(PROGRAM, "The commands of ceph that only read.  Anything else ends with status 22.")
    arguments.add_argument("-c", "--conf", metavar="FILE", help="ceph.conf (default /etc/ceph/CLUSTER.conf)")
    arguments.add_argument("--cluster", metavar="NAME", default="ceph", help="the cluster's name (default ceph)")
    arguments.add_argument("-n", "--name", metavar="client.NAME", help="the user (default client.admin)")
    arguments.add_argument("--id", "--user", dest="id", metavar="NAME", help="the user without its type")
    arguments.add_argument("-k", "--keyring", metavar="FILE", help="the keyring")
    arguments.add_argument("-m", "--mon-host", "--mon_host", dest="mon_host", metavar="ADDR", help="the monitors")
    arguments.add_argument("-f", "--format", choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    arguments.add_argument("-o", "--out-file", metavar="FILE", help="write the answer there")
    arguments.add_argument("--connect-timeout", metavar="SECONDS", type=float, help="wait for a session")
    arguments.add_argument("-s", "--status", action="store_true", help="the command status")
    arguments.add_argument("-v", "--version", action="store_true", help="the cluster's version")
    arguments.add_argument("--verbose", "--concise", action="store_true", help=argparse.SUPPRESS)
    return arguments


def _main(argv: Sequence[str]) -> int:
    try:
        given, words = _parser().parse_known_args([*argv, *os.environ.get("CEPH_ARGS", "").split()])
    except ConfigError as exc:
        say(PROGRAM, str(exc))
        return _USAGE
    if "--" in words:
        words.remove("--")
    if given.status:
        words = ["status", *words]
    elif given.version:
        words = ["version"]
    if not words:
        return _refuse("no command: it has no interactive mode", None, None)
    config = _configure(given)
    try:
        return run_trio(_ask, config, words, given.format, given.out_file)
    except BaseException as exc:
        if (refused := first_of(AuthError, exc)) is not None:
            say(PROGRAM, str(refused))
            return errno.EACCES
        if (ours := first_of(CephMonFSError, exc)) is not None:
            say(PROGRAM, str(ours))
            return 1
        raise


def _configure(given: argparse.Namespace) -> MountConfig:
    conf = given.conf or os.environ.get("CEPH_CONF") or f"/etc/ceph/{given.cluster}.conf"
    options = [f"conf={conf}"] if given.conf or os.path.exists(conf) else []
    name = given.name or given.id
    if name:
        options.append(f"name={name}")
    keyring = given.keyring or os.environ.get("CEPH_KEYRING")
    if keyring:
        options.append(f"keyring={keyring}")
    if given.mon_host:
        targets = "/".join(str(target) for target in parse_targets(given.mon_host, "--mon-host"))
        options.append(f"mon_addr={targets}")
    return configure("ceph", options, given.connect_timeout or _TIMEOUT_S)


async def _ask(config: MountConfig, words: list[str], wanted: str | None, out_file: str | None) -> int:
    async with session(config) as (client, prepared):
        with trio.move_on_after(prepared.mount_timeout) as scope:
            await client.wait_open()
        if scope.cancelled_caught:
            raise RequestTimeout(timeout_sentence(client.snapshot(), prepared, client.resolve_error))
        answer = await _command(client, {"prefix": "get_command_descriptions", "format": "json"})
        try:
            request = find(parse_descriptions(answer.data), words)
        except RefusedError as exc:
            return _refuse(str(exc), wanted, out_file)
        if wanted is not None:
            request["format"] = wanted
        reply = await _command(client, request)
    return _print(reply, words, wanted, out_file)


async def _command(client: Client, request: Mapping[str, object]) -> CommandReply:
    """A monitor that does not answer gets no benefit of the doubt."""
    with trio.move_on_after(_ANSWER_S):
        return await client.command(request)
    raise RequestTimeout(f"no monitor answered `{request['prefix']}` within {_ANSWER_S:g} s")


def _begin(wanted: str | None, out_file: str | None) -> None:
    """Print an empty line before JSON, as `ceph` does even before no answer: readers of old skip a first line."""
    if wanted is not None and wanted.startswith("json") and out_file is None:
        print(flush=True)


def _print(reply: CommandReply, words: Sequence[str], wanted: str | None, out_file: str | None) -> int:
    _begin(wanted, out_file)
    if reply.result < 0:
        name = errno.errorcode.get(-reply.result, str(-reply.result))
        print(f"Error {name}: {_without(words, reply.text)}", file=sys.stderr)
        return min(-reply.result, 255)
    if reply.text:
        print(_without(words, reply.text), file=sys.stderr)
    if out_file and out_file != "-":
        with open(files.overwrite(out_file), "wb") as file:
            file.write(reply.data)
        return Exit.OK
    sys.stdout.buffer.write(reply.data)
    sys.stdout.buffer.flush()
    return Exit.OK


def _without(words: Sequence[str], text: str) -> str:
    """Return what a monitor says without what could be a key: it repeats what it was asked."""
    for word in words:
        text = text.replace(word, shown(word)) if word else text
    return censored(lines(text))


def _refuse(sentence: str, wanted: str | None, out_file: str | None) -> int:
    _begin(wanted, out_file)
    print(
        f"cephmonfs ceph: {one_line(censored(sentence), limits.MAX_NAME)}\nError EINVAL: invalid command",
        file=sys.stderr,
    )
    return errno.EINVAL


# ---- which command


class RefusedError(Exception):
    """The words are no command that only reads; the text says why."""


def find(descriptions: Sequence[CommandDescription], words: Sequence[str]) -> Request:
    """Return the request for these words.  Raises RefusedError."""
    text = shlex.join(map(shown, words))
    try:
        description, request = find_command(descriptions, words)
    except WrongArgumentError as exc:
        raise RefusedError(str(exc)) from None
    except NoSuchCommandError:
        known = sorted({" ".join(one.prefix) for one in descriptions if one.permission == "r"})
        close = difflib.get_close_matches(" ".join(words), known, n=5, cutoff=0.4)
        hint = f"; near it: {', '.join(close)}" if close else ""
        raise RefusedError(f"the monitors know no command `{text}`{hint}") from None
    if description.permission != "r":
        raise RefusedError(f"`{text}` needs more than to read: this stand-in for ceph never changes anything")
    return request
