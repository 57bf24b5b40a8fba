"""Real, throw-away Ceph clusters on loopback, of four releases.

    with Cluster.create(release="pacific", directory=tmp_path) as cluster:
        key = cluster.make_key("client.df", mon="allow r")
        cluster.mon("a").kill()

The daemons are children of this process, in the foreground, known by their pids: nothing is ever ended by name.  The
release that the machine has installed runs natively, the others from a root in the cache (chroot.py).  All keys are
written into the monitors' first key ring and the file system is made by one batch of commands, because a call of
the `ceph` program costs 0.2 to 0.5 s while a whole quorum starts in half a second.

Everything lies below one directory: `ceph.conf`, key rings, `data/`, `run/` (admin sockets, pid files), `log/`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal, Self

from tests.support import chroot
from tests.support.cephconf import default_conf
from tests.support.daemon import Daemon, Json, is_stopped, last_words
from tests.support.ports import free_port
from tests.support.release import NUMBERS, ClusterError, KeyType, Runner, new_key

# For `conf`, where a test is not about how long Ceph takes: a lost monitor is noticed in 4 s instead of 15 s.
FAST_ELECTIONS: Mapping[str, Mapping[str, str]] = {"mon": {"mon_election_timeout": "1", "mon_lease": "1.5"}}

_MAX_SOCKET_PATH = 107  # sun_path less its NUL
_STARTUP_S = 60.0

# Runs inside the release's own Python: many monitor commands, one connection.
_BATCH = """
import json, rados, sys
c = rados.Rados(conffile=sys.argv[1], name='client.admin', conf={'keyring': sys.argv[2]})
c.connect(timeout=int(sys.argv[3]))
out = []
for cmd, inbuf in json.load(sys.stdin):
    rc, buf, text = c.mon_command(json.dumps(cmd), inbuf.encode())
    out.append([rc, buf.decode('utf-8', 'replace'), text])
