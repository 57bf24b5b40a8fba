"""The daemon under load as py-spy sees it: samples by function, without slowing it down as cProfile would.

Two loads: one caller, and 64.  `own` is the time in a function's own lines (with what it calls in C), `all` includes
what it calls.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from bench.machine import BUILD, ROOT, say
from bench.peers import Ours, cluster

TOP: Final = 25
_RATE: Final = 500


def py_spy() -> Path:
    """Where `tools/setup.sh bench` puts it."""
    program = BUILD / "venv" / "bin" / "py-spy"
    if not program.exists():
        subprocess.run(
            ["tools/setup.sh", "bench"], check=True, cwd=ROOT, env={"VENV": "build/bench/venv", "PATH": PATH}
        )
    return program


PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def _short(frame: str) -> str:
    """`name (path/to/module.py:12)` as `module.py name`."""
    match = re.fullmatch(r"(.*) \((.*?)(?::\d+)?\)", frame)
    if not match:
        return frame
    parts = match[2].split("/")
    for start in ("cephmonfs", "trio", "pyfuse3", "cryptography", "outcome"):
        if start in parts[:-1]:
            return f"{'/'.join(parts[len(parts) - 1 - parts[::-1].index(start) :])} {match[1]}"
    return f"{parts[-1]} {match[1]}"


def tally(raw: str) -> list[tuple[str, float, float]]:
    """From collapsed stacks (`a;b;c COUNT` a line): function, own and whole share of the samples, largest own first."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        number = int(count)
        total += number
        own[frames[-1]] += number
        for frame in set(frames):
            whole[frame] += number
    return [(name, n / total, whole[name] / total) for name, n in own.most_common()] if total else []


def text(lines: list[tuple[str, float, float]], top: int = TOP) -> str:
    rows = [f"{own * 100:5.1f} %  {whole * 100:5.1f} %  {name}" for name, own, whole in lines[:top]]
    return "\n".join(["  own      all    function", *rows]) + "\n"


def by_module(lines: list[tuple[str, float, float]]) -> str:
    """The own shares, added up by module."""
    shares: dict[str, float] = {}
    for name, own, _ in lines:
        module = name.partition(" ")[0]
        shares[module] = shares.get(module, 0.0) + own
    return "".join(
        f"{share * 100:5.1f} %  {name}\n" for name, share in sorted(shares.items(), key=lambda item: -item[1])[:12]
    )


def measure(*, seconds: float = 15.0) -> dict[str, Any]:
    """Profile both loads and keep the top of each."""
    program = py_spy()
    out: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, cluster(osds=0, mds=0, mgr=True) as one:
        mount = Ours(one)
        try:
            for callers in (1, 64):
                say(f"profile with {callers} callers")
                raw = Path(scratch) / f"{callers}.raw"
                argv = [str(program), "record", "--pid", str(mount.process.pid), "--duration", str(int(seconds))]
                argv += ["--rate", str(_RATE), "--format", "raw", "--output", str(raw)]
                with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as spy:
                    result = mount.load(callers, seconds + 1)
                    _, complaint = spy.communicate(timeout=60)
                if not raw.exists():
                    raise RuntimeError(f"py-spy: {complaint[-1000:]}")
                lines = tally(raw.read_text())
                table = f"{text(lines)}\nby module, own:\n{by_module(lines)}"
                print(f"{callers} callers, {result['per_s']:.0f} statfs/s, p50 {result['p50_us']:.0f} us\n{table}")
                out[str(callers)] = {"per_s": result["per_s"], "p50_us": result["p50_us"], "top": table}
        finally:
            mount.close()
    return {"profiles": out}
