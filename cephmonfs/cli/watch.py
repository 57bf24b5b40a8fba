"""cephmonfs watch: one live screen of a mount, made from its files.  Wants rich, an extra."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cephmonfs.cli.program import parser, run
from cephmonfs.daemon.fork import Exit
from cephmonfs.errors import ConfigError
from cephmonfs.host.mountpoint import FUSE_TYPE, mounts, settle, top_mount
from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group

PROGRAM: Final = "watch"
_EVENTS: Final = 8
_TAIL: Final = 16 << 10
_COLOURS: Final = {"HEALTH_OK": "green", "HEALTH_WARN": "yellow", "HEALTH_ERR": "red"}
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def main(argv: Sequence[str]) -> int:
    """Show the screen until Ctrl-C."""
    return run(PROGRAM, lambda: _main(argv))


def _main(argv: Sequence[str]) -> int:
    arguments = parser(PROGRAM, "One live screen of a mount; Ctrl-C ends it.")
    arguments.add_argument("directory", metavar="DIR", help="the mount point")
    arguments.add_argument("-i", "--interval", metavar="SECONDS", type=float, default=2.0, help="between looks (2)")
    arguments.add_argument("-n", "--count", metavar="N", type=int, default=0, help="so many looks, then end")
    given = arguments.parse_args(argv)
    root = settle(given.directory)
    mount = top_mount(mounts(), root)
    if mount is None or mount.fstype != FUSE_TYPE:
        raise ConfigError(f"{shown(root)} is no cephmon mount")
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise ConfigError("watch wants rich: pip install 'cephmonfs[watch]', or apt install python3-rich", 2) from None
    console = Console()
    with Live(console=console, auto_refresh=False, screen=console.is_terminal and not given.count) as live:
        looks = 0
        while True:
            live.update(screen(look(root)), refresh=True)
            looks += 1
            if looks == given.count:
                return Exit.OK
            try:
                time.sleep(max(0.1, given.interval))
            except KeyboardInterrupt:
                return Exit.OK


@dataclass
class Look:
    """What the files said at one moment; what cannot be read is missing."""

    directory: str
    fsid: str = ""
    health: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    monitors: list[tuple[str, ...]] = field(default_factory=list)
    epochs: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)


def look(root: str) -> Look:
    """Read the files."""
    found = Look(root, _value(root, "fsid"), _value(root, "health"))
    for name in ("total_bytes", "used_bytes", "avail_bytes", "objects", "age_seconds"):
        if text := _value(root, f"capacity/{name}"):
            found.numbers[name] = float(text)
    try:
        found.session = json.loads(_value(root, "session.json") or "{}")
    except ValueError:
        pass
    try:
        with os.scandir(os.path.join(root, "mon")) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        names = []
    for name in names:
        parts = ("rank", "addr", "in_quorum", "rtt_ms", "last_error")
        found.monitors.append((name, *(_value(root, f"mon/{name}/{part}") for part in parts)))
    found.monitors.sort(key=lambda row: row[1])
    for name in ("monmap", "mdsmap", "osdmap", "mgrmap"):
        found.epochs[name] = _value(root, f"epoch/{name}") or "-"
    found.events = _tail(os.path.join(root, "events"))
    return found


def screen(seen: Look) -> Group:
    """Draw it."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    state = str(seen.session.get("state", "unknown"))
    head = Text.assemble(
        (f"{seen.health or 'HEALTH_UNKNOWN'}  ", _COLOURS.get(seen.health, "magenta")),
        f"{seen.fsid or seen.directory}\n",
        ("session ", "dim"),
        (state, "green" if state == "open" else "yellow"),
        f"  mon {seen.session.get('mon') or '-'}  {seen.session.get('mode') or '-'}  ",
        ("epochs ", "dim"),
        " ".join(f"{name} {epoch}" for name, epoch in seen.epochs.items()),
    )
    capacity = Table.grid(expand=True)  # in a row of its own, or the bar would leave half a line to the text
    if {"total_bytes", "used_bytes", "avail_bytes"} <= seen.numbers.keys():
        total, used, avail = (seen.numbers[name] for name in ("total_bytes", "used_bytes", "avail_bytes"))
        capacity.add_row(ProgressBar(total=total or 1.0, completed=used))
        capacity.add_row(Text(f"{human(used)} used of {human(total)}, {human(avail)} available"))
        capacity.add_row(
            Text(f"{seen.numbers.get('objects', 0):.0f} objects, {seen.numbers.get('age_seconds', 0):.0f} s old")
        )
    else:
        capacity.add_row(Text("unknown", style="magenta"))
    monitors = Table(box=None, pad_edge=False, expand=True)
    for title in ("mon", "rank", "address", "quorum", "rtt ms", "last error"):
        monitors.add_column(title, overflow="fold")
    for name, rank, addr, quorum, rtt, error in seen.monitors:
        word = {"1": "[green]in[/]", "0": "[red]out[/]"}.get(quorum, "-")
        monitors.add_row(Text(name), rank, Text(addr), word, rtt or "-", Text(error))
    lines = Text("\n".join(seen.events) or "nothing yet", overflow="ellipsis", no_wrap=True)
    error = str(seen.session.get("last_error") or "")
    parts: list[Any] = [
        Panel(head, title="cephmonfs", subtitle=time.strftime("%H:%M:%S")),
        Panel(capacity, title="capacity"),
        Panel(monitors, title="monitors"),
        Panel(lines, title="events"),
    ]
    if error:
        parts.insert(1, Text(error, style="red"))
    return Group(*parts)


def human(number: float) -> str:
    """Return bytes as people read them."""
    unit = 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    return f"{number:.0f} B" if not unit else f"{number:.1f} {_UNITS[unit]}"


def _value(root: str, name: str) -> str:
    """Return a small file's text; empty when it cannot be read."""
    try:
        with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _tail(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))
    except OSError:
        return []
    lines = []
    for raw in data.splitlines()[-_EVENTS:]:
        try:
            event = json.loads(raw)
        except ValueError:
            continue  # the first may be cut
        if isinstance(event, dict):
            clock = str(event.pop("time", ""))[11:19]
            event.pop("seq", None)
            lines.append(f"{clock}  " + "  ".join(str(value) for value in event.values() if value != ""))
    return lines
