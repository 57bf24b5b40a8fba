"""cephmonfs check: finds what would go wrong with a mount, and what to do, without mounting."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import trio

from cephmonfs.cli.monitor_probe import Probe, other_protocol, probe
from cephmonfs.cli.program import add_source, configure, parser, run, run_trio
from cephmonfs.cli.report import Report, Status
from cephmonfs.config import srv
from cephmonfs.config.monaddr import MonTarget, on_v2, targets_for_mode
from cephmonfs.daemon.connect import connect, first_of, first_session, prepare
from cephmonfs.daemon.fork import Exit
from cephmonfs.errors import CephMonFSError, ConfigError, NotPermitted, RequestTimeout, SessionLost
from cephmonfs.files.render import numbers
from cephmonfs.files.tree import ROWS
from cephmonfs.host import apparmor, mountpoint
from cephmonfs.model.entity import EntityAddr
from cephmonfs.model.health import Health
from cephmonfs.model.quorum import Quorum
from cephmonfs.mon.connection import NOT_ITS_OWN, Phase, key_type_refused
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.snapshot import MAPS
from cephmonfs.runtime.configured import session_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cephmonfs.config.mountconfig import MountConfig
    from cephmonfs.daemon.connect import Client
    from cephmonfs.model.monmap import MonMap
    from cephmonfs.mon.connection import Identity

PROGRAM: Final = "check"
OK, NOTE, WARN, FAULT = Status.OK, Status.NOTE, Status.WARN, Status.FAULT

_LIFE_S: Final = 3.0
_RESOLVE_S: Final = 5.0
_SESSION_S: Final = 12.0
_COMMAND_S: Final = 3.0
_SETTLE_S: Final = 3.0  # a session detects missing caps after 1.5 s
_SKEW_S: Final = 5.0
_CAP_SYS_ADMIN: Final = 1 << 21
_COMMANDS: Final = (
    "health", "quorum_status", "status", "df", "mon dump", "osd dump", "fs dump", "mgr dump", "versions",
    "time-sync-status",
)  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Check; 1 when there is a fault."""
    return run(PROGRAM, lambda: _main(argv))


def _main(argv: Sequence[str]) -> int:
    arguments = parser(PROGRAM, "Says what is wrong with a mount, and what to do about it, without mounting.")
    add_source(arguments)
    arguments.add_argument("--json", action="store_true", help="for programs")
    given = arguments.parse_intermixed_args(argv)
    mountpoint.set_path()
    report = Report()
    check_machine(report)
    config = check_options(report, given.source, given.options)
    if config is not None:
        run_trio(check_cluster, report, config)
    sys.stdout.write(report.json() if given.json else report.text())
    sys.stdout.flush()
    return Exit.USAGE if report.faults else Exit.OK


# ---- this machine


def check_machine(report: Report) -> None:
    """FUSE, and mounts that are dead already."""
    try:
        mountpoint.check_fuse()
    except ConfigError as exc:
        text, _, remedy = str(exc).partition(": ")
        if text.startswith("cannot open"):
            text, remedy = str(exc), "who may use it is told by its mode and group, and by the container's device rules"
        report.add("fuse", FAULT, text, remedy)
    else:
        report.add("fuse", OK, f"/dev/fuse opens, fusermount3 is {shutil.which('fusermount3')}")
    _check_privileges(report)
    _check_apparmor(report)
    for mount in mountpoint.mounts():
        if mount.fstype != mountpoint.FUSE_TYPE:
            continue
        match mountpoint.life_of(mount.mountpoint, _LIFE_S):
            case mountpoint.Life.DEAD:
                path = mount.mountpoint
                report.add("mounts", FAULT, f"{path} is a dead cephmon mount", f"umount -l {path}, or mount it again")
            case mountpoint.Life.STUCK:
                path = mount.mountpoint
                text = f"{path} is a cephmon mount whose daemon does not answer"
                report.add("mounts", FAULT, text, f"umount -f {path}, and mount it again")
    _check_fstab(report)


