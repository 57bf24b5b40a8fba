"""Every way to find the cluster and the key, with real monitors at the end of it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory
from tests.support.cluster import FAST_ELECTIONS, Cluster
from tests.support.dnsserver import DnsServer, resolv_conf
from tests.support.helper import HELPER, Mounted, forget, helper, is_mounted

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module")
def factory() -> Iterator[ClusterFactory]:
    found = ClusterFactory(keep=False)
    yield found
    found.close()


@pytest.fixture(scope="module")
def cluster(factory: ClusterFactory) -> Cluster:
    """Three monitors and nothing else."""
    return factory(mons=3)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    directory = tmp_path / "m"
    directory.mkdir()
    return directory


def secretfile(cluster: Cluster) -> str:
    return f"secretfile={cluster.write_secret('client.df')}"


# ---- addresses


@pytest.mark.parametrize("release", ["pacific", "tentacle"])
def test_ipv6(factory: ClusterFactory, tmp_path: Path, release: str) -> None:
    six = factory(release=release, ip="::1")
    with Mounted(six.source(), tmp_path / "a", "name=df", secretfile(six)) as mount:
        assert mount.value("session/addr").startswith("v2:[::1]:")
        assert mount.text("monmap") == six.ceph("mon", "dump").lstrip("\n")
    with Mounted("df@", tmp_path / "b", secretfile(six), f"conf={six.conf_path}", "ip=::1") as mount:
        assert mount.value("session/state") == "open"
    with Mounted(six.source("v1"), tmp_path / "c", "name=df", secretfile(six), "ms_mode=legacy") as mount:
        assert mount.value("session/addr").startswith("v1:[::1]:")


def test_monitors_of_both_ip_versions(factory: ClusterFactory, tmp_path: Path) -> None:
    both = factory(ip=("127.0.0.1", "::1"), conf=FAST_ELECTIONS)
    with Mounted(both.source(), tmp_path / "m", "name=df", secretfile(both)) as mount:
        families: set[bool] = set()
        for _ in range(20):  # whoever is lost, another takes over by chance, whatever it speaks
            if len(families) == 2:
                break
            name, address = mount.value("session/mon"), mount.value("session/addr")
            families.add("[::1]" in address)
            both.mon(name).kill()
            mount.wait_for("session/mon", f"[^{name}]")
            both.mon(name).start()
            both.wait_quorum(3)
        assert families == {True, False}


def test_names(cluster: Cluster, tmp_path: Path) -> None:
    ports = [addrs.v2_port for addrs in cluster.mon_addrs().values()]
    source = ",".join(f"localhost:{port}" for port in ports) + ":/"
    with Mounted(source, tmp_path / "m", "name=df", secretfile(cluster)) as mount:
        assert mount.value("session/state") == "open"
        assert mount.value("session/last_error") == "" or "out of date" not in mount.value("session/last_error")


def test_a_name_that_is_none(empty: Path, cluster: Cluster) -> None:
    done = helper("nobody.invalid:/", empty, "name=df", secretfile(cluster), "mount_timeout=2")
    assert done.returncode == 32
    assert re.search(r"nobody\.invalid.*resolve", done.stderr), done.stderr
    first = cluster.source().removesuffix(":/").split(",")[0]
    with Mounted(f"nobody.invalid,{first}:/", empty, "name=df", secretfile(cluster)) as mount:
        assert mount.value("session/state") == "open"


def test_lists(cluster: Cluster, tmp_path: Path) -> None:
    plain = cluster.source().removesuffix(":/")
    slashes = plain.replace(",", "/")
    vectors = cluster.mon_host
    sources = [
        ("none", f"mon_addr={slashes}"),
        ("df@", f"mon_addr={slashes}"),
        (f"df@{cluster.fsid}.=/", f"mon_addr={slashes}"),
        (f"{vectors}:/", ""),
        (f"{plain.replace(',', ';')}:/", ""),
        (f"{plain}:", ""),
        (f"{plain}:/some/where", ""),
        (f"127.0.0.1:9,{plain}:/", ""),
    ]
    for number, (source, option) in enumerate(sources):
        options = ["name=df"] if not source.startswith("df@") else []
        options += [secretfile(cluster), *filter(None, [option])]
        with Mounted(source, tmp_path / str(number), *options) as mount:
            assert mount.value("session/state") == "open", source


@pytest.mark.parametrize("where", ["source", "mon_addr", "ceph.conf"])
def test_every_monitor_spelled_v1_is_spoken_to_in_v1(cluster: Cluster, tmp_path: Path, where: str) -> None:
    """As the kernel's default is; one line of the log says so."""
    spelled = [f"v1:{address}" for address in cluster.source("v1").removesuffix(":/").split(",")]
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\nmon host = {' '.join(f'[{address}/0]' for address in spelled)}\n")
    source, option = {
        "source": (f"{','.join(spelled)}:/", "noatime"),
        "mon_addr": ("none", f"mon_addr={'/'.join(spelled)}"),
        "ceph.conf": (":/", f"conf={conf}"),
    }[where]
    with Mounted(source, tmp_path / "m", "name=df", secretfile(cluster), option) as mount:
        assert mount.value("session/mode") == "legacy"
        assert mount.value("session/addr").startswith("v1:")
        assert mount.text("log").count("so ms_mode=legacy") == 1


