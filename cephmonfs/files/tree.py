"""The table of files: each is named here once, with what renders it, and everything else is made from it.

A path may hold `*` for a name that comes from the cluster.  A directory row says which names those are (`names`), or
grows whole rows of its own (`grow`).  README and the manual page are made from this table too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cephmonfs.errors import CephMonFSError
from cephmonfs.files import described
from cephmonfs.files.answers import DESCRIPTIONS, HEALTH, OSDMAP, QUORUM, Command
from cephmonfs.files.render import dashboard, debug, maps_files, metrics, readme, session, status, values
from cephmonfs.files.statvfs import NAME_MAX
from cephmonfs.files.view import STATFS
from cephmonfs.model.osdmap import OSDMap
from cephmonfs.mon.snapshot import MAPS, EncodedMap
from cephmonfs.wire.cursor import Cursor
from cephmonfs.wire.text import lines

if TYPE_CHECKING:
    from cephmonfs.files.events import EventRing
    from cephmonfs.files.view import View
    from cephmonfs.mon.snapshot import Stamp


_HELD_DIRECTORIES: Final = 4096  # whose content is kept
_PAGE: Final = ("session", "contact", "statfs", "mons", *MAPS)  # what the pages that show everything depend on


class Kind(Enum):
    """The shape of a file; a directory has none."""

    DIRECTORY = "directory"
    VALUE = "value"  # one value and a newline
    TEXT = "text"
    JSON = "json"
    BINARY = "binary"
    RING = "ring"  # grows, is cut in front now and then, can be followed with `tail -f`
    STREAM = "stream"  # has no end


Render = Callable[..., str | bytes]  # (view, *names of the path)
Listed = Callable[["View"], bool]


@dataclass(frozen=True, slots=True)
class Growth:
    """Rows that come from the cluster, below a directory; `key` changes when they do."""

    rows: Callable[[View], Sequence[Row]]
    key: Callable[[View], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    path: str
    kind: Kind
    about: str
    render: Render | None = None
    depends: tuple[str, ...] = ()  # keys of DEPENDENCIES: what gives the file its time, and wakes poll
    commands: tuple[Command, ...] = ()  # whose answers it needs
    statfs: bool = False  # an open asks for fresh numbers first
    ages: bool = False  # shows how old things are, so that each open renders anew
    raw: bool = False  # shows a reply's bytes as they are
    mode: int = 0o444
    ring: Callable[[View], EventRing] | None = None  # of the kinds RING and STREAM
    refreshed: tuple[Command, ...] = ()  # that an open of a ring or stream asks, without waiting
    names: Callable[[View], Sequence[str]] | None = None
    grow: Growth | None = None
    listed: Listed | None = None  # where it is not, it is found by its name all the same
    dated: Callable[[View], Stamp] | None = None  # when its data came, where not all that it is asked of is in it

    @property
    def parts(self) -> tuple[str, ...]:
        """The path in pieces; of the root, none."""
        return tuple(self.path.split("/")) if self.path else ()


def _directory(path: str, about: str) -> Row:
    return Row(path, Kind.DIRECTORY, about, mode=0o555)


def _value(path: str, render: Render, about: str, *depends: str, commands: tuple[Command, ...] = ()) -> Row:
    return Row(path, Kind.VALUE, about, render, depends, commands)


def _capacity(name: str, render: Render, about: str, *, ages: bool = False) -> Row:
    return Row(f"capacity/{name}", Kind.VALUE, about, render, ("statfs",), statfs=True, ages=ages)


def _epoch(name: str, listed: Listed | None = None) -> Row:
    def render(view: View) -> str:
        return values.epoch(view, name)

    return Row(f"epoch/{name}", Kind.VALUE, f"epoch of the {name}", render, (name,), listed=listed)


def _blob(name: str, listed: Listed | None = None) -> Row:
    def render(view: View) -> bytes:
        return view.map_blob(name)

    return Row(f"maps/{name}.bin", Kind.BINARY, f"the encoded {name} as received", render, (name,), listed=listed)


def _encoded_osdmap(view: View) -> EncodedMap:
    """Return the newest encoded osdmap: what was received, or the answer to `osd getmap`.

    Incrementals come in between, and an encoded map of their epoch exists only on request.
    """
    record = view.map_record("osdmap")
    if record.incrementals:
        try:
            reply = view.last_reply(OSDMAP)
            epoch = view.memo.get("osdmap.bin", reply, lambda: OSDMap.epoch_of(Cursor(reply.data, str(OSDMAP))))
            if epoch > record.whole.epoch:
                return EncodedMap(epoch, reply.data, reply.at)
        except CephMonFSError:
            pass  # no answer, or none that is a map
    return record.whole


def _debug(name: str, render: Render, *depends: str, listed: Listed | None = None) -> Row:
    ages = (
        name == "monc"
    )  # its requests change all the time: no reason to wake poll, but an open shows the present ones
    about = f"`{name}` as in the kernel client's debugfs"
    return Row(f"debug/{name}", Kind.TEXT, about, render, depends, ages=ages, listed=listed)


def _command_row(command: Command) -> Row:
    def render(view: View) -> bytes:
        return view.reply(command).data

    def listed(view: View) -> bool:
        return not any(view.has_failed(form) for form in described.forms(command.words))

    binary = described.is_binary(command.words)
    kind = Kind.BINARY if binary else Kind.JSON if command.json else Kind.TEXT
    path = "/".join(safe_name(word) for word in command.words.split())
    path = f"ceph/{path}{'.json' if command.json else ''}"
    return Row(path, kind, f"`{command}`", render, commands=(command,), raw=True, listed=listed)


def _command_rows(view: View) -> Sequence[Row]:
    """Return a row for each command that the monitors describe."""
    return [_command_row(command) for command in view.last_parsed(DESCRIPTIONS, described.described)]


def _command_rows_key(view: View) -> object:
    view.last_reply(DESCRIPTIONS)  # raises where there is no list
    return view.answer(DESCRIPTIONS).version


def _may_have_mdsmap(view: View) -> bool:
    """False where the cluster has no file system, which is no fault of a cluster."""
    snap = view.snapshot
    return "fsmap" not in snap.maps or snap.fscid is not None or snap.fs_missing


def _events(view: View) -> EventRing:
    return view.records.events


def _mon_names(view: View) -> Sequence[str]:
    return [mon.name for mon in view.snapshot.mons]


ROWS: Final[tuple[Row, ...]] = (
    _directory("", "everything we know of a Ceph cluster"),
    Row("README", Kind.TEXT, "this text", lambda view: readme.readme(view, ROWS)),
    Row(
        "status", Kind.TEXT, "one screen for people: health, capacity, monitors, maps, session", status.status,
        _PAGE, (HEALTH, QUORUM),
        statfs=True, ages=True,
    ),
    _value("health", values.health, "HEALTH_OK, _WARN, _ERR, or HEALTH_UNKNOWN when stale", commands=(HEALTH,)),
    _value("fsid", values.fsid, "the cluster's fsid", "monmap"),
    _value("version", values.version, "version of this program"),
    _directory("capacity", "the numbers of df, unrounded"),
    _capacity("total_bytes", values.total_bytes, "size of the cluster or pool"),
    _capacity("used_bytes", values.used_bytes, "space in use"),
    _capacity("avail_bytes", values.avail_bytes, "space available"),
    _capacity("objects", values.objects, "number of objects"),
    _capacity("used_ratio", values.used_ratio, "used part, 0..1"),
    _capacity("age_seconds", values.age_seconds, "seconds since these numbers were asked for", ages=True),
    Row("monmap", Kind.TEXT, "what `ceph mon dump` prints", maps_files.monmap, ("monmap",)),
    Row("monmap.json", Kind.JSON, "what `mon dump -f json` prints", maps_files.monmap_json, ("monmap",), (QUORUM,)),
    Row(
        "mdsmap", Kind.TEXT, "the MDSMap of the chosen file system", maps_files.mdsmap, ("mdsmap",),
        listed=_may_have_mdsmap,
    ),
    Row(
        "mdsmap.json", Kind.JSON, "the same, as in `ceph fs dump -f json`", maps_files.mdsmap_json, ("mdsmap",),
        listed=_may_have_mdsmap,
    ),
    Row("osdmap", Kind.TEXT, "counts, flags and pools of the OSDMap", maps_files.osdmap, ("osdmap", "release")),
    Row("osdmap.json", Kind.JSON, "the same as JSON", maps_files.osdmap_json, ("osdmap", "release")),
    _directory("maps", "the encoded maps as received, for monmaptool, osdmaptool, ceph-dencoder"),
    _blob("monmap"),
    _blob("mdsmap", listed=_may_have_mdsmap),
    _blob("fsmap"),
    Row(
        "maps/osdmap.bin", Kind.BINARY, "the encoded osdmap, the newest known",
        lambda view: _encoded_osdmap(view).blob, ("osdmap", "whole osdmap"), (OSDMAP,),
        dated=lambda view: _encoded_osdmap(view).at,
    ),
    _directory("epoch", "epochs of the maps"),
    _epoch("monmap"),
    _epoch("mdsmap", listed=_may_have_mdsmap),
    *(_epoch(name) for name in ("fsmap", "osdmap", "mgrmap")),
    Row("mon", Kind.DIRECTORY, "the monitors; a directory for each", depends=("roster",), mode=0o555),
    _value("mon/count", values.mon_count, "monitors in the monmap", "monmap"),
    _value("mon/quorum_count", values.quorum_count, "monitors in quorum", commands=(QUORUM,)),
    _value("mon/leader", values.leader, "name of the leader", commands=(QUORUM,)),
    Row("mon/*", Kind.DIRECTORY, "one monitor", mode=0o555, names=_mon_names),
    _value("mon/*/rank", values.mon_rank, "its rank", "monmap"),
    _value("mon/*/addr", values.mon_addr, "its addresses", "monmap"),
    _value("mon/*/in_quorum", values.mon_in_quorum, "1 or 0", "roster", commands=(QUORUM,)),
    _value("mon/*/rtt_ms", values.mon_rtt_ms, "milliseconds of the last keepalive or handshake", "mons"),
    _value("mon/*/last_error", values.mon_last_error, "the last failure in words", "mons"),
    _directory("session", "our session with the monitors"),
    _value("session/state", values.state, "connecting, authenticating, open, hunting or refused", "session"),
    _value("session/mon", values.session_mon, "the monitor we are with, or were last", "session"),
    _value("session/addr", values.session_addr, "its address", "session"),
    _value("session/mode", values.mode, "secure, crc or legacy", "session"),
    _value("session/global_id", values.global_id, "our number in the cluster", "session"),
    _value("session/since", values.since, "when the session opened, seconds since 1970", "session"),
    _value("session/last_contact", values.last_contact, "when a monitor last sent anything", "contact"),
    _value("session/fresh", values.fresh, "1 while a quorum was heard within stale_after, else 0", "contact"),
    _value("session/sessions", values.sessions, "sessions opened so far", "session"),
    _value("session/failovers", values.failovers, "of these, with another monitor than before", "session"),
    _value("session/last_error", values.last_error, "the last failure in words", "session"),
    Row("session/tickets", Kind.TEXT, "tickets, without their keys", session.tickets, ("session",), ages=True),
    Row("session/requests", Kind.TEXT, "requests without an answer", session.requests, ("contact",), ages=True),
    Row("session/stats", Kind.TEXT, "counters", session.stats, ("contact",), ages=True),
    Row(
        "session.json", Kind.JSON, "all of session/ in one object", session.session_json,
        ("session", "contact", "mons"), ages=True,
    ),
    Row(
        "ceph", Kind.DIRECTORY, "the read-only commands of the monitors: `ceph X Y` is ceph/X/Y and ceph/X/Y.json",
        mode=0o555, grow=Growth(_command_rows, _command_rows_key),
    ),
    Row(
        "metrics", Kind.TEXT, "Prometheus text; a symlink whose name ends in .prom is for node_exporter",
        metrics.metrics, _PAGE,
        metrics.COMMANDS, statfs=True, ages=True,
    ),
    Row(
        "dashboard.html", Kind.TEXT, "one page for a browser, straight from here; it refreshes itself",
        dashboard.dashboard,
        (*_PAGE, "events"),
        dashboard.COMMANDS, statfs=True, ages=True,
    ),
    _directory("debug", "the files of the kernel client's debugfs, letter for letter"),
    _debug("monc", debug.monc, "session", "contact", "monmap", "osdmap", "fsmap", "mdsmap"),
    _debug("monmap", debug.monmap, "monmap", "mode"),
    _debug("mdsmap", debug.mdsmap, "mdsmap", "mode", listed=_may_have_mdsmap),
    _debug("osdmap", debug.osdmap, "osdmap", "mode"),
    _debug("client_options", debug.client_options),
    _debug("status", debug.status, "session"),
    Row(
        "events", Kind.RING, "what happens, as JSON lines; follow it with `tail -f`", depends=("events",),
        ring=_events, refreshed=(HEALTH, QUORUM),
    ),
    Row(
        "events_pipe", Kind.STREAM, "the same from now on, without end; not listed, open it by its name",
        depends=("events",), ring=_events, refreshed=(HEALTH, QUORUM), mode=0o440, listed=lambda _: False,
    ),
    Row("config", Kind.TEXT, "effective options and where each came from", values.config, mode=0o440),
    Row("log", Kind.TEXT, "the last 1000 log lines", values.log, ("log",), mode=0o440),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One existing file or directory: its row, its own path, and the cluster's names that stand for `*` in it."""

    row: Row
    path: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        """True for a directory."""
        return self.row.kind is Kind.DIRECTORY

    def is_listed(self, view: View) -> bool:
        """Tell whether its directory shows it: what a walk of the tree cannot read to its end is not shown."""
        return self.row.listed is None or self.row.listed(view)

    def awaits(self, view: View) -> bool:
        """Tell whether an open may have content for it: a question has not been asked, or its answer is old."""
        if self.row.statfs and view.is_stale(STATFS):
            return True
        answers = ((command, view.answer(command)) for command in self.row.commands)
        return any(a.is_open or (a.reply is not None and view.is_stale(command)) for command, a in answers)

    def __str__(self) -> str:
        return "/".join(self.path) or "/"

    def ring(self, view: View) -> EventRing:
        """Return the ring that a file of the kind RING or STREAM shows."""
        if self.row.ring is None:
            raise RuntimeError(f"{self} has no ring")
        return self.row.ring(view)

    def render(self, view: View) -> bytes:
        """Return the content; raises CephMonFSError where there is none."""
        if self.row.render is None:
            raise RuntimeError(f"{self} has no content of its own")
        text = self.row.render(view, *self.names)
        if isinstance(text, bytes):
            return text
        if self.row.kind is Kind.VALUE:
            text += "\n"
        return lines(text, limit=len(text)).encode()  # options and errors of this machine are not sanitised yet

    def key(self, view: View) -> object:
        """Return a value that is equal as long as nothing new has arrived for this file."""
        return (
            *(DEPENDENCIES[name][0](view) for name in self.row.depends),
            *(view.key(command, exact=self.row.raw) for command in self.row.commands),
        )

    def mtime(self, view: View) -> float:
        """Return when its data arrived: the newest of all it is made from, or the time of the mount.

        Of a directory, the time of its list of names, and those of nearly all are there from the beginning.
        """
        if self.row.dated is not None:
            try:
                return self.row.dated(view).wall
            except CephMonFSError:
                return view.mounted.wall
        stamps = [DEPENDENCIES[name][1](view) for name in self.row.depends]
        for command in self.row.commands:
            reply = view.answer(command).reply
            stamps.append(None if reply is None else reply.at.wall)
        return max((stamp for stamp in stamps if stamp is not None), default=view.mounted.wall)


