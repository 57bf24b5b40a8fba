"""Release x protocol x key type: what each cell shows, compared with the `ceph` of that release.

`make compatibility` runs this with CEPHMONFS_COMPATIBILITY=docs/compatibility.md, and the table goes there.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory
from tests.support import asking
from tests.support.asking import Question
from tests.support.cluster import Cluster
from tests.support.helper import Mounted, helper, is_mounted, processes
from tests.support.release import RELEASES, SUITES, KeyType

pytestmark = pytest.mark.fuse

BLOCK = 4 << 20
MODES = ("secure", "crc", "legacy")
KEY_TYPES: dict[str, tuple[KeyType, ...]] = {"tentacle": ("aes256k", "aes")}
ROWS = [(release, key_type) for release in RELEASES for key_type in KEY_TYPES.get(release, ("aes",))]

Checks = dict[str, bool]


class Table:
    """What the cells of this run showed."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self.cells: dict[tuple[str, KeyType, str], Checks] = {}
        self.commands: dict[str, Commands] = {}

    def complete(self) -> bool:
        return len(self.cells) == len(ROWS) * len(MODES) and len(self.commands) == len(RELEASES)

    def text(self) -> str:
        lines = [
            "# Compatibility",
            "",
            "Made by `make compatibility`: real clusters of each release (three monitors, mgr, OSD, MDS) on loopback,",
            "a real mount in each mode, and what it showed compared with the `ceph` program of that same release.",
            "",
            "| release | version | key | " + " | ".join(f"`ms_mode={mode}`" for mode in MODES) + " |",
            "| --- | --- | --- |" + " --- |" * len(MODES),
        ]
        for release, key_type in ROWS:
            cells = [self._cell(release, key_type, mode) for mode in MODES]
            where = f"{release.capitalize()} (Debian {SUITES[release]})"
            lines.append(f"| {where} | {self.versions[release]} | {key_type} | {' | '.join(cells)} |")
        names = ", ".join(f"`{name}`" for name in next(iter(self.cells.values())))
        lines += ["", f"*all* stands for: {names}.", "", _NOTES]
        return "\n".join([*lines, *self._commands(), "", _COMMANDS_NOTES])

    def _commands(self) -> Iterator[str]:
        yield "## Commands below `ceph/`\n"
        yield "| release | described | read only, no argument, not the mgr's | of these answered | secret | as files |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for release, found in self.commands.items():
            counts = (found.described, len(found.candidates), len(found.answered), len(found.secret), len(found.shown))
            yield f"| {release.capitalize()} | {' | '.join(map(str, counts))} |"
        yield ""
        everything = list(self.commands.values())
        yield f"- Answered, but of `config`, and so no files: {_names(one.secret for one in everything)}."
        yield f"- Refused, and so no files: {_names(one.refused for one in everything)}."

    def _cell(self, release: str, key_type: KeyType, mode: str) -> str:
        checks = self.cells[release, key_type, mode]
        failed = [name for name, good in checks.items() if not good]
        return f"not {', '.join(failed)}" if failed else "all"


_NOTES = """\
`df` is compared with `ceph df`, `monmap` with `ceph mon dump`, `monmap.json` with `ceph mon dump -f json`,
`mdsmap.json` with its part of `ceph fs dump -f json`, `epochs` with the epochs of the same commands; `session` means
that it is open, in the mode asked for.

- `secure` is encrypted and authenticated, `crc` has checksums only, `legacy` is the v1 protocol, of which nothing is
  protected towards a monitor. `prefer-secure` and `prefer-crc` choose among the first two and never use v1.
- Key type `aes256k` exists since Tentacle, and a new Tentacle cluster takes nothing else.
- Clusters without authentication (`auth_client_required = none`), with IPv6 and with both IP versions are tested on
  Pacific and Tentacle.
- A newer release is no error: unknown fields of maps are skipped, unknown bits are shown as numbers.
"""


