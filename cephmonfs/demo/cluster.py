"""The cluster that the embedded monitors speak of: a pure function of a seed and the time.

Nothing is simulated step by step: a machine that slept for a week, and a test that jumps an hour ahead, get the same
answer as one that watched.  What happens comes round in cycles (`Track`): an OSD that goes down and comes back, an MDS
that fails over to its standby, a manager's standby that restarts; and capacity that slowly fills and drains.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cephmonfs.model.entity import AddrType, AddrVec, EntityAddr
from cephmonfs.model.statfs import Statfs

HOSTS: Final = 4
OSDS_PER_HOST: Final = 3
_OSD_KB: Final = 4 << 30  # 4 TiB
_DAY_S: Final = 86400.0
_LOOPBACK: Final = "127.0.0.1"
FS_NAME: Final = "cephfs"
FSCID: Final = 1
METADATA_POOL: Final = 2
DATA_POOL: Final = 3
RELEASE: Final = 16
VERSION: Final = "ceph version 16.2.15 (cephmonfs demo) pacific (stable)"


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a track stands."""

    epoch: int
    cycle: int
    phase: int  # marks passed in this cycle
    since: float  # seconds since the start at the last mark; negative before the first one


@dataclass(frozen=True, slots=True)
class Track:
    """Changes that come round: in every cycle of `period_s`, one new epoch at each of `marks`."""

    base: int
    period_s: float
    marks: tuple[float, ...]

    def at(self, t: float) -> Moment:
        """Return where it stands t seconds after the start."""
        cycle, into = divmod(max(t, 0.0), self.period_s)
        number, phase = int(cycle), bisect_right(self.marks, into)
        since = number * self.period_s
        since += self.marks[phase - 1] if phase else self.marks[-1] - self.period_s
        return Moment(self.epoch_of(number, phase), number, phase, since)

    def epoch_of(self, cycle: int, phase: int) -> int:
        """Return the epoch that began with a mark."""
        return self.base + cycle * len(self.marks) + phase


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool and its part of what is stored."""

    id: int
    name: str
    pg_num: int
    application: str
    share: float
    object_bytes: int
    size: int = 3


POOLS: Final = (
    Pool(1, "device_health_metrics", 1, "mgr_devicehealth", 0.0000002, 65536),
    Pool(METADATA_POOL, "cephfs_metadata", 32, "cephfs", 0.0019998, 16384),
    Pool(DATA_POOL, "cephfs_data", 256, "cephfs", 0.718, 3 << 20),
    Pool(4, "rbd", 128, "rbd", 0.28, 4 << 20),
)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """What one pool holds at a moment."""

    pool: Pool
    stored: int
    objects: int
    max_avail: int

    @property
    def used(self) -> int:
        """Raw bytes."""
        return self.stored * self.pool.size


@dataclass(frozen=True, slots=True)
class Check:
    """One health check."""

    code: str
    message: str
    count: int
    detail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mds:
    """One MDS process.  `state` is Ceph's number."""

    name: str
    gid: int
    state: int
    incarnation: int
    seq: int


@dataclass(frozen=True, slots=True)
class State:
    """The cluster at a moment.  Times are seconds since 1970."""

    now: float
    osdmap: Moment
    osd_modified: float
    osd_up: tuple[bool, ...]
    fsmap: Moment
    fs_modified: float
    mdsmap_epoch: int
    mds_active: Mds
    mds_standby: Mds | None
    mgrmap: Moment
    mgr_standby: bool
    mgr_active_since: float
    total_kb: int
    used_kb: int
    pools: tuple[PoolUse, ...]
    checks: tuple[Check, ...]

    @property
    def avail_kb(self) -> int:
        """Raw KiB that are free."""
        return self.total_kb - self.used_kb

    @property
    def objects(self) -> int:
        """Objects of all pools."""
        return sum(use.objects for use in self.pools)

    @property
    def stored(self) -> int:
        """Bytes that clients have stored."""
        return sum(use.stored for use in self.pools)

    @property
    def health(self) -> str:
        """HEALTH_OK or HEALTH_WARN."""
        return "HEALTH_WARN" if self.checks else "HEALTH_OK"

    @property
    def pg_num(self) -> int:
        """Placement groups of all pools."""
        return sum(use.pool.pg_num for use in self.pools)

    @property
    def degraded_pgs(self) -> int:
        """Placement groups that miss the OSD that is down."""
        return self.pg_num * 3 // len(self.osd_up) if False in self.osd_up else 0

    def statfs(self, pool: int | None) -> Statfs | None:
        """Answer STATFS for the cluster or a pool; None for a pool that is not there."""
        if pool is None:
            return Statfs(self.total_kb, self.used_kb, self.avail_kb, self.objects)
        for use in self.pools:
            if use.pool.id == pool:
                used, avail = use.stored >> 10, use.max_avail >> 10
                return Statfs(used + avail, used, avail, use.objects)
        return None


