"""What the documentation says is done, and does what it says.

A block of shell commands names where it can be run, after the language:

    sh demo            /mnt/ceph is a mount of `demo:`; `needs:PATH` skips where a program is missing
    sh cluster         a real cluster; addresses, user and key file are put in
    sh checkout        targets of make (a dry run: tests/packaging does them), or other commands in the checkout
    sh ceph            the cluster's own `ceph`
    sh packages        run by tests/packaging in fresh roots
    sh note            not ours to run; say why beside it
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cephmonfs.cli.main import COMMANDS
from cephmonfs.config.machine import LocalMachine
from cephmonfs.config.mountconfig import resolve
from cephmonfs.files.tree import ROWS
from tests.support.cluster import Cluster
from tests.support.helper import HELPER, ROOT, Mounted, run

PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").glob("*.md")),
]
CONTRIB = ROOT / "contrib"
FENCE = re.compile(r"^```(\S+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONTEXTS = {"demo", "cluster", "checkout", "ceph", "packages", "note"}


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    number: int
    language: str
    context: str
    needs: tuple[str, ...]
    text: str

    @property
    def id(self) -> str:
        return f"{self.page.name}-{self.number}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for number, match in enumerate(FENCE.finditer(page.read_text()), 1):
            words = (match[2] or "").split()
            needs = tuple(word.partition(":")[2] for word in words if word.startswith("needs:"))
            yield Block(page, number, match[1], words[0] if words else "", needs, match[3])


BLOCKS = list(blocks())
# What docs/monitoring.md says of itself.  Once it is there, this line has to go, and the blocks run.
_not_yet = re.search(
    r"^Not in yet, though described here: (.*)$", (ROOT / "docs/monitoring.md").read_text(), re.MULTILINE
)
NOT_YET = set(re.findall(r"`([\w ]+)`", _not_yet[1])) if _not_yet else set()


def of(language: str, context: str | None = None) -> list[object]:
    found = [b for b in BLOCKS if b.language == language and context in (None, b.context)]
    return [pytest.param(block, id=block.id) for block in found]


# ---- every block has a place where it runs


@pytest.mark.parametrize("block", [pytest.param(b, id=b.id) for b in BLOCKS if b.language in ("sh", "bash", "console")])
def test_shell_blocks_say_where_they_run(block: Block) -> None:
    assert block.language == "sh"
    assert block.context in CONTEXTS, f"{block.page.name}: ```sh {block.context or '?'}: one of {sorted(CONTEXTS)}"
    assert run(["sh", "-n", "-c", block.text]).returncode == 0


def test_what_is_not_in_yet_is_not() -> None:
    assert not NOT_YET & {*(f"cephmonfs {name}" for name in COMMANDS), *(row.path for row in ROWS)}, (
        "docs/monitoring.md: it is in now"
    )


def skip_what_is_missing(block: Block) -> None:
    for program in block.needs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    known = {row.path.split("/")[0] for row in ROWS}
    for name in re.findall(r"/mnt/ceph/([\w.]+)", block.text):
        if name in NOT_YET:
            pytest.skip(f"{name} is not in yet")
        assert name in known, f"there is no file {name}"
    for command in re.findall(r"\bcephmonfs (\w+)", block.text):
        if f"cephmonfs {command}" in NOT_YET:
            pytest.skip(f"cephmonfs {command} is not in yet")
        assert command in COMMANDS, f"there is no command {command}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with Mounted("demo:", tmp_path_factory.mktemp("ceph")) as mount:
        mount.wait_for("health", "HEALTH_.*")
        yield mount


@pytest.mark.fuse
@pytest.mark.parametrize("block", of("sh", "demo"))
def test_with_the_demo(block: Block, demo: Mounted, tmp_path: Path) -> None:
    skip_what_is_missing(block)
    if "jq " in block.text and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    done = run(["sh", "-e", "-u", "-c", block.text.replace("/mnt/ceph", str(demo.path))], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout


@pytest.mark.fuse
@pytest.mark.cluster
@pytest.mark.parametrize("block", of("sh", "cluster"))
def test_with_a_cluster(block: Block, pacific: Cluster, tmp_path: Path) -> None:
    skip_what_is_missing(block)
    pacific.make_key("client.monitor", mon="allow r")
    secret = pacific.write_secret("client.monitor", tmp_path / "monitor.secret")
    keyring = pacific.write_keyring("client.monitor", tmp_path / "ceph.client.monitor.keyring")
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\nmon_host = {pacific.mon_host}\nfsid = {pacific.fsid}\nkeyring = {keyring}\n")
    target = tmp_path / "ceph"
    target.mkdir()
    script = block.text.replace("10.0.0.1,10.0.0.2,10.0.0.3:/", pacific.source())
    script = script.replace("mount -t cephmon", str(HELPER)).replace("/etc/ceph/monitor.secret", str(secret))
    script = script.replace("/etc/ceph/ceph.conf", str(conf)).replace("/mnt/ceph", str(target))
    script = re.sub(r"^cephmonfs\b", f"{sys.executable} -m cephmonfs.cli.main", script, flags=re.MULTILINE)
    done = run(["sh", "-e", "-u", "-c", script], cwd=ROOT)
    if done.returncode != 0:
        run(["umount", "-l", target])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("block", of("sh", "checkout"))
def test_in_the_checkout(block: Block) -> None:
    for line in block.text.splitlines():
        words = line.partition("#")[0].split()
        if words[0] == "make":
            done = run(["make", "-n", *words[1:]], cwd=ROOT)
        elif shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        else:
            done = run([*words, "--man=no"] if words[0] == "systemd-analyze" else words, cwd=ROOT)
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.cluster
@pytest.mark.parametrize("block", of("sh", "ceph"))
def test_on_the_cluster(block: Block, pacific: Cluster, tmp_path: Path) -> None:
    script = block.text.replace("/etc/ceph/", f"{tmp_path}/")
    script = script.replace("ceph auth", f"ceph -c {pacific.conf_path} --keyring {pacific.admin_keyring} auth")
    if pacific.runner.root is not None:
        pytest.skip("this machine has no ceph of its own")
    assert run(["sh", "-e", "-c", script]).returncode == 0
    assert (tmp_path / "monitor.secret").stat().st_mode & 0o777 == 0o600


class OtherMachine(LocalMachine):
    """One with the files that the examples name."""

    KEY = "AQCAAAAAAAAAABAAAAECAwQFBgcICQoLDA0ODw=="

    def read_secret(self, path: str) -> tuple[bytes, int]:
        if path == "/etc/ceph/ceph.conf":
            return b"[global]\nmon_host = 10.0.0.1,10.0.0.2\n", 0o644
        if path.endswith(".secret"):
            return self.KEY.encode(), 0o600
        raise FileNotFoundError(path)


@pytest.mark.parametrize("block", of("fstab"))
def test_lines_of_fstab(block: Block) -> None:
    lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        source, directory, kind, options, *numbers = line.split()
        assert (kind, numbers) == ("cephmon", ["0", "0"])
        assert "_netdev" in options.split(",")
        config = resolve(source, directory, [options], OtherMachine())
        assert str(config.entity) == "client.monitor"
        assert config.targets


# ---- what is shipped beside it


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_generated_parts_are_up_to_date() -> None:
    done = run([sys.executable, ROOT / "tools" / "docs.py", "--check"])
    assert done.returncode == 0, done.stderr


def test_every_file_and_option_is_in_the_manual() -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    for page in sorted((ROOT / "man").iterdir()):
        done = run(
            ["man", "--warnings", "-l", page], env={"MANWIDTH": "100", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) > 20
    text = (ROOT / "man" / "cephmonfs.files.5").read_text()
    for row in ROWS:
        if row.path:
            assert row.path.replace("mon/*", "mon/NAME").rpartition("/")[2] in text.replace("\\", "")


METRICS = re.compile(r"\b((?:ceph|cephmonfs)_[a-z0-9_]+)\b")


@pytest.mark.fuse
@pytest.mark.parametrize("path", ["prometheus/cephmonfs.rules.yml", "grafana/cephmonfs.json"])
def test_alerts_and_dashboard_use_metrics_that_exist(path: str, demo: Mounted) -> None:
    text = (CONTRIB / path).read_text()
    if path.endswith(".json"):
        panels = json.loads(text)["panels"]
        used = {name for panel in panels for target in panel["targets"] for name in METRICS.findall(target["expr"])}
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
        assert len(set(places)) == len(places)
    else:
        used = {name for line in text.splitlines() if "expr:" in line for name in METRICS.findall(line)}
    assert used
    if "metrics" in NOT_YET:
        pytest.skip("metrics is not in yet")
    samples = {line.split("{")[0].split(" ")[0] for line in demo.text("metrics").splitlines() if line[:1] != "#"}
    assert used - {"ceph_daemon"} <= samples


def test_values_that_zabbix_reads(demo: Mounted) -> None:
    text = (CONTRIB / "zabbix" / "cephmonfs.yaml").read_text()
    paths = set(re.findall(r"\{\$CEPHMON\}/([\w/]+)\]", text))
    assert len(paths) == 9
    for path in paths:
        assert demo.text(path).count("\n") == 1
    uuids = re.findall(r"uuid: (\w+)", text)
    assert len(set(uuids)) == len(uuids)
    assert all(re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}8[0-9a-f]{15}", one) for one in uuids)


def test_completion() -> None:
    script = r"""
    . contrib/completion/cephmonfs.bash
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cephmonfs; printf '%s\n' "${COMPREPLY[@]}"
    """

    def complete(*words: str) -> set[str]:
        done = subprocess.run(
            ["bash", "-c", script, "bash", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
        )
        return set(done.stdout.split())

    assert "mount" in complete("cephmonfs", "")
    assert complete("mount.cephmon", "a:/", "/", "-o", "secretf") == {"secretfile="}
    assert complete("mount.cephmon", "a:/", "/", "-o", "name=df,ms_") == {"name=df,ms_mode="}
    assert complete("mount.cephmon", "a:/", "/", "-o", "ms_mode", "=", "prefer-c") >= set()
    assert "capacity/total_bytes" in complete("cephmonfs", "get", "cap")