def _check_privileges(report: Report) -> None:
    if os.geteuid() == 0:
        if not _capabilities() & _CAP_SYS_ADMIN:
            remedy = "in a container: --cap-add SYS_ADMIN; else mount outside, or use cephmonfs get"
            report.add("privileges", FAULT, "root here may not mount: CAP_SYS_ADMIN is missing", remedy)
        return
    path = shutil.which("fusermount3")
    if path is not None and not os.stat(path).st_mode & stat.S_ISUID:
        report.add("privileges", FAULT, f"{path} is not set-user-id, so users cannot mount", f"chmod u+s {path}")
    elif _no_new_privs():
        report.add("privileges", FAULT, "no-new-privileges is on here: fusermount3 cannot become root",
                   "mount from outside of this service or container")  # fmt: skip
    if not _user_allow_other():
        report.add(
            "privileges", WARN, "other users will not see your mounts: /etc/fuse.conf does not say user_allow_other",
            'add the line "user_allow_other" to /etc/fuse.conf, or let root mount',
        )  # fmt: skip


def _check_apparmor(report: Report) -> None:
    """Root's mounts are made by fusermount3 too."""
    found = apparmor.confined()
    if found is None:
        return
    text = "AppArmor confines fusermount3" if found.certain else "AppArmor may confine fusermount3 (only root can tell)"
    if found.targets:
        text += f": it mounts on {', '.join(found.targets)} and nowhere else"
    report.add(
        "apparmor", NOTE, text,
        "for another place: a rule in /etc/apparmor.d/local/fusermount3; what was refused is in dmesg",
    )  # fmt: skip


def _capabilities() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        match = re.search(r"^CapEff:\s*([0-9a-f]+)", file.read(), re.MULTILINE)
    return int(match[1], 16) if match else 0


def _no_new_privs() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return re.search(r"^NoNewPrivs:\s*1", file.read(), re.MULTILINE) is not None


def _user_allow_other() -> bool:
    try:
        with open("/etc/fuse.conf", encoding="utf-8", errors="replace") as file:
            return re.search(r"^\s*user_allow_other\s*$", file.read(), re.MULTILINE) is not None
    except OSError:
        return False