class DemoCluster:
    """A cluster.  `addrs` are its monitors' in rank order, `started` the time at which the story begins."""

    def __init__(self, seed: int, addrs: tuple[EntityAddr, ...], started: float) -> None:
        rng = random.Random(seed)
        self.addrs = addrs
        self.started = started
        self.fsid = UUID(bytes=rng.randbytes(16), version=4)
        self.created = started - _DAY_S * rng.uniform(90, 400)
        self.names = tuple(_mon_name(rank) for rank in range(len(addrs)))
        self.election_epoch = 2 * rng.randint(6, 40)
        self.nonces = tuple(rng.getrandbits(32) for _ in range(64))
        self._fill_from = rng.uniform(0.38, 0.46)
        self._fill_by = rng.uniform(0.15, 0.22)
        self._fill_period_s = rng.uniform(3000, 4200)
        self._osd_shift = rng.randrange(HOSTS * OSDS_PER_HOST)
        self._osd_track = Track(rng.randint(1500, 4000), rng.uniform(110, 150), (22.0, 45.0, 66.0, 88.0))
        self._mds_track = Track(rng.randint(120, 400), rng.uniform(230, 290), (110.0, 112.0, 114.0, 116.0, 128.0))
        self._mgr_track = Track(rng.randint(40, 90), rng.uniform(560, 700), (300.0, 330.0))

    def at(self, now: float) -> State:
        """Return the cluster at a time."""
        t = max(now - self.started, 0.0)
        osdmap, fsmap, mgrmap = self._osd_track.at(t), self._mds_track.at(t), self._mgr_track.at(t)
        count = HOSTS * OSDS_PER_HOST
        down = (osdmap.cycle * 5 + self._osd_shift) % count if osdmap.phase == 2 else None
        osd_up = tuple(osd != down for osd in range(count))
        active, standby, mdsmap_epoch = self._mds(fsmap)
        total = count * _OSD_KB
        used = int(total * self._fill(t))
        pools = _pools(used, total - used)
        return State(
            now=now,
            osdmap=osdmap,
            osd_modified=self.started + osdmap.since,
            osd_up=osd_up,
            fsmap=fsmap,
            fs_modified=self.started + fsmap.since,
            mdsmap_epoch=mdsmap_epoch,
            mds_active=active,
            mds_standby=standby,
            mgrmap=mgrmap,
            mgr_standby=mgrmap.phase != 1,
            mgr_active_since=self.created + 60,
            total_kb=total,
            used_kb=used,
            pools=pools,
            checks=_checks(down, active, standby, pools),
        )

    def _fill(self, t: float) -> float:
        """The part of the raw space that is used: up and down, with a ripple."""
        slow = (1 - math.cos(2 * math.pi * t / self._fill_period_s)) / 2
        return self._fill_from + self._fill_by * slow + 0.002 * math.sin(t / 7)

    def _mds(self, moment: Moment) -> tuple[Mds, Mds | None, int]:
        """Each cycle the active MDS (process number `cycle`) fails, and the standby (the next one) takes over."""
        track, cycle, phase = self._mds_track, moment.cycle, moment.phase
        if phase == 0:
            born = track.epoch_of(cycle - 1, 1) if cycle else track.base
            active = self._mds_process(cycle, 13, born)
            standby = self._mds_process(cycle + 1, -5, 0)
            return active, standby, track.epoch_of(cycle - 1, 4) if cycle else track.base
        state = {1: 8, 2: 10, 3: 11}.get(phase, 13)
        active = self._mds_process(cycle + 1, state, track.epoch_of(cycle, 1))
        back = self._mds_process(cycle + 2, -5, 0) if phase == 5 else None
        return active, back, track.epoch_of(cycle, min(phase, 4))

    def _mds_process(self, number: int, state: int, incarnation: int) -> Mds:
        return Mds("ab"[number % 2], 4300 + 17 * number, state, incarnation, 2 if state == -5 else 40 + state)

    def daemon_addrs(self, slot: int) -> AddrVec:
        """Return the address of a daemon other than a monitor: nothing listens there."""
        return AddrVec((EntityAddr.of(_LOOPBACK, 6800 + slot, AddrType.MSGR2, self.nonces[slot % 64]),))


def _mon_name(rank: int) -> str:
    """a, b, ... z, a1, b1, ..."""
    return chr(ord("a") + rank % 26) + (str(rank // 26) if rank >= 26 else "")


def _pools(used_kb: int, avail_kb: int) -> tuple[PoolUse, ...]:
    uses = []
    for pool in POOLS:
        stored = int(used_kb * 1024 * pool.share / pool.size)
        max_avail = int(avail_kb * 1024 * 0.93 / pool.size)
        uses.append(PoolUse(pool, stored, stored // pool.object_bytes, max_avail))
    return tuple(uses)


def _checks(down: int | None, active: Mds, standby: Mds | None, pools: tuple[PoolUse, ...]) -> tuple[Check, ...]:
    checks = []
    if active.state != 13:
        detail = (f"fs {FS_NAME} is degraded",)
        checks.append(Check("FS_DEGRADED", "1 filesystem is degraded", 1, detail))
    if standby is None:
        message = "insufficient standby MDS daemons available"
        checks.append(Check("MDS_INSUFFICIENT_STANDBY", message, 1, (f"have 0; want 1 more for fs {FS_NAME}",)))
    if down is not None:
        where = f"osd.{down} (root=default,host=node{down // OSDS_PER_HOST}) is down"
        checks.append(Check("OSD_DOWN", "1 osds down", 1, (where,)))
        copies = sum(use.objects * use.pool.size for use in pools)
        lost = copies // (HOSTS * OSDS_PER_HOST)
        pgs = sum(pool.pg_num for pool in POOLS) * 3 // (HOSTS * OSDS_PER_HOST)
        message = (
            f"Degraded data redundancy: {lost}/{copies} objects degraded ({100 * lost / copies:.3f}%), "
            f"{pgs} pgs degraded"
        )
        checks.append(Check("PG_DEGRADED", message, pgs, ()))
    return tuple(checks)
