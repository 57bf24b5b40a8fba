"""What is installed is what was reviewed: versions and hashes of everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["runtime", "build", "dev", "fuzz", "audit"])
def test_every_requirement_has_a_version_and_a_hash(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[a-z0-9][a-z0-9.-]*==\S+\s+--hash=sha256:[0-9a-f]{64}", line), line
    assert "://" not in text


def test_pip_insists_on_hashes() -> None:
    for script in ("setup.sh", "audit.sh", "fuzz.sh"):
        text = (ROOT / "tools" / script).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if "pip install" in line and "-r " in line:
                assert "--require-hashes" in line, line
    setup = (ROOT / "tools" / "setup.sh").read_text()
    assert "--require-hashes" in setup[setup.index("pip_install()") : setup.index("pip_project()")]
    assert "pip_install -r requirements/runtime.txt" in setup[setup.index("install_venv()") :]
