"""The session as text and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cephmonfs.files.view import View
    from cephmonfs.mon.snapshot import Snapshot, Stamp


def tickets(view: View) -> str:
    """One line a ticket; times are seconds since 1970."""
    return "".join(
        f"{t.service} key_type {t.key_type} secret_id {t.secret_id} got {t.got:.0f} "
        f"renew_after {t.renew_after:.0f} expires {t.expires:.0f}\n"
        for t in view.snapshot.tickets
    )


def requests(view: View) -> str:
    """One line for each request without an answer, oldest first."""
    return "".join(
        f"{r.tid} {r.kind} age_ms {r.age_s * 1000:.0f} mon {r.mon or '-'} sends {r.sends}\n"
        for r in sorted(view.snapshot.requests, key=lambda r: r.tid)
    )


def stats(view: View) -> str:
    """Counters since the mount, one `key value` a line: the session's, then the file system's."""
    lines = [f"{name} {value}" for name, value in sorted(view.snapshot.counters.items())]
    lines += [f"statfs_{name} {value}" for name, value in view.statfs_tally.results.items()]
    lines += [f"command_{name} {value}" for name, value in view.command_tally.items()]
    return "".join(f"{line}\n" for line in lines)


def _wall(stamp: Stamp | None) -> float | None:
    return None if stamp is None else round(stamp.wall, 3)


def session_json(view: View) -> str:
    """All of session/ in one object."""
    snap = view.snapshot
    facts = {
        "entity": snap.entity,
        "state": str(snap.state),
        "mon": snap.mon,
        "addr": snap.addr,
        "mode": snap.mode,
        "global_id": snap.global_id,
        "fsid": snap.fsid,
        "since": _wall(snap.since),
        "last_contact": _wall(snap.last_contact),
        "fresh": view.fresh,
        "sessions": snap.sessions,
        "failovers": snap.failovers,
        "last_error": snap.last_error,
        "epochs": {name: record.epoch for name, record in snap.maps.items()},
        "denied": sorted(snap.denied),
        "mons": [_mon(snap, i) for i in range(len(snap.mons))],
        "tickets": [
            {
                "service": t.service,
                "key_type": t.key_type,
                "secret_id": t.secret_id,
                "got": round(t.got, 3),
                "renew_after": round(t.renew_after, 3),
                "expires": round(t.expires, 3),
            }
            for t in snap.tickets
        ],
        "requests": [
            {"tid": r.tid, "kind": r.kind, "age_seconds": round(r.age_s, 3), "mon": r.mon, "sends": r.sends}
            for r in snap.requests
        ],
        "stats": dict(snap.counters),
        "history": [
            {"time": _wall(c.at), "state": str(c.state), "mon": c.mon, "reason": c.reason} for c in snap.history
        ],
    }
    return json.dumps(facts, indent=2) + "\n"


def _mon(snap: Snapshot, index: int) -> dict[str, object]:
    mon = snap.mons[index]
    rtt_ms = None if mon.rtt_s is None else round(mon.rtt_s * 1000, 3)
    return {
        "name": mon.name,
        "rank": mon.rank,
        "addr": str(mon.addrs),
        "rtt_ms": rtt_ms,
        "last_error": mon.last_error,
    }