def _check_fstab(report: Report, path: str = "/etc/fstab") -> None:
    """Warn of a key in a file that other users can read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            readable = os.fstat(file.fileno()).st_mode & stat.S_IROTH
            lines = [line.split() for line in file if not line.lstrip().startswith("#")]
    except OSError:
        return
    for fields in lines:
        if len(fields) > 3 and "cephmon" in fields[2] and readable and re.search(r"(^|,)secret=", fields[3]):
            report.add("fstab", FAULT, f"everybody can read the key of {fields[1]} in {path}",
                       "put it into a file of mode 600 and say secretfile=FILE")  # fmt: skip


# ---- options, files, key


def check_options(report: Report, source: str, options: Sequence[str]) -> MountConfig | None:
    """SOURCE, options, ceph.conf, key; None when nothing can go on from there."""
    try:
        # options that only a mount needs are checked too, where they are given
        asked = ["noallow_other"] if os.geteuid() else []
        config = configure(source, [*asked, *options], _SESSION_S)
    except ConfigError as exc:
        report.add("options", FAULT, str(exc))
        return None
    ignored = f"; without effect here: {', '.join(config.ignored)}" if config.ignored else ""
    report.add("options", OK, f"{source}, {config.ms_mode}{ignored}")
    for notice in config.notices:
        report.add("options", NOTE, notice)
    if any(re.search(r"(^|,)secret=", text) for text in options):
        report.add("key", WARN, "a secret on the command line shows in the process list", "use secretfile=")
    if config.key is not None:
        origin = config.origins["secret"].removeprefix("option ")
        text = f"{config.entity}, of type {config.key.type.name.lower()}"
        report.add("key", OK, text if origin == "secret" else f"{text}, from {origin}")
        if config.key.weakness:
            report.add(
                "key", NOTE, config.key.weakness, "where the cluster knows it (19.2.6, 20.2): a new key of that type"
            )
    elif config.demo is None:
        report.add("key", NOTE, f"{config.entity} without a key: {config.origins['secret']}")
    for warning in config.warnings:
        text, _, remedy = warning.partition(": chmod ")
        if remedy:
            report.add("key", FAULT, text, f"chmod {remedy}")
    return config


# ---- the cluster


async def check_cluster(report: Report, config: MountConfig) -> None:
    """Names, monitors, and what a session may see."""
    async with prepare(config) as prepared:
        who = session_config(prepared).identity
        candidates, resolve_ms = await resolve_targets(report, prepared)
        probes = await _probe_all(candidates, who, prepared.ip)
        monmap = _newest(probes)
        if monmap is not None:
            known = {p.candidate.addr.hostport for p in probes}
            probes += await _probe_all(_others(monmap, known, who), who, prepared.ip)
            monmap = _newest(probes)
        quorum = await _check_session(report, prepared, probes, monmap) if monmap is not None else None
        steps = Report()
        for one in probes:
            _tell_monitor(steps, one, monmap, quorum, resolve_ms)
        _insert(report, steps)
        if monmap is not None:
            _check_list(report, probes, candidates, monmap)
            _check_clock(report, probes)
            if sentence := key_type_refused(who, monmap.auth_ciphers.allowed):
                report.add("key", FAULT, f"{who.entity}: {sentence}", "ceph auth rotate, or a new user")
        report.facts["monitors"] = [_facts(one, monmap, quorum) for one in probes]


def _insert(report: Report, steps: Report) -> None:
    """Check the monitors first, then a session with them."""
    at = next((i for i, step in enumerate(report.steps) if step.name in _AFTER_MONITORS), len(report.steps))
    report.steps[at:at] = steps.steps


_AFTER_MONITORS: Final = frozenset({"session", "caps", "quorum", "health"})


async def resolve_targets(report: Report, config: MountConfig) -> tuple[list[Candidate], dict[str, float]]:
    """Return the addresses of the configured monitors, and how long each name took."""
    targets: Sequence[MonTarget] = config.targets
    if not targets and config.dns_srv is not None:
        began = trio.current_time()
        try:
            records = await srv.lookup(config.dns_srv, conf=config.conf_path)
        except ConfigError as exc:
            report.add("dns", FAULT, str(exc), "name the monitors: mon_addr=, or mon_host in ceph.conf")
            return [], {}
        targets = [record.target for record in records]
        if config.any_protocol:
            targets = on_v2(tuple(targets))
        times = {"resolve": (trio.current_time() - began) * 1000}
        report.add("dns", OK, f"{srv.srv_name(config.dns_srv)}: {', '.join(map(str, targets))}", times=times)
    found: list[Candidate] = []
    took: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        for target in targets:
            nursery.start_soon(_resolve, report, config, target, found, took)
    return sorted(found, key=lambda candidate: candidate.name), took


async def _resolve(
    report: Report, config: MountConfig, target: MonTarget, found: list[Candidate], took: dict[str, float]
) -> None:
    try:
        endpoints = targets_for_mode((target,), config.ms_mode)
    except ConfigError as exc:
        same_host = [other for other in config.targets if other.host == target.host and other is not target]
        if not same_host:
            report.add("options", WARN, str(exc))
        return
    for endpoint in endpoints:
        began = trio.current_time()
        try:
            with trio.fail_after(_RESOLVE_S):
                infos = await trio.socket.getaddrinfo(endpoint.host, endpoint.port, type=1)
        except (OSError, trio.TooSlowError) as exc:
            reason = f"no answer within {_RESOLVE_S:g} s" if isinstance(exc, trio.TooSlowError) else _words(exc)
            report.add("resolve", FAULT, f"{endpoint.host}: {reason}", "see /etc/hosts and /etc/resolv.conf")
            continue
        took[str(endpoint)] = (trio.current_time() - began) * 1000
        for *_, address in infos:
            addr = EntityAddr.of(str(address[0]), int(address[1]), endpoint.type)
            found.append(Candidate(str(endpoint), addr))


def _words(exc: BaseException) -> str:
    return str(getattr(exc, "strerror", None) or exc).lower()


async def _probe_all(candidates: Sequence[Candidate], who: Identity, local: str | None) -> list[Probe]:
    results: list[Probe] = []

    async def one(candidate: Candidate) -> None:
        results.append(await probe(candidate, who, local))

    async with trio.open_nursery() as nursery:
        for candidate in candidates:
            nursery.start_soon(one, candidate)
    return sorted(results, key=lambda found: (found.candidate.name, str(found.candidate.addr)))


def _newest(probes: Sequence[Probe]) -> MonMap | None:
    return max((one.monmap for one in probes if one.monmap is not None), key=lambda m: m.epoch, default=None)


def _others(monmap: MonMap, known: set[str], who: Identity) -> list[Candidate]:
    """Return the cluster's monitors that were not given, neither at their v2 nor at their v1 address."""
    found = []
    for info in monmap.mons:
        addr = info.addrs.of_type(who.addr_type)
        if addr is not None and not addr.blank and not known & {other.hostport for other in info.addrs.addrs}:
            found.append(Candidate(info.name, addr))
    return found


def _name(one: Probe, monmap: MonMap | None) -> str:
    if monmap is not None:
        for info in monmap.mons:
            if any(addr.hostport == one.candidate.addr.hostport for addr in info.addrs.addrs):
                return info.name
    return ""


