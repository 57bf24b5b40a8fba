"""poll(2): the state of a file, and the callers to notify of a change.

As in sysfs a file can always be read, and POLLPRI with POLLERR says that it is no longer what this handle holds.  A
stream is readable when there is something to read.
"""

from __future__ import annotations

import logging
import select
from typing import TYPE_CHECKING, Final

import pyfuse3

from cephmonfs.errors import CephMonFSError
from cephmonfs.fuse.renderings import is_heavy

if TYPE_CHECKING:
    from pyfuse3 import PollHandle

    from cephmonfs.files.view import View
    from cephmonfs.fuse.handles import Handle

log = logging.getLogger(__name__)

HAVE_POLL: Final = hasattr(pyfuse3, "PollHandle")  # pyfuse3 3.5; with older ones poll(2) says "readable" at once

_READABLE: Final = select.POLLIN | select.POLLRDNORM
_ALWAYS: Final = _READABLE | select.POLLOUT | select.POLLWRNORM  # what poll says of any regular file
_CHANGED: Final = select.POLLPRI | select.POLLERR  # as sysfs says it


class Pollers:
    """Callers that wait in poll(2), by file handle; each is notified once and has to poll again."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Handle, PollHandle]] = {}

    def wait(self, fh: int, handle: Handle, waiter: PollHandle) -> None:
        """Tell `waiter` when the file has changed."""
        self._waiting[fh] = (handle, waiter)

    def forget(self, fh: int) -> None:
        """Remove the waiter of a closed file."""
        self._waiting.pop(fh, None)

    def look(self, view: View) -> None:
        """Notify the callers whose file has changed."""
        moment = Moment(view)
        for fh, (handle, waiter) in list(self._waiting.items()):
            ready = self.ready(handle, moment)
            if ready & _CHANGED or (handle.place is not None and ready):
                del self._waiting[fh]
                try:
                    waiter.notify()
                except OSError as exc:  # the waiter is gone
                    log.debug("poll: %s", exc)

    def ready(self, handle: Handle, moment: Moment) -> int:
        """Return what poll says of this handle now."""
        if handle.ring is not None:
            if handle.place is not None:
                return _READABLE if handle.ring.pending(handle.place) else 0
            return _ALWAYS if handle.key == handle.ring.version else _ALWAYS | _CHANGED
        key = moment.key(handle)
        if key == handle.key:
            return _ALWAYS
        if moment.is_same(handle):
            handle.key = key
            return _ALWAYS
        return _ALWAYS | _CHANGED


class Moment:
    """Keys and contents of files at one moment; each file is rendered once for all its handles."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._keys: dict[int, object] = {}  # by inode
        self._data: dict[int, bytes | None] = {}  # None where there is an error

    def key(self, handle: Handle) -> object:
        """Return the file's key."""
        if handle.inode not in self._keys:
            self._keys[handle.inode] = handle.node.key(self._view)
        return self._keys[handle.inode]

    def is_same(self, handle: Handle) -> bool:
        """Return whether the file would show the same bytes: new data may not concern it."""
        node = handle.node
        if node.row.ages or is_heavy(node, self._view):
            return False
        if handle.inode not in self._data:
            try:
                self._data[handle.inode] = node.render(self._view)
            except CephMonFSError:
                self._data[handle.inode] = None
            except Exception:
                log.exception("%s", node)
                return False  # a reader gets the error; callers that poll other files go on
        data = self._data[handle.inode]
        return data == (None if handle.content is None else handle.data)
