"""What a user put in the wrong place does not come back: every option, every file, every argument of every program.

The tables are complete by construction or fail: a new option, a new program or a new argument has to be entered here.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cephmonfs.cli import mount
from cephmonfs.cli import program as asking
from cephmonfs.cli.ceph import _without
from cephmonfs.cli.main import COMMANDS
from cephmonfs.cli.main import main as cephmonfs
from cephmonfs.config.filesettings import client_options
from cephmonfs.config.mountconfig import resolve
from cephmonfs.config.options import OPTIONS, Option
from cephmonfs.errors import ConfigError
from cephmonfs.model.usertext import censored
from tests.doubles.machine import KEY as GOOD
from tests.doubles.machine import FakeMachine, keyring


def _key(kind: int, size: int) -> str:
    return base64.b64encode(
        struct.pack("<HIIH", kind, 1731234567, 987654321, size) + bytes(range(160, 160 + size))
    ).decode()


AES, AES256K = _key(1, 16), _key(2, 32)
SPELLINGS = {
    "aes": AES,
    "aes256k": AES256K,
    "cut": AES[:22],
    "cut in front": AES256K[5:],
    "URL-encoded": AES.replace("=", "%3D").replace("/", "%2F").replace("+", "%2B"),
    "quoted": f"'{AES}'",
    "with blanks": f"{AES[:13]} {AES[13:27]} {AES[27:]}",
    "as JSON": '[{"entity":"client.df","key":"' + AES + '"}]',
    "in hex": base64.b64decode(AES).hex(),
    "with a path": f"/etc/ceph/{AES}",
    "with the user": f"client.{AES}",
}


def assert_silent(said: str, spelling: str) -> None:
    """No eight characters of it in a row, which is more than enough to search a history with."""
    for key in {spelling, AES, AES256K}:
        for part in re.findall(r"[A-Za-z0-9+/]{8,}", key.replace("/etc/ceph/", "")):
            for at in range(len(part) - 7):
                if part[at : at + 8] not in ("client.d",):
                    assert part[at : at + 8] not in said, said


# ---- options

# How an option is tried: "refused" with a sentence, "taken" as any text is, or "secret".
OUTCOMES = {
    "name": "taken", "secret": "secret", "secretfile": "refused", "keyring": "refused", "conf": "refused",
    "mon_addr": "refused", "fsid": "refused", "ip": "refused", "ms_mode": "refused", "key_type": "refused",
    "fs": "taken", "pool": "taken", "mount_timeout": "refused", "statfs_timeout": "refused", "stale_after": "refused",
    "cmd_timeout": "refused", "refresh": "refused", "bg": "refused", "show_as_rw": "refused", "uid": "refused",
    "gid": "refused", "mode": "refused", "allow_other": "refused", "auto_unmount": "refused", "run_as": "refused",
    "log_level": "refused", "foreground": "refused", "demo_mons": "refused", "demo_seed": "refused",
}  # fmt: skip


def test_every_option_is_in_the_table() -> None:
    assert OUTCOMES.keys() == {option.name for option in OPTIONS}


def _line(option: str, spelling: str) -> str:
    """An option beside others that are good.  Whatever it holds, the rest would do."""
    others = {"name": "df", "secret": GOOD, "mon_addr": "127.0.0.1:9", "conf": "/dev/null", "mount_timeout": "0.2"}
    others.pop(option, None)
    if option in ("secretfile", "keyring"):
        del others["secret"]
    if option == "conf":
        del others["mon_addr"]
    words = [f"{name}={value}" for name, value in others.items()]
    quoted = f'{option}="{spelling}"' if "," in spelling else f"{option}={spelling}"
    return ",".join([*words, "noallow_other", quoted])


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_option_with_a_key(option: Option, how: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spelling = SPELLINGS[how]
    for name in (option.name, *option.aliases):
        line = _line(option.name, spelling).replace(f"{option.name}=", f"{name}=")
        outcome = OUTCOMES[option.name]
        try:
            config = resolve("none", "/mnt", [line], FakeMachine())
        except ConfigError as exc:
            assert_silent(str(exc), spelling)
        else:
            assert outcome != "refused", config
            assert_silent(config.lines(), spelling)
            assert_silent(client_options(config), spelling)
            if outcome == "taken":  # and with bg the mount would show it before anybody knows
                with pytest.raises(ConfigError, match=f"{option.name}=<hidden> could be a key"):
                    resolve("none", "/mnt", [f"{line},bg"], FakeMachine())
            assert_silent(" ".join((*config.warnings, *config.notices, *config.ignored)), spelling)
        status = mount.main(["none", str(tmp_path), "-f", "-v", "-o", line])
        assert (status != 0) or outcome != "refused"
        said = capsys.readouterr()
        assert_silent(said.out + said.err, spelling)


@pytest.mark.parametrize("how", ["aes", "cut", "with blanks", "as JSON"])
@pytest.mark.parametrize("program", ["check", "check --json", "get", "ceph"])
@pytest.mark.parametrize("option", ["name", "secretfile", "keyring", "conf", "mon_addr", "fsid", "pool"])
def test_an_option_of_a_program_with_a_key(
    option: str, program: str, how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cephmonfs.cli.check.check_machine", lambda report: None)
    spelling = SPELLINGS[how]
    if program == "ceph":
        words = {"name": "-n", "keyring": "-k", "conf": "-c", "mon_addr": "-m", "fsid": "--cluster", "pool": "-f"}
        argv = ["ceph", "-c", "/dev/null", "-m", "127.0.0.1:9", "--connect-timeout", "0.2"]
        argv += [words.get(option, "-o"), spelling, "status"]
    else:
        argv = [*program.split(), *(["status"] if program == "get" else []), "none", "-o", _line(option, spelling)]
    assert cephmonfs(argv) != 0
    said = capsys.readouterr()
    assert said.out + said.err
    assert_silent(said.out + said.err, spelling)
    if program == "check --json":
        json.loads(said.out)


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize(
    "shape", ["{}", "{}=1", "x{}", "sekret={}", "no{}", "x-{}", "ceph.{}=1", "comment={}", "key={}"]
)
@pytest.mark.parametrize("sloppy", [False, True])
def test_an_option_that_is_none(shape: str, how: str, sloppy: bool, capsys: pytest.CaptureFixture[str]) -> None:
    spelling = SPELLINGS[how]
    argv = ["demo:", "/proc/nowhere", "-f", "-v", "-o", shape.format(spelling), *(["-s"] if sloppy else [])]
    mount.main(argv)
    said = capsys.readouterr().err
    assert said
    assert_silent(said, spelling)


# ---- sources, and arguments of programs


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize(
    "shape",
    ["{}", "{}@", "df@{}", "df@.{}=", "df@.{}", "{}:/", "a,{}:/", "[v2:{}:3300]:/", "id={}", "/etc/{}", "conf={}"],
)
def test_a_source_with_a_key(shape: str, how: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spelling = SPELLINGS[how]
    options = f"secret={GOOD},mount_timeout=0.2,noallow_other"
    mount.main([shape.format(spelling), str(tmp_path), "-f", "-v", "-o", options])
    said = capsys.readouterr().err
    assert_silent(said, spelling)
    try:
        config = resolve(shape.format(spelling), "/mnt", [f"{options},mon_addr=a"], FakeMachine())
    except ConfigError as exc:
        assert_silent(str(exc), spelling)
    else:
        assert_silent(config.lines(), spelling)


def _on_nothing(*words: str) -> list[str]:
    return [*words, "-o", f"name=df,secret={GOOD},mon_addr=127.0.0.1:9,mount_timeout=0.2"]


# Each program with a key as each of its arguments; `{}` is where.
ARGUMENTS: dict[str, list[list[str]]] = {
    "mount": [["demo:", "/proc/{}"], ["demo:", "/proc/x", "{}"], ["--{}"], ["-{}"], ["{}"], ["demo:", "{}"]],
    "premount": [["demo:", "{}"], ["{}", "/x"], ["{}"], ["--{}"]],
    "umount": [["{}"], ["/proc", "{}"], ["--{}", "/proc"]],
    "check": [["{}"], ["--{}"], ["ceph", "{}"]],
    "get": [_on_nothing("{}", "none"), ["status", "{}"], ["--{}"], ["a", "b", "{}"]],
    "watch": [["{}"], ["--{}"], ["/proc", "{}"]],
    "collect": [["{}"], ["/proc", "{}"], ["/proc", "-o", "{}"], ["--{}"]],
    "ceph": [["--{}"], ["-f", "{}"], ["--connect-timeout", "{}"], ["-c", "{}", "-m", "127.0.0.1:9"], ["-m", "{}", "x"]],
}


def test_every_program_is_in_the_table() -> None:
    assert ARGUMENTS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize(("program", "number"), [(name, n) for name in ARGUMENTS for n in range(len(ARGUMENTS[name]))])
def test_an_argument_with_a_key(
    program: str,
    number: int,
    how: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("cephmonfs.cli.check.check_machine", lambda report: None)
    monkeypatch.setattr("cephmonfs.cli.ceph._TIMEOUT_S", 0.2)
    monkeypatch.chdir(tmp_path)
    spelling = SPELLINGS[how]
    status = cephmonfs([program, *(word.replace("{}", spelling) for word in ARGUMENTS[program][number])])
    said = capsys.readouterr()
    assert status != 0
    assert said.out + said.err
    assert_silent(said.out + said.err, spelling)


@pytest.mark.parametrize("how", SPELLINGS)
def test_what_a_monitor_repeats_of_a_command(how: str) -> None:
    """A word of the command line comes back in the answer, whole or in parts."""
    words = ["osd", "pool", "get", SPELLINGS[how], "size"]
    assert_silent(_without(words, f"unrecognized pool '{SPELLINGS[how]}' (size)"), SPELLINGS[how])
    assert _without(["osd", "", "rbd"], "unrecognized pool 'rbd'") == "unrecognized pool 'rbd'"


@pytest.mark.parametrize("how", SPELLINGS)
def test_a_program_that_is_none(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cephmonfs([SPELLINGS[how]]) == 1
    assert_silent(capsys.readouterr().err, SPELLINGS[how])


def test_parsers_tell_what_is_wrong_without_it() -> None:
    """argparse repeats the words that it does not like."""
    arguments = asking.parser("x", "about")
    arguments.add_argument("--choice", choices=("a", "b"))
    arguments.add_argument("--number", type=int)
    for spelling in SPELLINGS.values():
        for argv in (["--choice", spelling], ["--number", spelling], [spelling], [f"--{spelling}"]):
            with pytest.raises(ConfigError) as caught:
                arguments.parse_args(argv)
            assert_silent(censored(str(caught.value)), spelling)


# ---- files


def _in_conf(text: str) -> Callable[[str], dict[str, str]]:
    return lambda spelling: {"/c": text.format(spelling)}


FILES: dict[str, Callable[[str], dict[str, str]]] = {
    "mon host": _in_conf("[global]\nmon host = {}\n"),
    "mon host among others": _in_conf("[global]\nmon host = a,{}\n"),
    "mon addr": _in_conf("[mon.a]\nmon addr = {}\n"),
    "host": _in_conf("[mon.a]\nhost = {}\n"),
    "fsid": _in_conf("[global]\nfsid = {}\nmon host = a\n"),
    "key": _in_conf("[global]\nkey = {}!\nmon host = a\n"),
    "keyfile": _in_conf("[global]\nkeyfile = {}\nmon host = a\n"),
    "keyring": _in_conf("[global]\nkeyring = {}\nmon host = a\n"),
    "a line": _in_conf("[global]\n{}\n"),
    "all": _in_conf("{}"),
    "section": _in_conf("[{}]\nmon host = a\n"),
    "open section": _in_conf("[{}\n"),
    "srv": _in_conf("[global]\nmon dns srv name = _{}\n"),
    "open quote": _in_conf('[global]\nmon host = "{}\n'),
    "keyring's section": lambda key: {"/k": f"[{key}]\nkey = {key}\n"},
    "keyring's client": lambda key: {"/k": f"[client.{key}]\nkey = {key}\n"},
    "keyring's client twice": lambda key: {"/k": f"[client.{key}]\nkey = {key}\n" * 2},
    "keyring's key": lambda key: {"/k": keyring(key=f"{key}!")},
    "keyring's caps": lambda key: {"/k": f"[client.df]\ncaps {key} = {key}\n"},
    "keyring's line": lambda key: {"/k": f"[client.df]\n{key}\n"},
    "keyring in one line": lambda key: {"/k": f"[client.df] key = {key}\n"},
    "keyring alone": lambda key: {"/k": key},
    "keyring as JSON": lambda key: {"/k": json.dumps([{"entity": "client.df", "key": key, "caps": {}}])},
    "keyring as pretty JSON": lambda key: {"/k": json.dumps({"entity": "client.df", "key": key}, indent=2)},
    "keyring as XML": lambda key: {"/k": f"<auth><key>{key}</key></auth>"},
    "keyring as YAML": lambda key: {"/k": f"- entity: client.df\n  key: {key}\n"},
    "secretfile": lambda key: {"/s": f"{key}!"},
    "secretfile's lines": lambda key: {"/s": f"{key}\n{key}\n"},
    "secretfile as JSON": lambda key: {"/s": json.dumps({"key": key})},
    "secretfile with a name": lambda key: {"/s": f"key = {key}\n"},
    "secretfile is a keyring": lambda key: {"/s": f"[client.{key}]\n{key}\n"},
}
_OPTIONS: dict[str, Sequence[str]] = {
    "/c": ("conf=/c",), "/k": ("keyring=/k", "mon_addr=a"), "/s": ("secretfile=/s", "mon_addr=a")
}  # fmt: skip


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("where", FILES)
def test_a_file_with_a_key(where: str, how: str) -> None:
    spelling = SPELLINGS[how]
    files = FILES[where](spelling)
    (path,) = files
    for source in ("df@", "none"):
        try:
            config = resolve(source, "/mnt", _OPTIONS[path], FakeMachine(dict(files)))
        except ConfigError as exc:
            assert_silent(str(exc), spelling)
        else:
            assert_silent(config.lines(), spelling)
    if path != "/c":
        with pytest.raises(ConfigError) as caught:
            resolve("df@", "/mnt", _OPTIONS[path], FakeMachine(dict(files)))
        if "JSON" in where:
            assert "is JSON" in str(caught.value)
