"""The key and what comes of it are in the memory of the daemon and nowhere else."""

from __future__ import annotations

import ast
import base64
import io
import logging
import os
import pickle
import re
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cephmonfs
from cephmonfs.demo.monitors import DemoSettings
from cephmonfs.errors import ConfigError, DecodeError
from cephmonfs.model.cryptokey import CryptoKey, KeyType
from cephmonfs.monitor.server_v2 import Piece
from cephmonfs.wire.crypto import Secret
from tests.doubles import monitor as fm
from tests.doubles.attack import attacked
from tests.support.cluster import Cluster
from tests.support.helper import CEPHMONFS, Mounted, helper, processes, run
from tests.support.release import new_key

PACKAGE = Path(cephmonfs.__file__).parent


def forms(secret: bytes) -> list[bytes]:
    """How a secret would be written: raw, base64, base32, hex of either case, Python's repr, with and without end."""
    shapes = [secret, base64.b64encode(secret).rstrip(b"="), secret.hex().encode(), secret.hex().upper().encode()]
    shapes += [base64.b32encode(secret).rstrip(b"="), repr(secret).encode()[2:-1], secret[::-1]]
    shapes += [shape[: len(shape) // 2] for shape in shapes[1:4]]  # half a key is enough to worry
    return [shape for shape in shapes if len(shape) >= 8]


def of_key(text: str) -> list[bytes]:
    """The key as users have it, and the secret inside."""
    key = CryptoKey.from_base64(text)
    return [text.encode(), text.encode()[20:], *forms(key.secret.reveal())]


def assert_absent(data: bytes, shapes: list[bytes], where: object) -> None:
    for shape in shapes:
        assert shape not in data, f"a secret shows in {where}"


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != "events_pipe":
            yield path


@pytest.mark.fuse
@pytest.mark.cluster
@pytest.mark.parametrize("how", ["secretfile", "keyring", "secret"])
@pytest.mark.parametrize("kind", ["pacific", "tentacle"])
def test_a_mount_at_debug_level_shows_no_key(
    request: pytest.FixtureRequest, kind: str, how: str, tmp_path: Path
) -> None:
    cluster: Cluster = request.getfixturevalue(kind)
    text = cluster.keys["client.df"]
    shapes = of_key(text)
    if how == "secretfile":
        option = f"secretfile={cluster.write_secret('client.df')}"
    elif how == "keyring":
        keyring = tmp_path / "k.keyring"
        keyring.write_text(f"[client.df]\n\tkey = {text}\n")
        keyring.chmod(0o600)
        option = f"keyring={keyring}"
    else:
        option = f"secret={text}"
    with Mounted(cluster.source(), tmp_path / "m", "name=df", option, "log_level=debug") as mount:
        mount.df()
        for path in _files(mount.path):
            try:
                assert_absent(path.read_bytes(), shapes, path)
            except OSError:
                continue  # no data
        for pid in processes(mount.path):
            proc = Path(f"/proc/{pid}")
            for name in ("cmdline", "environ", "mountinfo", "comm", "maps", "limits", "status"):
                assert_absent((proc / name).read_bytes(), shapes, proc / name)
        for name in ("/proc/mounts", "/proc/self/mountinfo", "/proc/keys"):
            if os.path.exists(name):
                assert_absent(Path(name).read_bytes(), shapes, name)
        assert_absent(mount.stderr.encode(), shapes, "stderr")
        for path in Path("/var/lib/cephmonfs").rglob("*"):
            if path.is_file():
                assert_absent(path.read_bytes(), shapes, path)
        assert_absent(_bundle(mount, tmp_path), shapes, "the support bundle")


def _bundle(mount: Mounted, tmp_path: Path) -> bytes:
    """All that the support bundle holds, and what was said while it was made."""
    path = tmp_path / "bundle.tar.gz"
    done = run([*CEPHMONFS, "collect", mount.path, "-o", path])
    assert done.returncode == 0, done.stderr
    names = run(["tar", "-tf", path]).stdout
    assert re.search(r"/log$", names, re.MULTILINE)
    assert re.search(r"/session/tickets$", names, re.MULTILINE)
    assert re.search(r"/ceph/status\.json$", names, re.MULTILINE)
    content = subprocess.run(["tar", "-xOf", path], capture_output=True, check=True).stdout
    return content + (done.stdout + done.stderr + names).encode()


# The helper, but every secret of 16 bytes or more that it ever holds goes into a file.  The daemon closes what it
# inherits, and opens the file while it is still root.
REMEMBERING = """
import os, sys
from cephmonfs.wire.crypto import Secret
path, original, opened = sys.argv.pop(1), Secret.__init__, {}
def remember(self, data):
    original(self, data)
    if len(data) >= 16:
        if os.getpid() not in opened:
            opened[os.getpid()] = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(opened[os.getpid()], bytes(data).hex().encode() + b"\\n")
Secret.__init__ = remember
from cephmonfs.cli.mount import main
sys.exit(main())
"""


@pytest.mark.fuse
@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["pacific", "tentacle"])
def test_the_support_bundle_holds_nothing_of_a_session(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    """Neither the key nor session keys, connection secrets and tickets of a real session."""
    cluster: Cluster = request.getfixturevalue(kind)
    record = tmp_path / "record"
    record.touch(0o600)
    directory = tmp_path / "m"
    options = f"name=df,secretfile={cluster.write_secret('client.df')},log_level=debug,mount_timeout=20"
    argv = [CEPHMONFS[0], "-c", REMEMBERING, str(record), cluster.source(), str(directory), "-o", options]
    with Mounted(cluster.source(), directory, argv=argv) as mount:
        mount.df()
        content = _bundle(mount, tmp_path)
        secrets = {bytes.fromhex(line) for line in record.read_text().split()}
    key = CryptoKey.from_base64(cluster.keys["client.df"]).secret.reveal()
    assert key in secrets
    assert len(secrets) >= 5  # that, two session keys, two tickets, and what the connection is encrypted with
    for secret in secrets:
        assert_absent(content, forms(secret[:32]), "the support bundle")


@pytest.mark.fuse
@pytest.mark.cluster
def test_errors_show_no_key(pacific: Cluster, tmp_path: Path) -> None:
    """A wrong key, a damaged one, one given twice, an unknown option beside it: told without it."""
    wrong = new_key()
    (tmp_path / "m").mkdir()
    damaged = wrong[:-6] + "!" + wrong[-5:]
    for options in (
        ("name=df", f"secret={wrong}", "mount_timeout=3"),
        ("name=df", f"secret={damaged}"),
        ("name=df", f"secret={wrong}", f"secretfile={tmp_path}/none"),
        ("name=df", f"secret={wrong}", "no_such_option=1"),
        ("name=df", f"sekret={wrong}"),
        ("name=df", f"secret={wrong}", "fsid=11111111-2222-3333-4444-555555555555", "mount_timeout=3"),
    ):
        done = helper(pacific.source(), tmp_path / "m", *options)
        assert done.returncode != 0
        text = (done.stdout + done.stderr).encode()
        assert text
        assert_absent(text, [wrong.encode()[12:], damaged.encode()[12:-8]], options[1:])


@pytest.mark.parametrize("kind", list(KeyType), ids=lambda kind: kind.name.lower())
async def test_logs_and_views_of_a_session_at_debug_level(kind: KeyType) -> None:
    """Neither the key nor session keys, connection secrets or tickets, through success, lies and renewals."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    secrets: list[bytes] = []
    original = Secret.__init__

    def remember(self: Secret, data: bytes) -> None:
        original(self, data)
        if len(data) >= 16:
            secrets.append(bytes(data))

    texts = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Secret, "__init__", remember)
            for faults in ((), (fm.Impostor(),), (fm.bad_signature(),), (fm.Flip(Piece.MESSAGE),), (fm.wrong_tid(),)):
                settings = DemoSettings(mons=2, key_type=kind, auth_validity_s=1.2)
                async with attacked(*faults, settings=settings, measure=False) as attack:
                    await attack.statfs()
                    await attack.survives(None, left=False)
                    texts.append(repr(attack.snapshot))
                    texts.append(repr(attack.client.__dict__))
                    texts.append(repr(attack.client._session.__dict__))
                    texts += [repr(link.__dict__) for link in attack.client._session._connections.by_id.values()]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    everything = "\n".join([stream.getvalue(), *texts]).encode()
    assert len(set(secrets)) > 5
    for secret in set(secrets):
        if len(set(secret)) > 2:
            assert_absent(everything, forms(secret[:32]), "logs and views")


def test_a_secret_shows_in_no_way() -> None:
    data = bytes(range(1, 33))
    secret = Secret(data)
    key = CryptoKey(KeyType.AES256K, CryptoKey.from_base64(_KEY).created, secret)
    texts = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:s}", repr([secret]), repr(key)]
    texts.append(str(key))
    try:
        raise RuntimeError(secret, key)
    except RuntimeError:
        texts.append(traceback.format_exc())
    assert_absent("\n".join(texts).encode(), forms(data), "a text")
    for thing in (secret, key):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
    assert secret != Secret(bytes(32))
    assert hash(secret) == hash(Secret(bytes(32)))  # not even that tells them apart


_KEY = "AQD1zzpl+Q6kLRAAtdkBMTS2L0qnyfSfWk7QqA=="


@pytest.mark.parametrize(
    "text", [_KEY[:-4], _KEY + "AAAA", _KEY.replace("AQ", "BQ", 1), _KEY.replace("z", "?"), "x" * 40]
)
def test_a_damaged_key_is_not_repeated(text: str) -> None:
    from cephmonfs.auth.keyring import Keyring, parse_key

    acts: tuple[Callable[[], object], ...] = (
        lambda: CryptoKey.from_base64(text),
        lambda: parse_key(text, "the key"),
        lambda: Keyring.parse(f"[client.df]\n\tkey = {text}\n", "f").key_of("client.df"),
    )
    for act in acts:
        with pytest.raises((ConfigError, DecodeError)) as caught:
            act()
        shown = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.args)
        assert text[4:-4] not in shown
        assert text[:16] not in shown


def test_proofs_are_compared_in_constant_time() -> None:
    """Nowhere is a signature, tag, proof or secret compared with == or !=."""
    suspicious = ("signature", "proof", "mac", "secret", "digest", "session_key")
    for folder in ("auth", "msgr", "wire", "mon"):
        for path in (PACKAGE / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                    names = " ".join(
                        n.attr if isinstance(n, ast.Attribute) else n.id
                        for n in ast.walk(node)
                        if isinstance(n, ast.Attribute | ast.Name)
                    )
                    names = " ".join(name for name in names.split() if not name.isupper())
                    if {"len", "tid"} & set(names.split()):
                        continue  # of a length; of the number of a request, such as the proof of a quorum
                    if any(word in names.lower() for word in suspicious):
                        raise AssertionError(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    source = (PACKAGE / "wire" / "crypto.py").read_text()
    assert source.count("hmac.compare_digest") >= 2


def test_what_does_not_decrypt_says_one_thing() -> None:
    """Padding, length, magic, HMAC: the same words, so that an attacker learns nothing from them."""
    from cephmonfs.auth.envelope import Usage, seal, unseal
    from cephmonfs.errors import IntegrityError
    from cephmonfs.wire import crypto

    for kind, size in ((KeyType.AES, 16), (KeyType.AES256K, 32)):
        key = CryptoKey(kind, CryptoKey.from_base64(_KEY).created, Secret(bytes(range(size))))
        good = seal(key, Usage.TICKET_BLOB, b"text", os.urandom)
        bad = [good[:-1], good + b"x", b"", bytes(len(good)), good[:-16], bytes([good[0] ^ 1]) + good[1:]]
        bad.append(good[:-1] + bytes([good[-1] ^ 1]))
        if kind is KeyType.AES:
            bad.append(crypto.cbc_encrypt(bytes(range(16)), b"cephsageyudagreg", b"no magic in here"))
        said = set()
        for data in bad:
            with pytest.raises(IntegrityError) as caught:
                unseal(key, Usage.TICKET_BLOB, data, "x")
            said.add(str(caught.value))
        assert len(said) == 1