c.shutdown()
json.dump(out, sys.stdout)
"""

# Ends the daemons when the process that started them is gone, however it went: its end of the pipe closes then.
_WATCHDOG = """
read -r _
for file in "$1"/*.pid; do
    [ -e "$file" ] || continue
    read -r pid _ <"$file"
    case $(cat "/proc/$pid/comm" 2>/dev/null) in ceph-*) kill -KILL "$pid" ;; esac
done
"""


@dataclasses.dataclass(frozen=True, slots=True)
class MonAddrs:
    """Where one monitor listens.  `v2` and `v1` are `host:port`, IPv6 hosts in brackets; None: not spoken."""

    name: str
    ip: str
    v2_port: int | None
    v1_port: int | None

    @property
    def host(self) -> str:
        return f"[{self.ip}]" if ":" in self.ip else self.ip

    @property
    def v2(self) -> str | None:
        return None if self.v2_port is None else f"{self.host}:{self.v2_port}"

    @property
    def v1(self) -> str | None:
        return None if self.v1_port is None else f"{self.host}:{self.v1_port}"

    @property
    def addrvec(self) -> str:
        """`[v2:HOST:PORT,v1:HOST:PORT]`, as mon_host and monmaptool take it."""
        parts = [f"{kind}:{addr}" for kind, addr in (("v2", self.v2), ("v1", self.v1)) if addr is not None]
        return f"[{','.join(parts)}]"


class Cluster:
    """A running cluster.  Make one with `create`; it is its own context manager and `close` ends everything."""

    def __init__(self, runner: Runner, directory: Path, *, ips: Sequence[str], msgr1: bool, msgr2: bool) -> None:
        self.runner = runner
        self.release = runner.release
        self.directory = directory
        self.conf_path = directory / "ceph.conf"
        self.admin_keyring = directory / "admin.keyring"
        self.mon_keyring = directory / "mon.keyring"
        self.run_dir = directory / "run"
        self.log_dir = directory / "log"
        self.fsid = str(uuid.uuid4())
        self.keys: dict[str, str] = {}  # entity -> base64 key, of all that we made
        self.places: Mapping[str, Sequence[str]] = {}  # "mon.a" -> a command that runs it somewhere else, as in a netns
        self.default_key_type: KeyType = "aes256k" if self.release == "tentacle" else "aes"
        self._ips = ips
        self._msgr1, self._msgr2 = msgr1, msgr2
        self._mons: dict[str, tuple[MonAddrs, Daemon]] = {}
        self._others: dict[str, Daemon] = {}
        self._conf: dict[str, dict[str, str]] = {}
        self._watchdog: subprocess.Popen[bytes] | None = None

    # --- birth and death ---------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        *,
        release: str = "pacific",
        directory: Path | str,
        mons: int | Sequence[str] = 3,
        mgr: bool = False,
        osds: int = 0,
        mds: int = 0,
        fs: str | None = "cephfs",
        conf: Mapping[str, str | Mapping[str, str]] | None = None,
        ip: str | Sequence[str] = "127.0.0.1",
        msgr1: bool = True,
        msgr2: bool = True,
        auth: Literal["cephx", "none"] = "cephx",
        keys: Mapping[str, Mapping[str, str]] | None = None,
        key_type: KeyType | None = None,
        watchdog: bool = True,
        places: Mapping[str, Sequence[str]] | None = None,
    ) -> Self:
        """Start a cluster and return when its quorum stands, and its mgr, OSDs and MDS are active where asked for.

        `mons`: how many (named a, b, c, ...) or their names.  `mds` > 0 implies an OSD, a mgr, and `fs`.
        `conf`: options of [global], or `{"mon": {...}}` for another section.  `ip`: one address for all monitors,
        or several that they take in turn ("127.0.0.1", "::1": a mixed cluster).  `keys`: further entities with their
        caps, present from the first moment (client.admin and client.df with mon 'allow r' always are).  `key_type`:
        of all keys; default the release's own.  `watchdog=False`: the cluster outlives this process.  `places`: a
        command to put before a daemon's own, such as `{"mon.a": ["nsenter", "--net=..."]}`.
        """
        path = Path(directory).resolve()
        runner = Runner.find(release, path)
        longest = path / "run" / "mds.aaaa.asok"
        if len(str(longest)) > _MAX_SOCKET_PATH:
            raise ClusterError(f"{path} is too long for Unix sockets inside; take a directory of at most 80 characters")
        names = [chr(ord("a") + i) for i in range(mons)] if isinstance(mons, int) else list(mons)
        if mds:
            osds = max(osds, 1)
        mgr = mgr or osds > 0
        ips = [ip] if isinstance(ip, str) else list(ip)
        for tries_left in (2, 1, 0):
            self = cls(runner, path, ips=ips, msgr1=msgr1, msgr2=msgr2)
            self.places = places or {}
            if key_type is not None:
                self.default_key_type = key_type
            try:
                self._prepare(names, mgr=mgr, osds=osds, mds=mds, conf=conf or {}, auth=auth, keys=keys or {})
                if watchdog:
                    self._watchdog = subprocess.Popen(
                        ["sh", "-c", _WATCHDOG, "watchdog", str(self.run_dir)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                self._first_quorum()
                self._start_others(mgr=mgr, osds=osds, mds=mds, fs=fs)
            except BaseException as exc:
                self.close()
                if not tries_left or "Address already in use" not in str(exc):
                    raise
                for left in path.iterdir():  # somebody else took a port meanwhile: anew with other ones
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            else:
                return self
        raise AssertionError("unreachable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every daemon (SIGKILL: nothing here is worth a goodbye).  The directory stays, for its logs."""
        daemons = self.daemons()
        for daemon in daemons:
            if daemon.pid is not None and daemon.process is not None:
                daemon.process.kill()
        for daemon in daemons:
            daemon.kill()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None
        if self.runner.root is not None:
            chroot.forget(self.runner.root, self.directory)

    def _prepare(
        self,
        names: Sequence[str],
        *,
        mgr: bool,
        osds: int,
        mds: int,
        conf: Mapping[str, str | Mapping[str, str]],
        auth: str,
        keys: Mapping[str, Mapping[str, str]],
    ) -> None:
        for path in (self.directory, self.directory / "data", self.run_dir, self.log_dir):
            path.mkdir(parents=True, exist_ok=True)
        for name in names:
            self._new_mon(name)
        self._sort_ports()
        if mgr:
            self._others["mgr.x"] = Daemon(self, "mgr", "x")
        for number in range(osds):
            self._others[f"osd.{number}"] = Daemon(self, "osd", str(number))
        for number in range(mds):
            name = chr(ord("a") + number)
            self._others[f"mds.{name}"] = Daemon(self, "mds", name)
        self._conf = default_conf(self, auth)
        for key, value in conf.items():
            if isinstance(value, str):
                self._conf["global"][key.replace(" ", "_")] = value
            else:
                self._conf.setdefault(key, {}).update(value)
        self.write_conf()
        (self.directory / "release").write_text(self.release + "\n")
        self._write_keyrings(keys)
        monmap = self.directory / "monmap"
        add = [arg for addrs, _ in self._mons.values() for arg in ("--addv", addrs.name, addrs.addrvec)]
        self.runner.run(["monmaptool", "--create", "--clobber", "--fsid", self.fsid, *add, str(monmap)])
        self._mkfs_mons(names, monmap)

    def _first_quorum(self) -> None:
        """Monitors that start in the same moment often talk past each other, and that costs an election timeout (5 s).

        So it is short at first, and back at its default before anyone else sees this cluster.
        """
        timeout = self._conf["mon"]["mon_election_timeout"]
        for _, daemon in self._mons.values():
            daemon.start("--mon_election_timeout", "0.3")
        # The first quorum raises min_mon_release, which changes the monmap and so elects again: wait for that one.
        self.wait_until(self._all_upgraded, f"first quorum of {len(self._mons)}", _STARTUP_S)
        for _, daemon in self._mons.values():
            daemon.admin_socket("config", "set", "mon_election_timeout", timeout)

    def _all_upgraded(self) -> bool:
        for _, daemon in self._mons.values():
            status = daemon.admin_socket("mon_status", timeout_s=2)
            if not isinstance(status, dict) or len(status["quorum"]) != len(self._mons):
                return False
            if status["monmap"]["min_mon_release"] != NUMBERS[self.release]:
                return False
        return True

    def _mkfs_mons(self, names: Iterable[str], monmap: Path) -> None:
        """Several at once: each spends its time on waiting for the disk."""
        running: list[tuple[str, subprocess.Popen[str]]] = []
        for name in names:
            self._mons[name][1].data_path.mkdir()
            argv = ["ceph-mon", "--mkfs", "-i", name, "-c", str(self.conf_path), "--monmap", str(monmap)]
            argv += ["--keyring", str(self.mon_keyring)]
            process = subprocess.Popen(
                self.runner.argv(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            running.append((name, process))
        for name, process in running:
            output, _ = process.communicate(timeout=_STARTUP_S)
            if process.returncode != 0:
                raise ClusterError(f"mkfs of mon.{name}: exit {process.returncode}: {output[-2000:]}")

    def _write_keyrings(self, keys: Mapping[str, Mapping[str, str]]) -> None:
        entities: dict[str, Mapping[str, str]] = {
            "mon.": {"mon": "allow *"},
            "client.admin": {"mon": "allow *", "mgr": "allow *", "osd": "allow *", "mds": "allow *"},
            "client.df": {"mon": "allow r"},
            **keys,
        }
        profiles = {
            "mgr": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
            "osd": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
            "mds": {"mon": "allow profile mds", "mgr": "allow profile mds", "osd": "allow *", "mds": "allow *"},
        }
        for entity, daemon in self._others.items():
            entities[entity] = profiles[daemon.kind]
        self.keys = {entity: new_key(self.default_key_type) for entity in entities}
        with _private(self.mon_keyring) as file:
            for entity, caps in entities.items():
                file.write(_keyring(entity, self.keys[entity], caps))
        for entity, daemon in self._others.items():
            daemon.data_path.mkdir()
            with _private(daemon.data_path / "keyring") as file:
                file.write(_keyring(entity, self.keys[entity], {}))
        with _private(self.admin_keyring) as file:
            file.write(_keyring("client.admin", self.keys["client.admin"], {}))

    def _start_others(self, *, mgr: bool, osds: int, mds: int, fs: str | None) -> None:
        if mgr:
            self._others["mgr.x"].start()
        if osds:
            uuids = [str(uuid.uuid4()) for _ in range(osds)]
            self.commands(*({"prefix": "osd new", "uuid": one, "id": number} for number, one in enumerate(uuids)))
            for number, one in enumerate(uuids):
                argv = ["ceph-osd", "--mkfs", "-i", str(number), "-c", str(self.conf_path), "--osd-uuid", one]
                self.runner.run(argv)
                self._others[f"osd.{number}"].start()
        if mds and fs:
            self.new_fs(fs)
        for number in range(mds):
            self._others[f"mds.{chr(ord('a') + number)}"].start()
        if mgr and self.release == "reef":
            # Debian's Reef cannot load modules that import a Rust extension; its health is about us, not about that.
            self.commands({"prefix": "health mute", "code": "MGR_MODULE_DEPENDENCY", "sticky": True})
        if mgr:
            self.wait_until(lambda: self._settled(osds, bool(mds and fs)), "mgr, OSDs and MDS active", _STARTUP_S)

    def _settled(self, osds: int, fs: bool) -> bool:
        # From the monitors alone: commands that the mgr answers hang as long as there is none (Nautilus).
        prefixes = ("status", "fs dump", "df")
        replies = self.commands(*({"prefix": prefix, "format": "json"} for prefix in prefixes), check=False)
        if any(rc != 0 for rc, _, _ in replies):
            return False
        status, fsmap, df = (json.loads(text) for _, text, _ in replies)
        osdmap = status["osdmap"].get("osdmap", status["osdmap"])  # nested in Nautilus
        if not status["mgrmap"]["available"] or osdmap["num_up_osds"] < osds:
            return False
        if osds and df["stats"]["total_bytes"] == 0:
            return False
        if any(state["state_name"] != "active+clean" for state in status["pgmap"]["pgs_by_state"]):
            return False
        if not fs:
            return True
        return bool(status["pgmap"]["num_pgs"]) and any("up:active" in str(one) for one in fsmap["filesystems"])

    # --- what tests ask for ------------------------------------------------------------------------------------------

    def daemons(self) -> list[Daemon]:
        return [*(daemon for _, daemon in self._mons.values()), *self._others.values()]

    def mon(self, name: str) -> Daemon:
        return self._mons[name][1]

    def daemon(self, entity: str) -> Daemon:
        """`mon.a`, `mgr.x`, `osd.0`, `mds.a`."""
        return self.mon(entity[4:]) if entity.startswith("mon.") else self._others[entity]

    def mon_addrs(self) -> dict[str, MonAddrs]:
        return {name: addrs for name, (addrs, _) in self._mons.items()}

    @property
    def mon_host(self) -> str:
        """All monitors in brackets, as ceph.conf and `mon_addr=` take them."""
        return ",".join(addrs.addrvec for addrs, _ in self._mons.values())

    def source(self, protocol: Literal["v2", "v1"] = "v2") -> str:
        """A mount source of the old syntax: `HOST:PORT,HOST:PORT:/`."""
        addrs = [addrs.v2 if protocol == "v2" else addrs.v1 for addrs in self.mon_addrs().values()]
        return ",".join(addr for addr in addrs if addr is not None) + ":/"

    def ceph(
        self, *words: str, fmt: Literal["json", "plain"] | None = None, check: bool = True, timeout_s: float = 30
    ) -> Json:
        """The `ceph` program of this release.  Returns its stdout, parsed for `fmt="json"`."""
        argv = ["ceph", "-c", str(self.conf_path), "--keyring", str(self.admin_keyring), "--connect-timeout", "15"]
        argv += [*words] if fmt is None else [*words, "-f", fmt]
        out = self.runner.run(argv, check=check, timeout_s=timeout_s).stdout
        return json.loads(out) if fmt == "json" else out

    def commands(
        self,
        *commands: Mapping[str, object] | tuple[Mapping[str, object], str],
        check: bool = True,
        timeout_s: float = 30,
    ) -> list[tuple[int, str, str]]:
        """Monitor commands over one connection, much quicker than `ceph` calls: `{"prefix": "mon dump"}`, or a pair
        of that and an input.  Returns (rc, output, status) of each.
        """
        work = [command if isinstance(command, tuple) else (command, "") for command in commands]
        argv = ["python3", "-c", _BATCH, str(self.conf_path), str(self.admin_keyring), "15"]
        if self.runner.root is None:
            argv[0] = "/usr/bin/python3"  # the one that Debian's python3-rados is for, whatever environment we are in
        out = self.runner.run(argv, stdin=json.dumps(work), timeout_s=timeout_s).stdout
        replies = [(int(rc), str(text), str(status)) for rc, text, status in json.loads(out)]
        if check:
            for (command, _), (rc, _, status) in zip(work, replies, strict=True):
                if rc != 0:
                    raise ClusterError(f"{command}: {rc}: {status}")
        return replies

    def command(self, prefix: str, **arguments: object) -> Json:
        """One monitor command, its JSON reply parsed (None if empty)."""
        ((_, text, _),) = self.commands({"prefix": prefix, "format": "json", **arguments})
        return json.loads(text) if text.strip() else None

    def make_key(self, entity: str, *, key_type: KeyType | None = None, **caps: str) -> str:
        """Create an entity (or get it) with `mon="allow r"` and so on; returns its base64 key.

        `key_type` is for Tentacle; there "aes" wants `allow_ciphers("aes", "aes256k")` first.
        """
        command: dict[str, object] = {"prefix": "auth get-or-create-key", "entity": entity}
        command["caps"] = [word for pair in caps.items() for word in pair]
        if key_type is not None and self.release == "tentacle":
            command["key_type"] = key_type
        ((_, text, _),) = self.commands(command)
        self.keys[entity] = text.strip()
        return self.keys[entity]

    def allow_ciphers(self, *key_types: KeyType) -> None:
        """Which key types Tentacle's monitors take; waits until they do."""
        self.ceph("mon", "set", "auth_allowed_ciphers", ",".join(key_types))
        self.wait_until(lambda: self._takes_ciphers(key_types), f"key types {key_types}", 30)

    def _takes_ciphers(self, key_types: Sequence[str]) -> bool:
        """The monmap has them at once, the code that makes keys a monitor's tick later: try it."""
        make: dict[str, object] = {"prefix": "auth get-or-create-key", "caps": ["mon", "allow r"]}
        made = self.commands(*(make | {"entity": f"client.probe-{k}", "key_type": k} for k in key_types), check=False)
        self.commands(*({"prefix": "auth rm", "entity": f"client.probe-{key_type}"} for key_type in key_types))
        return all(rc == 0 for rc, _, _ in made)

    def write_secret(self, entity: str, path: Path | None = None) -> Path:
        """A secretfile (the bare key, mode 0600) of an entity that we made."""
        path = path or self.directory / f"{entity}.secret"
        with _private(path) as file:
            file.write(self.keys[entity] + "\n")
        return path

    def write_keyring(self, entity: str, path: Path | None = None) -> Path:
        path = path or self.directory / f"{entity}.keyring"
        with _private(path) as file:
            file.write(_keyring(entity, self.keys[entity], {}))
        return path

    def new_fs(self, name: str, *, data_pools: int = 1) -> None:
        """A CephFS with pools `NAME_metadata`, `NAME_data`, `NAME_data2`, ..."""
        data = [f"{name}_data{'' if n == 0 else n + 1}" for n in range(data_pools)]
        make = [{"prefix": "osd pool create", "pool": pool, "pg_num": 8} for pool in (f"{name}_metadata", *data)]
        more = [{"prefix": "fs add_data_pool", "fs_name": name, "pool": pool} for pool in data[1:]]
        new = {"prefix": "fs new", "fs_name": name, "metadata": f"{name}_metadata", "data": data[0]}
        self.commands(*make, new, *more)

    # --- monitors come and go ----------------------------------------------------------------------------------------

    def _new_mon(self, name: str) -> MonAddrs:
        used = {port for addrs, _ in self._mons.values() for port in (addrs.v2_port, addrs.v1_port)}
        ip = self._ips[len(self._mons) % len(self._ips)]
        v2 = free_port(ip, used) if self._msgr2 else None
        v1 = free_port(ip, used | {v2}) if self._msgr1 else None
        addrs = MonAddrs(name, ip, v2, v1)
        self._mons[name] = addrs, Daemon(self, "mon", name)
        return addrs

    def _sort_ports(self) -> None:
        """Ranks go by address, the v1 one where there is one: make a rank 0, b rank 1 and so on (with one IP)."""
        v2 = sorted(addrs.v2_port for addrs, _ in self._mons.values() if addrs.v2_port is not None)
        v1 = sorted(addrs.v1_port for addrs, _ in self._mons.values() if addrs.v1_port is not None)
        for index, (name, (addrs, daemon)) in enumerate(self._mons.items()):
            v2_port, v1_port = (ports[index] if ports else None for ports in (v2, v1))
            self._mons[name] = dataclasses.replace(addrs, v2_port=v2_port, v1_port=v1_port), daemon

    def add_mon(self, name: str, *, timeout_s: float = 30) -> MonAddrs:
        """A further monitor; returns when it is in the quorum."""
        members = self.quorum()
        addrs = self._new_mon(name)
        monmap = self.directory / "monmap"
        self.ceph("mon", "getmap", "-o", str(monmap))
        self._mkfs_mons([name], monmap)
        daemon = self._mons[name][1]
        daemon.extra_args = ("--public-addrv", addrs.addrvec)
        daemon.start()
        self.write_conf()
        self.wait_quorum({*members, name}, timeout_s=timeout_s)
        return addrs

    def remove_mon(self, name: str) -> None:
        """Out of the monmap, then stopped."""
        self.ceph("mon", "remove", name)
        _, daemon = self._mons.pop(name)
        daemon.kill()
        shutil.rmtree(daemon.data_path)
        self.write_conf()

    def write_conf(self) -> None:
        """Write ceph.conf (again).  The daemons read it when they start."""
        self._conf["global"]["mon_host"] = self.mon_host
        lines: list[str] = []
        for section, options in self._conf.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in options.items()), ""]
        self.conf_path.write_text("\n".join(lines))

    # --- waiting -----------------------------------------------------------------------------------------------------

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
        """Poll `condition`; its errors count as "not yet".  A daemon of ours that died ends the wait at once."""
        deadline = time.monotonic() + timeout_s
        problem: Exception | None = None
        while True:
            try:
                if condition():
                    return
            except (ClusterError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as exc:
                problem = exc
            for daemon in self.daemons():
                if daemon.process is not None and daemon.pid is None and daemon.pid_path.exists():
                    raise ClusterError(f"{daemon!r} ended with {daemon.process.returncode}: {last_words(daemon)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"no {what} within {timeout_s:g} s (last problem: {problem}) in {self.directory}")
            time.sleep(0.05)

    def quorum(self) -> list[str]:
        """Names of the quorum's members, by rank, when all of them run and agree on it; else empty.

        A monitor goes on claiming its old quorum until the lease ends, so the word of one does not count.
        """
        views: dict[str, list[str]] = {}
        for name, (_, daemon) in self._mons.items():
            if daemon.pid is None or is_stopped(daemon.pid):
                continue
            try:
                status = daemon.admin_socket("mon_status", timeout_s=2)
            except OSError:
                continue
            # While it starts, the socket is there before its commands: then this is text.
            if isinstance(status, dict) and status["state"] in ("leader", "peon"):
                names = {one["rank"]: one["name"] for one in status["monmap"]["mons"]}
                views[name] = [names[rank] for rank in status["quorum"]]
        for view in views.values():
            if view and all(views.get(member) == view for member in view):
                return view
        return []

    def wait_quorum(self, members: int | Iterable[str], timeout_s: float = 30) -> None:
        """Until the quorum has that many members, or exactly those."""
        if isinstance(members, int):
            self.wait_until(lambda: len(self.quorum()) == members, f"quorum of {members}", timeout_s)
        else:
            wanted = set(members)
            self.wait_until(lambda: set(self.quorum()) == wanted, f"quorum of {sorted(wanted)}", timeout_s)

    def wait_health(self, *statuses: str, timeout_s: float = 60) -> None:
        """Until `ceph health` is one of `statuses` (default HEALTH_OK)."""
        wanted = statuses or ("HEALTH_OK",)
        self.wait_until(lambda: self.command("health")["status"] in wanted, f"health {wanted}", timeout_s)


def _keyring(entity: str, key: str, caps: Mapping[str, str]) -> str:
    return f"[{entity}]\n\tkey = {key}\n" + "".join(f'\tcaps {who} = "{what}"\n' for who, what in caps.items())


@contextlib.contextmanager
def _private(path: Path) -> Iterator[IO[str]]:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        yield file
