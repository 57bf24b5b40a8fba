"""One caller in a process of its own: calls in a loop and writes what came of it, a line each.

    prober.py statvfs PATH | age FILE | stat FILE | rados CONF KEYRING MON_HOST     PAUSE_S COUNT

Lines: start, end (monotonic clock, the same for all processes), errno, value.  Ends after COUNT calls (0: never) or
when stdin closes.  It runs in any Python from 3.9 on, that of a release's root too, and imports nothing of ours.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable


def statvfs(path: str) -> Callable[[], str]:
    def call() -> str:
        st = os.statvfs(path)
        return f"{st.f_blocks}:{st.f_bfree}:{st.f_files}"

    return call


def age(path: str) -> Callable[[], str]:
    """The numbers' age as the mount claims it, beside the count that it belongs to."""

    def call() -> str:
        with open(path + "/capacity/age_seconds") as file:
            return file.read().strip()

    return call


def held(path: str) -> Callable[[], str]:
    """The numbers' age as the mount claims it, then how many objects there are: of the same answer or a newer one."""

    def call() -> str:
        with open(path + "/capacity/age_seconds") as age, open(path + "/capacity/objects") as objects:
            return f"{age.read().strip()}:{objects.read().strip()}"

    return call


def read(path: str) -> Callable[[], str]:
    def call() -> str:
        with open(path) as file:
            return file.read().strip()

    return call


def stat(path: str) -> Callable[[], str]:
    def call() -> str:
        os.stat(path)
        return "-"

    return call


def rados(conf: str, keyring: str, mon_host: str) -> Callable[[], str]:
    import rados as librados

    settings = {"keyring": keyring, "mon_host": mon_host}
    cluster = librados.Rados(conffile=conf, name="client.admin", conf=settings)
    cluster.connect(timeout=20)

    def call() -> str:
        st = cluster.get_cluster_stats()
        return f"{st['kb'] >> 12}:{st['kb_avail'] >> 12}:{st['num_objects']}"

    return call


def main() -> None:
    kind, *arguments, pause, count = sys.argv[1:]
    kinds: dict[str, Callable[..., Callable[[], str]]] = {
        "statvfs": statvfs,
        "age": age,
        "held": held,
        "read": read,
        "stat": stat,
        "rados": rados,
    }
    call = kinds[kind](*arguments)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print("ready", flush=True)
    n, pause_s, wanted = 0, float(pause), int(count)
    while not wanted or n < wanted:
        n += 1
        begin = time.monotonic()
        try:
            error, value = 0, call()
        except OSError as exc:
            error, value = exc.errno or -1, "-"
        except Exception as exc:
            error, value = -1, type(exc).__name__
        print(f"{begin:.6f} {time.monotonic():.6f} {error} {value}", flush=True)
        if pause_s:
            time.sleep(pause_s)
    os._exit(0)


if __name__ == "__main__":
    main()
