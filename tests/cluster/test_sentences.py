"""Every cause of a failed mount, made to happen with real monitors: its sentence, its exit status, and how soon.

One table, CAUSES.  After each of them nothing is mounted and nothing runs, and no key was told.
"""

from __future__ import annotations

import base64
import contextlib
import re
import shlex
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ClusterFactory
from tests.support.cluster import Cluster
from tests.support.dnsserver import DnsServer, resolv_conf
from tests.support.helper import HELPER, forget, is_mounted, processes, run
from tests.support.release import new_key

pytestmark = pytest.mark.fuse

OTHER_FSID = "11111111-2222-3333-4444-555555555555"
AT_ONCE_S = 6.0  # what needs no waiting takes half a second; the machine of the tests is busy


@dataclass
class Scene:
    """What a cause needs: clusters, files, and how the helper is called there."""

    factory: ClusterFactory
    cluster: Cluster
    tmp: Path
    directory: Path
    made: dict[str, Cluster]
    stack: contextlib.ExitStack
    source: str = ""
    options: list[str] = field(default_factory=list)
    before: Sequence[str] = ()  # a command that runs the helper
    setup: str = ""  # shell, in a mount namespace of its own
    more: Sequence[str] = ()  # arguments of the helper

    def __post_init__(self) -> None:
        self.source = self.source or self.cluster.source()
        self.options = self.options or ["name=df", self.secret("client.df")]

    def secret(self, entity: str, cluster: Cluster | None = None) -> str:
        return f"secretfile={(cluster or self.cluster).write_secret(entity)}"

    def file(self, content: str | bytes, mode: int = 0o600) -> Path:
        path = self.tmp / "given"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def user(self, entity: str, **caps: str) -> None:
        self.cluster.make_key(entity, key_type=None, **caps)
        self.options = [f"name={entity.removeprefix('client.')}", self.secret(entity)]

    def another(self, name: str, **options: object) -> Cluster:
        """A cluster for several causes."""
        if name not in self.made:
            self.made[name] = self.factory(**options)
        return self.made[name]

    def use(self, cluster: Cluster, *options: str) -> None:
        self.cluster, self.source = cluster, cluster.source()
        self.options = [*options] or ["name=df", self.secret("client.df")]

    def call(self) -> subprocess.CompletedProcess[str]:
        argv: list[str] = [str(HELPER), self.source, str(self.directory), *self.more]
        if self.options:
            argv += ["-o", ",".join(self.options)]
        argv = [*self.before, *argv]
        if self.setup:
            script = f"mount --make-rprivate / && {self.setup} && exec {shlex.join(argv)}"
            argv = ["unshare", "--mount", "sh", "-c", script]
        return run(argv, env={"PATH": "/usr/bin:/bin"}, cwd="/", timeout_s=60)


@dataclass(frozen=True)
class Cause:
    """One line of the table."""

    name: str
    status: int
    sentence: str  # a regular expression
    make: Callable[[Scene], None]
    within_s: float = AT_ONCE_S


CAUSES: list[Cause] = []


def cause(
    name: str, status: int, sentence: str, within_s: float = AT_ONCE_S
) -> Callable[[Callable[[Scene], None]], None]:
    def add(make: Callable[[Scene], None]) -> None:
        CAUSES.append(Cause(name, status, sentence, make, within_s))

    return add


def given(name: str, status: int, sentence: str, *options: str, within_s: float = AT_ONCE_S, source: str = "") -> None:
    """A cause that takes only other options, or another source."""

    def make(scene: Scene) -> None:
        scene.source = source or scene.source
        fill = {"key": scene.cluster.keys["client.df"], "secret": scene.secret("client.df"), "tmp": str(scene.tmp)}
        scene.options = [option.format(**fill) for option in options]

    CAUSES.append(Cause(name, status, sentence, make, within_s))


# ---- the monitors

