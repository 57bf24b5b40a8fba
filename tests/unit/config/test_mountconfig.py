"""Everything put together."""

from __future__ import annotations

import pytest

from cephmonfs.config.monaddr import MonTarget, MsMode
from cephmonfs.config.mountconfig import MountConfig, resolve
from cephmonfs.errors import ConfigError
from cephmonfs.model.cryptokey import KeyType
from tests.doubles.machine import FSID, KEY, KEY2, FakeMachine, keyring

CONF = "/etc/ceph/ceph.conf"
OTHER_FSID = "00000000-0000-0000-0000-000000000001"


def _resolve(source: str, *options: str, machine: FakeMachine | None = None) -> MountConfig:
    return resolve(source, "/mnt", options, machine or FakeMachine())


def _key_of(config: MountConfig) -> str:
    assert config.key is not None
    return config.key.to_base64()


def test_all_from_options_reads_nothing() -> None:
    machine = FakeMachine()
    config = _resolve("a,b:/", f"name=df,secret={KEY}", machine=machine)
    assert config.targets == (MonTarget("a", None, None), MonTarget("b", None, None))
    assert str(config.entity) == "client.df"
    assert _key_of(config) == KEY
    assert (config.ms_mode, config.fsid, config.fs, config.dns_srv, config.demo) == (
        MsMode.PREFER_SECURE,
        None,
        None,
        None,
        None,
    )
    assert (config.mount_timeout, config.statfs_timeout, config.stale_after) == (60, 1, 60)
    assert (config.run_as, config.allow_other, config.auto_unmount, config.bg) == ("cephmonfs", True, True, False)
    assert (config.uid, config.gid, config.mode) == (0, 0, 0o444)
    assert machine.reads == []
    assert config.warnings == ()


@pytest.mark.parametrize("name", ["df", "client.df"])
def test_name_with_or_without_client(name: str) -> None:
    assert str(_resolve("a:/", f"name={name},secret={KEY}").entity) == "client.df"
    assert str(_resolve(f"{name}@", f"secret={KEY},mon_addr=a").entity) == "client.df"


def test_the_shortest_line() -> None:
    machine = FakeMachine(
        {CONF: f"[global]\nfsid = {FSID}\nmon host = a, b\n", "/etc/ceph/ceph.client.df.keyring": keyring()}
    )
    config = _resolve("df@", machine=machine)
    assert config.fsid == FSID
    assert [str(target) for target in config.targets] == ["a", "b"]
    assert config.origins["mon_addr"] == config.origins["fsid"] == CONF
    assert config.origins["secret"] == "/etc/ceph/ceph.client.df.keyring"


def test_admin_is_the_fallback() -> None:
    machine = FakeMachine(
        {CONF: "mon host = a", "/etc/ceph/ceph.client.admin.keyring": keyring("client.admin")},
    )
    config = _resolve("ceph", machine=machine)
    assert str(config.entity) == "client.admin"
    assert config.origins["name"] == "/etc/ceph/ceph.client.admin.keyring"


def test_no_name_and_no_admin_names_both_ways_out() -> None:
    with pytest.raises(ConfigError) as caught:
        _resolve("a:/")
    assert "say name=USER" in str(caught.value)
    assert "put a keyring of client.admin into /etc/ceph" in str(caught.value)
    with pytest.raises(ConfigError, match="whose key is it"):
        _resolve("a:/", f"secret={KEY}")


