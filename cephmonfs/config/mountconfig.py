"""MountConfig: SOURCE, options, ceph.conf and keyrings put together.

A file that is not needed is not read: a damaged ceph.conf does not matter where the options name monitors and key.
An error lists what was tried only when all of it failed.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from cephmonfs.auth.keyring import Keyring, parse_key, parse_secretfile
from cephmonfs.config.cephconf import CephConf, cluster_name
from cephmonfs.config.monaddr import (
    PORT_V2,
    MonTarget,
    MsMode,
    all_spelled_v1,
    on_v2,
    parse_slash_list,
    parse_targets,
    targets_for_mode,
)
from cephmonfs.config.options import DEFAULTS, OPTIONS, ParsedOptions, parse_options
from cephmonfs.config.source import Source, parse_fsid, parse_source
from cephmonfs.config.textfile import decode_text
from cephmonfs.errors import ConfigError
from cephmonfs.host import accounts
from cephmonfs.model.cryptokey import KeyType
from cephmonfs.model.entity import EntityName, EntityType
from cephmonfs.model.usertext import HIDDEN, could_be_key, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cephmonfs.config.machine import Machine
    from cephmonfs.model.cryptokey import CryptoKey

# systemd's LoadCredential= and SetCredentialEncrypted=: a bare key, or a keyring.
CREDENTIAL_SECRET: Final = "cephmon.secret"
CREDENTIAL_KEYRING: Final = "cephmon.keyring"
_DEFAULT_KEYRINGS: Final = (
    "/etc/ceph/$cluster.$name.keyring",
    "/etc/ceph/$cluster.keyring",
    "/etc/ceph/keyring",
    "/etc/ceph/keyring.bin",
)
_FUSE_CONF: Final = "/etc/fuse.conf"
_READABLE_BY_OTHERS: Final = 0o007


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """`demo:`."""

    mons: int
    seed: int


@dataclass(frozen=True, slots=True)
class MountConfig:
    """Everything a mount needs to know, resolved.  Times are seconds, inf allowed."""

    source: str
    mountpoint: str  # as given; empty for programs that do not mount
    targets: tuple[MonTarget, ...]
    dns_srv: str | None  # the service name to look up when there are no targets, "ceph-mon" or "ceph-mon_example.net"
    entity: EntityName
    key: CryptoKey | None  # None only where the cluster's auth may be none, and for demo:
    fsid: str | None
    fs: str | None
    pool: str | None
    ms_mode: MsMode
    key_type: str  # the weakest that is taken, of KEY_TYPES
    ip: str | None
    mount_timeout: float
    statfs_timeout: float
    stale_after: float
    cmd_timeout: float
    refresh: float
    bg: bool
    uid: int
    gid: int
    mode: int
    run_as: str | None  # None: keep our user
    allow_other: bool
    auto_unmount: bool
    show_as_rw: bool
    log_level: str
    foreground: bool
    demo: DemoConfig | None
    cluster: str
    origins: Mapping[str, str]  # option name -> where its value came from
    shown: Mapping[str, str]  # option name -> its value as text, secrets hidden
    ignored: tuple[str, ...]  # options without effect
    warnings: tuple[str, ...]  # for the user, at once
    notices: tuple[str, ...] = ()  # for the log
    handed: int | None = None  # /dev/fuse of a mount that another process made for us

    @property
    def any_protocol(self) -> bool:
        """True when ms_mode is not given: then an address of the v1 protocol stands for its host."""
        return "ms_mode" not in self.origins

    @property
    def conf_path(self) -> str:
        """The ceph.conf that was, or would have been, read."""
        return self.shown.get("conf", DEFAULTS["conf"])

    def effective(self, **changes: Any) -> MountConfig:
        """Return a copy with the values that the start has changed, so that `lines` shows them."""
        new = replace(self, **changes)
        texts = {
            "name": str(new.entity),
            "secret": HIDDEN if new.key else "-",
            "fsid": new.fsid or "-",
            "mon_addr": _show_targets(new.targets),
        }
        return replace(new, shown={**self.shown, **texts})

    def lines(self) -> str:
        """Return the content of the file `config`: `name value  # origin`, one option a line."""
        rows = [
            (option.name, self.shown.get(option.name, "-"), self.origins.get(option.name, "default"))
            for option in OPTIONS
        ]
        rows.insert(0, ("source", self.source, "command line"))
        return "".join(f"{name} {shown(value)}  # {shown(origin)}\n" for name, value, origin in rows)


# The options that are a field of the same name; the fsid may also come from the source.
_AS_GIVEN: Final = tuple(
    option.name for option in OPTIONS if option.name in {item.name for item in fields(MountConfig)} - {"fsid"}
)


def resolve(
    source: str,
    mountpoint: str,
    option_lists: Sequence[str],
    machine: Machine,
    *,
    sloppy: bool = False,
    handed: int | None = None,
) -> MountConfig:
    """Put everything together.  Raises ConfigError with a sentence."""
    return _Resolver(source, mountpoint, option_lists, machine, sloppy, handed).run()


@dataclass(slots=True)
class _Key:
    """A key and where it was found; `entity` is set when the place decided it."""

    key: CryptoKey | None
    origin: str
    entity: EntityName


@dataclass(slots=True, repr=False)  # it holds the secret as it was typed
class _Resolver:
    source_text: str
    mountpoint: str
    option_lists: Sequence[str]
    machine: Machine
    sloppy: bool
    handed: int | None
    source: Source = field(default_factory=Source)
    options: ParsedOptions = field(default_factory=ParsedOptions)
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    _conf: CephConf | None = None
    _conf_read: bool = False

    def run(self) -> MountConfig:
        self.source = parse_source(self.source_text)
        self.options = self._merge()
        mode = self._get("ms_mode")
        demo = None
        if self.source.demo:
            demo = DemoConfig(self._get("demo_mons"), self._get("demo_seed"))
        else:
            for name in ("demo_mons", "demo_seed"):
                if name in self.options.values:
                    raise ConfigError(f'option "{name}" goes with the source "demo:" only')
        self._check_for_keys()
        fsid = parse_fsid(self.options.values["fsid"]) if "fsid" in self.options.values else None
        ip = self._ip()
        allow_other, why = self._allow_other()
        run_as = self._run_as()

        targets: tuple[MonTarget, ...] = ()
        dns_srv = None
        if demo:
            found = _Key(None, "demo", self._entity() or EntityName(EntityType.CLIENT, "admin"))
        else:
            targets, fsid = self._targets(fsid)
            if targets:
                if "ms_mode" not in self.options.values:
                    mode, targets = self._meant(targets, mode)
                targets_for_mode(targets, mode)
            else:
                conf = self._load_conf()
                entity = self._entity() or EntityName(EntityType.CLIENT, "admin")
                dns_srv = (conf.get("mon_dns_srv_name", entity) if conf else None) or "ceph-mon"
                self.options.origins.setdefault("mon_addr", f"DNS SRV {dns_srv}")
            found = self._key()
            self._check_key_type(found)
        entity = found.entity
        values = self.options.values
        config: dict[str, Any] = {name: self._get(name) for name in _AS_GIVEN}
        config |= {"ms_mode": mode, "ip": ip, "run_as": run_as, "allow_other": allow_other}
        origins = {**self.options.origins, "secret": found.origin}
        origins.setdefault("name", "default")
        if why:
            origins["allow_other"] = why
        texts = {
            **{name: _show(name, value) for name, value in values.items()},
            **{name: _show(name, value) for name, value in config.items()},
            "name": str(entity),
            "secret": HIDDEN if found.key else "-",
            "fsid": fsid or "-",
            "mon_addr": _show_targets(targets),
        }
        if demo:
            texts |= {"demo_mons": str(demo.mons), "demo_seed": str(demo.seed)}
        return MountConfig(
            source=self.source_text,
            mountpoint=self.mountpoint,
            targets=targets,
            dns_srv=dns_srv,
            entity=entity,
            key=found.key,
            fsid=fsid,
            demo=demo,
            cluster=self._cluster(),
            origins=origins,
            shown=texts,
            ignored=tuple(self.options.ignored + self.options.unknown),
            warnings=tuple(self.warnings),
            notices=tuple(self.notices),
            handed=self.handed,
            **config,
        )

    # ---- options -------------------------------------------------------------------------------------------------

    def _get(self, name: str) -> Any:
        return self.options.values.get(name, DEFAULTS[name])

    def _merge(self) -> ParsedOptions:
        """Parse the options and merge what the source says.  Raises ConfigError for a contradiction."""
        parsed = parse_options([self.source.options] if self.source.options else [], origin="source")
        given = parse_options(self.option_lists, sloppy=self.sloppy)
        for name, value in given.values.items():
            parsed.set(name, value, given.origins[name])
        parsed.ignored += given.ignored
        parsed.unknown += given.unknown
        source = self.source
        for name, said in (("name", source.name), ("fsid", source.fsid), ("fs", source.fs), ("pool", source.pool)):
            if said is None:
                continue
            option = given.values.get(name)
            if option is not None and not _same(name, option, said):
                raise ConfigError(
                    f'the source says {name} "{shown(said)}", the option {name}={shown(option)}: which one?'
                )
            parsed.set(name, said, "source")
        if "secret" in parsed.values and "secretfile" in parsed.values:
            raise ConfigError("secret and secretfile together: give one of them")
        return parsed

    def _check_for_keys(self) -> None:
        """Refuse a name that could be a key: a mount with `bg` would show it before the cluster refuses it."""
        if not self._get("bg") and self.handed is None:
            return
        for name in ("name", "fs", "pool"):
            if could_be_key(self.options.values.get(name, "")):
                raise ConfigError(
                    f"{name}={HIDDEN} could be a key, and would show before the cluster tells: mount without bg"
                )

    def _ip(self) -> str | None:
        text = self.options.values.get("ip")
        if text is None:
            return None
        try:
            return str(ipaddress.ip_address(str(text).strip("[]")))
        except ValueError:
            raise ConfigError(f"ip={shown(text)}: wanted an IPv4 or IPv6 address of this machine") from None

    def _allow_other(self) -> tuple[bool, str]:
        """On as root, or when root has mounted for us; for others only where /etc/fuse.conf lets fusermount3 do it."""
        asked = self.options.values.get("allow_other")
        if asked is False or self.machine.euid == 0 or self.handed is not None:
            return asked is not False, ""
        if self._user_allow_other():
            return True, "" if asked else _FUSE_CONF
        if asked:
            raise ConfigError(f'allow_other: only root may, unless {_FUSE_CONF} has a line "user_allow_other"', 2)
        self.warnings.append(
            f"other users will not see the mount: {_FUSE_CONF} has no line user_allow_other (noallow_other: no matter)"
        )
        return False, _FUSE_CONF

    def _user_allow_other(self) -> bool:
        try:
            text = self.machine.read(_FUSE_CONF).decode("utf-8", "replace")
        except OSError:
            return False
        return re.search(r"^\s*user_allow_other\s*$", text, re.MULTILINE) is not None

    def _run_as(self) -> str | None:
        user = self.options.values.get("run_as")
        if self.machine.euid != 0:
            if user is not None:
                raise ConfigError("run_as: only a mount made by root can change its user")
            return None
        if user is None:
            return accounts.ACCOUNT
        if not accounts.is_known(user):
            raise ConfigError(f'run_as: this machine has no user "{shown(user)}"')
        return None if user in ("root", "0") else str(user)

    # ---- the cluster ---------------------------------------------------------------------------------------------

    def _conf_path(self) -> str:
        return str(self._get("conf"))

    def _cluster(self) -> str:
        return cluster_name(self._conf_path())

    def _load_conf(self) -> CephConf | None:
        """Read ceph.conf once; None when the default one does not exist."""
        if not self._conf_read:
            path = self._conf_path()
            try:
                self._conf = CephConf.load(self.machine, path)
            except FileNotFoundError:
                if "conf" in self.options.values:
                    raise ConfigError(f"conf={shown(path)}: there is no such file") from None
            self._conf_read = True
        return self._conf

    def _entity(self) -> EntityName | None:
        """Return the user of the cluster that the options, the source or ceph.conf name."""
        text = self.options.values.get("name")
        return None if text is None else _entity_of(text)

    def _targets(self, fsid: str | None) -> tuple[tuple[MonTarget, ...], str | None]:
        """Return the monitors and the fsid; the conf's fsid counts only with the conf's monitors."""
        option = self.options.values.get("mon_addr")
        if option is not None:
            return parse_slash_list(option), fsid
        if self.source.targets:
            self.options.origins["mon_addr"] = "source"
            return self.source.targets, fsid
        conf = self._load_conf()
        if conf is None:
            return (), fsid
        entity = self._entity() or EntityName(EntityType.CLIENT, "admin")
        text = conf.get("mon_host", entity)
        if text:
            targets = parse_targets(text, f"mon_host in {conf.path}")
        else:
            spelled = conf.monitor_addresses()
            targets = parse_targets(" ".join(spelled), f"mon addr in {conf.path}")
        if not targets:
            return (), fsid
        self.options.origins["mon_addr"] = conf.path
        conf_fsid = conf.get("fsid", entity)
        if conf_fsid:
            known = parse_fsid(conf_fsid)
            if fsid not in (None, known):
                raise ConfigError(
                    f"{conf.path} is of cluster {known}, you asked for {fsid}: name its monitors with mon_addr="
                )
            if fsid is None:
                self.options.origins["fsid"] = conf.path
            fsid = known
        return targets, fsid

    def _meant(self, targets: tuple[MonTarget, ...], mode: MsMode) -> tuple[MsMode, tuple[MonTarget, ...]]:
        """Return the mode and the targets where ms_mode= is not given.

        The kernel's default was the v1 protocol, ours is v2: in old lines only the hosts count.  Only
        "v1:" before every address says v1; what a monitor answers never does.
        """
        if all_spelled_v1(targets):
            self.options.origins["ms_mode"] = 'every monitor is spelled "v1:"'
            self.notices.append(
                'every monitor is spelled "v1:", so ms_mode=legacy, neither encrypted nor signed '
                f"(port {PORT_V2} has the v2 protocol)"
            )
            return MsMode.LEGACY, targets
        found = on_v2(targets)
        if found != targets:
            self.notices.append(
                f"monitors given at the v1 port are asked at port {PORT_V2}, for the v2 protocol: "
                f"{', '.join(map(str, found))} (ms_mode=legacy: v1, neither encrypted nor signed)"
            )
        return mode, found

    # ---- the key -------------------------------------------------------------------------------------------------

    def _key(self) -> _Key:
        """Find user and key, the most explicit place first."""
        asked = self._entity()
        values = self.options.values
        credentials = self.machine.env.get("CREDENTIALS_DIRECTORY")
        if "secret" in values or "secretfile" in values:
            entity = self._named(asked)
            if "secret" in values:
                return _Key(parse_key(values["secret"], "the secret given"), "option secret", entity)
            return _Key(self._bare_key(values["secretfile"], "secretfile"), f"option {values['secretfile']}", entity)
        if "keyring" in values:
            return self._from_keyring(values["keyring"], asked)
        if credentials:
            path = f"{credentials}/{CREDENTIAL_SECRET}"
            try:
                text = self._read_secret(path)
            except OSError:
                pass
            else:
                key = parse_secretfile(text, f"the credential {CREDENTIAL_SECRET}", CREDENTIAL_KEYRING)
                return _Key(key, "credential", self._named(asked))
            path = f"{credentials}/{CREDENTIAL_KEYRING}"
            try:
                self.machine.read(path)
            except OSError:
                pass
            else:
                return self._from_keyring(path, asked)
        return self._search(asked)

    def _check_key_type(self, found: _Key) -> None:
        wanted = self._get("key_type")
        if wanted == "aes":
            return
        if found.key is None:
            raise ConfigError(f"key_type={wanted} asks for a key, and there is none ({found.origin})")
        if found.key.type < KeyType[wanted.upper()]:
            kind = found.key.type.name.lower()
            raise ConfigError(
                f"the key of {found.entity} ({found.origin}) is of type {kind}, and key_type={wanted} refuses that: "
                f"get one of type {wanted}, or leave key_type= away"
            )

    def _named(self, asked: EntityName | None) -> EntityName:
        if asked is None:
            raise ConfigError('whose key is it? say name=USER, or "USER@" as the source')
        return asked

    def _from_keyring(self, path: str, asked: EntityName | None) -> _Key:
        try:
            keyring = Keyring.parse(self._read_secret(path), shown(path))
        except OSError as exc:
            raise ConfigError(f"cannot read the keyring {shown(path)}: {exc.strerror or exc}") from exc
        if asked is None:
            clients = [shown(name) for name in keyring.entries if name.startswith("client.")]
            if "client.admin" not in clients:
                raise ConfigError(
                    f"no name given, and {shown(path)} has no client.admin: say name=USER"
                    + (f" ({', '.join(clients[:5])} would do)" if clients else "")
                )
            self.options.origins["name"] = path
            asked = EntityName(EntityType.CLIENT, "admin")
        return _Key(keyring.key_of(str(asked)), path, asked)

    def _search(self, asked: EntityName | None) -> _Key:
        """Look in ceph.conf and in the usual keyrings."""
        entity = asked or EntityName(EntityType.CLIENT, "admin")
        conf = self._load_conf()
        tried: list[str] = []
        if conf:
            if text := conf.get("key", entity):
                return _Key(parse_key(text, f"the key in {conf.path}"), conf.path, entity)
            if path := conf.get("keyfile", entity):
                return _Key(self._bare_key(path, f"keyfile in {conf.path}"), path, entity)
        listed = (conf.get("keyring", entity) or "") if conf else ""
        blank = CephConf(self._conf_path(), {}, self.machine.hostname)
        paths = [*re.split(r"[,;\s]+", listed), *(blank.expand(path, entity) for path in _DEFAULT_KEYRINGS)]
        for path in dict.fromkeys(filter(None, paths)):
            try:
                keyring = Keyring.parse(self._read_secret(path), shown(path))
            except FileNotFoundError:
                tried.append(f"{shown(path)} is not there")
                continue
            except OSError as exc:
                tried.append(f"{shown(path)}: {exc.strerror or exc}")
                continue
            if str(entity) not in keyring.entries:
                tried.append(f"{shown(path)} does not have it")
                continue
            if asked is None:
                self.options.origins["name"] = path
            return _Key(keyring.key_of(str(entity)), path, entity)
        if conf and _auth_may_be_none(conf, entity):
            return _Key(None, f"none: {conf.path} allows auth none", entity)
        what = "; ".join(tried)
        if asked is None:
            raise ConfigError(
                f'no name given and no key for client.admin found: say name=USER (or "USER@" as the source), '
                f"or put a keyring of client.admin into /etc/ceph ({what})"
            )
        raise ConfigError(f"no key for {shown(str(entity))}: give secretfile= or keyring= ({what})")

    def _bare_key(self, path: str, what: str) -> CryptoKey:
        """Read a file that holds nothing but a key."""
        try:
            text = self._read_secret(path)
        except OSError as exc:
            raise ConfigError(f"cannot read {what} {shown(path)}: {exc.strerror or exc}") from exc
        return parse_secretfile(text, shown(path), f"keyring={shown(path)} instead of {what}")

    def _read_secret(self, path: str) -> str:
        data, mode = self.machine.read_secret(path)
        if mode & _READABLE_BY_OTHERS:
            warning = f"others can read the key in {shown(path)}: chmod 600 {shown(path)}"
            if warning not in self.warnings:
                self.warnings.append(warning)
        return decode_text(data, shown(path))


def _entity_of(text: str) -> EntityName:
    entity = EntityName.parse(text)
    if entity.type != EntityType.CLIENT:
        raise ConfigError(f'name={shown(text)}: only users of the kind "client." can mount')
    if not re.fullmatch(r"[^\s\[\]=,@/]+", entity.id):
        raise ConfigError(f'name={shown(text)} is no user of a cluster: wanted "df" or "client.df"')
    return entity


def as_shown(values: Mapping[str, Any]) -> dict[str, str]:
    """Return options as the file `config` shows them.  Raises ConfigError for a value that is not valid."""
    found = {name: _show(name, value) for name, value in values.items()}
    if "name" in values:
        found["name"] = str(_entity_of(values["name"]))
    if "fsid" in values:
        found["fsid"] = parse_fsid(values["fsid"])
    if "ip" in values:
        found["ip"] = str(values["ip"]).strip("[]")
    if "mon_addr" in values:
        targets = parse_slash_list(values["mon_addr"])
        found["mon_addr"] = _show_targets(targets if "ms_mode" in values or all_spelled_v1(targets) else on_v2(targets))
    return found


def parse_lines(text: str) -> dict[str, tuple[str, str]]:
    """Read what `MountConfig.lines` wrote: value and origin by name."""
    found = {}
    for line in text.splitlines():
        head, _, origin = line.rpartition("  # ")
        name, _, value = head.partition(" ")
        found[name] = (value, origin)
    return found


def _show_targets(targets: tuple[MonTarget, ...]) -> str:
    return "/".join(map(str, targets)) or "-"


def _same(name: str, option: str, said: str) -> bool:
    if name == "name":
        return EntityName.parse(option) == EntityName.parse(said)
    if name == "fsid":
        return parse_fsid(option) == said
    return option == said


def _auth_may_be_none(conf: CephConf, entity: EntityName) -> bool:
    text = conf.get("auth_client_required", entity) or conf.get("auth_supported", entity) or ""
    return "none" in re.split(r"[,;\s]+", text)


def _show(name: str, value: object) -> str:
    if name == "secret":
        return HIDDEN
    if name == "mode" and isinstance(value, int):
        return f"{value:04o}"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return "inf" if math.isinf(value) else f"{value:g}"
    return str(value)
