"""The monitor commands that the embedded monitors know: a table of names, how each is described, and its two outputs.

`get_command_descriptions` returns the table: the `ceph` program needs it for every command.
Ceph v16.2.15: src/mon/MonCommands.h, src/mon/Monitor.cc.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.demo import dumps, texts
from cephmonfs.demo.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from cephmonfs.demo.cluster import DemoCluster, State
    from cephmonfs.model.monmap import MonMap

_EINVAL: Final = -22


@dataclass(frozen=True, slots=True)
class Command:
    """One command.  `plain` is None when Ceph prints JSON in every format."""

    prefix: str
    module: str
    help: str
    value: Callable[[Request], object]
    plain: Callable[[Request], str] | None = None
    choices: tuple[tuple[str, str], ...] = ()  # optional arguments: name, the values it may have
    said: Callable[[Request], str] = lambda request: ""

    def described(self) -> dict[str, object]:
        """Return what get_command_descriptions says."""
        sig: list[object] = list(self.prefix.split())
        sig += [{"name": n, "type": "CephChoices", "strings": s, "req": False} for n, s in self.choices]
        return {"sig": sig, "help": self.help, "module": self.module, "perm": "r", "flags": 0}


_COMMANDS: Final = (
    Command("status", "mon", "show cluster status", lambda r: dumps.status(r.cluster, r.state), texts.status),
    Command("health", "mon", "show cluster health", dumps.health_of, texts.health, (("detail", "detail"),)),
    Command("df", "mon", "show cluster free space stats", dumps.df_of, texts.df, (("detail", "detail"),)),
    Command("fsid", "mon", "show cluster FSID/UUID", lambda r: {"fsid": str(r.cluster.fsid)}, texts.fsid),
    Command("versions", "mon", "check running versions of ceph daemons", lambda r: dumps.versions(r.cluster)),
    Command("quorum_status", "mon", "report status of monitor quorum", dumps.quorum_status_of),
    Command("time-sync-status", "mon", "show time sync status", lambda r: dumps.time_sync(r.cluster)),
    Command("mon dump", "mon", "dump formatted monmap", dumps.mon_dump_of, texts.mon_dump, (), texts.mon_dumped),
    Command("mon stat", "mon", "summarize monitor status", dumps.mon_stat_of, texts.mon_stat),
    Command("mon versions", "mon", "check running versions of monitors", lambda r: dumps.versions(r.cluster)["mon"]),
    Command(
        "osd stat", "osd", "print summary of OSD map", lambda r: dumps.osd_stat(r.cluster, r.state), texts.osd_stat
    ),
    Command(
        "osd dump", "osd", "print summary of OSD map", lambda r: dumps.osd_dump(r.cluster, r.state), texts.osd_dump
    ),
    Command("osd tree", "osd", "print OSD tree", lambda r: dumps.osd_tree(r.state), texts.osd_tree),
    Command("osd ls", "osd", "show all OSD ids", lambda r: list(range(len(r.state.osd_up))), texts.osd_ls),
    Command("osd lspools", "osd", "list pools", lambda r: dumps.lspools(), texts.lspools),
    Command("osd pool ls", "osd", "list pools", dumps.pool_ls_of, texts.pool_ls, (("detail", "detail"),)),
    Command("pg stat", "pg", "show placement group status.", lambda r: dumps.pg_stat(r.state), texts.pg_stat),
    Command("fs ls", "fs", "list filesystems", lambda r: dumps.fs_ls(), texts.fs_ls),
    Command("fs dump", "fs", "dump all CephFS status", dumps.fs_dump_of, texts.fs_dump, (), texts.fs_dumped),
    Command("mds stat", "mds", "show MDS status", dumps.mds_stat_of, texts.mds_stat),
    Command("mgr dump", "mgr", "dump the latest MgrMap", lambda r: dumps.mgr_dump(r.cluster, r.state)),
    Command("mgr stat", "mgr", "dump basic info about the mgr cluster state", lambda r: dumps.mgr_stat(r.state)),
    Command("mgr services", "mgr", "list service endpoints provided by mgr modules", lambda r: {}),
)
_BY_PREFIX: Final = {command.prefix: command for command in _COMMANDS}


def descriptions() -> dict[str, object]:
    """Return the answer to get_command_descriptions."""
    return {f"cmd{number:03}": command.described() for number, command in enumerate(_COMMANDS)}


def run_command(cluster: DemoCluster, monmap: MonMap, state: State, words: tuple[str, ...]) -> tuple[int, str, bytes]:
    """Run one command: (result, status text, output)."""
    try:
        args = json.loads("".join(words))
    except ValueError:
        return _EINVAL, "command not understood: unparseable JSON", b""  # codespell:ignore unparseable
    prefix = args.get("prefix") if isinstance(args, dict) else None
    if prefix == "get_command_descriptions":
        return 0, "", json.dumps(descriptions()).encode()
    command = _BY_PREFIX.get(prefix) if isinstance(prefix, str) else None
    if command is None:
        return _EINVAL, "command not known", b""
    request = Request(cluster, monmap, state, args)
    form = args.get("format", "plain")
    text = command.said(request)
    if command.plain is not None and form not in ("json", "json-pretty"):
        return 0, text, (command.plain(request) + "\n").encode()
    value = command.value(request)
    if form == "json":
        return 0, text, json.dumps(value, separators=(",", ":")).encode()
    return 0, text, (json.dumps(value, indent=4) + "\n").encode()
