"""AppArmor and fusermount3, on machines made of a few files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cephmonfs.host.apparmor import Confined, confined

# With the rules as distributions write them, an own one among them.
PROFILE = """
abi <abi/4.0>,
profile fusermount3 /usr/bin/fusermount{,3} {
  # mount -> /comment/,
  capability sys_admin,
  mount fstype=@{fuse_types} options=(nosuid,nodev) options in (ro,rw,noexec) -> @{HOME}/**/,
  mount fstype=@{fuse_types} -> /mnt/{,**/},  # administrators
  allow mount fstype=@{fuse_types} -> /mnt/{,**/},
  umount @{HOME}/**/,
}
"""
TARGETS = ("@{HOME}/**/", "/mnt/{,**/}")


def machine(root: Path, *, enabled: str = "Y\n", profiles: str | None = None, rules: str | None = PROFILE) -> str:
    for name, text in (
        ("sys/module/apparmor/parameters/enabled", enabled),
        ("sys/kernel/security/apparmor/profiles", profiles),
        ("etc/apparmor.d/fusermount3", rules),
    ):
        if text is not None:
            (root / name).parent.mkdir(parents=True)
            (root / name).write_text(text)
    return str(root)


@pytest.mark.parametrize("name", ["fusermount3", "/usr/bin/fusermount3", "fusermount"])
def test_enforced(tmp_path: Path, name: str) -> None:
    root = machine(tmp_path, profiles=f"man (enforce)\n{name} (enforce)\n")
    assert confined(root) == Confined(certain=True, targets=TARGETS)


def test_enforced_without_a_file_of_the_usual_name(tmp_path: Path) -> None:
    root = machine(tmp_path, profiles="fusermount3 (enforce)\n", rules=None)
    assert confined(root) == Confined(certain=True, targets=())


def test_only_root_can_tell(tmp_path: Path) -> None:
    assert confined(machine(tmp_path)) == Confined(certain=False, targets=TARGETS)


@pytest.mark.parametrize(
    ("enabled", "profiles", "rules"),
    [
        ("N\n", None, PROFILE),  # AppArmor is off: the file means nothing
        ("Y\n", "fusermount3 (complain)\n", PROFILE),
        ("Y\n", "man (enforce)\n", PROFILE),  # not loaded
        ("Y\n", None, None),
    ],
)
def test_free(tmp_path: Path, enabled: str, profiles: str | None, rules: str | None) -> None:
    assert confined(machine(tmp_path, enabled=enabled, profiles=profiles, rules=rules)) is None


def test_no_apparmor_at_all(tmp_path: Path) -> None:
    assert confined(str(tmp_path)) is None
