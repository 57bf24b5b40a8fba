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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from cephmonfs.cli.asking import configure, parser, run, run_trio, say, session
from cephmonfs.cli.daemon import Exit
from cephmonfs.cli.session import first_of, timeout_sentence
from cephmonfs.config.monaddr import parse_targets
from cephmonfs.errors import AuthError, CephMonFSError, ConfigError, RequestTimeout
from cephmonfs.model import descriptions
from cephmonfs.model.usertext import censored, shown
from cephmonfs.wire import limits
from cephmonfs.wire.text import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cephmonfs.cli.session import Client
    from cephmonfs.config.mountconfig import MountConfig
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
    return arguments


def _main(argv: Sequence[str]) -> int:
    try:
        given, words = _parser().parse_known_args([*shlex.split(os.environ.get("CEPH_ARGS", "")), *argv])
    except ConfigError as exc:
        say(PROGRAM, str(exc))
        return _USAGE
    words = [word for word in words if word != "--"]
    if given.status:
        words = ["status"]
    elif given.version:
        words = ["version"]
    if not words:
        return _refuse("no command: it has no interactive mode")
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
        except NoSuchCommandError as exc:
            return _refuse(str(exc))
        if wanted is not None:
            request["format"] = wanted
        reply = await _command(client, request)
    return _print(reply, words, wanted, out_file)


async def _command(client: Client, request: Mapping[str, object]) -> CommandReply:
    """A monitor that does not answer gets no benefit of the doubt."""
    with trio.move_on_after(_ANSWER_S):
        return await client.command(request)
    raise RequestTimeout(f"no monitor answered `{request['prefix']}` within {_ANSWER_S:g} s")


def _print(reply: CommandReply, words: Sequence[str], wanted: str | None, out_file: str | None) -> int:
    if wanted is not None and wanted.startswith("json") and out_file in (None, "-"):
        print(flush=True)  # as ceph does, even before no answer: readers of old skip a first line
    if reply.result < 0:
        name = errno.errorcode.get(-reply.result, str(-reply.result))
        print(f"Error {name}: {_without(words, reply.text)}", file=sys.stderr)
        return min(-reply.result, 255)
    if reply.text:
        print(_without(words, reply.text), file=sys.stderr)
    if out_file and out_file != "-":
        with open(out_file, "wb") as file:
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


def _refuse(sentence: str) -> int:
    print(
        f"cephmonfs ceph: {one_line(censored(sentence), limits.MAX_NAME)}\nError EINVAL: invalid command",
        file=sys.stderr,
    )
    return errno.EINVAL


# ---- the monitors' description of their commands


class NoSuchCommandError(Exception):
    """The words are no command that only reads; the text says why."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command."""

    name: str
    type: str
    optional: bool
    many: bool
    choices: tuple[str, ...]

    def value(self, word: str) -> Any:
        """Return the word as the monitors want it.  Raises ValueError."""
        if self.choices and word not in self.choices:
            raise ValueError(f"{shown(word)}: wanted one of {', '.join(self.choices)}")
        match self.type:
            case "CephInt":
                return int(word)
            case "CephFloat":
                return float(word)
            case "CephBool":
                if word.lower() not in ("true", "false", "yes", "no", "1", "0"):
                    raise ValueError(f"{shown(word)}: wanted true or false")
                return word.lower() in ("true", "yes", "1")
        return word


@dataclass(frozen=True, slots=True)
class Description:
    """One command."""

    prefix: tuple[str, ...]
    arguments: tuple[Argument, ...]
    reads_only: bool

    def request(self, words: Sequence[str]) -> dict[str, Any]:
        """Build the command from the words after the prefix.  Raises ValueError when they do not fit."""
        request: dict[str, Any] = {"prefix": " ".join(self.prefix)}
        left = list(words)
        named = {argument.name: argument for argument in self.arguments}
        for word in words:
            name, equals, value = word.removeprefix("--").partition("=")
            argument = named.get(name.replace("-", "_"))
            if word.startswith("--") and argument is not None:
                request[argument.name] = argument.value(value if equals else "true")
                left.remove(word)
        for argument in self.arguments:
            if argument.name in request:
                continue
            if not left:
                if not argument.optional:
                    raise ValueError(f"{argument.name} is missing")
                continue
            try:
                if argument.many:
                    request[argument.name], left = [argument.value(word) for word in left], []
                else:
                    request[argument.name] = argument.value(left[0])
                    del left[0]
            except ValueError:
                if not argument.optional:
                    raise
        if left:
            raise ValueError(f"{shown(left[0])} is one word too many")
        return request


def parse_descriptions(data: bytes) -> list[Description]:
    """Read the answer to get_command_descriptions; entries of another shape are left out."""
    return [
        Description(
            told.prefix,
            tuple(Argument(a.name, a.type, a.optional, a.many, a.choices) for a in told.arguments),
            told.permission == "r",
        )
        for told in descriptions.parse_descriptions(data)
    ]


def find(descriptions: Sequence[Description], words: Sequence[str]) -> dict[str, Any]:
    """Return the request for these words.  Raises NoSuchCommandError."""
    text = shlex.join(map(shown, words))
    near = [d for d in descriptions if tuple(words[: len(d.prefix)]) == d.prefix]
    near.sort(key=lambda description: -len(description.prefix))
    problem = ""
    for description in near:
        try:
            request = description.request(words[len(description.prefix) :])
        except ValueError as exc:
            problem = problem or f"`{' '.join(description.prefix)}`: {shown(str(exc))}"
            continue
        if not description.reads_only:
            raise NoSuchCommandError(f"`{text}` needs more than to read: this stand-in for ceph never changes anything")
        return request
    if problem:
        raise NoSuchCommandError(problem)
    known = sorted({" ".join(d.prefix) for d in descriptions if d.reads_only})
    close = difflib.get_close_matches(" ".join(words), known, n=5, cutoff=0.4)
    hint = f"; near it: {', '.join(close)}" if close else ""
    raise NoSuchCommandError(f"the monitors know no command `{text}`{hint}")
