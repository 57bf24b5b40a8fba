"""The command line, and what /proc shows of it."""

from __future__ import annotations

import pytest

from cephmonfs import __version__
from cephmonfs.cli import main as cephmonfs
from cephmonfs.cli import mount
from cephmonfs.cli.args import USAGE, MountArgs, help_text, parse_args
from cephmonfs.config.options import OPTIONS
from cephmonfs.errors import ConfigError


@pytest.mark.parametrize(
    ("argv", "args"),
    [
        ("a:/ /mnt", MountArgs("a:/", "/mnt", ())),
        ("a:/ /mnt -o rw,bg", MountArgs("a:/", "/mnt", ("rw,bg",))),
        ("-o bg a:/ -v /mnt -o fs=x", MountArgs("a:/", "/mnt", ("bg", "fs=x"), verbose=True)),
        ("a:/ /mnt -s -f -n -v -o rw -t cephmon.x -N 7", MountArgs("a:/", "/mnt", ("rw",), True, True, True)),
        ("a:/ /mnt -sfnv -orw", MountArgs("a:/", "/mnt", ("rw",), True, True, True)),
        ("--foreground a:/ /mnt", MountArgs("a:/", "/mnt", ("foreground",))),
        ("-h", MountArgs("", "", (), help=True)),
        ("a:/ /mnt --help", MountArgs("a:/", "/mnt", (), help=True)),
        ("-V", MountArgs("", "", (), version=True)),
        ("-- -x /mnt", MountArgs("-x", "/mnt", ())),
    ],
)
def test_as_mount8_calls_it(argv: str, args: MountArgs) -> None:
    assert parse_args(argv.split()) == args


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ("", "wanted SOURCE and DIR, got 0 of them"),
        ("a:/", "wanted SOURCE and DIR, got 1 of them"),
        ("a:/ /mnt /x", "wanted SOURCE and DIR, got 3 of them"),
        ("a:/ /mnt -q", "option -q not recognized"),
        ("a:/ /mnt -o", "option -o requires argument"),
    ],
)
def test_wrong_usage(argv: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_args(argv.split())
    assert str(caught.value) == f"{reason}; {USAGE}"
    assert caught.value.status == 1


def test_help_names_every_option() -> None:
    for option in OPTIONS:
        assert option.spelled in help_text()


@pytest.mark.parametrize("argv", [["-h"], ["--help"]])
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.main(argv) == 0
    assert capsys.readouterr().out == help_text()


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.main(["-V"]) == 0
    assert capsys.readouterr().out == f"mount.cephmon {__version__}\n"
    assert mount.main(["a:/"]) == 1
    assert capsys.readouterr().err.startswith("mount.cephmon: wanted SOURCE and DIR")


@pytest.mark.parametrize(
    ("argv", "status", "out", "err"),
    [
        (["--version"], 0, f"cephmonfs {__version__}\n", ""),
        (["help"], 0, "usage: cephmonfs COMMAND", ""),
        ([], 1, "usage: cephmonfs COMMAND", ""),
        (["mout"], 1, "", 'cephmonfs: unknown command "mout": did you mean "mount"?\n'),
        (["qqqqqqqq"], 1, "", 'cephmonfs: unknown command "qqqqqqqq"; cephmonfs --help lists them\n'),
        (["mount", "--version"], 0, f"mount.cephmon {__version__}\n", ""),
    ],
)
def test_cephmonfs(argv: list[str], status: int, out: str, err: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cephmonfs.main(argv) == status
    said = capsys.readouterr()
    assert said.out.startswith(out)
    assert said.err == err
