"""The parts of a page: one that cannot be made costs itself and not the page."""

from __future__ import annotations

import logging

from cephmonfs.errors import CephMonFSError

log = logging.getLogger(__name__)


def reason(exc: Exception) -> str:
    """Return why a part is missing: the text of our error, or a sentence for a bug, whose traceback is logged."""
    if isinstance(exc, CephMonFSError):
        return f"unknown: {exc}"
    log.error("a part of a page failed", exc_info=exc)
    return f"not shown: {type(exc).__name__}, see the file log"