# ---- what files depend on: a key that changes with the data, and when the data came

_Dependency = tuple[Callable[["View"], object], Callable[["View"], float | None]]


def _wall(stamp: Stamp | None) -> float | None:
    return None if stamp is None else stamp.wall


def _map(name: str) -> _Dependency:
    def key(view: View) -> object:
        snap, record = view.snapshot, view.snapshot.maps.get(name)
        chosen = (snap.fscid, snap.fs_missing) if name == "mdsmap" else None
        # a rolled back cluster, or a monitor that lied, has another map of the same epoch: it came at another time
        return None if record is None else (record.epoch, record.at), name in snap.denied, chosen

    def wall(view: View) -> float | None:
        record = view.snapshot.maps.get(name)
        return None if record is None else record.at.wall

    return key, wall


def _changed(view: View) -> float | None:
    """Return when the monmap became what it is, in the monitors' words: reading it once more changes nothing."""
    monmap = view.snapshot.monmap
    return None if monmap is None else monmap.last_changed.as_seconds()


def _release(view: View) -> object:
    monmap = view.snapshot.monmap
    return None if monmap is None else (monmap.version, monmap.min_mon_release)


def _whole_osdmap(view: View) -> object:
    """Return which encoded osdmap there is; one that came instead of a chain of incrementals is no news of the map."""
    record = view.snapshot.maps.get("osdmap")
    return None if record is None else (record.whole.epoch, record.whole.at)