def test_a_monitor_that_merely_answers_in_v1_is_not(cluster: Cluster, empty: Path) -> None:
    done = helper(cluster.source("v1"), empty, "name=df", secretfile(cluster), "mount_timeout=3")
    assert done.returncode == 32
    assert "ms_mode=legacy" in done.stderr


def test_a_list_that_is_partly_out_of_date_is_told(cluster: Cluster, tmp_path: Path) -> None:
    source = f"127.0.0.1:9,{cluster.source()}"
    with Mounted(source, tmp_path / "m", "name=df", secretfile(cluster)) as mount:
        said = mount.value("session/last_error")
        assert re.search(r"list of monitors is out of date: 127\.0\.0\.1:9 is no monitor of this cluster", said), said


# ---- ceph.conf


def vectors(cluster: Cluster) -> list[str]:
    return [addrs.addrvec for addrs in cluster.mon_addrs().values()]


MON_HOSTS: dict[str, Callable[[Cluster], str]] = {
    "vectors": lambda c: f"[global]\nmon_host = {c.mon_host}",
    "vectors and blanks": lambda c: f"[global]\n\tmon host = {'  '.join(vectors(c))}",
    "addresses": lambda c: f"[global]\nmon-host={c.source().removesuffix(':/')}",
    "semicolons": lambda c: f"[global]\nmon_host = {c.source().removesuffix(':/').replace(',', '; ')}",
    "with protocol and nonce": lambda c: (
        "[global]\nmon_host = " + ",".join(f"v2:{addrs.v2}/0" for addrs in c.mon_addrs().values())
    ),
    "quoted": lambda c: f'[global]\nmon_host = "{c.mon_host}"',
    "continued": lambda c: "[global]\nmon_host = \\\n  " + ", \\\n  ".join(vectors(c)),
    "with comments": lambda c: f"# a cluster\n[global]  ; everybody\nmon_host = {c.mon_host}  # all of them\n",
    "a section for each": lambda c: "".join(
        f"[mon.{name}]\nhost = nowhere\nmon addr = {addrs.v2}\n" for name, addrs in c.mon_addrs().items()
    ),
    "the nearest section": lambda c: (
        f"[global]\nmon_host = 127.0.0.1:9\n[client]\nmon_host = 127.0.0.1:9\n[client.df]\nmon_host = {c.mon_host}"
    ),
    "the client's section": lambda c: f"[client]\nmon_host = {c.mon_host}\n[global]\nmon_host = 127.0.0.1:9\n",
    "with the fsid": lambda c: f"[global]\nfsid = {c.fsid}\nmon_host = {c.mon_host}",
}


@pytest.mark.parametrize("spelling", MON_HOSTS)
def test_mon_host(cluster: Cluster, tmp_path: Path, spelling: str) -> None:
    conf = tmp_path / "ceph.conf"
    conf.write_text(MON_HOSTS[spelling](cluster))
    with Mounted("ceph", tmp_path / "m", "name=df", secretfile(cluster), f"conf={conf}") as mount:
        assert mount.value("session/state") == "open"
        assert mount.value("fsid") == cluster.fsid


FORMS = {"fsid": "", "file system": "fs=cephfs", "pool": "pool=cephfs_data", "both": "fs=cephfs,pool=cephfs_metadata"}


@pytest.mark.parametrize("form", FORMS)
def test_what_proc_mounts_shows_is_taken_back(pacific: Cluster, tmp_path: Path, form: str) -> None:
    options = [secretfile(pacific), f"conf={pacific.conf_path}"]
    with Mounted("df@", tmp_path / "a", *options, *filter(None, [FORMS[form]])) as first:
        source = next(
            line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(first.path) in line
        )
        with Mounted(source, tmp_path / "b", *options) as second:
            first_df, second_df = os.statvfs(first.path), os.statvfs(second.path)
            assert first_df.f_blocks == second_df.f_blocks
            shown = [line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line]
            assert shown == [source] * 2
            second.keep_memory = True


