"""Errors become errno, and no handler ends the mount."""

from __future__ import annotations

import errno

import pyfuse3
import pytest
import trio

from cephmonfs import errors
from cephmonfs.fuse.boundary import errno_for, fuse_handler

WANTED = {
    errors.NoData: errno.ENODATA,
    errors.NotPermitted: errno.EACCES,
    errors.AuthError: errno.EACCES,
    errors.WeakKey: errno.EACCES,
    errors.Unproven: errno.EACCES,
    errors.ForeignCluster: errno.EACCES,
    errors.RequestTimeout: errno.ETIMEDOUT,
    errors.SessionLost: errno.ETIMEDOUT,
    errors.TooManyOpen: errno.ENFILE,
    trio.TooSlowError: errno.ETIMEDOUT,
}


def everything(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(one for sub in kind.__subclasses__() for one in everything(sub))]


def made(kind: type[Exception]) -> Exception:
    try:
        return kind("x")
    except TypeError:
        return kind("x", 1) if kind is errors.MissingFeatures else kind("x", 1, "y")


@pytest.mark.parametrize("kind", [*everything(errors.CephMonFSError), trio.TooSlowError])
async def test_every_error_has_an_errno(kind: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    @fuse_handler
    async def handler() -> None:
        raise made(kind)

    with pytest.raises(pyfuse3.FUSEError) as caught:
        await handler()
    assert caught.value.errno == WANTED.get(kind, errno.EIO)
    assert len(caplog.records) == (caught.value.errno == errno.EIO)


async def test_a_bug_costs_one_call_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @fuse_handler
    async def handler() -> None:
        raise KeyError("bug")

    assert errno_for(KeyError("bug")) is None
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await handler()
    assert caught.value.errno == errno.EIO
    (record,) = caplog.records
    assert record.exc_info is not None


async def test_what_is_an_errno_already_passes(caplog: pytest.LogCaptureFixture) -> None:
    @fuse_handler
    async def handler(number: int) -> int:
        if number:
            raise pyfuse3.FUSEError(number)
        return 7

    assert await handler(0) == 7
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await handler(errno.ENOENT)
    assert caught.value.errno == errno.ENOENT
    assert not caplog.records


async def test_cancellation_passes() -> None:
    @fuse_handler
    async def handler() -> None:
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        scope.cancel()
        await handler()
    assert scope.cancelled_caught
