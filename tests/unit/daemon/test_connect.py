from __future__ import annotations

import pytest

from cephmonfs.config.filesettings import client_options
from cephmonfs.config.mountconfig import resolve
from tests.doubles.machine import KEY, FakeMachine

FSID = "b9a32a5e-4c5f-4b41-8d5c-7a2a9a31f0d2"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), "ms_mode=prefer-secure,abort_on_full"),
        (("ms_mode=legacy",), "abort_on_full"),
        (("ms_mode=crc", f"fsid={FSID}"), f"ms_mode=crc,fsid={FSID},abort_on_full"),
        (("mount_timeout=30", "fs=cephfs", "mount_timeout=20"), "ms_mode=prefer-secure,abort_on_full,mount_timeout=20"),
    ],
)
def test_options_as_the_kernel_shows_them(options: tuple[str, ...], shown: str) -> None:
    config = resolve("a:/", "/mnt", [f"name=df,secret={KEY}", *options], FakeMachine())
    assert client_options(config) == f"name=df,secret=<hidden>,{shown}"
    assert KEY not in client_options(config)