def test_a_conf_of_another_cluster(cluster: Cluster, empty: Path, tmp_path: Path) -> None:
    conf = tmp_path / "ceph.conf"
    other = "11111111-2222-3333-4444-555555555555"
    conf.write_text(f"[global]\nfsid = {other}\nmon_host = {cluster.mon_host}")
    done = helper("df@", empty, secretfile(cluster), f"conf={conf}")
    assert done.returncode == 32
    assert cluster.fsid in done.stderr
    assert other in done.stderr
    assert not is_mounted(empty)


def test_a_conf_that_is_damaged(cluster: Cluster, empty: Path, tmp_path: Path) -> None:
    conf = tmp_path / "ceph.conf"
    conf.write_text("[global\nmon_host = x\n")
    done = helper("df@", empty, secretfile(cluster), f"conf={conf}")
    assert done.returncode == 1
    assert str(conf) in done.stderr
    assert "1" in done.stderr  # the line
    # and harms nobody who needs nothing of it
    with Mounted(cluster.source(), empty, "name=df", secretfile(cluster), f"conf={conf}") as mount:
        assert mount.value("session/state") == "open"


# ---- keys


def test_where_a_key_may_be(cluster: Cluster, tmp_path: Path) -> None:
    """The most explicit place first; each is tried with a wrong key in all that come after it."""
    key, wrong = cluster.keys["client.df"], cluster.keys["client.admin"]
    conf = tmp_path / "site.conf"
    head = f"[global]\nmon_host = {cluster.mon_host}\n[client]\n"

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    write("site.client.df.keyring", f"[client.df]\n\tkey = {key}\n")
    write("bad.keyring", f"[client.df]\n\tkey = {wrong}\n")
    keyfile = write("keyfile", f"{key}\n")
    bad = write("bad", f"{wrong}\n")
    good = write("good.keyring", f"[client.df]\n\tkey = {key}\n")
    cases: list[tuple[str, list[str]]] = [
        (f"keyring = {tmp_path}/bad.keyring\n", [f"secretfile={keyfile}"]),
        (f"keyring = {tmp_path}/bad.keyring\n", [f"keyring={good}"]),
        (f"key = {key}\nkeyfile = {bad}\nkeyring = {tmp_path}/bad.keyring\n", []),
        (f"keyfile = {keyfile}\nkeyring = {tmp_path}/bad.keyring\n", []),
        (f"keyring = /nowhere/at/all,{tmp_path}/$cluster.$name.keyring\n", []),
        (f"keyring = {tmp_path}/${{cluster}}.$type.$id.keyring\n", []),
    ]
    for number, (text, options) in enumerate(cases):
        conf.write_text(head + text)
        with Mounted("df@", tmp_path / str(number), f"conf={conf}", *options) as mount:
            assert mount.value("session/state") == "open", text


KEYRINGS = {
    "usual": '[client.df]\n\tkey = {key}\n\tcaps mon = "allow r"\n',
    "key at the margin": '[client.df]\nkey = {key}\n   caps mon = "allow r"\n   caps osd = "allow *"\n',
    "no newline at the end": "[client.df]\n\tkey={key}",
    "among others": "[mon.]\n\tkey = {other}\n[client.df]\n\tkey = {key}\n[client.z]\n\tkey = {other}\n",
    "comments and blanks": "; made by hand\n\n[client.df]   # us\n\n    key   =   {key}   \n\n",
    "carriage returns": "[client.df]\r\n\tkey = {key}\r\n",
}


@pytest.mark.parametrize("layout", KEYRINGS)
def test_keyrings_that_people_have(cluster: Cluster, tmp_path: Path, layout: str) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text(KEYRINGS[layout].format(key=cluster.keys["client.df"], other=cluster.keys["client.admin"]))
    keyring.chmod(0o600)
    with Mounted(cluster.source(), tmp_path / "m", "name=df", f"keyring={keyring}") as mount:
        assert mount.value("session/state") == "open"


BAD_KEYRINGS = {
    "another entity": ("[client.other]\n\tkey = {key}\n", r"client\.df"),
    "no key": ('[client.df]\n\tcaps mon = "allow r"\n', r"client\.df.*key|key.*client\.df"),
    "damaged": ("[client.df]\n\tkey = {key}!\n", r"base64|key"),
    "cut off": ("[client.df]\n\tkey = {short}\n", r"key"),
    "two keys": ("[client.df]\n\tkey = {key}\n[client.df]\n\tkey = {other}\n", r"client\.df"),
    "no section": ("key = {key}\n", r"section|line 1"),
    "bytes": ("\0\1\2\3", r"line 1|keyring"),
    "a section twice": (
        '[client.df]\n\tcaps mon = "allow r"\n[client.df]\n\tkey = {key}\n',
        r"lines 1 and 3: keep one",
    ),
    "empty": ("", r"no \[client\.NAME\] section"),
}


