"""What a cluster answers to many commands, byte for byte: through librados, or as its own `ceph` program writes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from tests.support.cluster import Cluster

Question = tuple[str, str]  # words, format
Answer = tuple[int, bytes]

_CONNECT = """
import base64, json, os, sys
import rados
conf, name, keyring, file = sys.argv[1:]
cluster = rados.Rados(conffile=conf, name=name, conf={"keyring": keyring})
cluster.connect(timeout=15)
def tell(answers):
    json.dump([[status, base64.b64encode(data).decode()] for status, data in answers], sys.stdout)
    sys.stdout.flush()
    os._exit(0)
"""
_RADOS = (
    _CONNECT
    + """
answers = []
for words, form in json.load(sys.stdin):
    status, data, _ = cluster.mon_command(json.dumps({"prefix": words, "format": form}), b"")
    answers.append((status, data))
tell(answers)
"""
)
# One process, one connection, but else what the program does: it takes 0.5 s to start and would do so 500 times.
_CEPH = (
    _CONNECT
    + """
import functools, io, runpy
main = runpy.run_path("/usr/bin/ceph", run_name="ceph")["main"]
program = main.__globals__
program["parse_json_funcsigs"] = functools.lru_cache(program["parse_json_funcsigs"])
class Connected:
    DEFAULT_CONF_FILES = getattr(rados.Rados, "DEFAULT_CONF_FILES", None)
    def __init__(self, *_, **__):
        pass
    def __getattr__(self, attribute):
        return getattr(cluster, attribute)
    def connect(self, *_, **__):
        pass
    def conf_parse_argv(self, words):
        return words
    def shutdown(self):
        pass
rados.Rados = Connected
answers = []
for words, form in json.load(sys.stdin):
    sys.argv = ["ceph", "-c", conf, "-n", name, "-o", file, "-f", form, *words.split()]
    if os.path.exists(file):
        os.unlink(file)
    sys.stderr = io.StringIO()
    try:
        status = main() or 0
    except SystemExit as exc:
        status = exc.code or 0
    sys.stderr = sys.__stderr__
    answers.append((status, open(file, "rb").read() if os.path.exists(file) else b""))
tell(answers)
"""
)


def librados(cluster: Cluster, entity: str, questions: Sequence[Question]) -> list[Answer]:
    """Result and data of each reply; quick."""
    return _run(_RADOS, cluster, entity, questions)


def ceph(cluster: Cluster, entity: str, questions: Sequence[Question]) -> list[Answer]:
    """Exit status and what `ceph -o FILE` wrote; 50 ms each."""
    return _run(_CEPH, cluster, entity, questions)


def _run(script: str, cluster: Cluster, entity: str, questions: Sequence[Question]) -> list[Answer]:
    python = "/usr/bin/python3" if cluster.runner.root is None else "python3"
    file = cluster.directory / f"{entity}.out"
    argv = [python, "-c", script, str(cluster.conf_path), entity, str(cluster.write_keyring(entity)), str(file)]
    out = cluster.runner.run(argv, stdin=json.dumps(questions), timeout_s=120).stdout
    return [(int(status), base64.b64decode(data)) for status, data in json.loads(out)]
