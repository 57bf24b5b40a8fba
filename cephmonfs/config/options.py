"""The mount options: one table, from which come parsing, suggestions, `--help`, the manual and the file `config`.

Beside it the words that other file systems and mount(8) put on the same line: accepted, and without effect.
"""

from __future__ import annotations

import grp
import math
import os
import pwd
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cephmonfs.config.monaddr import MsMode
from cephmonfs.errors import ConfigError
from cephmonfs.model.usertext import is_key, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST_WAIT_S: Final = 3600
_NUMBER_MAX: Final = 400  # characters; a float has at most 309 digits before the point


@dataclass(frozen=True, slots=True)
class Option:
    """One option.  A parser raises ValueError with what it wanted; without a parser it is a flag."""

    name: str
    doc: str
    group: str
    parse: Callable[[str], Any] | None = None
    metavar: str = ""
    default: str = ""  # as it would be typed; "on" or "off" for a flag
    otherwise: str = ""  # what the manual says in place of a default
    aliases: tuple[str, ...] = ()
    negatable: bool = False  # a flag that also exists as noNAME
    secret: bool = False  # its value never shows

    @property
    def initial(self) -> Any:
        """The value of a mount that does not say; None where something else decides."""
        if self.parse is None:
            return {"on": True, "off": False}.get(self.default)
        return self.parse(self.default) if self.default else None

    @property
    def spelled(self) -> str:
        """How the manual spells it."""
        if self.parse:
            return f"{self.name}={self.metavar}"
        return f"[no]{self.name}" if self.negatable else self.name


def _text(value: str) -> str:
    if not value:
        raise ValueError("a value")
    return value


def _path(value: str) -> str:
    if not value:
        raise ValueError("the path of a file")
    return os.path.abspath(value)  # the daemon leaves the directory it was started in


def _is_plain(number: str) -> bool:
    """Whether it is written as people write numbers: Python takes `1_0` and the digits of any script, too."""
    return number.isascii() and "_" not in number and len(number) <= _NUMBER_MAX


def _seconds(value: str) -> float:
    try:
        number = float(value) if _is_plain(value) else math.nan
    except ValueError:
        number = math.nan
    if not number >= 0:
        raise ValueError('seconds: a number, 0 or more, or "inf"')
    return number


def _patience(value: str) -> float:
    """Read how long a call may wait: not for ever."""
    number = _seconds(value)
    if not 0 < number <= _LONGEST_WAIT_S:
        raise ValueError(f"seconds: a number above 0, and at most {_LONGEST_WAIT_S}")
    return number


def _mount_timeout(value: str) -> float:
    return _seconds(value) or math.inf  # 0 means "for ever" in mount.ceph


def _mode(value: str) -> int:
    try:
        mode = int(value, 8) if _is_plain(value) else -1
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ValueError("an octal mode of 0 to 0777")
    return mode & 0o444  # nothing here can be written or run


def _uid(value: str) -> int:
    return _id(value, lambda name: pwd.getpwnam(name).pw_uid, "user")


def _gid(value: str) -> int:
    return _id(value, lambda name: grp.getgrnam(name).gr_gid, "group")


def _id(value: str, look_up: Callable[[str], int], what: str) -> int:
    if value.isdecimal() and _is_plain(value) and int(value) < 2**32 - 1:
        return int(value)
    try:
        return look_up(value)
    except KeyError:
        raise ValueError(f"a {what} of this machine, by name or number") from None