def _session_key(view: View) -> object:
    snap = view.snapshot
    return snap.state, snap.mon, snap.mode, snap.global_id, snap.since, snap.failovers, snap.last_error, snap.history


DEPENDENCIES: Final[Mapping[str, _Dependency]] = {
    **{name: _map(name) for name in MAPS},
    "statfs": (
        lambda view: view.key(STATFS),
        lambda view: None if view.snapshot.statfs is None else view.snapshot.statfs.at.wall,
    ),
    "session": (_session_key, lambda view: view.snapshot.history[-1].at.wall if view.snapshot.history else None),
    "release": (_release, lambda _: None),
    "whole osdmap": (_whole_osdmap, lambda _: None),
    "mode": (lambda view: view.snapshot.mode, lambda _: None),
    "contact": (lambda view: (view.snapshot.last_contact, view.fresh), lambda view: _wall(view.snapshot.last_contact)),
    "roster": (_mon_names, _changed),
    "mons": (lambda view: view.snapshot.mons, lambda view: _wall(view.snapshot.last_contact)),
    "log": (
        lambda view: view.records.log.version if view.records.log else 0,
        lambda view: view.records.log.last_wall if view.records.log else None,
    ),
    "events": (lambda view: view.records.events.version, lambda view: view.records.events.last_wall),
}


