"""The command line of the mount helper, as mount(8) passes it."""

from __future__ import annotations

import getopt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cephmonfs.cli.columns import fitted
from cephmonfs.config.options import options_help
from cephmonfs.config.source import as_written
from cephmonfs.errors import ConfigError
from cephmonfs.model.usertext import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE: Final = "usage: mount.cephmon SOURCE DIR [-sfnv] [-N namespace] [-t type] [-o OPTIONS]..."
_HELP: Final = f"""{USAGE}

Mounts a live view of a Ceph cluster: df, monmap, mdsmap, health and the session as files.

SOURCE:
  NAME@[FSID].[FSNAME]=   a user of the cluster that /etc/ceph/ceph.conf describes; NAME@ is enough
  NAME@[FSID].POOL        the same, and df of one pool
  MON[:PORT][,MON...]:/   monitors by name or address
  :/                      monitors from ceph.conf
  ceph, none, cephmon     everything from ceph.conf, else from DNS SRV _ceph-mon._tcp
  demo:                   embedded monitors; no Ceph needed

  -o OPTIONS              see below; may be given more than once, the last one wins
  -s                      let unknown options pass
  -f                      fake: check everything that can be checked without mounting
  -v                      say more
  -n, -N, -t              accepted for mount(8)
  -h, --help              this text
  -V, --version           the version

"""
_EXAMPLES: Final = """
Examples:
  mount -t cephmon df@ /mnt/ceph -o secretfile=/etc/ceph/df.secret
  mount -t cephmon 10.0.0.1:/ /mnt/ceph -o name=df,keyring=/etc/ceph/df.keyring
Line of /etc/fstab:
  df@ /mnt/ceph cephmon _netdev,nofail,secretfile=/etc/ceph/df.secret 0 0
Exit status: 0 mounted, 1 wrong usage, 2 something of this machine is missing, 8 interrupted, 32 the mount failed.
"""


@dataclass(frozen=True, slots=True)
class MountArgs:
    """The parsed command line of mount(8)."""

    source: str
    mountpoint: str
    option_lists: tuple[str, ...]
    sloppy: bool = False
    fake: bool = False
    verbose: bool = False
    help: bool = False
    version: bool = False


def help_text() -> str:
    """Return what --help prints."""
    return fitted(_HELP + options_help() + _EXAMPLES)


def parse_args(argv: Sequence[str]) -> MountArgs:
    """Parse the arguments after the program's name; options may stand anywhere.  Raises ConfigError."""
    try:
        given, rest = getopt.gnu_getopt(list(argv), "sfnvhVN:t:o:", ["help", "version", "foreground"])
    except getopt.GetoptError as exc:
        raise ConfigError(f"{shown(exc.msg)}; {USAGE}") from None
    names = [name for name, _ in given]
    lists = [value for name, value in given if name == "-o"]
    if "--foreground" in names:
        lists.append("foreground")
    asks_help, asks_version = "-h" in names or "--help" in names, "-V" in names or "--version" in names
    if not (asks_help or asks_version) and len(rest) != 2:
        raise ConfigError(f"wanted SOURCE and DIR, got {len(rest)} of them; {USAGE}")
    source, mountpoint = rest if len(rest) == 2 else ("", "")
    return MountArgs(
        as_written(source),
        mountpoint,
        tuple(lists),
        "-s" in names,
        "-f" in names,
        "-v" in names,
        asks_help,
        asks_version,
    )