def _choice(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value

    return parse


def _ms_mode(value: str) -> MsMode:
    return MsMode(_choice(*MsMode)(value))


def _mons(value: str) -> int:
    return _int(value, 1, 9)


def _seed(value: str) -> int:
    return _int(value, 0, 2**63 - 1)


def _int(value: str, low: int, high: int) -> int:
    if not (value.isdecimal() and _is_plain(value) and low <= int(value) <= high):
        raise ValueError(f"a number of {low} to {high}")
    return int(value)


KEY_TYPES: Final = ("aes", "aes256k")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
WHERE, SHOWN, TIME, FILES, DAEMON, DEMO = (
    "Who and where",
    "What is shown",
    "Times, in seconds",
    "Files and access",
    "The daemon",
    "The embedded monitors",
)

OPTIONS: Final = (
    Option(
        "name",
        'user of the cluster, with or without "client."',
        WHERE,
        _text,
        "NAME",
        otherwise="admin if its keyring is found",
        aliases=("id", "ceph.id", "ceph.name"),
    ),
    Option(
        "secret",
        "the key itself; mount(8)'s command line shows it to all users for as long as `mount_timeout`",
        WHERE,
        _text,
        "KEY",
        secret=True,
    ),
    Option(
        "secretfile",
        "a file that holds nothing but the key; /dev/fd/N for an open descriptor",
        WHERE,
        _path,
        "FILE",
    ),
    Option(
        "keyring",
        "a keyring that holds the key",
        WHERE,
        _path,
        "FILE",
        otherwise="as ceph.conf says, else in /etc/ceph",
        aliases=("ceph.keyring",),
    ),
    Option("conf", "the ceph.conf to use", WHERE, _path, "FILE", "/etc/ceph/ceph.conf", aliases=("ceph.conf",)),
    Option(
        "mon_addr",
        "the monitors, separated by slashes",
        WHERE,
        _text,
        "ADDR[/ADDR...]",
        otherwise="from SOURCE, ceph.conf or DNS",
        aliases=("ceph.mon_host",),
    ),
    Option("fsid", "refuse any other cluster", WHERE, _text, "UUID"),
    Option("ip", "the local address to connect from", WHERE, _text, "ADDR"),
    Option(
        "ms_mode",
        "protocol and protection: legacy, crc, secure, prefer-crc, prefer-secure",
        WHERE,
        _ms_mode,
        "MODE",
        "prefer-secure",
    ),
    Option(
        "key_type",
        "the weakest type of key and ticket that is taken: aes, aes256k",
        WHERE,
        _choice(*KEY_TYPES),
        "TYPE",
        "aes",
    ),
    Option(
        "fs",
        "the file system whose mdsmap is shown; df answers as its mount would",
        SHOWN,
        _text,
        "NAME",
        otherwise="first file system",
        aliases=("mds_namespace", "ceph.client_fs"),
    ),
    Option("pool", "df of one pool, by name or id", SHOWN, _text, "POOL"),
    Option("mount_timeout", "wait for a first session; 0 for ever", TIME, _mount_timeout, "SECONDS", "60"),
    Option("statfs_timeout", "a statfs waits for a fresh answer", TIME, _patience, "SECONDS", "1"),
    Option(
        "stale_after",
        "the last answer may stand in for a fresh one; 0 never, inf always",
        TIME,
        _seconds,
        "SECONDS",
        "60",
    ),
    Option("cmd_timeout", "longest wait of a command file", TIME, _patience, "SECONDS", "2"),
    Option("refresh", "age at which a command file asks again", TIME, _seconds, "SECONDS", "10"),
    Option("bg", "mount at once, connect later", TIME, default="off", aliases=("delay_connect",)),
    Option(
        "show_as_rw",
        "flag the mount rw, for alert rules that skip read-only ones; a write still says EROFS",
        FILES,
        default="off",
    ),
    Option("uid", "owner of the files", FILES, _uid, "USER", "0"),
    Option("gid", "group of the files", FILES, _gid, "GROUP", "0"),
    Option("mode", "permissions of the files; only the read bits count", FILES, _mode, "OCTAL", "0444"),
    Option(
        "allow_other",
        "other users than the mounting one may look",
        FILES,
        negatable=True,
        otherwise="on as root or with user_allow_other",
    ),
    Option("auto_unmount", "unmount when the daemon dies", FILES, negatable=True, default="on"),
    Option(
        "run_as",
        "the daemon's user once mounted, by name, UID or UID:GID, with no capabilities left",
        DAEMON,
        _text,
        "USER",
        otherwise="cephmonfs when root mounts; without such an account, a uid that is not in use",
    ),
    Option("log_level", ", ".join(LOG_LEVELS), DAEMON, _choice(*LOG_LEVELS), "LEVEL", "info"),
    Option("foreground", "stay in the foreground and log to stderr", DAEMON, default="off"),
    Option("demo_mons", "how many, 1 to 9", DEMO, _mons, "N", "3"),
    Option("demo_seed", "makes the numbers come out the same again", DEMO, _seed, "N", "0"),
)

# mount(8), fstab(5), systemd.mount(5), FUSE.  What is always so (ro, nosuid, ...) is here as well.
_MOUNT_WORDS: Final[str] = """
    defaults auto noauto user nouser users nousers owner noowner group nogroup _netdev no_netdev nofail fail
    ro rw suid nosuid dev nodev exec noexec sync async dirsync atime noatime diratime nodiratime relatime norelatime
    strictatime nostrictatime lazytime nolazytime iversion noiversion mand nomand silent loud quiet symfollow
    nosymfollow comment context fscontext defcontext rootcontext seclabel helper uhelper bind rbind
    private rprivate shared rshared slave rslave unbindable runbindable pri quota usrquota grpquota noquota
    default_permissions nonempty fsname subtype max_read blkdev allow_root big_writes kernel_cache auto_cache
    fd rootmode user_id group_id blksize
"""

# The kernel client, mount.ceph and mount.fuse.ceph; each also with "no" in front.
_CEPHFS_WORDS: Final[str] = """
    fallback osd_idle_ttl osdkeepalive osdkeepalivetimeout osd_request_timeout crush_location read_from_replica share
    crc tcp_nodelay cephx_sign_messages cephx_require_signatures abort_on_full rxbounce wsize rsize rasize
    caps_wanted_delay_min caps_wanted_delay_max caps_max readdir_max_entries readdir_max_bytes write_congestion_kb
    snapdirname recover_session dirstat rbytes asyncreaddir dcache ino32 fsc poolperm require_active_mds acl quotadf
    copyfrom wsync pagecache sparseread test_dummy_encryption mandlock brl lock mount_path client_mountpoint
"""

IGNORED: Final = frozenset(_MOUNT_WORDS.split()) | {
    spelled for word in _CEPHFS_WORDS.split() for spelled in (word, f"no{word}")
}
_REFUSED: Final = {
    "key": 'the kernel\'s "key=" is not understood: use secretfile= or keyring=',
}


DEFAULTS: Final[dict[str, Any]] = {option.name: option.initial for option in OPTIONS}


def _spellings() -> dict[str, tuple[Option, bool]]:
    table: dict[str, tuple[Option, bool]] = {}
    for option in OPTIONS:
        for name in (option.name, *option.aliases):
            table[name] = (option, True)
        if option.negatable:
            table[f"no{option.name}"] = (option, False)
    table["debug"] = (next(option for option in OPTIONS if option.name == "log_level"), True)
    return table


_SPELLINGS: Final = _spellings()


@dataclass(slots=True)
class ParsedOptions:
    """What was given.  `values` has parsed values by option name, `origins` says where each came from."""

    values: dict[str, Any] = field(default_factory=dict, repr=False)  # a secret may be among them
    origins: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    remount: bool = False  # of an existing mount

    def set(self, name: str, value: Any, origin: str) -> None:
        """Set one value; a later one wins."""
        self.values[name] = value
        self.origins[name] = origin


def split_options(text: str) -> list[str]:
    """Split `a,b="c,d",e=[f,g]` at the commas outside quotes and brackets; quotes around a value are taken off."""
    items: list[str] = []
    current, depth, quote = "", 0, ""
    for char in text:
        if quote:
            if char == quote:
                quote = ""
            else:
                current += char
        elif char == '"':
            quote = char
        elif char == "," and depth == 0:
            items.append(current)
            current = ""
        else:
            depth += (char == "[") - (char == "]" and depth > 0)
            current += char
    if quote or depth:
        raise ConfigError(f"the options have {'a quote' if quote else 'a bracket'} that is not closed")
    items.append(current)
    return [item.strip() for item in items if item.strip()]


def parse_options(lists: Iterable[str], *, sloppy: bool = False, origin: str = "option") -> ParsedOptions:
    """Parse the `-o` lists of a command line in their order.

    Raises ConfigError for an unknown option (unless `sloppy`) or a bad value, never repeating what could be a key.
    """
    parsed = ParsedOptions()
    for text in lists:
        for item in split_options(text):
            _parse_one(item, parsed, sloppy, origin)
    return parsed


def _parse_one(item: str, parsed: ParsedOptions, sloppy: bool, origin: str) -> None:
    name, equals, value = item.partition("=")
    name = name.strip()
    if name in _REFUSED:
        raise ConfigError(_REFUSED[name])
    if name == "remount" and not equals:
        parsed.remount = True
        return
    found = _SPELLINGS.get(name)
    if found is None:
        if name in IGNORED or name.startswith(("x-", "X-", "ceph.")):
            parsed.ignored.append(shown(name))
        elif sloppy:
            parsed.unknown.append(shown(name))
        else:
            raise ConfigError(f'unknown option "{shown(name)}"{_suggestion(name)}')
        return
    option, positive = found
    if not option.secret and is_key(value):
        raise ConfigError(f"{name}= holds a key, which stands in the file of secretfile=, or in secret=")
    if name == "debug":
        parsed.set("log_level", "debug", origin)
    elif option.parse is None:
        if equals:
            raise ConfigError(f'option "{name}" takes no value')
        parsed.set(option.name, positive, origin)
    elif not equals:
        raise ConfigError(f'option "{name}" wants a value: {name}={option.metavar}')
    else:
        try:
            parsed.set(option.name, option.parse(value), origin)
        except ValueError as exc:
            raise ConfigError(f"{name if option.secret else f'{name}={shown(value)}'}: wanted {exc}") from None


def _suggestion(name: str) -> str:
    from difflib import get_close_matches  # the mount fails anyway

    known = [*_SPELLINGS, *sorted(IGNORED)]
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f': did you mean "{near[0]}"?' if near else "; mount.cephmon --help lists the options"


def options_help() -> str:
    """Return the table as `--help` prints it."""
    lines: list[str] = []
    group = ""
    width = max(len(option.spelled) for option in OPTIONS) + 2
    for option in OPTIONS:
        if option.group != group:
            group = option.group
            lines += ["", f"{group}:"]
        default = f" [{text}]" if (text := option.default or option.otherwise) else ""
        lines.append(f"  {option.spelled:<{width}}{option.doc}{default}")
    return "\n".join(lines[1:]) + "\n"