# ---- nodes by path

Children = Mapping[str, Node]


class Tree:
    """Which nodes exist at a moment.  What a directory holds is found anew only when it has changed."""

    def __init__(self, rows: Sequence[Row] = ROWS) -> None:
        self._below: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            if row.parts:
                self._below.setdefault(row.parts[:-1], []).append(row)
        self.root = Node(rows[0], ())
        self._held: dict[tuple[str, ...], tuple[object, Children]] = {}
        self._lists: dict[tuple[str, ...], tuple[Children, list[str], Children]] = {}
        self._grown: dict[Growth, tuple[object, Mapping[tuple[str, ...], Children]]] = {}

    def children(self, node: Node, view: View) -> Children:
        """Return what a directory holds, by file name, listed or not; raises CephMonFSError where that is not known."""
        if node.row.grow is not None:
            return self._growth(node.row.grow, view).get(node.path, {})
        dynamic = [row for row in self._below.get(node.row.parts, ()) if row.parts[-1] == "*"]
        names = tuple(tuple(row.names(view)) if row.names else () for row in dynamic)
        held = self._held.get(node.path)
        if held is None or held[0] != names:
            if len(self._held) > _HELD_DIRECTORIES:
                self._held.clear()
                self._lists.clear()
            held = self._held[node.path] = (names, self._found(node, dynamic, names))
        return held[1]

    def listed(self, node: Node, view: View) -> Children:
        """Return what a directory lists."""
        children = self.children(node, view)
        unlisted = [name for name, child in children.items() if not child.is_listed(view)]
        if not unlisted:
            return children
        held = self._lists.get(node.path)
        if held is None or held[0] is not children or held[1] != unlisted:
            shown = {name: child for name, child in children.items() if child.is_listed(view)}
            held = self._lists[node.path] = (children, unlisted, shown)
        return held[2]

    def _found(self, node: Node, dynamic: Sequence[Row], names: Sequence[Sequence[str]]) -> Children:
        found: dict[str, Node] = {}
        for row in self._below.get(node.row.parts, ()):
            if row.parts[-1] != "*":
                found[row.parts[-1]] = Node(row, (*node.path, row.parts[-1]), node.names)
        for row, row_names in zip(dynamic, names, strict=True):
            for safe, name in safe_names(row_names, found).items():
                found[safe] = Node(row, (*node.path, safe), (*node.names, name))
        return found

    def _growth(self, grow: Growth, view: View) -> Mapping[tuple[str, ...], Children]:
        """Return all directories of a growth at once: one pass over its rows, however many directories they make."""
        key = grow.key(view)
        held = self._grown.get(grow)
        if held is None or held[0] != key:
            held = self._grown[grow] = (key, _directories(grow, grow.rows(view)))
        return held[1]

    def find(self, path: str, view: View) -> Node | None:
        """Return the node at a path."""
        node: Node | None = self.root
        for part in path.strip("/").split("/"):
            if part:
                node = self.children(node, view).get(part) if node is not None and node.is_directory else None
        return node