@pytest.mark.parametrize(
    ("files", "options", "origin"),
    [
        ({}, f"secret={KEY}", "option secret"),
        ({"/s": KEY + "\n"}, "secretfile=/s", "option /s"),
        ({"/s": KEY}, "secretfile=/s,keyring=/k", "option /s"),
        ({"/k": keyring()}, "keyring=/k", "/k"),
        ({"/cred/cephmon.secret": KEY}, "", "credential"),
        ({"/cred/cephmon.keyring": keyring()}, "", "/cred/cephmon.keyring"),
        ({"/k": keyring(), "/cred/cephmon.secret": KEY2}, "keyring=/k", "/k"),
        ({CONF: f"[client.df]\nkey = {KEY}"}, "", CONF),
        ({CONF: "[client.df]\nkeyfile = /f/$id", "/f/df": KEY}, "", "/f/df"),
        (
            {CONF: "[client]\nkeyring = /missing,/f/$cluster.$name", "/f/ceph.client.df": keyring()},
            "",
            "/f/ceph.client.df",
        ),
        (
            {"/blue.conf": "", "/etc/ceph/blue.client.df.keyring": keyring()},
            "conf=/blue.conf",
            "/etc/ceph/blue.client.df.keyring",
        ),
        ({"/etc/ceph/ceph.keyring": keyring()}, "", "/etc/ceph/ceph.keyring"),
        ({"/etc/ceph/keyring": keyring()}, "", "/etc/ceph/keyring"),
        ({"/etc/ceph/keyring.bin": keyring()}, "", "/etc/ceph/keyring.bin"),
        ({"/etc/ceph/ceph.keyring": keyring("client.x"), "/etc/ceph/keyring": keyring()}, "", "/etc/ceph/keyring"),
    ],
)
def test_where_the_key_comes_from(files: dict[str, str | bytes], options: str, origin: str) -> None:
    env = {"CREDENTIALS_DIRECTORY": "/cred"}
    config = _resolve("a:/", "name=df", options, machine=FakeMachine(files, env=env))
    assert _key_of(config) == KEY
    assert config.origins["secret"] == origin


def test_a_new_key_type() -> None:
    config = _resolve("a:/", f"name=df,secret={KEY2}")
    assert config.key is not None
    assert config.key.type is KeyType.AES256K


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (f"secret={KEY},secretfile=/s", "secret and secretfile together: give one of them"),
        ("secret=AQ", "the secret given is damaged: it is not base64; copy it again from: ceph auth get-key"),
        ("secretfile=/missing", "cannot read secretfile /missing: No such file or directory"),
        ("secretfile=/denied", "cannot read secretfile /denied: Permission denied"),
        ("secretfile=/k", "/k is a keyring: use keyring=/k instead of secretfile"),
        ("secretfile=/empty", "the key in /empty is empty"),
        ("keyring=/missing", "cannot read the keyring /missing: No such file or directory"),
        ("keyring=/other", "/other has no key for client.df; it has client.x"),
        ("keyring=/s", "/s holds a bare key, and is no keyring: say secretfile=/s"),
        ("conf=/missing", "conf=/missing: there is no such file"),
        ("conf=/damaged", '/damaged line 1: wanted "key = value"'),
        ("ip=x", "ip=x: wanted an IPv4 or IPv6 address of this machine"),
        ("fsid=x", '"x" is no fsid: wanted 32 hex digits, as "ceph fsid" prints them'),
        ("run_as=no-such-user", 'run_as: this machine has no user "no-such-user"'),
        ("demo_mons=3", 'option "demo_mons" goes with the source "demo:" only'),
        ("name=osd.1", 'name=osd.1: only users of the kind "client." can mount'),
        ("name=a b", 'name=a b is no user of a cluster: wanted "df" or "client.df"'),
        (
            "mon_addr=1:2:3:4:5:6:7:8:3300",
            'mon_addr: an IPv6 address with a port stands in brackets: "[::1]:3300"',
        ),
        ("mon_addr=a:6789,ms_mode=crc", "a:6789 speaks the v1 protocol; use port 3300 or ms_mode=legacy"),
        (
            "",
            "no key for client.df: give secretfile= or keyring= (/etc/ceph/ceph.client.df.keyring: Permission denied; ",
        ),
    ],
)
def test_sentences(options: str, reason: str) -> None:
    machine = FakeMachine(
        {"/k": keyring(), "/s": KEY, "/empty": "\n", "/other": keyring("client.x"), "/damaged": "oops"},
        denied={"/denied", "/etc/ceph/ceph.client.df.keyring"},
    )
    with pytest.raises(ConfigError) as caught:
        _resolve("a:/", "name=df", options, machine=machine)
    assert str(caught.value).startswith(reason)
    assert KEY[:12] not in str(caught.value)


