"""Maps our errors to errno: the only such table, and the guard around every handler."""

from __future__ import annotations

import errno
import functools
import logging
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import pyfuse3
import trio

from cephmonfs import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

# The first row that fits counts; `man 5 cephmonfs` lists the same.
_ERRNO: Final[tuple[tuple[type[Exception], int], ...]] = (
    (errors.NoData, errno.ENODATA),
    (errors.NotPermitted, errno.EACCES),
    (errors.AuthError, errno.EACCES),
    (errors.RequestTimeout, errno.ETIMEDOUT),
    (errors.SessionLost, errno.ETIMEDOUT),
    (errors.TooManyOpen, errno.ENFILE),
    (trio.TooSlowError, errno.ETIMEDOUT),
    (errors.CephMonFSError, errno.EIO),
)


def errno_for(exc: Exception) -> int | None:
    """Return the errno of an error that is expected to happen, None for a bug."""
    for kind, number in _ERRNO:
        if isinstance(exc, kind):
            return number
    return None


def fuse_handler(handler: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Guard a handler: pyfuse3 ends the mount at any exception but FUSEError.

    FUSEError and cancellation pass, our errors become their errno, anything else is logged and becomes EIO.
    """

    @functools.wraps(handler)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as exc:
            number = errno_for(exc)
            if number is None:
                log.exception("%s failed", handler.__name__)
                number = errno.EIO
            elif number == errno.EIO:
                log.warning("%s: %s", handler.__name__, exc)
            raise pyfuse3.FUSEError(number) from exc

    return guarded