def _directories(grow: Growth, rows: Sequence[Row]) -> Mapping[tuple[str, ...], Children]:
    """Sort rows into the directories they lie in; a directory in place of a file of the same name."""
    found: dict[tuple[str, ...], dict[str, Node]] = {}
    for row in rows:
        parts = row.parts
        for depth in range(2, len(parts)):
            path = parts[:depth]
            siblings = found.setdefault(path[:-1], {})
            if path[-1] not in siblings or not siblings[path[-1]].is_directory:
                about = f"commands: ceph {' '.join(path[1:])} ..."
                siblings[path[-1]] = Node(Row("/".join(path), Kind.DIRECTORY, about, mode=0o555, grow=grow), path)
        found.setdefault(parts[:-1], {}).setdefault(parts[-1], Node(row, parts))
    return found


def safe_name(name: str) -> str:
    """Make a name from the cluster fit to be a file name: not hidden, no path, printable, not too long."""
    text = "".join("_" if char == "/" or not char.isprintable() else char for char in name)
    if not text or text.startswith("."):
        text = "_" + text[1:]
    raw = text.encode()
    if len(raw) <= NAME_MAX:
        return text
    return raw[: NAME_MAX - 4].decode("utf-8", "ignore")  # leaves room to tell it from others


def safe_names(names: Sequence[str], taken: Mapping[str, object]) -> dict[str, str]:
    """Map file names to the cluster's names; those that would collide get `~2`, `~3`..."""
    found: dict[str, str] = {}
    for name in names:
        wanted = safe = safe_name(name)
        number = 2
        while safe in taken or safe in found:
            safe = f"{wanted}~{number}"
            number += 1
        found[safe] = name
    return found
