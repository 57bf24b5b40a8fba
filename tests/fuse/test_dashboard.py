"""`dashboard.html` on a real mount, and in a real browser where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles.mount import Mount

CHROMIUM = shutil.which("chromium")


def test_nothing_is_asked_for_the_curve(mount_with: Callable[..., Mount]) -> None:
    mount = mount_with(refresh=0.1)
    time.sleep(1)
    assert set(mount.source.asked) <= {"health", "quorum_status"}  # for `events`
    for _ in range(2):
        os.statvfs(mount.path)
        time.sleep(0.1)
    assert mount.source.asked["statfs"] == 2
    page = mount.text("dashboard.html")
    assert mount.source.asked["statfs"] in (3, 4)  # one open, one read: within a moment they share one
    assert "<svg" in page


def test_the_size_that_is_seen_first_is_the_size(mount: Mount) -> None:
    path = mount.path / "dashboard.html"
    sizes = {path.stat().st_size}
    for _ in range(3):
        sizes.add(len(path.read_bytes()))
        sizes.add(path.stat().st_size)
    assert len(sizes) == 1


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_the_whole_page(mount: Mount, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}",
            "--dump-dom", f"file://{mount.path}/dashboard.html",
        ],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "HEALTH_WARN" in done.stdout
    assert "This page is no longer refreshed." in done.stdout
    assert "Content Security Policy" not in done.stderr
