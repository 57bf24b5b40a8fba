"""The files that show a map: find it, and let maps.py print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cephmonfs.errors import CephMonFSError
from cephmonfs.files.render import maps

if TYPE_CHECKING:
    from cephmonfs.files.view import View


def monmap(view: View) -> str:
    """As `ceph mon dump`."""
    return maps.monmap_text(view.monmap)


def monmap_json(view: View) -> str:
    """As `ceph mon dump -f json`; without the list of ranks in quorum where the monitors have not told it."""
    try:
        ranks = view.quorum.ranks
    except CephMonFSError:
        ranks = None
    return maps.monmap_json(view.monmap, quorum=ranks)


def mdsmap(view: View) -> str:
    """The MDSMap of the chosen file system."""
    return maps.mdsmap_text(view.mdsmap)


def mdsmap_json(view: View) -> str:
    """As in `ceph fs dump -f json`."""
    return maps.mdsmap_json(view.mdsmap)


def osdmap(view: View) -> str:
    """Counts, flags, pools."""
    return maps.osdmap_text(view.osdmap, _release(view))


def osdmap_json(view: View) -> str:
    """Counts, flags, pools."""
    return maps.osdmap_json(view.osdmap, _release(view))


def _release(view: View) -> int | None:
    """Which release's way to write times: the osdmap does not say."""
    try:
        return maps.monmap_release(view.monmap)
    except CephMonFSError:
        return None
