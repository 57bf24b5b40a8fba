"""The doctor, with real monitors and with what is wrong with them, with keys, and with this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ClusterFactory
from tests.support.cluster import FAST_ELECTIONS, Cluster
from tests.support.helper import CEPHMONFS, HELPER, ROOT, Mounted, forget, processes, run
from tests.support.release import new_key

pytestmark = pytest.mark.fuse

FUSERMOUNT = shutil.which("fusermount3") or ""
USER_ALLOW_OTHER = "echo user_allow_other >/run/conf && mount --bind /run/conf /etc/fuse.conf"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture(scope="module")
def factory(request: pytest.FixtureRequest) -> Iterator[ClusterFactory]:
    made = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    yield made
    made.close()


def for_all(path: str) -> str:
    """Shell: everybody may use it, in this mount namespace."""
    return f"mount -t tmpfs none /run && cp -a {path} /run/file && chmod 666 /run/file && mount --bind /run/file {path}"


def check(
    source: str,
    *options: str,
    before: Sequence[str] = (),
    setup: str = "",
    program: Sequence[str] = CEPHMONFS,
    json_too: bool = False,
) -> subprocess.CompletedProcess[str]:
    argv = [*before, *program, "check", source, *(["-o", ",".join(options)] if options else [])]
    argv += ["--json"] if json_too else []
    if setup:
        argv = ["unshare", "--mount", "sh", "-c", f"mount --make-rprivate / && {setup} && exec {shlex.join(argv)}"]
    done = run(argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}, cwd="/")
    assert done.stderr == "", done.stderr
    lines = [] if json_too else done.stdout.splitlines()
    assert all(len(line) <= 80 or max(map(len, line.split())) > 40 for line in lines), done.stdout
    return done


def flat(done: subprocess.CompletedProcess[str]) -> str:
    """The report with its line breaks taken out."""
    return re.sub(r"\s+", " ", done.stdout)


def faulty(sentence: str, *where: Any, **how: Any) -> str:
    done = check(*where, **how)
    assert done.returncode == 1, done.stdout
    assert re.search(sentence, flat(done)), done.stdout
    assert re.search(r"\nverdict: (one fault|\d+ faults): ", done.stdout)
    return flat(done)


def secret(cluster: Cluster, entity: str = "client.df") -> str:
    return f"secretfile={cluster.write_secret(entity)}"


def test_all_is_well(any_release: Cluster) -> None:
    where = (any_release.source(), "name=df", secret(any_release))
    done = check(*where)
    assert done.returncode == 0, done.stdout
    text = flat(done)
    for name in any_release.mon_addrs():
        phases = r"; ms: resolve [\d.]+, connect [\d.]+, banner [\d.]+, auth [\d.]+, maps [\d.]+, statfs [\d.]+ "
        assert re.search(rf"ok mon {name} v2:\S+, secure{phases}", text), text
    assert "client.df may read everything a mount shows" in text
    assert "3 of 3 monitors, leader" in text
    assert re.search(r"ok clock within 0\.\d+ s of the monitors", text), text
    weak = "note key a key of type aes does not protect against somebody on the path to the monitors" in text
    assert weak is (any_release.default_key_type == "aes")
    report = json.loads(check(*where, json_too=True).stdout)
    assert report["ok"] is True
    assert report["fsid"] == any_release.fsid
    assert sorted(mon["name"] for mon in report["monitors"]) == sorted(any_release.mon_addrs())
    for mon in report["monitors"]:
        assert list(mon["ms"]) == ["connect", "banner", "auth", "maps", "statfs"]
        assert (mon["in_quorum"], mon["in_monmap"], mon["error"]) == (True, True, "")


def test_legacy(pacific: Cluster) -> None:
    done = check(pacific.source("v1"), "name=df", secret(pacific), "ms_mode=legacy")
    assert done.returncode == 0, done.stdout
    assert re.search(r"ok mon a v1:\S+, legacy; ms: .* statfs", flat(done))


def test_demo() -> None:
    done = check("demo:")
    assert done.returncode == 0, done.stdout
    assert flat(done).count("statfs") == 3


# ---- monitors


def test_a_monitor_that_is_down_and_out_of_quorum(factory: ClusterFactory) -> None:
    cluster = factory(mons=3, conf=FAST_ELECTIONS)
    cluster.mon("c").kill()
    cluster.wait_quorum({"a", "b"})
    text = faulty(
        r"FAULT mon c monitor \S+ at \S+ connect: connection refused", cluster.source(), "name=df", secret(cluster)
    )
    assert "it is out of quorum: on its host, ceph daemon mon.c mon_status" in text
    assert "FAULT quorum 2 of 3 monitors, leader a; out of it: c" in text
    assert re.search(r"ok mon a .* statfs", text)
    cluster.mon("b").kill()
    cluster.wait_until(lambda: cluster.mon("a").admin_socket("mon_status")["state"] in ("probing", "electing"), "alone")
    faulty("a monitor that breaks off there has no quorum", cluster.source(), "name=df", secret(cluster))


def test_a_list_that_is_out_of_date(pacific: Cluster) -> None:
    source = pacific.source().replace(":/", ",127.0.0.1:9:/")
    text = faulty(
        r"the list of monitors is out of date: 127\.0\.0\.1:9 is no monitor", source, "name=df", secret(pacific)
    )
    now = pacific.source().removesuffix(":/")
    assert f"do: name these: {now}" in text


def test_a_list_that_is_incomplete(pacific: Cluster) -> None:
    first = pacific.source().split(",")[0]
    done = check(f"{first}:/", "name=df", secret(pacific))
    assert done.returncode == 0, done.stdout
    assert re.search(r"note monitors not in the list, found all the same: b, c", flat(done))
    assert re.search(r"ok mon c .* statfs", flat(done))


def test_ports_and_protocols(pacific: Cluster) -> None:
    faulty(r"banner: speaks the v1 protocol here, not v2", pacific.source("v1"), "name=df", secret(pacific))
    faulty(
        r"banner: speaks the v2 protocol here, not v1", pacific.source(), "name=df", secret(pacific), "ms_mode=legacy"
    )
    faulty(
        r"FAULT options 127\.0\.0\.1:6789 speaks the v1", "127.0.0.1:6789:/", "name=df", secret(pacific), "ms_mode=crc"
    )


def test_names_and_dns(pacific: Cluster) -> None:
    faulty(r"FAULT resolve nobody\.invalid: ", "nobody.invalid:/", "name=df", secret(pacific))
    faulty(r"FAULT dns no monitor address: none in the source", "df@", "conf=/dev/null", secret(pacific))


def test_another_cluster(pacific: Cluster) -> None:
    other = "11111111-2222-3333-4444-555555555555"
    faulty(rf"FAULT session .*belongs to cluster {pacific.fsid}, wanted {other}", pacific.source(), "name=df",
           secret(pacific), f"fsid={other}")  # fmt: skip


# ---- keys and caps


def test_a_wrong_key(pacific: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(new_key())
    file.chmod(0o600)
    faulty(r"auth: refused client\.df: unknown user, wrong key", pacific.source(), "name=df", f"secretfile={file}")


def test_a_key_that_others_can_read(pacific: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(pacific.keys["client.df"])
    file.chmod(0o644)
    text = faulty(r"FAULT key others can read the key in \S+", pacific.source(), "name=df", f"secretfile={file}")
    assert f"do: chmod 600 {file}" in text


def test_a_key_on_the_command_line(pacific: Cluster) -> None:
    done = check(pacific.source(), "name=df", f"secret={pacific.keys['client.df']}")
    assert done.returncode == 0
    assert "warn key a secret on the command line shows in the process list do: use secretfile=" in flat(done)
    assert pacific.keys["client.df"] not in done.stdout
    assert "verdict: it works; one thing could be better" in flat(done).replace("1 thing", "one thing")


def test_a_key_type_that_is_refused(factory: ClusterFactory) -> None:
    tentacle = factory(release="tentacle", mons=1)
    tentacle.allow_ciphers("aes", "aes256k")
    tentacle.make_key("client.old", key_type="aes", mon="allow r")
    tentacle.allow_ciphers("aes256k")
    faulty(r"auth: refused client\.old: .*key type that the cluster no longer allows \(ours is aes",
           tentacle.source(), "name=old", secret(tentacle, "client.old"))  # fmt: skip


def test_caps_that_cover_a_part(pacific: Cluster) -> None:
    pacific.make_key("client.small", key_type=None, mon="allow service pg r")
    text = faulty(r"the caps of client\.small do not cover .*Permission denied there", pacific.source(), "name=small",
                  secret(pacific, "client.small"))  # fmt: skip
    assert "do: ceph auth caps client.small mon 'allow r'" in text
    report = json.loads(check(pacific.source(), "name=small", secret(pacific, "client.small"), json_too=True).stdout)
    denied = set(report["denied"])
    assert {"health", "osdmap", "osdmap.json", "mdsmap", "ceph/health"} <= denied
    assert not {"monmap", "capacity/total_bytes", "fsid", "session/state"} & denied


@pytest.mark.parametrize("caps", ["allow service osd r", "allow service mon r"])
def test_caps_without_the_space(pacific: Cluster, caps: str) -> None:
    entity = f"client.{caps.split()[2]}only"
    pacific.make_key(entity, key_type=None, mon=caps)
    text = faulty(rf"FAULT caps {entity} may connect but not .* needs mon 'allow r'", pacific.source(),
                  f"name={entity.removeprefix('client.')}", secret(pacific, entity))  # fmt: skip
    assert "a session, and no answer to a statfs" in text


# ---- this machine


def test_no_fuse(pacific: Cluster, tmp_path: Path) -> None:
    where = (pacific.source(), "name=df", secret(pacific))
    with Mounted("demo:", tmp_path / "another"):  # it is looked at, too, and without /dev/null
        faulty(r"FAULT fuse /dev/fuse is absent do: modprobe fuse", *where, setup="mount -t tmpfs none /dev")
    missing = f"mount --bind /dev/null {FUSERMOUNT}"
    faulty(r"FAULT fuse fusermount3 is missing do: install the package fuse3", *where, setup=missing)


def test_a_root_that_may_not_mount(pacific: Cluster) -> None:
    before = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    faulty(r"root here may not mount: CAP_SYS_ADMIN is missing do: in a container", pacific.source(), "name=df",
           secret(pacific), before=before)  # fmt: skip


def test_a_user(pacific: Cluster) -> None:
    where = (pacific.source(), "name=df", f"secret={pacific.keys['client.df']}")
    if not os.stat("/dev/fuse").st_mode & 0o006:
        faulty(r"FAULT fuse cannot open /dev/fuse: Permission denied do: who may use it", *where, before=NOBODY)
    device = for_all("/dev/fuse")
    done = check(*where, before=NOBODY, setup=device)
    assert done.returncode == 0, done.stdout
    assert "warn privileges other users will not see your mounts: /etc/fuse.conf does not say" in flat(done)
    assert "user_allow_other" not in check(*where, before=NOBODY, setup=f"{device} && {USER_ALLOW_OTHER}").stdout
    assert "allow_other: only root may" in faulty(r"FAULT options", *where, "allow_other", before=NOBODY)
    faulty("no-new-privileges is on here: fusermount3", *where, before=(*NOBODY, "--no-new-privs"), setup=device)
    plain = f"{device} && cp {FUSERMOUNT} /run/plain && mount --bind /run/plain {FUSERMOUNT}"
    faulty("is not set-user-id, so users cannot mount do: chmod u[+]s", *where, before=NOBODY, setup=plain)


@pytest.mark.parametrize(("ahead_s", "word"), [(120, "ahead of"), (-90, "behind")])
def test_a_clock_that_is_wrong(pacific: Cluster, ahead_s: int, word: str) -> None:
    code = (
        f"import sys, time; real = time.time; time.time = lambda: real() + {ahead_s}; "
        "from cephmonfs.cli.main import main; sys.exit(main())"
    )
    program = (sys.executable, "-c", code)
    faulty(rf"FAULT clock this machine is {abs(ahead_s)} s {word} the monitors", pacific.source(), "name=df",
           secret(pacific), program=program)  # fmt: skip


def test_mounts_that_are_dead_and_mounts_that_hang(pacific: Cluster, tmp_path: Path) -> None:
    where = (pacific.source(), "name=df", secret(pacific))
    directory = tmp_path / "m"
    directory.mkdir()
    options = f"{','.join(where[1:])},noauto_unmount,run_as=root"
    assert run([str(HELPER), where[0], str(directory), "-o", options]).returncode == 0
    (daemon,) = processes(directory)
    try:
        os.kill(daemon, signal.SIGSTOP)
        faulty(rf"FAULT mounts {directory} is a cephmon mount whose daemon does not answer do: umount -f", *where)
        again = run([str(HELPER), where[0], str(directory), "-o", options])
        assert again.returncode == 32
        assert "whose daemon does not answer: umount -f" in again.stderr
        os.kill(daemon, signal.SIGKILL)
        faulty(rf"FAULT mounts {directory} is a dead cephmon mount do: umount -l", *where)
    finally:
        run(["umount", "-l", directory])
        forget(pacific.fsid)


def test_a_key_in_fstab(pacific: Cluster, tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text("# secret=x\ndf@ /mnt/x cephmon noauto,secret=AQxxx 0 0\n")
    faulty(r"FAULT fstab everybody can read the key of /mnt/x", pacific.source(), "name=df", secret(pacific),
           setup=f"mount --bind {shlex.quote(str(fstab))} /etc/fstab")  # fmt: skip
