#!/usr/bin/env python3
"""Make the generated parts of the documentation, from the tables in the code.

    tools/docs.py            write docs/files.md, docs/options.md, man/*, contrib/completion/*, build/html/*
    tools/docs.py --check    exit 1 if what is committed is not what would be written

The manual pages have one source each, docs/man/NAME.SECTION.rst; docutils makes man and HTML of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils.core import publish_string

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cephmonfs import __version__  # noqa: E402
from cephmonfs.cli.main import COMMANDS  # noqa: E402
from cephmonfs.config.monaddr import MsMode  # noqa: E402
from cephmonfs.config.options import LOG_LEVELS, OPTIONS, Option  # noqa: E402
from cephmonfs.files.tree import ROWS, Kind, Row  # noqa: E402

GENERATED = "<!-- made by tools/docs.py from the tables in the code; `make docs` writes it anew -->"
PAGES = sorted((ROOT / "docs" / "man").glob("*.rst"))
CSS = """
body { max-width: 52em; margin: 2em auto; padding: 0 1em; font: 16px/1.5 sans-serif; color: #222; }
h1, h2 { line-height: 1.2; } h1 { border-bottom: 2px solid #b33; } h2 { color: #b33; font-size: 1.1em; }
pre { background: #f5f5f3; padding: .7em; overflow: auto; } dt { margin-top: .6em; font-weight: 600; }
code, pre { font-family: monospace; font-size: 14px; } dd { margin-left: 2em; }
"""


def rst(text: str) -> str:
    """Our tables mark code by single backticks."""
    return re.sub(r"`([^`]+)`", r"``\1``", text.replace("*", "\\*"))


def mode(row: Row) -> str:
    return f", mode {row.mode:04o}" if row.kind is not Kind.DIRECTORY and row.mode != 0o444 else ""


def label(row: Row) -> str:
    path = row.path.replace("mon/*", "mon/NAME")
    return f"{path}/" if row.kind is Kind.DIRECTORY else path


def rst_files() -> Iterator[str]:
    for row in ROWS:
        if row.path:
            kind = "" if row.kind is Kind.DIRECTORY else f" ({row.kind.value}{mode(row)})"
            yield f"*{label(row)}*{kind}\n    {rst(row.about)}\n"


def rst_options() -> Iterator[str]:
    group = ""
    for option in OPTIONS:
        if option.group != group:
            group = option.group
            yield f"{group}\n{'-' * len(group)}\n"
        yield f"**{option.spelled.partition('=')[0]}**{value(option)}\n    {rst(sentence(option))}\n"


def value(option: Option) -> str:
    return f"\\ **=**\\ *{option.metavar}*" if option.parse else ""


def sentence(option: Option) -> str:
    extra = []
    if default := option.default or option.otherwise:
        extra.append(f"Default: {default}.")
    if option.aliases:
        extra.append(f"Also spelled {', '.join(option.aliases)}.")
    return f"{option.doc}.  {'  '.join(extra)}".rstrip() if extra else f"{option.doc}."


def rst_commands() -> Iterator[str]:
    for name, (_, about) in COMMANDS.items():
        yield f"**cephmonfs {name}**\n    {rst(about)}\n"


def md_files() -> Iterator[str]:
    yield "# Files\n"
    yield GENERATED + "\n"
    yield "The files of a mount. Names and formats are an interface; `cephmonfs.files(5)` says how reading works.\n"
    yield "| path | shape | content |\n| --- | --- | --- |"
    for row in ROWS:
        if row.path:
            about = row.about.replace("|", "\\|")
            yield f"| `{label(row)}` | {row.kind.value}{mode(row)} | {about} |"
    yield "\nA **value** is one value and a newline, **text** what `ceph` prints or lines of `key value`, **json** one"
    yield "document, **binary** a map as the monitors encode it, a **ring** grows and is cut in front now and then, a"
    yield "**stream** has no end. Sizes are bytes, times seconds since 1970, ratios 0..1."


def md_options() -> Iterator[str]:
    yield "# Mount options\n"
    yield GENERATED + "\n"
    yield "For `-o` of `mount -t cephmon` and of the commands, and for the fourth field of `/etc/fstab`.\n"
    group = ""
    for option in OPTIONS:
        if option.group != group:
            group = option.group
            yield f"\n## {group}\n\n| option | default | meaning |\n| --- | --- | --- |"
        also = f" (also {', '.join(f'`{alias}`' for alias in option.aliases)})" if option.aliases else ""
        default = (option.default or option.otherwise).replace("|", "\\|") or "-"
        yield f"| `{option.spelled}`{also} | {default} | {option.doc.replace('|', chr(92) + '|')} |"
    yield "\n## Everything else\n"
    yield "What mount(8), fstab and systemd pass (`_netdev`, `nofail`, `noatime`, `user`, `x-*`...) and the options"
    yield "that only concern CephFS are accepted and have no effect. Any other is an error that names the nearest known"
    yield "one; `-s` lets it pass. A mount is always `ro,nosuid,nodev,noexec`; `show_as_rw` changes the flag alone."


def page_source(path: Path) -> str:
    text = path.read_text()
    for mark, lines in (("@FILES@", rst_files), ("@OPTIONS@", rst_options), ("@COMMANDS@", rst_commands)):
        text = text.replace(mark, "\n".join(lines()))
    return text.replace("@VERSION@", __version__)


def publish(source: str, writer: str, **settings: object) -> str:
    return publish_string(
        source, writer=writer, settings_overrides={"report_level": 2, "halt_level": 2, **settings}
    ).decode()


def man(path: Path) -> str:
    text = publish(page_source(path), "manpage")
    return re.sub(r"^\.\\\" Man page generated.*\n", "", text, flags=re.MULTILINE)


def html(path: Path) -> str:
    settings = {"embed_stylesheet": False, "stylesheet_path": "", "stylesheet": "", "xml_declaration": False}
    text = publish(page_source(path), "html5", **settings)
    return text.replace("</head>", f"<style>{CSS}</style>\n</head>")


COMPLETION = r"""# bash completion for cephmonfs and mount.cephmon; made by tools/docs.py
_cephmonfs() {
    local cur prev commands options files
    commands="@COMMANDS@"
    options="@OPTIONS@"
    files="@FILES@"
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    # bash splits at "=": put "ms_mode=" and what follows together again
    case $prev in
        -o)
            local head="" last=$cur
            case $cur in *,*) head=${cur%,*}, last=${cur##*,} ;; esac
            mapfile -t COMPREPLY < <(compgen -P "$head" -W "$options" -- "$last")
            [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
            return
            ;;
        =)
            case ${COMP_WORDS[COMP_CWORD - 2]##*,} in
                ms_mode) mapfile -t COMPREPLY < <(compgen -W "@MODES@" -- "$cur") ;;
                log_level) mapfile -t COMPREPLY < <(compgen -W "@LEVELS@" -- "$cur") ;;
                secretfile | keyring | conf) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
            esac
            return
            ;;
        get)
            mapfile -t COMPREPLY < <(compgen -W "$files" -- "$cur")
            return
            ;;
    esac
    if [[ $COMP_CWORD -eq 1 && ${COMP_WORDS[0]##*/} == cephmonfs ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "-o -f -s -v --help" -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    fi
}
complete -F _cephmonfs cephmonfs mount.cephmon cephmon
"""


def completion() -> str:
    options: list[str] = []
    for option in OPTIONS:
        options.append(f"{option.name}=" if option.parse else option.name)
        if option.negatable:
            options.append(f"no{option.name}")
    paths = [row.path for row in ROWS if row.path and "*" not in row.path and row.kind is not Kind.DIRECTORY]
    words = {"COMMANDS": COMMANDS, "OPTIONS": options, "FILES": paths, "MODES": MsMode, "LEVELS": LOG_LEVELS}
    text = COMPLETION
    for name, values in words.items():
        text = text.replace(f"@{name}@", " ".join(values))
    return text


def outputs() -> dict[Path, str]:
    """What is committed."""
    found = {
        ROOT / "docs" / "files.md": "\n".join(md_files()) + "\n",
        ROOT / "docs" / "options.md": "\n".join(md_options()) + "\n",
        ROOT / "contrib" / "completion" / "cephmonfs.bash": completion(),
    }
    for page in PAGES:
        found[ROOT / "man" / page.stem] = man(page)
    return found


def main() -> int:
    stale = [path for path, text in outputs().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the tables say: make docs", file=sys.stderr)
        return bool(stale)
    for path, text in outputs().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    target = ROOT / "build" / "html"
    target.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        (target / f"{page.stem}.html").write_text(html(page))
    print(f"docs: {len(PAGES)} manual pages in man/ and build/html/, docs/files.md, docs/options.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