given(
    "nothing listens", 32, r"none of 2 monitors answered in 1 s: monitor 127\.0\.0\.1:\d+ at v2:127\.0\.0\.1:\d+/0: "
    r"connect: connection refused; monitor \S+ at \S+: connect: connection refused",
    "name=df", "{secret}", "mount_timeout=1", source="127.0.0.1:9,127.0.0.1:10:/",
)  # fmt: skip
given(
    "an old line, and nothing at port 3300", 32, r"127\.0\.0\.1:3300/0: connect: .*v1 protocol.*want ms_mode=legacy",
    "name=df", "{secret}", "mount_timeout=1", source="127.0.0.1:6789:/",
)  # fmt: skip
given(
    "v1 by its port where v2 was asked for", 1, r"127\.0\.0\.1:6789 speaks the v1 protocol; use port 3300 or ms_mode",
    "name=df", "{secret}", "ms_mode=prefer-crc", source="127.0.0.1:6789:/",
)  # fmt: skip
given(
    "v2 by its port where v1 was asked for", 1, r"127\.0\.0\.1:3300 speaks the v2 protocol; use port 6789 or leave",
    "name=df", "{secret}", "ms_mode=legacy", source="127.0.0.1:3300:/",
)  # fmt: skip
given("a name of nobody", 32, r"monitor nobody\.invalid:3300: resolve: ", "name=df", "{secret}", "mount_timeout=1",
      source="nobody.invalid:/")  # fmt: skip


@cause(
    "v1 spoken where v2 was asked for",
    32,
    r"monitor \S+ at v2:\S+: banner: speaks the v1 protocol here.*ms_mode=legacy",
)
def _(scene: Scene) -> None:
    scene.source = scene.cluster.source("v1")


@cause("v2 spoken where v1 was asked for", 32, r"monitor \S+ at v1:\S+: banner: speaks the v2 protocol here")
def _(scene: Scene) -> None:
    scene.options += ["ms_mode=legacy"]


def listener(scene: Scene, answer: bytes | None) -> str:
    """Somebody on loopback who is no monitor; None: says nothing."""
    sock = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = sock.accept()
            except OSError:
                return
            if answer is None:
                open_ones.append(peer)
                continue
            with peer, contextlib.suppress(OSError):
                peer.sendall(answer)
                peer.recv(1000)

    thread = threading.Thread(target=serve)
    thread.start()

    def end() -> None:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        thread.join()
        for peer in open_ones:
            peer.close()

    scene.stack.callback(end)
    return f"127.0.0.1:{sock.getsockname()[1]}"


@cause(
    "not a monitor at all", 32, r"the monitor did not answer in 1 s: monitor \S+ at \S+: banner: is not a Ceph monitor"
)
def _(scene: Scene) -> None:
    scene.source = listener(scene, b"HTTP/1.1 400 Bad Request\r\n\r\n") + ":/"
    scene.options += ["mount_timeout=1"]


@cause("somebody who says nothing", 32, r"the monitor did not answer in 1 s: .*127\.0\.0\.1:\d+")
def _(scene: Scene) -> None:
    scene.source = listener(scene, None) + ":/"
    scene.options += ["mount_timeout=1"]


@cause("no quorum", 32, r"none of 3 monitors answered in 3 s: monitor .*(auth|connect): .*have no quorum", within_s=9)
def _(scene: Scene) -> None:
    scene.use(scene.factory(mons=3))
    scene.options += ["mount_timeout=3"]
    scene.cluster.mon("b").kill()
    scene.cluster.mon("c").kill()
    scene.cluster.wait_until(lambda: _probes(scene.cluster), "mon.a out of quorum", 30)


def _probes(cluster: Cluster) -> bool:
    return str(cluster.mon("a").admin_socket("mon_status")["state"]) in ("probing", "electing")


given("a wrong fsid", 32, rf"monitor \S+ at \S+: maps: belongs to cluster [-0-9a-f]{{36}}, wanted {OTHER_FSID}",
      "name=df", "{secret}", f"fsid={OTHER_FSID}")  # fmt: skip
given("no such file system", 32, r"the cluster has no file system nosuch", "name=df", "{secret}", "fs=nosuch")
given("no such pool", 32, r"the cluster has no pool nosuch", "name=df", "{secret}", "pool=nosuch")

# ---- the key

given("an unknown user", 32, r"auth: refused client\.stranger: unknown user, wrong key.*ceph auth get client\.stranger",
      "name=stranger", "{secret}")  # fmt: skip


@cause(
    "a wrong key", 32, r"auth: refused client\.df: unknown user, wrong key.*On the cluster: ceph auth get client\.df"
)
def _(scene: Scene) -> None:
    scene.options = ["name=df", f"secretfile={scene.file(new_key())}"]


@cause("no caps for monitors at all", 32, r"auth: refused client\.nomon: unknown user, wrong key, no mon caps")
def _(scene: Scene) -> None:
    scene.user("client.nomon", osd="allow r")


@cause(
    "caps that cover nothing of ours", 32, r"client\.blind may connect but not .* it needs mon 'allow r'", within_s=8
)
def _(scene: Scene) -> None:
    scene.user("client.blind", mon="allow service osd r")


