"""Whom the daemon becomes, on machines and in containers of all kinds."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cephmonfs.errors import ConfigError
from cephmonfs.host import accounts
from cephmonfs.host.accounts import ACCOUNT, CANDIDATES, User, is_known, look_up, own_uid

ALL = "0 0 4294967295"
FIRST = CANDIDATES[0]
PODMAN = "0 1000 1\n1 100000 65536"  # rootless, with a range of /etc/subuid
STATUS = "Name:\tx\nUid:\t{0}\t{0}\t{0}\t{0}\nGid:\t{1}\t{1}\t{1}\t{1}\nGroups:\t{2}\n"

Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make a root with these id maps, files, processes, and names by NSS."""

    def make(
        uid_map: str = ALL,
        gid_map: str | None = None,
        files: Mapping[str, str] | None = None,
        processes: Mapping[int, tuple[str, str]] | None = None,
        users: tuple[int, ...] = (),
        groups: tuple[int, ...] = (),
    ) -> Path:
        contents = {"proc/self/uid_map": uid_map, "proc/self/gid_map": uid_map if gid_map is None else gid_map}
        for pid, (cmdline, status) in (processes or {}).items():
            contents |= {f"proc/{pid}/cmdline": cmdline, f"proc/{pid}/status": status}
        for name, text in (contents | dict(files or {})).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

        def known(numbers: tuple[int, ...]) -> Callable[[int], object]:
            def find(number: int) -> object:
                if number in numbers:
                    return object()
                raise KeyError(number)

            return find

        monkeypatch.setattr(pwd, "getpwuid", known(users))
        monkeypatch.setattr(grp, "getgrgid", known(groups))
        return tmp_path

    return make


def running(uid: int, gid: int | None = None, groups: str = "", cmdline: str = "sleep") -> dict[int, tuple[str, str]]:
    return {77: (cmdline, STATUS.format(uid, uid if gid is None else gid, groups))}


@pytest.mark.parametrize(
    ("made", "uid"),
    [
        ({}, FIRST),
        ({"users": (FIRST,)}, FIRST + 1),
        ({"groups": (FIRST,)}, FIRST + 1),
        ({"users": (FIRST, FIRST + 1), "groups": (FIRST + 2,)}, FIRST + 3),
        ({"processes": running(FIRST)}, FIRST + 1),
        ({"processes": running(0, FIRST)}, FIRST + 1),
        ({"processes": running(1000, 1000, f"4 {FIRST} 27")}, FIRST + 1),
        ({"processes": running(FIRST, cmdline="python3\0-I\0-m\0cephmonfs.cli.mount\0demo:\0/mnt")}, FIRST),
        ({"processes": running(FIRST, cmdline="")}, FIRST),
        ({"files": {"etc/subuid": f"joe:{FIRST}:5\n"}}, FIRST + 5),
        ({"files": {"etc/subgid": "# ranges\n\njoe:60000:65536\nbad line\n"}}, 59999),
        ({"uid_map": PODMAN}, FIRST),
        ({"uid_map": "0 1000 1001"}, 1000),
        ({"uid_map": "0 1000 1001", "users": (1000, 999)}, 998),
        ({"uid_map": "0 1000 1001", "gid_map": "0 1000 901"}, 900),
        ({"uid_map": "0 1000 50", "gid_map": "0 1000 41"}, 40),
        ({"uid_map": "0 1000 2"}, 1),
        ({"uid_map": "0 1000 1"}, 0),
        ({"uid_map": "0 0 1\n1000 1000 1"}, 1000),
        ({"uid_map": ""}, 0),
        ({"uid_map": ALL, "users": tuple(CANDIDATES)}, 61183),
        ({"uid_map": ALL, "users": tuple(range(50000, 65536))}, 0),
    ],
    ids=str,
)
def test_a_uid_that_nobody_else_has(machine: Machine, made: dict[str, object], uid: int) -> None:
    found = own_uid(machine(**made))
    if uid == 0:
        assert found == User("root without capabilities", 0, 0)
    else:
        assert found == User("", uid, uid)


def test_it_is_never_nobody_nor_a_reserved_one() -> None:
    assert not {65534, 65535, 0} & set(CANDIDATES)
    assert not set(CANDIDATES) & set(range(61184, 65520))  # systemd's dynamic users


def test_it_is_the_same_for_each_mount_and_the_next_time(machine: Machine) -> None:
    root = machine()
    first = own_uid(root)
    mine = "python3\0-I\0-m\0cephmonfs.cli.mount\0demo:\0/a"
    assert own_uid(machine(processes=running(first.uid, cmdline=mine))) == first
    assert own_uid(root) == first


def entry(uid: int, gid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((ACCOUNT, "x", uid, gid, "", "/", "/usr/sbin/nologin"))


@pytest.mark.parametrize(
    ("uid", "taken"),
    [(998, True), (1001, True), (0, False), (65534, False)],
    ids=["a system user", "a user", "root by another name", "nobody by another name"],
)
def test_the_account(monkeypatch: pytest.MonkeyPatch, uid: int, taken: bool) -> None:
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry(uid, 997))
    monkeypatch.setattr(accounts, "own_uid", lambda: User("", FIRST, FIRST))
    assert look_up(ACCOUNT) == (User(ACCOUNT, uid, 997) if taken else User("", FIRST, FIRST))


def test_an_account_that_this_namespace_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry(1 << 32, 997))
    monkeypatch.setattr(accounts, "own_uid", lambda: User("", FIRST, FIRST))
    assert look_up(ACCOUNT).uid == FIRST


def test_by_name_and_by_number() -> None:
    assert look_up("root") == User("root", 0, 0)
    nobody = pwd.getpwnam("nobody")
    assert look_up(str(nobody.pw_uid)) == User("nobody", nobody.pw_uid, nobody.pw_gid)
    assert look_up("4000000") == User("", 4000000, 4000000)
    assert look_up("4000000:12") == User("", 4000000, 12)
    assert str(look_up("4000000")) == "uid 4000000, which has no account"
    assert str(look_up("root")) == "root (uid 0)"
    with pytest.raises(ConfigError, match='run_as: this machine has no user "no-such-user"'):
        look_up("no-such-user")
    assert [is_known(name) for name in (ACCOUNT, "root", "12:13", "no-such-user", "12:", "")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="reads the processes of others")
def test_on_this_machine() -> None:
    found = own_uid()
    with pytest.raises(KeyError):
        pwd.getpwuid(found.uid)
