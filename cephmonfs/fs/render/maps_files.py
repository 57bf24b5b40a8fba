"""The files that show a map: find it, and let maps.py print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cephmonfs.fs.view import View


def monmap(view: View) -> str:
    """As `ceph mon dump`."""
    from cephmonfs.fs.render import maps  # not there yet

    return maps.monmap_text(view.monmap)


def monmap_json(view: View) -> str:
    """As `ceph mon dump -f json`."""
    from cephmonfs.fs.render import maps  # not there yet

    return maps.monmap_json(view.monmap, view.release)


def mdsmap(view: View) -> str:
    """The MDSMap of the chosen file system."""
    from cephmonfs.fs.render import maps  # not there yet

    return maps.mdsmap_text(view.mdsmap)


def mdsmap_json(view: View) -> str:
    """As in `ceph fs dump -f json`."""
    from cephmonfs.fs.render import maps  # not there yet

    return maps.mdsmap_json(view.mdsmap, view.release)


def osdmap(view: View) -> str:
    """Counts, flags, pools."""
    from cephmonfs.fs.render import maps  # not there yet

    return maps.osdmap_text(view.osdmap)


def osdmap_json(view: View) -> str:
    """Counts, flags, pools."""
    from cephmonfs.fs.render import maps  # not there yet

    return maps.osdmap_json(view.osdmap, view.release)
