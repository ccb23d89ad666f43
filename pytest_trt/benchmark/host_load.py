"""What else the host did while its clock kept the time.

A call takes longer by all the time that its threads wait for a core which others have. Linux counts
that, thread by thread, to the nanosecond, which tells a busy host from a slower engine. What it
does not count as waiting is told by the cores: the load that others put on them, which slows the
second thread of a core and its clock, and what a hypervisor took from them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: Share of the time for which threads wait for a core, from which on the host counts as busy.
#: Source: an engine on one and on two of two cores, seconds at a time: 0 to 2.4% where nothing else
#: ran, 32 to 87% beside as many busy processes as leave it fewer cores than it has threads. Beside
#: those that leave it enough it waited for 0.1%, and its P50 was 3% longer.
_BUSY_WAITING = 0.1

#: Share of all cores that others may keep busy, or that a hypervisor may keep for itself.
_BUSY_CORES = 0.25

#: Cores are counted in ticks of 10 ms: in less time than this they tell nothing.
_LEAST_FOR_CORES_S = 0.4

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What the host did for others for a while.

    Attributes:
        elapsed_s: For how long.
        waited_s: How long threads of this process were ready to run and had no core, added up.
        others_s: How long other processes kept cores busy, added up over cores.
        stolen_s: How long cores were with other guests of a hypervisor, added up.
        cores: How many cores this process may use.
    """

    elapsed_s: float = 0.0
    waited_s: float = 0.0
    others_s: float = 0.0
    stolen_s: float = 0.0
    cores: int = 1

    def __add__(self, other: HostLoad) -> HostLoad:
        return HostLoad(
            self.elapsed_s + other.elapsed_s,
            self.waited_s + other.waited_s,
            self.others_s + other.others_s,
            self.stolen_s + other.stolen_s,
            max(self.cores, other.cores),
        )

    @property
    def busy(self) -> str:
        """What kept the host busy, in words; empty where nothing did, or nothing tells."""
        if not self.elapsed_s:
            return ""
        waited = self.waited_s / self.elapsed_s
        if waited > _BUSY_WAITING:
            return f"threads waited {waited:.0%} of the time for a core that other work had"
        if self.elapsed_s < _LEAST_FOR_CORES_S:
            return ""
        for taken_s, whose in (
            (self.others_s, "other processes kept {} of {} cores busy"),
            (self.stolen_s, "the hypervisor gave {} of {} cores to others"),
        ):
            if taken_s / self.elapsed_s > _BUSY_CORES * self.cores:
                return whose.format(f"{taken_s / self.elapsed_s:.1f}", self.cores)
        return ""


class _Moment(NamedTuple):
    time_s: float
    waited_s: float
    own_s: float
    used_s: float
    stolen_s: float


class LoadMeter:
    """Adds up what the host did for others while something was timed.

    Args:
        proc: Where Linux tells; where it does not, nothing is known, and nothing is busy.

    Attributes:
        load: All of it so far.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self.load = HostLoad()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens until this ends."""
        began = _moment(self._proc)
        try:
            yield
        finally:
            ended = _moment(self._proc)
            if began is not None and ended is not None:
                self.load += _between(began, ended)


def _between(began: _Moment, ended: _Moment) -> HostLoad:
    passed = _Moment(*(late - early for early, late in zip(began, ended, strict=True)))
    return HostLoad(
        passed.time_s,
        # Threads that have ended take what they waited with them.
        max(0.0, passed.waited_s),
        max(0.0, passed.used_s - passed.own_s),
        max(0.0, passed.stolen_s),
        len(_usable()),
    )


def _moment(proc: Path) -> _Moment | None:
    try:
        used_s, stolen_s = _cores(proc / "stat")
        waited_s = sum(map(_waited_s, (proc / "self" / "task").iterdir()))
    except (OSError, ValueError):
        return None
    return _Moment(time.perf_counter(), waited_s, time.process_time(), used_s, stolen_s)


def _waited_s(task: Path) -> float:
    """Return how long a thread waited for a core.

    Source: Linux, Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat": time on a core
    and time on a run queue, in nanoseconds, and how often it was on a core.
    """
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:  # it has ended
        return 0.0


def _cores(stat: Path) -> tuple[float, float]:
    """Return how long the cores that this process may use were busy, and stolen, in seconds.

    Source: proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
    """
    names = {f"cpu{number}" for number in _usable()}
    used = stolen = 0
    for line in stat.read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, fields)
            used += user + nice + system + irq + softirq
            stolen += steal
    return used / _TICKS_PER_S, stolen / _TICKS_PER_S


def _usable() -> set[int]:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return affinity(0) if affinity else set(range(os.cpu_count() or 1))