@pytest.mark.parametrize(
    ("addresses", "meant"),
    [
        ("a:6789", "a:3300"),
        ("a:6789/b:6789/c", "a:3300/b:3300/c"),
        ("[v2:a:3300/0,v1:a:6789/0]/b:6789", "a:3300/a:6789/b:3300"),
        ("a:6789/a:40001", "a:6789/a:40001"),
    ],
)
def test_a_line_of_the_kernels_old_days_means_the_hosts(addresses: str, meant: str) -> None:
    config = _resolve("ceph", "name=df,secretfile=/s", f"mon_addr={addresses}", machine=FakeMachine({"/s": KEY}))
    assert "/".join(map(str, config.targets)) == config.shown["mon_addr"] == meant
    assert bool(config.notices) == (addresses != meant)
    if config.notices:
        assert "port 3300" in config.notices[0]
        assert "ms_mode=legacy" in config.notices[0]


@pytest.mark.parametrize("address", ["v1:a:6789", "[v1:a:6789]", "v1:a", "[v1:a:6789/0]/[v1:b:6789/0]"])
def test_who_spells_v1_out_means_it(address: str) -> None:
    """Nobody asks it at v2's port instead.  Where all are spelled so, and only there, the mode is legacy."""
    machine = FakeMachine({"/s": KEY})
    target = MonTarget("a", None if address == "v1:a" else 6789, "v1")
    config = _resolve("ceph", "name=df,secretfile=/s", f"mon_addr={address}", machine=machine)
    assert config.ms_mode is MsMode.LEGACY
    assert config.targets[0] == target
    assert [notice.partition(",")[0] for notice in config.notices] == ['every monitor is spelled "v1:"']
    assert 'ms_mode legacy  # every monitor is spelled "v1:"' in config.lines().splitlines()
    told = _resolve("ceph", "name=df,secretfile=/s", f"mon_addr={address},ms_mode=legacy", machine=machine)
    assert (told.ms_mode, told.targets[0], told.notices) == (MsMode.LEGACY, target, ())
    with pytest.raises(ConfigError, match="a:6789 speaks the v1 protocol; use port 3300 or ms_mode=legacy"):
        _resolve("ceph", "name=df,secretfile=/s", f"mon_addr={address},ms_mode=secure", machine=machine)
    mixed = _resolve("ceph", "name=df,secretfile=/s", f"mon_addr={address}/c:6789", machine=machine)
    assert mixed.targets[-1] == MonTarget("c", 3300, "v2")
    assert mixed.ms_mode is MsMode.PREFER_SECURE


@pytest.mark.parametrize("source", ["ceph", ":/", ":/x", "df@"])
def test_v1_in_ceph_conf_is_as_good(source: str) -> None:
    conf = "[global]\nmon host = [v1:1.2.3.4:6789/0] v1:1.2.3.5:6789/0\n"
    config = _resolve(
        source, *([] if source == "df@" else ["name=df"]), f"secret={KEY}", machine=FakeMachine({CONF: conf})
    )
    assert config.ms_mode is MsMode.LEGACY
    assert len(config.notices) == 1
    assert _resolve("v1:a:6789,v1:b:/", f"name=df,secret={KEY}").ms_mode is MsMode.LEGACY


@pytest.mark.parametrize("address", ["a:6789", "v1:a:6789,b:6789", "v1:a:6789,b", "v1:a:6789,v2:a:3300", "a:7000"])
def test_v1s_port_alone_does_not_mean_legacy(address: str) -> None:
    assert _resolve(f"{address}:/", f"name=df,secret={KEY}").ms_mode is MsMode.PREFER_SECURE


