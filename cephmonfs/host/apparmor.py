"""Whether AppArmor confines fusermount3 on this machine, and where it lets it mount.

A profile on the disk says nothing by itself: AppArmor may be off, the profile not loaded or only complaining.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_SECURITY = "sys/kernel/security/apparmor"
_PROFILE = "etc/apparmor.d/fusermount3"


@dataclass(frozen=True, slots=True)
class Confined:
    """fusermount3 has a profile that is enforced, or one whose mode only root may see."""

    certain: bool
    targets: tuple[str, ...]  # mount points as the rules have them; empty when they name none


def confined(root: str = "/") -> Confined | None:
    """Look; None when nothing holds fusermount3 back."""
    enabled = _read(os.path.join(root, "sys/module/apparmor/parameters/enabled"))
    if enabled is None or enabled.strip() != "Y":
        return None
    rules = _read(os.path.join(root, _PROFILE)) or ""
    targets = tuple(dict.fromkeys(re.findall(r"(?m)^\s*(?:allow\s+)?mount\b[^#\n]*->\s*(\S+?),\s*(?:#|$)", rules)))
    profiles = _read(os.path.join(root, _SECURITY, "profiles"))
    if profiles is None:  # only root may read it
        return Confined(certain=False, targets=targets) if rules else None
    enforced = re.search(r"(?m)^(?:/usr/bin/|/bin/)?fusermount3? \(enforce\)$", profiles)
    return Confined(certain=True, targets=targets) if enforced else None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
