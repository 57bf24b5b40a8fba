"""Benchmarks: what a mount costs beside ceph-fuse and librados, on one real cluster, in interleaved rounds.

    python -m bench table        the goals, as one table (`make bench`)
    python -m bench growth       how cost grows with monitors, OSDs, callers and mounts
    python -m bench breakdown    where the microseconds of one statfs go, by subtraction
    python -m bench profile      the daemon under load, function by function
    python -m bench docs         docs/benchmarks.md and its plots from what the others wrote

Each writes JSON (or text) into build/bench; nothing here is a test, and no test looks at a clock because of it.
"""