def test_a_key_type_that_is_demanded() -> None:
    machine = FakeMachine({"/s": KEY, "/t": KEY2, CONF: "[global]\nauth_client_required = none\n"})
    assert _resolve("a:/", "name=df,secretfile=/s", machine=machine).key_type == "aes"
    config = _resolve("a:/", "name=df,secretfile=/t,key_type=aes256k", machine=machine)
    assert (config.key_type, config.shown["key_type"]) == ("aes256k", "aes256k")
    with pytest.raises(ConfigError) as caught:
        _resolve("a:/", "name=df,secretfile=/s,key_type=aes256k", machine=machine)
    assert str(caught.value) == (
        "the key of client.df (option /s) is of type aes, and key_type=aes256k refuses that: "
        "get one of type aes256k, or leave key_type= away"
    )
    with pytest.raises(ConfigError, match="key_type=aes256k asks for a key, and there is none"):
        _resolve("a:/", "name=df,key_type=aes256k", machine=machine)


def test_an_odd_v1_port_is_no_monitor_of_v2() -> None:
    with pytest.raises(ConfigError, match="a:7000 speaks the v1 protocol"):
        _resolve("ceph", "name=df,secretfile=/s", "mon_addr=v1:a:7000,ms_mode=crc", machine=FakeMachine({"/s": KEY}))


def test_what_came_out_at_the_start_is_shown() -> None:
    config = _resolve("ceph", "name=df,secretfile=/s", "mon_addr=a", machine=FakeMachine({"/s": KEY}))
    other = config.effective(targets=(MonTarget("127.0.0.1", 4000, "v2"),), fsid=FSID, key=None)
    assert "\nmon_addr v2:127.0.0.1:4000  #" in other.lines()
    assert f"\nfsid {FSID}  #" in other.lines()
    assert "\nsecret -  #" in other.lines()
    assert "\nname client.df  #" in other.lines()


def test_keyring_without_a_name_tells_who_is_in_it() -> None:
    machine = FakeMachine({"/k": keyring(), "/a": keyring("client.admin"), "/o": keyring("osd.0")})
    assert str(_resolve("a:/", "keyring=/a", machine=machine).entity) == "client.admin"
    with pytest.raises(ConfigError, match=r"has no client\.admin: say name=USER \(client\.df would do\)"):
        _resolve("a:/", "keyring=/k", machine=machine)
    with pytest.raises(ConfigError, match=r"has no client\.admin: say name=USER$"):
        _resolve("a:/", "keyring=/o", machine=machine)