_COMMANDS_NOTES = """\
Asked with a key of `mon 'allow r'`. Each file was compared with what `ceph -o FILE` of that release writes, byte for
byte, in both formats (Nautilus' `mon_status` aside, which is about the monitor that was asked). Only ages, times,
counters and who is connected, which are others at each call, may differ.
"""


@dataclass
class Commands:
    """How many commands a release describes, and what becomes of those that could be files."""

    described: int
    candidates: list[str]
    answered: list[str]  # by the monitors, in words
    shown: list[str]  # what the mount lists

    @property
    def secret(self) -> list[str]:
        return [words for words in self.answered if words.split()[0] in ("auth", "config", "config-key")]

    @property
    def refused(self) -> list[str]:
        return [words for words in self.candidates if words not in self.answered]


def _names(lists: Iterable[list[str]]) -> str:
    return ", ".join(f"`{words}`" for words in sorted({words for one in lists for words in one}))


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    found = Table()
    yield found
    target = os.environ.get("CEPHMONFS_COMPATIBILITY")
    if target and found.complete():
        Path(target).write_text(found.text())


@pytest.fixture(scope="module", params=ROWS, ids=["-".join(row) for row in ROWS])
def row(
    request: pytest.FixtureRequest, clusters: Callable[[str], Cluster], table: Table
) -> Iterator[tuple[Cluster, KeyType]]:
    release, key_type = request.param
    cluster = clusters(release)
    table.versions.setdefault(release, re.split(r"[ +~-]", cluster.ceph("--version").split()[2])[0])
    if key_type == cluster.default_key_type:
        cluster.make_key("client.matrix", mon="allow r")
        yield cluster, key_type
        return
    cluster.allow_ciphers("aes", "aes256k")
    cluster.make_key("client.matrix", key_type=key_type, mon="allow r")
    yield cluster, key_type
    cluster.commands({"prefix": "auth rm", "entity": "client.matrix"})
    cluster.ceph("mon", "set", "auth_allowed_ciphers", cluster.default_key_type)


