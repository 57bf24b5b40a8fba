"""`dashboard.html` on a real mount, and in a real browser where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.doubles.handlers import CALLER, handlers
from tests.doubles.mount import Mount
from tests.doubles.source import FakeSource

CHROMIUM = shutil.which("chromium")


async def test_nothing_is_asked_for_the_curve(autojump_clock: trio.testing.MockClock) -> None:
    """Without a kernel mount: another program's df of all mounts would be a reader."""
    source = FakeSource()
    async with handlers(source, refresh=0.1) as mount:
        await trio.sleep(100)
        assert set(source.asked) == {"health", "quorum_status"}  # for `events`
        for _ in range(2):
            await mount.operations.statfs(CALLER)
            await trio.sleep(0.1)
        assert source.asked["statfs"] == 2
        page = await mount.outcome("dashboard.html")
        assert source.asked["statfs"] == 3
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