def test_auth_none() -> None:
    machine = FakeMachine({CONF: "[global]\nmon host = a\nauth client required = none\n"})
    config = _resolve("df@", machine=machine)
    assert config.key is None
    assert config.shown["secret"] == "-"


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        ("df@", "name=other", 'the source says name "df", the option name=other: which one?'),
        ("df@.a=/", "fs=b", 'the source says fs "a", the option fs=b: which one?'),
        ("df@.a", "pool=b", 'the source says pool "a", the option pool=b: which one?'),
        (
            f"df@{FSID}",
            f"fsid={OTHER_FSID}",
            f'the source says fsid "{FSID}", the option fsid={OTHER_FSID}: which one?',
        ),
    ],
)
def test_contradictions(source: str, options: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _resolve(source, options, f"secret={KEY},mon_addr=a")
    assert str(caught.value) == reason


def test_source_and_options_that_agree() -> None:
    config = _resolve(f"df@{FSID}.cfs=/", f"name=client.df,fs=cfs,fsid={FSID.upper()},mon_addr=a,secret={KEY}")
    assert (str(config.entity), config.fs, config.fsid) == ("client.df", "cfs", FSID)
    assert config.origins["fs"] == "source"


def test_the_fsid_of_ceph_conf_counts_only_with_its_monitors() -> None:
    machine = FakeMachine({CONF: f"fsid = {FSID}\nmon host = a"})
    assert _resolve("df@", f"mon_addr=b,secret={KEY}", machine=machine).fsid is None
    assert _resolve("df@", f"secret={KEY}", machine=machine).fsid == FSID
    with pytest.raises(ConfigError, match=f"is of cluster {FSID}, you asked for {OTHER_FSID}"):
        _resolve(f"df@{OTHER_FSID}", f"secret={KEY}", machine=machine)


@pytest.mark.parametrize(
    ("conf", "targets", "srv"),
    [
        ("mon host = [v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]", "1.2.3.4:3300/1.2.3.4:6789", None),
        ("[mon.a]\nmon addr = 1.2.3.4:3300\n[mon.b]\nhost = hb", "1.2.3.4:3300/hb", None),
        ("", "", "ceph-mon"),
        ("mon dns srv name = blue_example.net", "", "blue_example.net"),
        (None, "", "ceph-mon"),
    ],
)
def test_monitors_of_ceph_conf_or_dns(conf: str | None, targets: str, srv: str | None) -> None:
    machine = FakeMachine({} if conf is None else {CONF: conf})
    config = _resolve("df@", f"secret={KEY}", machine=machine)
    assert "/".join(map(str, config.targets)) == targets
    assert config.dns_srv == srv


def test_fuse_ceph_lines() -> None:
    machine = FakeMachine({"/c": "mon host = a", "/etc/ceph/keyring": keyring()})
    assert str(_resolve("id=df,conf=/c", machine=machine).entity) == "client.df"
    assert str(_resolve("none", "ceph.id=df,ceph.conf=/c,_netdev,defaults", machine=machine).entity) == "client.df"


def test_demo_needs_nothing() -> None:
    machine = FakeMachine()
    config = _resolve("demo:", "demo_seed=7", machine=machine)
    assert config.demo is not None
    assert (config.demo.mons, config.demo.seed, config.key, config.targets) == (3, 7, None, ())
    assert machine.reads == []


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_a_key_that_others_can_read_is_warned_about(mode: int) -> None:
    machine = FakeMachine({"/s": KEY}, modes={"/s": mode})
    assert _resolve("a:/", "name=df,secretfile=/s", machine=machine).warnings == (
        "others can read the key in /s: chmod 600 /s",
    )


def test_users_other_than_root() -> None:
    plain = FakeMachine(euid=1000)
    config = _resolve("a:/", f"name=df,secret={KEY}", machine=plain)
    assert (config.allow_other, config.run_as) == (False, None)
    assert "user_allow_other" in config.warnings[0]
    assert _resolve("a:/", f"name=df,secret={KEY},noallow_other", machine=plain).warnings == ()
    with pytest.raises(ConfigError, match="allow_other: only root may") as caught:
        _resolve("a:/", f"name=df,secret={KEY},allow_other", machine=plain)
    assert caught.value.status == 2
    with pytest.raises(ConfigError, match="run_as: only a mount made by root"):
        _resolve("a:/", f"name=df,secret={KEY},run_as=nobody", machine=plain)
    allowed = FakeMachine({"/etc/fuse.conf": "# x\nuser_allow_other\n"}, euid=1000)
    assert _resolve("a:/", f"name=df,secret={KEY}", machine=allowed).allow_other
    commented = FakeMachine({"/etc/fuse.conf": "#user_allow_other\n"}, euid=1000)
    assert not _resolve("a:/", f"name=df,secret={KEY}", machine=commented).allow_other


def test_run_as_root_stays_root() -> None:
    assert _resolve("a:/", f"name=df,secret={KEY},run_as=root").run_as is None


def test_the_file_config_names_every_origin_and_no_secret() -> None:
    machine = FakeMachine({CONF: f"fsid = {FSID}\nmon host = a"})
    config = _resolve("df@", f"secret={KEY},stale_after=inf,mode=0440,noatime,x-y", "bg,ip=[::1]", machine=machine)
    lines = config.lines().splitlines()
    assert lines[0] == "source df@  # command line"
    for line in (
        "name client.df  # source",
        "secret <hidden>  # option secret",
        f"fsid {FSID}  # {CONF}",
        f"mon_addr a  # {CONF}",
        "stale_after inf  # option",
        "mode 0440  # option",
        "bg on  # option",
        "ip ::1  # option",
        "refresh 10  # default",
    ):
        assert line in lines
    assert KEY[:12] not in config.lines()
    assert KEY[:12] not in repr(config)
    assert "0123456789" not in repr(config)
    assert config.ignored == ("noatime", "x-y")


def test_sloppy() -> None:
    with pytest.raises(ConfigError):
        _resolve("demo:", "qqq")
    assert resolve("demo:", "/mnt", ["qqq"], FakeMachine(), sloppy=True).ignored == ("qqq",)
