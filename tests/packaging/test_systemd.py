"""The .deb under a real systemd: units, fstab and the locked up service (slow: `make test-systemd`).

Debian 12 and 13 are booted as containers (tests/support/booted.py), with real monitors on this machine's loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.packaging.roots import SUITES, fresh
from tests.support.booted import Booted, CannotBoot
from tests.support.cluster import Cluster
from tests.support.helper import ROOT, remembered

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif("CEPHMONFS_TEST_PACKAGES" not in os.environ, reason="only by make test-systemd"),
]

UNITS = ROOT / "contrib" / "systemd"
SERVICE = "cephmonfs@t.service"
EXPOSURE = 1.5
WATCHDOG_S = 4
IDLE_S = 2
FOREIGN_KEY = "AQDGSXFYAAAAABAAh5yoEVJTLVmcvC9ItbdFOw==\n"


def until(what: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module", params=SUITES)
def machine(
    request: pytest.FixtureRequest, pacific: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Booted]:
    (package,) = (ROOT / "dist").glob("cephmonfs_*_all.deb")
    directory = tmp_path_factory.mktemp(f"systemd-{request.param}")
    root = fresh(request.param, directory / "root")
    shutil.copy(package, root.path / "tmp" / package.name)
    wanted = f"systemd systemd-sysv libnss-systemd /tmp/{package.name}"
    root(f"apt-get -q install -y --no-install-recommends {wanted}")
    prepare(root.path, pacific)
    try:
        with Booted(root.path) as booted:
            yield booted
    except CannotBoot as exc:
        unavailable(str(exc))
    finally:
        shutil.rmtree(directory / "root", ignore_errors=True)


def prepare(root: Path, cluster: Cluster) -> None:
    """What an administrator writes: keys, ceph.conf, a line of fstab, the units of the documentation."""
    for path in (
        "etc/ceph",
        "etc/cephmonfs",
        "mnt/ceph",
        "mnt/auto",
        "mnt/fstab",
        "mnt/service",
        "mnt/boot",
        "mnt/served",
    ):
        (root / path).mkdir(parents=True)
    for path in ("etc/ceph/monitor.secret", "etc/cephmonfs/t.secret", "etc/cephmonfs/boot.secret"):
        (root / path).write_text(cluster.keys["client.df"] + "\n")
        (root / path).chmod(0o600)
    monitors = cluster.source().removesuffix(":/")
    (root / "etc/ceph/ceph.conf").write_text(f"[global]\nmon_host = {monitors}\n")
    (root / "etc/cephmonfs/t.conf").write_text("SOURCE=df@\nDIR=/mnt/service\nOPTIONS=\n")
    (root / "etc/cephmonfs/boot.conf").write_text("SOURCE=df@\nDIR=/mnt/served\nOPTIONS=\n")
    units = root / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    wanted = units / "multi-user.target.wants" / "cephmonfs@boot.service"
    wanted.symlink_to("/usr/lib/systemd/system/cephmonfs@.service")
    mount = (UNITS / "mnt-ceph.mount").read_text().replace("monitor@", "df@")
    automount = (UNITS / "mnt-ceph.automount").read_text()
    (units / "mnt-ceph.mount").write_text(mount)
    (units / "mnt-auto.mount").write_text(mount.replace("/mnt/ceph", "/mnt/auto"))
    automount = automount.replace("/mnt/ceph", "/mnt/auto").replace("[Install]", f"TimeoutIdleSec={IDLE_S}\n[Install]")
    (units / "mnt-auto.automount").write_text(automount)
    quick = units / f"{SERVICE}.d"
    quick.mkdir()
    (quick / "quick.conf").write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}\nRestartSec=1\n")
    options = f"noauto,_netdev,x-systemd.automount,x-systemd.idle-timeout={IDLE_S},x-systemd.mount-timeout=90"
    lines = f"{monitors}:/ /mnt/fstab cephmon name=df,secretfile=/etc/ceph/monitor.secret,{options} 0 0\n"
    lines += "df@ /mnt/boot cephmon _netdev,nofail,secretfile=/etc/ceph/monitor.secret 0 0\n"
    (root / "etc/fstab").write_text(lines)


def journal(machine: Booted, unit: str, since: str = "") -> list[tuple[int, str]]:
    """The priority and text of what a unit said itself."""
    after = [f"--after-cursor={since}"] if since else []
    lines = machine("journalctl", "-b", "-o", "json", "-u", unit, *after).stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    return [(int(e["PRIORITY"]), e["MESSAGE"]) for e in entries if e.get("_COMM") != "systemd"]


def cursor(machine: Booted) -> str:
    machine("journalctl", "--sync")
    return machine.out("journalctl", "-b", "-n", "1", "-o", "cat", "--show-cursor").partition("-- cursor: ")[2]


def mounted(machine: Booted, where: str, kind: str = "fuse.cephmon") -> bool:
    return re.search(rf"^\S+ \S+ \S+ \S+ {where} .* - {kind} ", machine.mounts(), re.MULTILINE) is not None


def test_what_the_boot_brings_up(machine: Booted, pacific: Cluster) -> None:
    """First of all: a line of fstab and an enabled service; both are stopped for what follows."""
    units = {"/mnt/boot": "mnt-boot.mount", "/mnt/served": "cephmonfs@boot.service"}
    for where, unit in units.items():
        until(lambda unit=unit: machine.show(unit, "ActiveState") == "active")  # type: ignore[misc]
        assert machine.out("cat", f"{where}/fsid") == pacific.fsid
    machine("systemctl", "stop", *units.values())
    for where in units:
        assert not mounted(machine, where)
    until(lambda: not machine.processes("mount.cephmon"), 5)


# ---- mounts


def test_the_mount_unit(machine: Booted, pacific: Cluster) -> None:
    machine("systemctl", "start", "mnt-ceph.mount")
    assert machine.out("cat", "/mnt/ceph/fsid") == pacific.fsid
    assert machine.show("mnt-ceph.mount", "ActiveState") == "active"
    assert int(machine.out("stat", "-f", "-c", "%b", "/mnt/ceph")) > 0
    said = journal(machine, "mnt-ceph.mount")
    assert (6, "mounted on /mnt/ceph") in said
    assert {priority for priority, _ in said} == {6}
    assert len(said) == len(set(said))
    machine("systemctl", "stop", "mnt-ceph.mount")
    assert not mounted(machine, "/mnt/ceph")
    until(lambda: not machine.processes("mount.cephmon"), 5)
    assert machine.show("mnt-ceph.mount", "Result") == "success"


def test_a_killed_daemon_of_a_mount_unit(machine: Booted) -> None:
    machine("systemctl", "start", "mnt-ceph.mount")
    (pid,) = machine.processes("mount.cephmon")
    machine("sh", "-c", f"kill -9 {pid}")
    until(lambda: not mounted(machine, "/mnt/ceph"), 5)
    until(lambda: machine.show("mnt-ceph.mount", "ActiveState") == "inactive", 5)
    machine("systemctl", "start", "mnt-ceph.mount")
    assert machine.out("cat", "/mnt/ceph/session/state") == "open"
    machine("systemctl", "stop", "mnt-ceph.mount")


def test_a_mount_that_fails_says_why(machine: Booted) -> None:
    secret = machine.root / "etc/ceph/monitor.secret"
    good = secret.read_text()
    secret.write_text(FOREIGN_KEY)
    secret.chmod(0o644)
    since = cursor(machine)
    try:
        assert machine("systemctl", "start", "mnt-ceph.mount", check=False).returncode != 0
    finally:
        secret.write_text(good)
        secret.chmod(0o600)
        machine("systemctl", "reset-failed", "mnt-ceph.mount", check=False)
    said = journal(machine, "mnt-ceph.mount", since)
    assert [text for priority, text in said if priority == 3 and re.match(r"mount\.cephmon: .*client\.df", text)]
    assert [text for priority, text in said if priority == 4 and "others can read the key" in text]


@pytest.mark.parametrize("where", ["/mnt/auto", "/mnt/fstab"])
def test_the_automount(machine: Booted, pacific: Cluster, where: str) -> None:
    """The unit, and what systemd makes of a line of fstab: mounted when somebody looks, and gone when nobody does."""
    if not Path("/dev/autofs").exists():
        unavailable("no /dev/autofs")
    unit = machine.out("systemd-escape", "-p", "--suffix=automount", where)
    if where == "/mnt/fstab":  # of remote-fs.target, because of _netdev
        assert machine.show(unit, "SubState") == "waiting"
    else:
        machine("systemctl", "start", unit)
    for _ in range(2):
        assert mounted(machine, where, "autofs")
        assert not mounted(machine, where)
        assert machine.out("cat", f"{where}/fsid") == pacific.fsid
        assert mounted(machine, where)
        until(lambda: not mounted(machine, where), 5 * IDLE_S + 5)
        until(lambda: not machine.processes("mount.cephmon"), 5)
        until(lambda: machine.show(unit, "SubState") == "waiting", 5)
    machine("systemctl", "stop", unit)
    assert not mounted(machine, where, "autofs")


def test_programs_on_the_path(machine: Booted) -> None:
    for argv in (("cephmon", "--version"), ("cephmonfs", "--version"), ("mount.cephmon", "-V")):
        assert re.search(r"\d+\.\d+", machine.out(*argv))
    assert "premount" in machine.out("cephmonfs", "premount", "--help")


# ---- the service


@pytest.fixture
def service(machine: Booted) -> Iterator[Booted]:
    began = time.monotonic()
    machine("systemctl", "start", SERVICE)
    assert time.monotonic() - began < 20
    yield machine
    machine("systemctl", "stop", SERVICE, check=False)
    machine("systemctl", "reset-failed", SERVICE, check=False)


def status(machine: Booted) -> str:
    return machine.show(SERVICE, "StatusText")


def main_pid(machine: Booted) -> int:
    return int(machine.show(SERVICE, "MainPID"))


def test_the_service(machine: Booted, pacific: Cluster) -> None:
    since = cursor(machine)
    machine("systemctl", "start", SERVICE)
    assert re.fullmatch(r"open with [abc] \(v2:127\.0\.0\.1:\d+/\d+, secure\)", status(machine))
    assert machine.show(SERVICE, "SubState") == "running"
    assert machine.show(SERVICE, "NFileDescriptorStore") == "0"
    assert machine.out("cat", "/mnt/service/fsid") == pacific.fsid
    assert json.loads(machine.out("cat", "/mnt/service/ceph/status.json"))["fsid"] == pacific.fsid
    # everybody sees it
    assert machine.out("setpriv", "--reuid=1234", "--clear-groups", "cat", "/mnt/service/health").startswith("HEALTH_")
    proc = machine.out("cat", f"/proc/{main_pid(machine)}/status")
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in proc
    assert not re.search(r"^Uid:\t0\b", proc, re.MULTILINE)
    state = machine.root / "var/lib/private/cephmonfs-t"
    assert remembered(pacific.fsid, state) == list(state.iterdir())
    began = time.monotonic()
    machine("systemctl", "stop", SERVICE)
    assert time.monotonic() - began < 5
    assert machine.show(SERVICE, "Result") == "success"
    assert not mounted(machine, "/mnt/service")
    assert not machine.processes("mount.cephmon")
    said = journal(machine, SERVICE, since)
    assert {priority for priority, _ in said} == {6}, said
    texts = [text for _, text in said]
    assert len(texts) == len(set(texts))
    assert texts[2:] == ["mounted on /mnt/service", "SIGTERM: ending", "unmounted /mnt/service"]
    assert "aes256k" in texts[0]  # what its key does not protect against
    assert re.fullmatch(r"session with monitor [abc] at \S+, secure mode", texts[1])


def test_the_exposure_of_the_running_service(service: Booted) -> None:
    done = service("systemd-analyze", "security", "--no-pager", SERVICE)
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert score is not None, done.stdout + done.stderr
    assert float(score[1]) <= EXPOSURE
    print(score[0])


def test_the_watchdog_is_fed(service: Booted) -> None:
    pid = main_pid(service)
    time.sleep(2.5 * WATCHDOG_S)
    assert main_pid(service) == pid
    assert service.show(SERVICE, "NRestarts") == "0"


@pytest.mark.parametrize(("signal", "result", "limit_s"), [("KILL", "signal", 10), ("STOP", "watchdog", 20)])
def test_a_service_that_dies_comes_back(service: Booted, signal: str, result: str, limit_s: float) -> None:
    pid, restarts = main_pid(service), int(service.show(SERVICE, "NRestarts"))
    since = cursor(service)
    service("systemctl", "kill", f"--signal={signal}", "--kill-who=main", SERVICE)
    # no df waits longer than for an answer, whatever happens meanwhile
    began = time.monotonic()
    while main_pid(service) in (0, pid) or service.show(SERVICE, "SubState") != "running":
        service("timeout", "12", "df", "/mnt/service", check=False)
        assert time.monotonic() - began < limit_s
    assert int(service.show(SERVICE, "NRestarts")) == restarts + 1
    assert service.out("cat", "/mnt/service/session/state") == "open"
    assert len(re.findall(r" /mnt/service ", service.mounts())) == 1
    service("journalctl", "--sync")
    told = service.out("journalctl", "-b", "-o", "cat", f"--after-cursor={since}", "-u", SERVICE)
    assert f"Failed with result '{result}'" in told


def test_a_service_with_a_wrong_key(machine: Booted) -> None:
    secret = machine.root / "etc/cephmonfs/t.secret"
    good = secret.read_text()
    secret.write_text(FOREIGN_KEY)
    since = cursor(machine)
    try:
        assert machine("systemctl", "start", SERVICE, check=False).returncode != 0
    finally:
        machine("systemctl", "stop", SERVICE)
        machine("systemctl", "reset-failed", SERVICE, check=False)
        secret.write_text(good)
    assert not mounted(machine, "/mnt/service")
    said = journal(machine, SERVICE, since)
    errors = [text for priority, text in said if priority <= 3]
    assert 1 <= len(errors) <= 2  # the session's line, and the verdict
    assert all("client.df" in text for text in errors)
    assert not machine.processes("mount.cephmon")


def test_what_no_restart_cures_is_not_restarted(machine: Booted) -> None:
    secret = machine.root / "etc/cephmonfs/t.secret"
    good = secret.read_text()
    secret.write_text("not a key\n")
    try:
        assert machine("systemctl", "start", SERVICE, check=False).returncode != 0
        assert machine.show(SERVICE, "ActiveState") == "failed"
    finally:
        machine("systemctl", "reset-failed", SERVICE, check=False)
        secret.write_text(good)
    assert not mounted(machine, "/mnt/service")


def test_a_keyring_as_the_credential(machine: Booted, pacific: Cluster) -> None:
    (machine.root / "etc/cephmonfs/t.keyring").write_text(f"[client.df]\n\tkey = {pacific.keys['client.df']}\n")
    drop = machine.root / "etc/systemd/system" / f"{SERVICE}.d" / "keyring.conf"
    drop.write_text("[Service]\nLoadCredential=\nLoadCredential=cephmon.keyring:/etc/cephmonfs/t.keyring\n")
    machine("systemctl", "daemon-reload")
    try:
        machine("systemctl", "start", SERVICE)
        assert "credentials" in machine.out("grep", "^secret ", "/mnt/service/config")
    finally:
        machine("systemctl", "stop", SERVICE)
        drop.unlink()
        machine("systemctl", "daemon-reload")


def test_the_machine_is_shut_down(machine: Booted) -> None:
    """Last of all: service, mount and automount are up, and nothing of ours holds up the end."""
    machine("systemctl", "start", SERVICE, "mnt-ceph.mount")
    began = time.monotonic()
    machine("systemctl", "poweroff", check=False)
    machine.wait_ended(30)
    assert time.monotonic() - began < 15