@cause("caps without the space", 32, r"client\.monly may connect but not ask for the space: it needs mon", within_s=9)
def _(scene: Scene) -> None:
    scene.user("client.monly", mon="allow service mon r")


@cause("caps without the osdmap of pool=", 32, r"client\.small may not read the osdmap that names pools", within_s=8)
def _(scene: Scene) -> None:
    scene.user("client.small", mon="allow service pg r")
    scene.options += ["pool=cephfs_data"]


@cause("caps without the fsmap of fs=", 32, r"client\.small may not read the fsmap that names file systems", within_s=8)
def _(scene: Scene) -> None:
    scene.user("client.small", mon="allow service pg r")
    scene.options += ["fs=cephfs"]


@cause(
    "a key type that the cluster no longer allows", 32, r"auth: refused client\.old: .*key type .*no longer allows.*aes"
)
def _(scene: Scene) -> None:
    tentacle = scene.another("tentacle", release="tentacle", mons=1)
    tentacle.allow_ciphers("aes", "aes256k")
    tentacle.make_key("client.old", key_type="aes", mon="allow r")
    tentacle.allow_ciphers("aes256k")
    scene.use(tentacle, "name=old", f"secretfile={tentacle.write_secret('client.old')}")


@cause(
    "a key where none is used", 32, r"auth: the cluster does not use cephx, and a key was given: mount without a key"
)
def _(scene: Scene) -> None:
    unguarded = scene.another("unguarded", mons=1, auth="none")
    scene.use(unguarded, "name=df", f"secretfile={scene.file(new_key())}")


@cause("secure where nothing can be", 32, r"auth: the cluster uses no keys \(auth none\), so nothing can be encrypted")
def _(scene: Scene) -> None:
    unguarded = scene.another("unguarded", mons=1, auth="none")
    scene.use(unguarded, "name=df", f"conf={unguarded.conf_path}", "ms_mode=secure")


@cause("no key where one is wanted", 32, r"auth: the cluster wants a key \(cephx\): give secretfile= or keyring=")
def _(scene: Scene) -> None:
    conf = scene.file(f"[global]\nmon_host = {scene.cluster.mon_host}\nauth_client_required = none\n")
    scene.source, scene.options = "df@", [f"conf={conf}"]


# ---- files of keys


def key_file(name: str, sentence: str, content: Callable[[str], str | bytes], option: str = "secretfile") -> None:
    def make(scene: Scene) -> None:
        scene.options = ["name=df", f"{option}={scene.file(content(scene.cluster.keys['client.df']))}"]

    CAUSES.append(Cause(f"{option}: {name}", 1, sentence, make))


def _of_type(key: str, number: int) -> str:
    return base64.b64encode(struct.pack("<H", number) + base64.b64decode(key)[2:]).decode()


key_file("empty", r"the key in \S+/given is empty", lambda key: "\n")
key_file("cut off", r"the key in \S+/given is damaged: it is cut off", lambda key: key[:20])
key_file("too long", r"the key in \S+/given is damaged: it is too long", lambda key: key[:-2] + "AAAA" + key[-2:])
key_file("not base64", r"the key in \S+/given is damaged: it is not base64", lambda key: key[:10] + "*" + key[11:])
key_file("unknown type", r"the key in \S+/given is damaged: key type 7, known are 1", lambda key: _of_type(key, 7))
key_file("a keyring", r"/given is a keyring: use keyring=", lambda key: f"[client.df]\n\tkey = {key}\n")
key_file(
    "of someone else",
    r"/given has no key for client\.df; it has client\.x",
    lambda key: f"[client.x]\nkey = {key}\n",
    "keyring",
)
key_file("a bare key", r"/given holds a bare key, and is no keyring: say secretfile=", lambda key: key, "keyring")
key_file("no key in it", r"/given has \[client\.df\] without a key", lambda key: "[client.df]\n", "keyring")
key_file(
    "twice",
    r"/given has \[client\.df\] twice, in lines 1 and 3",
    lambda key: f"[client.df]\nkey = {key}\n" * 2,
    "keyring",
)
key_file(
    "two keys",
    r"/given line 3: a second key for client\.df",
    lambda key: f"[client.df]\nkey = {key}\nkey = {key}\n",
    "keyring",
)
key_file(
    "damaged",
    r"the key of client\.df in \S+/given is damaged: it is not base64",
    lambda key: f"[client.df]\nkey = ?{key[1:]}\n",
    "keyring",
)
key_file("no lines of a keyring", r"/given line 1: ", lambda key: "what is this\n", "keyring")