def _tell_monitor(
    report: Report, one: Probe, monmap: MonMap | None, quorum: Quorum | None, resolve_ms: dict[str, float]
) -> None:
    name = _name(one, monmap)
    title = f"mon {name}" if name else "monitor"
    addr = str(one.candidate.addr)
    times = {"resolve": resolve_ms[one.candidate.name]} if one.candidate.name in resolve_ms else {}
    times |= one.times
    if one.error:
        report.add(title, FAULT, one.error, _monitor_remedy(one, name, quorum), times)
    elif not one.answered:
        report.add(title, WARN, f"{addr}, {one.mode}: a session, and no answer to a statfs", "see caps below", times)
    else:
        report.add(title, OK, f"{addr}, {one.mode}", times=times)


def _monitor_remedy(one: Probe, name: str, quorum: Quorum | None) -> str:
    if one.other_port is not None:
        kind = other_protocol(one.candidate.addr.type)  # type: ignore[arg-type]
        how = "ms_mode=legacy" if kind == "v1" else "leave ms_mode=legacy away"
        return f"port {one.other_port} ({kind}) answers there: {how}, or name that port"
    if name and quorum is not None and name not in quorum.names:
        return f"it is out of quorum: on its host, ceph daemon mon.{name} mon_status"
    match one.phase:
        case Phase.CONNECT:
            return "is it running, and does a firewall let us through? On its host: ss -tlnp | grep ceph-mon"
        case Phase.AUTH if NOT_ITS_OWN in one.error:
            return "name the monitors by the addresses that ceph mon dump shows"
        case Phase.AUTH if "closed" in one.error:
            return "a monitor that breaks off there has no quorum: on its host, ceph daemon mon.NAME mon_status"
    return ""


def _check_list(report: Report, probes: Sequence[Probe], given: Sequence[Candidate], monmap: MonMap) -> None:
    there = {addr.hostport for info in monmap.mons for addr in info.addrs.addrs}
    by_name: dict[str, bool] = {}
    for candidate in given:
        by_name[candidate.name] = by_name.get(candidate.name, False) or candidate.addr.hostport in there
    gone = [name for name, known in by_name.items() if not known]
    covered = {_name(one, monmap) for one in probes if one.candidate.name in by_name}
    missing = [info.name for info in monmap.mons if info.name not in covered]
    now = ",".join(
        str(addr) for info in monmap.mons for addr in info.addrs.addrs if addr.type == probes[0].candidate.addr.type
    )
    now = re.sub(r"v[12]:|/\d+", "", now)
    if gone:
        verb = "is no monitor" if len(gone) == 1 else "are no monitors"
        text = f"the list of monitors is out of date: {', '.join(gone)} {verb} of this cluster"
        report.add("monitors", FAULT, text, f"name these: {now}")
    elif missing:
        report.add("monitors", NOTE, f"not in the list, found all the same: {', '.join(missing)}", f"all are: {now}")


def _check_clock(report: Report, probes: Sequence[Probe]) -> None:
    """A monitor stamps the session key that it makes for us: that is its clock, as we see it."""
    skews = {one.candidate.name: one.skew_s for one in probes if one.skew_s is not None}
    if not skews:
        return
    worst = max(skews.values(), key=abs)
    report.facts["clock_skew_seconds"] = {name: round(skew, 3) for name, skew in skews.items()}
    if abs(worst) > _SKEW_S:
        way = "behind" if worst > 0 else "ahead of"
        report.add("clock", FAULT, f"this machine is {abs(worst):.0f} s {way} the monitors",
                   "see timedatectl or chronyc tracking: times in files and events are this machine's")  # fmt: skip
    else:
        report.add("clock", OK, f"within {max(abs(worst), 0.001):.3f} s of the monitors")


# ---- what a session may see


async def _check_session(report: Report, config: MountConfig, probes: Sequence[Probe], monmap: MonMap) -> Quorum | None:
    """Open one session as a mount would, with the first monitor that answers."""
    try:
        async with connect(config) as client:
            return await _look(report, client, config, monmap)
    except BaseException as exc:
        ours = first_of(CephMonFSError, exc)
        if ours is None:
            raise
        report.add("session", FAULT, str(ours))
        return None


