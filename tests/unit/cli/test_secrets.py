"""What others see of a command line and of a bug."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.doubles.machine import KEY, KEY2

_WIPE = """
from cephmonfs.cli.secrets import wipe_arguments
import sys
done = wipe_arguments()
print(done, open("/proc/self/cmdline", "rb").read(), sys.argv[1:])
"""


def _wipe(*words: str) -> tuple[bool, str, str]:
    """Whether something was wiped, the command line that others see then, and the arguments that the program has."""
    argv = [sys.executable, "-c", _WIPE, *words]
    done, _, rest = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.partition(" ")
    cmdline, _, seen = rest.partition("' [")
    return done == "True", cmdline, f"[{seen}"


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("name=df,secret=TOPSECRET==,bg", "name=df,secret=xxxxxxxxxxx,bg"),
        ("secret=TOPSECRET==", "secret=xxxxxxxxxxx"),
        ("secret=TOP,secret=SECRET", "secret=xxx,secret=xxxxxx"),
        ("-osecret=TOPSECRET", "-osecret=xxxxxxxxx"),
        ("-fvosecret=TOPSECRET,bg", "-fvosecret=xxxxxxxxx,bg"),
        ('secret="TOP"', "secret=xxxxx"),
    ],
)
def test_a_secret_leaves_the_command_line(argument: str, shown: str) -> None:
    done, cmdline, seen = _wipe("a:/", "/mnt", "-o", argument)
    assert done
    assert shown in cmdline
    assert "TOP" not in cmdline
    assert "/mnt" in cmdline
    assert argument in seen  # what was parsed later is whole


@pytest.mark.parametrize("key", [KEY, KEY2, KEY[:20], KEY[7:]])
@pytest.mark.parametrize(
    "words",
    [
        ("{}@", "/mnt"),
        ("a:/", "/mnt", "-o", "name={},bg"),
        ("a:/", "/mnt", "-oname={}"),
        ("a:/", "/mnt", "-o", "bg,{}"),
        ("{}", "/mnt"),
        ("get", "{}"),
        ("ceph", "osd", "pool", "get", "{}", "size"),
    ],
)
def test_a_key_in_any_other_place_does_too(words: tuple[str, ...], key: str) -> None:
    done, cmdline, _ = _wipe(*(word.format(key) for word in words))
    assert done
    assert key[2:-4] not in cmdline
    assert ("/mnt" in cmdline) == ("/mnt" in words)  # the place, by which others find us, stays


@pytest.mark.parametrize(
    "options", ["secretfile=/x,nosecret=1", "mon_addr=[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]", "x-systemd.automount"]
)
def test_nothing_else_is_touched(options: str) -> None:
    done, cmdline, _ = _wipe("df@2f5a8f1e-64d1-4d6b-9f43-0b1c2d3e4f50.cephfs=", "/mnt", "-o", options)
    assert not done
    assert options in cmdline


def test_a_traceback_shows_no_key() -> None:
    code = f"""
from cephmonfs.cli.secrets import hide_secrets
hide_secrets()
try:
    raise KeyError("{KEY}")
except KeyError as exc:
    raise RuntimeError("inner", "{KEY2}") from exc
"""
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=False)
    assert "RuntimeError: ('inner', '<hidden>')" in done.stderr
    assert "KeyError: '<hidden>'" in done.stderr
    assert KEY[3:12] not in done.stderr