@cause("keyring: a monmap", 1, r"/given is not a keyring: it holds binary data")
def _(scene: Scene) -> None:
    scene.options = ["name=df", f"keyring={scene.file((scene.cluster.directory / 'monmap').read_bytes())}"]


@cause("conf: a monmap", 1, r"/given is not a ceph\.conf: it holds binary data")
def _(scene: Scene) -> None:
    conf = scene.file((scene.cluster.directory / "monmap").read_bytes())
    scene.source, scene.options = "df@", [f"conf={conf}", scene.secret("client.df")]


given(
    "keyring: not there",
    1,
    r"cannot read the keyring /nowhere: No such file or directory",
    "name=df",
    "keyring=/nowhere",
)
given(
    "secretfile: not there",
    1,
    r"cannot read secretfile /nowhere: No such file or directory",
    "name=df",
    "secretfile=/nowhere",
)
given("secretfile: a directory", 1, r"cannot read secretfile /etc: Is a directory", "name=df", "secretfile=/etc")
given(
    "secretfile: endless", 1, r"cannot read secretfile /dev/zero: larger than 4 MiB", "name=df", "secretfile=/dev/zero"
)
given(
    "conf: not there", 1, r"conf=/nowhere: there is no such file", "name=df", "{secret}", "conf=/nowhere", source="ceph"
)
given("secret and secretfile", 1, r"secret and secretfile together", "name=df", "secret={key}", "{secret}")
given("whose key", 1, r"whose key is it\? say name=USER", "{secret}")
given("name and source disagree", 1, r'source says name "df", the option name=x', "name=x", "{secret}", source="df@")


@cause("secretfile: not for us", 1, r"cannot read secretfile \S+: Permission denied")
def _(scene: Scene) -> None:
    scene.before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


# ---- options

given("a mistyped option", 1, r'unknown option "secretflie": did you mean "secretfile"\?', "name=df", "secretflie=/x")
given(
    "an option like none of ours", 1, r'unknown option "qqqqqqqq"; mount\.cephmon --help lists', "name=df", "qqqqqqqq"
)
given("a bad value", 1, r"mount_timeout=soon: wanted seconds: a number", "name=df", "{secret}", "mount_timeout=soon")
given("a value that is missing", 1, r'option "name" wants a value: name=', "name", "{secret}")
given("remount", 32, r"remount: \S+ is no cephmon mount", "name=df", "remount")
given("a source that is none", 1, r'source "what" is none of ', "name=df", "{secret}", source="what")
given("an fsid that is none", 1, r'"zz" is no fsid: wanted 32 hex digits', "name=df", "{secret}", "fsid=zz")
given(
    "a foreign ip",
    32,
    r"monitor \S+ at \S+: connect: .*192\.0\.2\.7",
    "name=df",
    "{secret}",
    "ip=192.0.2.7",
    "mount_timeout=1",
)

# ---- DNS


@cause("SRV that nobody has", 1, r"no monitor address: .*DNS SRV _ceph-mon\._tcp: no such name \(NXDOMAIN\)")
def _(scene: Scene) -> None:
    _dns(scene, {})


@cause("SRV without a host", 1, r"no monitor address: .*its records name no host")
def _(scene: Scene) -> None:
    _dns(scene, {"_ceph-mon._tcp.example.test SRV": ["0 0 0 ."]})


@cause("SRV of nobody", 32, r"monitor gone\.example\.test:3300: resolve: ")
def _(scene: Scene) -> None:
    _dns(scene, {"_ceph-mon._tcp.example.test SRV": ["0 0 3300 gone.example.test."]})


@cause("DNS of nonsense", 32, r"no monitor address: no name server answered within 2 s for ceph-mon", within_s=8)
def _(scene: Scene) -> None:
    _dns(scene, {}, junk=True)


def _dns(scene: Scene, records: dict[str, list[str]], *, junk: bool = False) -> None:
    scene.stack.enter_context(DnsServer(records, junk=junk))
    scene.setup = f"mount --bind {shlex.quote(str(resolv_conf(scene.tmp)))} /etc/resolv.conf"
    scene.source = "ceph"
    scene.options += ["mount_timeout=2"]


# ---- this machine


@cause("no mount point", 32, r"mount point \S+/nothing does not exist: mkdir \S+/nothing")
def _(scene: Scene) -> None:
    scene.directory = scene.tmp / "nothing"


