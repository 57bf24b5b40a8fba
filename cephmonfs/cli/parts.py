"""The real parts that `serve` joins."""

from __future__ import annotations

from cephmonfs.cli.serve import Parts


def real_parts() -> Parts:
    """Load everything that a mount uses, before privileges go."""
    raise NotImplementedError