@pytest.mark.parametrize("mode", MODES)
def test_cell(row: tuple[Cluster, KeyType], mode: str, table: Table, tmp_path: Path) -> None:
    cluster, key_type = row
    checks = table.cells[cluster.release, key_type, mode] = {}
    secret = cluster.write_secret("client.matrix")
    source = cluster.source("v1" if mode == "legacy" else "v2")
    with Mounted(source, tmp_path / "m", "name=matrix", f"secretfile={secret}", f"ms_mode={mode}") as mount:
        checks["session"] = mount.value("session/state") == "open" and mount.value("session/mode") == mode
        found: Checks = {}
        for _ in range(5):  # a moment in which the cluster's numbers stand still
            total, _, avail = mount.df()
            mons, filesystems, osds, df = (
                cluster.command(words) for words in ("mon dump", "fs dump", "osd dump", "df")
            )
            stats = df["stats"]
            found |= {
                "df": (total, avail)
                == tuple(stats[f"total_{what}"] // BLOCK * BLOCK for what in ("bytes", "avail_bytes")),
                "monmap": mount.text("monmap") == cluster.ceph("mon", "dump").lstrip("\n"),
                "monmap.json": mount.json("monmap.json") == mons,
                "mdsmap.json": mount.json("mdsmap.json") == filesystems["filesystems"][0]["mdsmap"],
                "epochs": [mount.value(f"epoch/{name}") for name in ("monmap", "fsmap", "osdmap")]
                == [str(one["epoch"]) for one in (mons, filesystems, osds)],
            }
            if all(found.values()):
                break
        checks.update(found)
    assert all(checks.values()), checks


# ---- every command's file, every map's file

# What is another at each call, and why.
_MOVES = tuple(
    re.compile(pattern)
    for pattern in (
        rb'\b(age|since) [\w.]+|"quorum_age":\d+',  # how long the quorum, an OSD, an MDS has been like that
        rb'"(timestamp|skew|latency)":\s*[^,}]+',  # when a report was made; the monitors' clocks, measured anew
        rb'"min_last_epoch_clean":\s*\d+|"osd_epochs":\s*\[[^\]]*\]',  # OSDs report how far they are
        rb',?\s*"client":\s*\[[^\]]*\]|"num":\s*\d+',  # features of those connected, and who asks is one
        rb'\d+(\.\d+)? [KMG]iB|"\w*(bytes|kb|percent|ratio|used)\w*":[\d.e-]+',  # OSDs report what they use
        rb'"(last_|modified|stamp|seq|version|beacon)\w*":[^,}]+|"\w*(_committed|_pn)":\s*\d+',  # what came in between
    )
)


_OF_ONE_MONITOR = ("mon_status",)  # of Nautilus; each monitor answers for itself, and the other program has another


def still(data: bytes | None) -> bytes:
    data = data or b""
    for pattern in _MOVES:
        data = pattern.sub(b"", data)
    return data


def _around(mine: bytes, theirs: bytes) -> tuple[bytes, bytes]:
    """Return where they begin to differ."""
    at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
    return mine[max(0, at - 60) : at + 60], theirs[max(0, at - 60) : at + 60]


def _file(words: str, form: str) -> str:
    return words.replace(" ", "/") + (".json" if form == "json" else "")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as exc:  # what the monitors refuse: the first reader is told, and then it is not there
        if exc.errno not in (errno.ENOENT, errno.ENODATA):
            raise
        return None


def _candidates(descriptions: dict[str, dict[str, object]]) -> Iterator[str]:
    for entry in descriptions.values():
        signature, flags = entry["sig"], entry["flags"]
        assert isinstance(signature, list)
        assert isinstance(flags, int)
        optional = ("false", "fasle")  # as Ceph spells it in `osd pool application get`
        needed = [
            arg for arg in signature if isinstance(arg, dict) and str(arg.get("req", True)).lower() not in optional
        ]
        if not needed and not set(str(entry["perm"])) & set("wx") and not flags & 8:
            yield " ".join(word for word in signature if isinstance(word, str))


@pytest.fixture(scope="module")
def unread(any_release: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    options = ("name=df", f"secretfile={any_release.write_secret('client.df')}", "refresh=0")
    with Mounted(any_release.source(), tmp_path_factory.mktemp("matrix"), *options) as mounted:
        yield mounted


def test_each_command_is_a_file_and_that_is_its_answer(any_release: Cluster, unread: Mounted, table: Table) -> None:
    """By librados; with `make compatibility` by the `ceph` program."""
    ask = asking.ceph if os.environ.get("CEPHMONFS_COMPATIBILITY") else asking.librados
    ((_, reply),) = asking.librados(any_release, "client.df", [("get_command_descriptions", "json")])
    descriptions = json.loads(reply)
    candidates = sorted(set(_candidates(descriptions)))
    todo = [(words, form) for words in candidates for form in ("plain", "json")]
    shown: list[Question] = []
    answered: set[str] = set()
    contents: dict[Question, bytes | None] = {}
    replies: dict[Question, tuple[int, bytes]] = {}
    for _ in range(3):  # what moved in between, and is not known to, stands still at last
        contents = {question: _read(unread.path / "ceph" / _file(*question)) for question in todo}
        replies = dict(zip(todo, asking.librados(any_release, "client.df", todo), strict=True))
        answered |= {words for (words, _), (result, _) in replies.items() if result >= 0}
        shown += [question for question in todo if contents[question] is not None and question not in shown]
        if ask is not asking.librados:
            replies |= dict(zip(shown, ask(any_release, "client.df", shown), strict=True))
        compared = [q for q in todo if contents[q] is not None and q[0] not in _OF_ONE_MONITOR]
        todo = [question for question in compared if still(contents[question]) != still(replies[question][1])]
        if not todo:
            break
    assert not todo, [(q, *_around(still(contents[q]), still(replies[q][1]))) for q in todo]
    listed = {str(path.relative_to(unread.path / "ceph")) for path in unread.path.glob("ceph/**/*") if path.is_file()}
    found = Commands(len(descriptions), candidates, sorted(answered), sorted({words for words, _ in shown}))
    once = {f"{words}.json".replace(" ", "/") for words in ("mon getmap", "osd getmap", "osd getcrushmap")}
    wanted = {_file(words, form) for words in answered - set(found.secret) for form in ("plain", "json")}
    assert listed == {_file(*question) for question in shown} == wanted - once
    table.commands[any_release.release] = found


def test_each_map_is_a_file_and_that_is_what_ceph_says(any_release: Cluster, unread: Mounted) -> None:
    dumps = ("mon dump", "fs dump", "osd dump", "mgr dump", "osd stat")
    questions = [*((words, "json") for words in dumps), ("fs dump", "plain"), ("mon dump", "plain")]
    shared = any_release.directory / "shown.bin"
    for name in ("monmap", "osdmap", "fsmap", "mgrmap", "mdsmap"):
        unread.wait_for(f"epoch/{name}", r"\d+")
    replies = asking.librados(any_release, "client.df", questions)
    mons, filesystems, osds, mgrs, counts = (json.loads(data) for _, data in replies[: len(dumps)])
    fs_text, mon_text = (data.decode() for _, data in replies[len(dumps) :])
    mdsmap = filesystems["filesystems"][0]["mdsmap"]
    epochs = {"monmap": mons, "fsmap": filesystems, "osdmap": osds, "mgrmap": mgrs, "mdsmap": mdsmap}
    for name, dump in epochs.items():
        unread.wait_for(f"epoch/{name}", str(dump["epoch"]))
    assert unread.text("monmap") == mon_text
    assert unread.json("monmap.json") == mons
    assert unread.json("mdsmap.json") == mdsmap
    text = unread.text("mdsmap").splitlines()
    assert text[0] == f"epoch {mdsmap['epoch']}"
    assert set(filter(None, text[1:])) <= set(fs_text.splitlines())
    shown = unread.json("osdmap.json")
    summary = osds | {key: counts.get("osdmap", counts)[key] for key in shown if key.startswith("num_")}
    pools = {
        pool["pool"]: pool | {"application_metadata": list(pool["application_metadata"])} for pool in osds["pools"]
    }
    for pool in shown.pop("pools"):
        assert pool == {key: pools[pool["pool"]][key] for key in pool}
    assert shown == {key: summary[key] for key in shown}
    assert unread.text("osdmap").startswith(f"epoch {osds['epoch']}\n")
    for tool in ("monmap", "osdmap"):
        printed = []
        for source in (f"maps/{tool}.bin", f"ceph/{tool[:3]}/getmap"):
            shared.write_bytes((unread.path / source).read_bytes())
            printed.append(any_release.runner.run([f"{tool}tool", "--print", str(shared)]).stdout)
        assert printed[0] == printed[1]
        assert f"epoch {epochs[tool]['epoch']}\n" in printed[0]


# ---- what the monitors' settings leave to choose


@pytest.mark.parametrize(
    ("monitors", "asked", "got"),
    [
        ("crc", "prefer-secure", "crc"),
        ("secure", "prefer-crc", "secure"),
        ("crc secure", "prefer-crc", "crc"),
        ("crc secure", "prefer-secure", "secure"),
        ("crc", "secure", None),
        ("secure", "crc", None),
    ],
)
def test_the_mode_is_settled_with_the_monitor(
    choosy: Callable[[str], Cluster], tmp_path: Path, monitors: str, asked: str, got: str | None
) -> None:
    cluster = choosy(monitors)
    options = ("name=df", f"secretfile={cluster.write_secret('client.df')}", f"ms_mode={asked}", "mount_timeout=3")
    if got is not None:
        with Mounted(cluster.source(), tmp_path / "m", *options) as mount:
            assert mount.value("session/mode") == got
        return
    (tmp_path / "m").mkdir()
    done = helper(cluster.source(), tmp_path / "m", *options)
    assert done.returncode == 32
    assert re.search(rf"\b{asked}\b", done.stderr), done.stderr
    assert not is_mounted(tmp_path / "m")


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """One monitor that speaks these modes to clients; they can be changed while it runs."""
    factory = ClusterFactory(keep=False)
    cluster = factory(mons=1)

    def change(modes: str) -> Cluster:
        cluster.mon("a").admin_socket("config", "set", "ms_mon_client_mode", modes)
        cluster.mon("a").admin_socket("config", "set", "ms_mon_service_mode", modes)
        return cluster

    yield change
    factory.close()


@pytest.mark.parametrize("release", ["pacific", "tentacle"])
@pytest.mark.parametrize("mode", ["crc", "legacy"])
def test_a_cluster_without_authentication(
    cluster_factory: ClusterFactory, tmp_path: Path, release: str, mode: str
) -> None:
    cluster = cluster_factory(release=release, mons=1, auth="none")
    options = [f"conf={cluster.conf_path}", f"ms_mode={mode}", "name=df"]
    with Mounted(cluster.source("v1" if mode == "legacy" else "v2"), tmp_path / "m", *options) as mount:
        assert mount.value("session/state") == "open"
        assert mount.value("fsid") == cluster.fsid
        assert mount.text("monmap") == cluster.ceph("mon", "dump").lstrip("\n")


# ---- key types that the cluster takes no more


def test_a_key_type_that_the_cluster_does_not_allow(cluster_factory: ClusterFactory, tmp_path: Path) -> None:
    cluster = cluster_factory(release="tentacle", mons=1)
    cluster.allow_ciphers("aes", "aes256k")
    cluster.make_key("client.old", key_type="aes", mon="allow r")
    options = ("name=old", f"secretfile={cluster.write_secret('client.old')}", "mount_timeout=10")
    with Mounted(cluster.source(), tmp_path / "m", *options) as mount:
        assert mount.value("session/state") == "open"
        # Refused while it is mounted: told at the next session, and the mount stays.
        cluster.ceph("mon", "set", "auth_allowed_ciphers", "aes256k")
        cluster.mon("a").kill()
        cluster.mon("a").start()
        cluster.wait_quorum(1)
        mount.wait_for("session/state", "refused", timeout_s=20)
        assert "its key is of type aes" in mount.value("session/last_error")
        before = mount.cpu_seconds()
        time.sleep(1)
        assert mount.cpu_seconds() - before < 0.3, "being refused is no reason to spin"
    empty = tmp_path / "n"
    empty.mkdir()
    done = helper(cluster.source(), empty, *options)
    assert done.returncode == 32
    assert re.search(r"a key type that the cluster no longer allows \(ours is aes", done.stderr), done.stderr
    assert not is_mounted(empty)
    assert not processes(empty)


def test_caps_that_change_while_it_is_mounted(cluster_factory: ClusterFactory, tmp_path: Path) -> None:
    cluster = cluster_factory(mons=3)
    cluster.make_key("client.changing", mon="allow r")
    options = ("name=changing", f"secretfile={cluster.write_secret('client.changing')}")
    with Mounted(cluster.source(), tmp_path / "m", *options) as mount:
        assert os.statvfs(mount.path).f_namemax == 255
        caps = {"prefix": "auth caps", "entity": "client.changing"}
        cluster.commands({**caps, "caps": ["mon", "allow service pg r"]})
        assert mount.value("fsid") == cluster.fsid
        cluster.commands({**caps, "caps": ["mon", "allow r"]})
        mount.wait_for("session/state", "open")
        assert os.statvfs(mount.path).f_namemax == 255