@cause("a file as mount point", 32, r"mount point \S+/given is not a directory")
def _(scene: Scene) -> None:
    scene.directory = scene.file("")


@cause("an occupied mount point", 32, r"is already a mount point \(tmpfs, what\): umount it first")
def _(scene: Scene) -> None:
    scene.setup = f"mount -t tmpfs what {shlex.quote(str(scene.directory))}"


@cause("no /dev/fuse", 2, r"/dev/fuse is absent: modprobe fuse \(in a container: --device /dev/fuse")
def _(scene: Scene) -> None:
    scene.setup = "mount -t tmpfs none /dev"


@cause("/dev/fuse is not for us", 2, r"cannot open /dev/fuse: Permission denied")
def _(scene: Scene) -> None:
    scene.options = ["name=df", f"secret={scene.cluster.keys['client.df']}", "noallow_other"]
    device = "/run/fuse-device"
    scene.setup = (
        f"mount -t tmpfs none /run && cp -a /dev/fuse {device} && chmod 600 {device} && mount --bind {device} /dev/fuse"
    )
    scene.before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@cause("no fusermount3", 2, r"fusermount3 is missing: install the package fuse3")
def _(scene: Scene) -> None:
    found = run(["sh", "-c", "command -v fusermount3"]).stdout.strip()
    scene.setup = f"mount --bind /dev/null {found}"


@cause(
    "allow_other that a user may not", 2, r'allow_other: only root may, unless /etc/fuse\.conf has a line "user_allow'
)
def _(scene: Scene) -> None:
    scene.options += ["allow_other"]
    scene.before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


# ---- and now all of them


@pytest.fixture(scope="module")
def factory(request: pytest.FixtureRequest) -> Iterator[ClusterFactory]:
    made = ClusterFactory(bool(request.config.getoption("--keep-clusters")))
    yield made
    made.close()


@pytest.fixture(scope="module")
def made() -> dict[str, Cluster]:
    return {}


@pytest.mark.parametrize("one", CAUSES, ids=lambda one: one.name.replace(" ", "_"))
def test_a_cause_has_its_sentence(
    one: Cause, pacific: Cluster, factory: ClusterFactory, made: dict[str, Cluster], tmp_path: Path
) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        scene = Scene(factory, pacific, tmp_path, directory, made, stack)
        one.make(scene)
        began = time.monotonic()
        done = scene.call()
        took = time.monotonic() - began
    stderr = [line for line in done.stderr.splitlines() if "others can read the key" not in line]
    assert done.returncode == one.status, done.stderr
    assert len(stderr) == 1, done.stderr
    assert stderr[0].startswith("mount.cephmon: ")
    assert re.search(one.sentence, stderr[0]), stderr[0]
    assert done.stdout == ""
    assert took < one.within_s
    assert not is_mounted(scene.directory)
    assert processes(scene.directory) == []
    for key in (*pacific.keys.values(), *scene.cluster.keys.values()):
        assert key[16:-4] not in done.stderr
    forget(scene.cluster.fsid)


def test_the_sentences_differ() -> None:
    assert len({one.sentence for one in CAUSES}) == len(CAUSES)


def test_a_dead_mount_is_told_and_replaced(pacific: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    secret = f"secretfile={pacific.write_secret('client.df')}"
    argv = [str(HELPER), pacific.source(), str(directory), "-o"]
    options = f"name=df,{secret}"
    assert run([*argv, f"{options},noauto_unmount,run_as=root"]).returncode == 0
    (daemon,) = processes(directory)
    assert run(["kill", "-9", str(daemon)]).returncode == 0
    done = run([*argv, options])
    try:
        assert done.returncode == 0
        assert done.stderr == f"mount.cephmon: {directory} was a dead cephmon mount; it is detached and mounted again\n"
        assert (directory / "fsid").read_text().strip() == pacific.fsid
    finally:
        run(["umount", directory])
        forget(pacific.fsid)


def test_other_peoples_dead_mounts_are_told_and_left(tmp_path: Path) -> None:
    """A dead mount that is not ours could be anybody's."""
    directory = tmp_path / "m"
    directory.mkdir()
    argv = [str(HELPER), "demo:", str(directory), "-o", "noauto_unmount,run_as=root"]
    assert run(argv).returncode == 0
    try:
        done = run([str(HELPER), "demo:", str(directory)])
        assert done.returncode == 32
        assert "is already a mount point (fuse.cephmon, demo@" in done.stderr
    finally:
        run(["umount", directory])