async def _look(report: Report, client: Client, config: MountConfig, monmap: MonMap) -> Quorum | None:
    refused = ""
    try:
        await first_session(client, config)
    except NotPermitted as exc:
        refused = str(exc)
    await _settle(client)
    replies = await _ask_all(client)
    view = client.snapshot()
    report.facts["fsid"] = view.fsid
    denied = set(view.denied)
    no_command = {words for words, reply in replies.items() if reply.result in (-errno.EACCES, -errno.EPERM)}
    files = denied_files(denied, no_command)
    if refused:
        report.add("caps", FAULT, refused, f"ceph auth caps {config.entity} mon 'allow r'")
    if files:
        text = f"the caps of {config.entity} do not cover {_some(files)}: Permission denied there"
        report.add("caps", FAULT, text, f"ceph auth caps {config.entity} mon 'allow r'")
    elif not refused:
        report.add("caps", OK, f"{config.entity} may read everything a mount shows")
    report.facts["denied"] = files
    return _cluster_state(report, replies, monmap)


async def _settle(client: Client) -> None:
    """Wait until each map is there or refused."""
    seen = 0
    with trio.move_on_after(_SETTLE_S):
        while True:
            view = client.snapshot()
            no_fs = "fsmap" in view.maps and view.fscid is None
            if all(name in view.maps or name in view.denied or (name == "mdsmap" and no_fs) for name in MAPS):
                return
            seen = await client.wait_change(seen)


async def _ask_all(client: Client) -> dict[str, Any]:
    replies: dict[str, Any] = {}

    async def ask(words: str) -> None:
        with trio.move_on_after(_COMMAND_S):
            try:
                replies[words] = await client.command({"prefix": words, "format": "json"})
            except (RequestTimeout, SessionLost):
                pass

    async with trio.open_nursery() as nursery:
        for words in _COMMANDS:
            nursery.start_soon(ask, words)
    return replies


def denied_files(denied: set[str], no_command: set[str]) -> list[str]:
    """Return the files that will say Permission denied: those made from such a map or command."""
    found = []
    for row in ROWS:
        if row.render is None or row.path in ("README", "status"):  # these show what there is
            continue
        commands = {command.words for command in row.commands}
        # a session's own files depend on it and not on any map
        if commands & no_command or set(row.depends) & denied:
            found.append(row.path)
    return found + [f"ceph/{words.replace(' ', '/')}" for words in sorted(no_command)]


def _some(files: Sequence[str]) -> str:
    shown = ", ".join(files[:12])
    return f"{shown} and {len(files) - 12} more" if len(files) > 12 else shown


def _cluster_state(report: Report, replies: dict[str, Any], monmap: MonMap) -> Quorum | None:
    quorum = None
    if (reply := replies.get("quorum_status")) is not None and reply.result == 0:
        try:
            quorum = Quorum.parse(reply.data)
        except CephMonFSError:
            quorum = None
    if quorum is not None:
        out = [info.name for info in monmap.mons if info.name not in quorum.names]
        text = f"{len(quorum.names)} of {len(monmap.mons)} monitors, leader {quorum.leader}"
        if out:
            report.add("quorum", FAULT, f"{text}; out of it: {', '.join(out)}",
                       f"on its host: systemctl status ceph-mon@{out[0]}")  # fmt: skip
        else:
            report.add("quorum", OK, text)
    if (reply := replies.get("health")) is not None and reply.result == 0:
        _cluster_health(report, reply.data)
    return quorum


def _cluster_health(report: Report, answer: bytes) -> None:
    try:
        health = Health.parse(answer)
    except CephMonFSError as exc:
        report.add("health", NOTE, f"unknown: {exc}")
        return
    checks = "; ".join(check.summary for check in health.active)
    text = " ".join(filter(None, (health.status, checks, numbers.mutes(health, time.time()))))
    report.add("health", OK if health.status == "HEALTH_OK" else NOTE, text)
    report.facts["health"] = health.status
    report.facts["muted"] = [check.code for check in health.muted]
    for check in health.active:
        if check.code == "MON_CLOCK_SKEW":
            text = f"the monitors disagree about the time: {check.summary}"
            report.add("clock", FAULT, text, "ceph time-sync-status")


def _facts(one: Probe, monmap: MonMap | None, quorum: Quorum | None) -> dict[str, object]:
    name = _name(one, monmap)
    return {
        "name": name,
        "given_as": one.candidate.name,
        "addr": str(one.candidate.addr),
        "phase": str(one.phase),
        "mode": one.mode,
        "ms": {key: round(ms, 3) for key, ms in one.times.items()},
        "error": one.error,
        "in_monmap": bool(name) if monmap is not None else None,
        "in_quorum": name in quorum.names if quorum is not None and name else None,
    }
