from __future__ import annotations

import pytest

from cephmonfs.cli import args, main
from cephmonfs.cli.columns import WIDTH, fitted


@pytest.mark.parametrize("name", [None, *main.COMMANDS])
def test_each_help_fits_80_columns(
    name: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # argparse asks the terminal
    status: object = 1
    try:
        status = main.main(["--help"] if name is None else [name, "--help"])
    except SystemExit as exc:
        status = exc.code
    assert status == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert max(map(len, lines)) <= WIDTH


def test_the_mount_helper_fits_and_says_all() -> None:
    text = args.help_text()
    assert max(map(len, text.splitlines())) <= WIDTH
    words = text.split()
    for word in ("demo:", "ms_mode=MODE", "prefer-secure", "stale_after=SECONDS", "/etc/fstab:", "0444"):
        assert any(word in shown for shown in words), word
    for line in text.splitlines():
        if line.startswith("  mount -t") or "cephmon _netdev" in line:
            assert line.endswith((".secret", ".keyring", " 0 0"))  # an example is not broken in two


def test_wrapping() -> None:
    assert fitted("short\n\n  two  columns\n", 20) == "short\n\n  two  columns\n"
    assert fitted("a sentence of several words", 12) == "a sentence\nof several\nwords\n"
    assert fitted("  -o OPT  says a lot of things", 20) == "  -o OPT  says a lot\n          of things\n"
    assert fitted("  a-very-long-word-without-end", 12) == "  a-very-long-word-without-end\n"
