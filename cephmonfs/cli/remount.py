"""`mount -o remount`: nothing to do where nothing changes; a mount's options cannot be changed.

mount(8) takes the options from the line of fstab if there is one, and adds those of its command line; then `rw` says
nothing, for it is always there.  A mount made by hand has no line, and mount(8) takes what the kernel shows: flags,
and FUSE's own `user_id=` and the like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.config.mountconfig import as_shown, parse_lines
from cephmonfs.config.options import ParsedOptions, parse_options
from cephmonfs.config.source import parse_source
from cephmonfs.errors import ConfigError
from cephmonfs.host.mountpoint import FUSE_TYPE, Life, life_of, mounts, settle, top_mount
from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cephmonfs.cli.args import MountArgs
    from cephmonfs.host.mountpoint import Mount

_FAILED: Final = 32
_OF_THE_KERNEL: Final = "user_id"  # an option that only the kernel's list has
_FLAGS: Final = frozenset({
    "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime", "strictatime", "nodiratime",
    "lazytime", "nosymfollow", "sync", "dirsync",
})  # fmt: skip
_WITHOUT: Final = {"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec"}


def asks_remount(args: MountArgs) -> bool:
    """Tell whether mount(8) was called with `remount`."""
    return not (args.help or args.version) and parse_options(args.option_lists, sloppy=args.sloppy).remount


def remount(args: MountArgs) -> None:
    """Return if the mount already has these options.  Raises ConfigError when one would change."""
    path = settle(args.mountpoint)
    mount = top_mount(mounts(), path)
    if mount is None or mount.fstype != FUSE_TYPE:
        raise ConfigError(f"remount: {shown(path)} is no cephmon mount", _FAILED)
    options = parse_options(args.option_lists, sloppy=args.sloppy)
    changes = changed_flags(options, mount)
    if life_of(path) is not Life.LIVE:
        raise ConfigError(
            f"remount: the daemon of {shown(path)} does not answer: umount -f, and mount it again", _FAILED
        )
    try:
        with open(f"{path}/config", encoding="utf-8", errors="replace") as file:
            changes += changed_options(args.source, options, mount, file.read())
    except OSError as exc:
        raise ConfigError(f"remount: cannot read {shown(path)}/config: {exc.strerror}", _FAILED) from exc
    if changes:
        raise ConfigError(
            f"remount would change {', '.join(changes)}, and a mount's options cannot be changed: "
            f"umount {shown(path)}, and mount it anew",
            _FAILED,
        )


def changed_flags(options: ParsedOptions, mount: Mount) -> list[str]:
    """Return the flags that would come out different."""
    asked, there = set(options.ignored) & _FLAGS, set(mount.flags) & _FLAGS
    if _OF_THE_KERNEL not in options.ignored:
        if "ro" in asked and "ro" not in there and not options.values.get("show_as_rw"):
            return ["ro"]
        return []
    gone = {_WITHOUT.get(flag, flag) for flag in there - asked if flag != "rw"}
    return sorted(asked - there | gone)


def changed_options(source: str, options: ParsedOptions, mount: Mount, config: str) -> list[str]:
    """Return the options that would come out different from what the file `config` says, without their values."""
    there = parse_lines(config)
    asked = _asked(source, options, mount, there)
    changed = []
    for name, value in as_shown(asked).items():
        if name == "secret":
            if there.get(name, ("", ""))[1] != "option secret":  # the same place is all that can be seen of it
                changed.append(name)
        elif shown(value) != there.get(name, ("-", ""))[0]:
            changed.append(name)
    return changed


def _asked(
    source: str, options: ParsedOptions, mount: Mount, there: Mapping[str, tuple[str, str]]
) -> dict[str, object]:
    """Return the options with what the source adds to them; what /proc/mounts or the first line shows adds nothing."""
    asked: dict[str, object] = {}
    if source not in (mount.source, there.get("source", ("", ""))[0]):
        given = parse_source(source)
        said = {"name": given.name, "fsid": given.fsid, "fs": given.fs, "pool": given.pool}
        said["mon_addr"] = "/".join(map(str, given.targets))
        asked = {name: value for name, value in said.items() if value}
        if given.demo != (there.get("source", ("", ""))[0] in ("demo:", "demo")):
            asked["source"] = source
        asked |= parse_options([given.options]).values if given.options else {}
    return asked | options.values
