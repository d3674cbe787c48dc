"""How long something would have taken on a machine that does nothing else."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

_TICK = os.sysconf("SC_CLK_TCK")
#: Of the first line of /proc/stat: user, nice, system, irq, softirq, steal.
_BUSY = (1, 2, 3, 6, 7, 8)


@frozen
class Moment:
    """What the clocks say: seconds since anything, and of all cores, and of our own programs."""

    now: float
    busy: float
    own: float


def alone(since: Moment, until: Moment, cores: int) -> float:
    """The seconds between two moments, less what others have had of each core.

    What they have had is counted as if somebody had waited for all of it: too short rather than
    too long by that, and right where nobody else was there.
    """
    others = (until.busy - since.busy) - (until.own - since.own)
    return (until.now - since.now) - max(0.0, others) / cores


@frozen
class Stopwatch:
    """Runs from when it is made."""

    _since: Moment = field(factory=lambda: moment())

    def alone(self, pids: Iterable[int] = ()) -> float:
        """See `alone`; our own is this process, its children that have ended, and *pids*."""
        return alone(self._since, moment(pids), os.cpu_count() or 1)


def moment(pids: Iterable[int] = ()) -> Moment:
    """What the clocks say now; *pids* belong to us, and their children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(one.ru_utime + one.ru_stime for one in used)
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    busy = sum(int(fields[number]) for number in _BUSY) / _TICK
    return Moment(time.monotonic(), busy, own + sum(map(_used, pids)))


def _used(pid: int) -> float:
    after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after[11:15])) / _TICK
