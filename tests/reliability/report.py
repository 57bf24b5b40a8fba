"""docs/reliability.md out of a run's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = """\
# Reliability

What happens to `df` when monitors do not do as they should: measured, side by side with ceph-fuse and librados, which
hang on the same cluster at the same time. This page is made by a command; nothing in it is written by hand:

    make soak                                                  # measures, about 40 minutes, needs root
    .venv/bin/python -m tests.reliability report soak.json     # prints this page

How. Three monitors of Pacific 16.2 with a mgr, an OSD and an MDS, each monitor in a network namespace of its own, a
router in between that can lose, delay and drop packets. Every client is with the same monitor, never the leader, when
the fault begins. Each calls in a loop with 20 ms between calls; beside them a program asks every monitor directly, and
tells when any of them could be read at all. *Slowest* is a call's whole time, calls that were under way when the fault
came among them; *hangs* means that the call had not come back when we stopped looking. *Fresh again* is the time from
the fault until numbers were asked for and answered without delay: for cephmonfs by the age that the mount itself
claims, for the others the end of their last stall. *Files* are `stat()` calls in the same mount at the same time.
An empty *Errors* means that no call failed. A peer is missing where it would not take the monitor in question.
"""

_AFTER = """
## What stands behind the figures

- A monitor that leaves a statfs unanswered for 0.3 s is not waited for: sessions with two others are opened beside it,
  the question goes there too, and the first answer decides. After a reset the next monitor is tried at once.
- A call waits 1 s at most (`statfs_timeout`), then takes the last answer if it is younger than `stale_after`. Later
  calls of the same trouble wait 0.05 to 0.1 s, twice the usual time of an answer where that is longer.
- Nobody can have fresh numbers sooner than the cluster has a readable state, and a monitor that is stopped or cut off
  costs the cluster itself about 15 s (lease and election): "readable again" is that time.
- A killed monitor costs one new session, some 10 ms. Now and then the monitor that takes over waits for the dead one
  itself, and then a call takes the 0.1 s after which a third one is asked.
- On a line with 200 ms and 5 % loss a call may take the last answer, tenths of a second old, instead of waiting for
  packets that are sent again.

## Load on the monitors

What was measured stands above, under *an idle mount, and one without monitors*. The figures are of a mount that asked
nothing while idle; now it asks for health and quorum each `refresh` (10 s), behind one get_version. Maps come when they
change. Without any monitor the pauses between rounds grow, longer while nobody asks, and are spread by chance. Refused,
it tries once in 15 to 30 s. A session costs a monitor one cephx handshake and five subscriptions, each of which brings
a whole map; hedging opens no more than two sessions beside the present one, and never without a reason.
"""


def document(path: str) -> str:
    """Return the page."""
    results = json.loads(Path(path).read_text())
    return "\n".join([*_lines(results), ""])


def _lines(results: dict[str, Any]) -> Iterator[str]:
    yield _HEAD
    yield "## Faults"
    for one in results.values():
        if "clients" in one:
            yield ""
            yield from _table(one)
    yield ""
    yield "## Other runs"
    for one in results.values():
        if "clients" not in one:
            yield ""
            yield from _facts(one)
    yield _AFTER.rstrip()


def _table(one: dict[str, Any]) -> Iterator[str]:
    yield f"### {one['title'][0].upper()}{one['title'][1:]}"
    yield ""
    if "readable_after" in one:
        after = one["readable_after"]
        if after:
            since = _s(one["readable_until"])
            yield f"The cluster: no monitor could be read from {since} to {_s(after)} after the fault."
        else:
            yield "The cluster: some monitor could be read all the time."
        yield ""
    yield "| client | calls | p50 | p99 | slowest | errors | fresh again after |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | ---: |"
    for client in one["clients"]:
        slowest = f"hangs ({client['slowest']:.0f} s)" if client["hung"] else _s(client["slowest"])
        errors = ", ".join(f"{n} x errno {number}" for number, n in client["errors"].items())
        if client["hung"]:
            fresh = "never"
        elif client["fresh_after"] is None:
            fresh = "not seen" if "readable_after" in one else "-"
        elif one["name"] in ("few", "many", "delays", "qa", "osdmaps", "failures-50") or client["fresh_after"] == 0:
            fresh = "-"
        else:
            fresh = _s(client["fresh_after"])
        yield (
            f"| {client['client']} | {client['calls']} | {_ms(client, 'p50')} | {_ms(client, 'p99')} | {slowest} |"
            f" {errors} | {fresh} |"
        )
    more = one["clients"][0]["more"]
    if "file_p99" in more:
        yield ""
        yield f"Files: p99 {more['file_p99'] * 1e3:.0f} ms, slowest {more['file_slowest'] * 1e3:.0f} ms."
    if facts := one.get("facts"):
        yield ""
        yield "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."
    yield from _broken(one)


def _facts(one: dict[str, Any]) -> Iterator[str]:
    yield f"### {one['title'][0].upper()}{one['title'][1:]}"
    yield ""
    for key, value in one["facts"].items():
        yield f"- {key}: {value}"
    yield from _broken(one)


def _broken(one: dict[str, Any]) -> Iterator[str]:
    if one.get("broken"):
        yield ""
        yield "**Not kept:** " + "; ".join(one["broken"])


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _ms(client: dict[str, Any], name: str) -> str:
    """Of calls that came back."""
    if client["hung"] and client["calls"] < 2:
        return "-"
    return f"{client[name] * 1e3:.1f} ms"