@pytest.mark.parametrize("damage", BAD_KEYRINGS)
def test_keyrings_that_are_none(cluster: Cluster, tmp_path: Path, empty: Path, damage: str) -> None:
    text, sentence = BAD_KEYRINGS[damage]
    key = cluster.keys["client.df"]
    keyring = tmp_path / "keyring"
    keyring.write_text(text.format(key=key, short=key[:17], other=cluster.keys["client.admin"]))
    keyring.chmod(0o600)
    done = helper(cluster.source(), empty, "name=df", f"keyring={keyring}")
    assert done.returncode == 1, done.stderr
    assert re.search(sentence, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert str(keyring) in done.stderr
    assert key[:16] not in done.stderr
    assert not is_mounted(empty)


def test_a_credential_of_systemd(cluster: Cluster, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "cephmon.secret").write_text(cluster.keys["client.df"])
    (tmp_path / "cephmon.secret").chmod(0o600)
    env = {"PATH": "/usr/bin:/bin", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    argv = ["env", "-i", *(f"{name}={value}" for name, value in env.items())]
    argv += [str(HELPER), cluster.source(), str(empty), "-o", "name=df"]
    with Mounted("", empty, argv=argv) as mount:
        assert mount.value("session/state") == "open"


# ---- DNS


def in_world(tmp_path: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script where /etc/resolv.conf is ours, in a mount namespace that ends with it."""
    conf = resolv_conf(tmp_path)
    begin = f"mount --make-rprivate / && mount --bind {shlex.quote(str(conf))} /etc/resolv.conf && "
    argv = ["unshare", "--mount", "sh", "-c", begin + script, "world", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd="/")


LOOK = '"$@" && cat "$3/session/mon" "$3/session/state" && umount "$3"'


def srv(cluster: Cluster, ranks: dict[str, str], service: str = "_ceph-mon._tcp.example.test") -> dict[str, list[str]]:
    """SRV records for the monitors: name -> "PRIORITY WEIGHT"."""
    records: dict[str, list[str]] = {f"{service} SRV": []}
    for name, addrs in cluster.mon_addrs().items():
        records[f"{service} SRV"].append(f"{ranks[name]} {addrs.v2_port} {name}.example.test.")
        records[f"{name}.example.test A"] = ["127.0.0.1"]
    return records


def dns_mount(cluster: Cluster, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "m").mkdir(exist_ok=True)
    conf = tmp_path / "ceph.conf"
    if not conf.exists():
        conf.write_text("[global]\n")
    words = ",".join(["name=df", secretfile(cluster), f"conf={conf}", *options])
    try:
        return in_world(tmp_path, LOOK, str(HELPER), "ceph", str(tmp_path / "m"), "-o", words)
    finally:
        forget(cluster.fsid)


def look(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_dns_by_priority(cluster: Cluster, tmp_path: Path) -> None:
    with DnsServer(srv(cluster, {"a": "20 0", "b": "10 0", "c": "20 5"})) as server:
        assert look(dns_mount(cluster, tmp_path)) == ["b", "open"]
    assert "_ceph-mon._tcp.example.test srv" in [asked.lower() for asked in server.asked]


def test_dns_by_weight(cluster: Cluster, tmp_path: Path) -> None:
    with DnsServer(srv(cluster, {"a": "10 0", "b": "10 0", "c": "10 60"})):
        assert look(dns_mount(cluster, tmp_path)) == ["c", "open"]


def test_dns_of_another_name(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "ceph.conf").write_text("[global]\nmon_dns_srv_name = storage_corp.test\n")
    records = srv(cluster, {"a": "10 0", "b": "10 0", "c": "10 0"}, "_storage._tcp.corp.test")
    with DnsServer(records):
        assert look(dns_mount(cluster, tmp_path))[1] == "open"


def test_dns_with_a_record_of_nonsense_among_them(cluster: Cluster, tmp_path: Path) -> None:
    records = srv(cluster, {"a": "10 0", "b": "10 0", "c": "10 0"})
    records["_ceph-mon._tcp.example.test SRV"] += ["0 0 0 a.example.test.", "0 0 3300 .", "0 0 3300 gone.example.test."]
    with DnsServer(records):
        assert look(dns_mount(cluster, tmp_path))[1] == "open"


@pytest.mark.parametrize(
    ("records", "junk", "sentence"),
    [
        ({}, False, r"no monitor address: none in the source.*_ceph-mon\._tcp.*NXDOMAIN"),
        ({"_ceph-mon._tcp.example.test A": ["127.0.0.1"]}, False, r"no SRV record|no monitor address"),
        ({"_ceph-mon._tcp.example.test SRV": ["0 0 0 ."]}, False, r"name no host"),
        ({"_ceph-mon._tcp.example.test SRV": ["0 0 3300 gone.example.test."]}, False, r"gone\.example\.test.*resolve"),
        ({}, True, r"no monitor address: no name server answered"),
    ],
    ids=["no name", "no record", "no host", "no address", "junk"],
)
def test_dns_that_does_not_help(
    cluster: Cluster, tmp_path: Path, records: dict[str, list[str]], junk: bool, sentence: str
) -> None:
    with DnsServer(records, junk=junk):
        done = dns_mount(cluster, tmp_path, "mount_timeout=1")
    assert done.returncode in (1, 32), done.stderr
    assert re.search(sentence, done.stderr), done.stderr
    assert not is_mounted(tmp_path / "m")


# ---- monitors that move


@pytest.mark.parametrize("how", ["bg", "nobg"])
def test_names_that_lead_nowhere_any_more(cluster: Cluster, tmp_path: Path, how: str) -> None:
    """The same line finds the monitors where they were the last time; nothing but a mount has told it their cluster."""
    (tmp_path / "m").mkdir()
    addrs = cluster.mon_addrs()
    source = ",".join(f"{name}.example.test:{at.v2_port}" for name, at in addrs.items()) + ":/"
    options = ",".join(["name=df", secretfile(cluster), *(["bg"] if how == "bg" else []), "mount_timeout=10"])
    known = 'grep -qx open "$3/session/state" && grep -q . "$3/fsid" 2>&1'
    wait = f"n=0; until {known}; do n=$((n + 1)); test $n -lt 100; sleep 0.1; done"
    failed = """trap 'umount -l "$3" 2>/dev/null || :' EXIT"""
    script = f'set -e; "$@"; {failed}; {wait}; cat "$3/fsid" "$3/session/addr"; umount "$3"'
    try:
        for ip in ("127.0.0.1", "127.0.0.9"):
            with DnsServer({f"{name}.example.test A": [ip] for name in addrs}):
                fsid, address = look(
                    in_world(tmp_path, script, str(HELPER), source, str(tmp_path / "m"), "-o", options)
                )
            assert fsid == cluster.fsid
            assert address.startswith("v2:127.0.0.1:")
    finally:
        forget(cluster.fsid)


def test_all_monitors_move(factory: ClusterFactory, tmp_path: Path) -> None:
    """Added and removed under a mount until none of the line in fstab is left; the next mount finds them still."""
    moving = factory(mons=3, conf=FAST_ELECTIONS)
    source, options = moving.source(), ("name=df", secretfile(moving), "mount_timeout=20")
    with Mounted(source, tmp_path / "m", *options) as mount:
        for name in "def":
            moving.add_mon(name)
        mount.wait_for("mon/count", "6")
        for name in "abc":
            moving.remove_mon(name)
        mount.wait_for("mon/count", "3")
        mount.wait_for("session/state", "open")
        mount.wait_for("session/mon", "[def]")
        assert sorted(p.name for p in (mount.path / "mon").iterdir() if p.is_dir()) == ["d", "e", "f"]
        assert os.statvfs(mount.path).f_namemax == 255
        mount.wait_for("session/last_error", ".*list of monitors is out of date.*")
        mount.keep_memory = True
    with Mounted(source, tmp_path / "m", *options) as mount:
        assert mount.value("session/mon") in "def"
        # monitors that elect once more end a session, and the next one tells it anew
        mount.wait_for("session/last_error", ".*the list of monitors is out of date.*")
        said = mount.value("session/last_error")
        for address in source.removesuffix(":/").split(","):
            assert address in said


# ---- weights of the monmap


def test_the_monitor_with_weight_is_preferred(factory: ClusterFactory, tmp_path: Path) -> None:
    weighted = factory(mons=3, conf=FAST_ELECTIONS)
    weighted.ceph("mon", "set-weight", "c", "50")
    with Mounted(weighted.source(), tmp_path / "m", "name=df", secretfile(weighted)) as mount:
        mount.wait_for("monmap.json", r'.*"weight": ?50.*')
        name = mount.value("session/mon")
        if name != "c":
            weighted.mon(name).kill()
            mount.wait_for("session/mon", "c")
