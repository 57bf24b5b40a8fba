"""The files that hold one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs import __version__
from cephmonfs.errors import CephMonFSError, NoData, NotPermitted
from cephmonfs.files.render import numbers
from cephmonfs.wire.text import one_line

if TYPE_CHECKING:
    from cephmonfs.files.view import View


ABSENT: Final = b""  # what does not exist by nature is an empty file, without so much as a newline


def flag(value: bool) -> str:
    """1 or 0."""
    return "1" if value else "0"


def version(_: View) -> str:
    """Our own version."""
    return __version__


def fsid(view: View) -> str:
    """The cluster's fsid."""
    if not view.snapshot.fsid:
        raise NoData("no monmap has arrived yet")
    return view.snapshot.fsid


def health(view: View) -> str:
    """One of Ceph's words, or HEALTH_UNKNOWN; never an old verdict and, but for missing caps, never an error."""
    try:
        return view.health.status
    except NotPermitted:
        raise
    except CephMonFSError:
        return "HEALTH_UNKNOWN"


# ---- capacity/


def total_bytes(view: View) -> str:
    """Not rounded to blocks."""
    return str(view.statfs.stats.kb << 10)


def used_bytes(view: View) -> str:
    """Not rounded to blocks."""
    return str(view.statfs.stats.kb_used << 10)


def avail_bytes(view: View) -> str:
    """Not rounded to blocks."""
    return str(view.statfs.stats.kb_avail << 10)


def objects(view: View) -> str:
    """Number of objects."""
    return str(view.statfs.stats.num_objects)


def used_ratio(view: View) -> str:
    """0..1, four digits."""
    stats = view.statfs.stats
    return f"{stats.kb_used / stats.kb if stats.kb else 0:.4f}"


def age_seconds(view: View) -> str:
    """How long ago the question left that the present numbers answer."""
    return f"{view.age_s(view.statfs.asked):.3f}"


# ---- mon/


def mon_count(view: View) -> str:
    """Monitors in the monmap."""
    if not view.snapshot.mons:
        raise NoData("no monmap has arrived yet")
    return str(len(view.snapshot.mons))


def quorum_count(view: View) -> str:
    """Monitors in quorum."""
    return str(len(view.quorum.names))


def leader(view: View) -> str:
    """Name of the leader."""
    return view.quorum.leader


def mon_rank(view: View, name: str) -> str:
    """Rank in the monmap."""
    return str(view.mon(name).rank)


def mon_addr(view: View, name: str) -> str:
    """Address vector."""
    return str(view.mon(name).addrs)


def mon_in_quorum(view: View, name: str) -> str:
    """1 or 0."""
    view.mon(name)
    return flag(name in view.quorum.names)


def mon_rtt_ms(view: View, name: str) -> str | bytes:
    """Milliseconds of the last keepalive or handshake; empty for a monitor that we never talked to."""
    rtt_s = view.mon(name).rtt_s
    return ABSENT if rtt_s is None else f"{rtt_s * 1000:.3f}"


def mon_last_error(view: View, name: str) -> str:
    """The last failure in words; empty when none."""
    return one_line(view.mon(name).last_error)


# ---- session/


def state(view: View) -> str:
    """State of the session."""
    return str(view.snapshot.state)


def session_mon(view: View) -> str:
    """The monitor we are with, or were last."""
    return view.snapshot.mon


def session_addr(view: View) -> str:
    """Its address."""
    return view.snapshot.addr


def mode(view: View) -> str:
    """secure, crc or legacy."""
    return view.snapshot.mode


def global_id(view: View) -> str:
    """Our number in the cluster."""
    return str(view.snapshot.global_id)


def since(view: View) -> str:
    """When the present session opened."""
    if view.snapshot.since is None:
        raise NoData("no session is open")
    return numbers.seconds(view.snapshot.since)


def last_contact(view: View) -> str:
    """When a monitor last sent anything."""
    if view.snapshot.last_contact is None:
        raise NoData("no monitor has said anything yet")
    return numbers.seconds(view.snapshot.last_contact)


def fresh(view: View) -> str:
    """1 while what the files show is younger than `stale_after`."""
    return flag(view.fresh)


def sessions(view: View) -> str:
    """Sessions opened so far."""
    return str(view.snapshot.sessions)


def failovers(view: View) -> str:
    """Sessions opened with another monitor than the one before."""
    return str(view.snapshot.failovers)


def last_error(view: View) -> str:
    """The last failure in words; empty when none."""
    return one_line(view.snapshot.last_error)


def epoch(view: View, name: str) -> str:
    """Epoch of a map."""
    return str(view.map_record(name).epoch)


def log(view: View) -> str:
    """The last log lines."""
    return view.records.log.text() if view.records.log is not None else ""


def config(view: View) -> str:
    """Effective options."""
    return "".join(f"{line}\n" for line in view.settings.config_lines)


def xattr_fsid(view: View) -> bytes:
    """ceph.cluster_fsid, as the kernel client writes it."""
    return fsid(view).encode()


def xattr_client_id(view: View) -> bytes:
    """ceph.client_id, as the kernel client writes it."""
    if not view.snapshot.global_id:
        raise NoData("no session yet")
    return f"client{view.snapshot.global_id}".encode()
